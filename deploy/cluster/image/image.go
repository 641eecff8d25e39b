// Package image builds container images without a container engine, as folders
// in OCI image layout, and serves them as a registry.
//
//	err := image.Build("images/hello", image.Config{
//		Names: []string{"docker.io/podway/hello:latest"}, Entrypoint: []string{"/podway", "hello"},
//	}, func(l *image.Layer) error {
//		return l.Copy("/podway", 0o755, "bin/podway")
//	})
//	registry, err := image.NewRegistry("images")
//	http.ListenAndServe("127.0.0.1:5000", registry)
package image

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
)

// Media types of the OCI image specification.
const (
	mediaIndex    = "application/vnd.oci.image.index.v1+json"
	mediaManifest = "application/vnd.oci.image.manifest.v1+json"
	mediaConfig   = "application/vnd.oci.image.config.v1+json"
	mediaLayer    = "application/vnd.oci.image.layer.v1.tar"
)

// refName is the annotation of an index's entry that holds the image's name.
const refName = "org.opencontainers.image.ref.name"

// Config is what an image says about itself.
type Config struct {
	// Full names, "docker.io/library/postgres:15".
	Names []string
	// What is run; Cmd is added to it unless the pod brings its own.
	Entrypoint, Cmd []string
	Env             []string // "NAME=value"
	User            string   // "uid:gid"; "" is root
	WorkingDir      string   // default "/"
	Ports           []string // "5432/tcp"
	StopSignal      string   // default SIGTERM
	Architecture    string   // as GOARCH; default this machine's
	Labels          map[string]string
}

// descriptor points to a blob.
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type manifest struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Config        descriptor   `json:"config"`
	Layers        []descriptor `json:"layers"`
}

type index struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Manifests     []descriptor `json:"manifests"`
}

// Build writes an image with one layer to a folder, which is replaced.
func Build(dir string, c Config, fill func(*Layer) error) error {
	// What is half done must never be taken for an image.
	part := dir + ".part"
	if err := os.RemoveAll(part); err != nil {
		return fmt.Errorf("removing an unfinished image: %w", err)
	}
	if err := build(part, c, fill); err != nil {
		return fmt.Errorf("building image %s: %w", filepath.Base(dir), err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("removing the image before: %w", err)
	}
	if err := os.Rename(part, dir); err != nil {
		return fmt.Errorf("keeping an image: %w", err)
	}
	return nil
}

func build(dir string, c Config, fill func(*Layer) error) error {
	if err := os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o750); err != nil {
		return err
	}
	layer, err := writeLayer(dir, fill)
	if err != nil {
		return err
	}
	config, err := writeJSON(dir, mediaConfig, configOf(c, layer.Digest))
	if err != nil {
		return err
	}
	m, err := writeJSON(dir, mediaManifest, manifest{
		SchemaVersion: 2, MediaType: mediaManifest, Config: config, Layers: []descriptor{layer},
	})
	if err != nil {
		return err
	}
	ix := index{SchemaVersion: 2, MediaType: mediaIndex}
	for _, name := range c.Names {
		named := m
		named.Annotations = map[string]string{refName: name}
		ix.Manifests = append(ix.Manifests, named)
	}
	b, err := json.MarshalIndent(ix, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "index.json"), b, 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o600)
}

// configOf returns the image's configuration in the form of the specification.
func configOf(c Config, layer string) any {
	type m = map[string]any
	ports := make(m)
	for _, p := range c.Ports {
		ports[p] = struct{}{}
	}
	return m{
		"architecture": cmp.Or(c.Architecture, runtime.GOARCH),
		"os":           "linux",
		"created":      "1970-01-01T00:00:00Z",
		"config": m{
			"Entrypoint": c.Entrypoint, "Cmd": c.Cmd, "User": c.User, "WorkingDir": c.WorkingDir,
			"Env":          append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, c.Env...),
			"ExposedPorts": ports, "StopSignal": c.StopSignal, "Labels": c.Labels,
		},
		"rootfs":  m{"type": "layers", "diff_ids": []string{layer}},
		"history": []m{{"created": "1970-01-01T00:00:00Z"}},
	}
}

func writeLayer(dir string, fill func(*Layer) error) (descriptor, error) {
	f, err := os.CreateTemp(dir, "layer")
	if err != nil {
		return descriptor{}, err
	}
	defer f.Close()
	sum := sha256.New()
	l := NewLayer(io.MultiWriter(f, sum))
	if err := fill(l); err != nil {
		return descriptor{}, err
	}
	if err := l.Close(); err != nil {
		return descriptor{}, err
	}
	size, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return descriptor{}, err
	}
	d := descriptor{MediaType: mediaLayer, Digest: "sha256:" + hex.EncodeToString(sum.Sum(nil)), Size: size}
	return d, os.Rename(f.Name(), blobPath(dir, d.Digest))
}

func writeJSON(dir, media string, v any) (descriptor, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return descriptor{}, err
	}
	sum := sha256.Sum256(b)
	d := descriptor{MediaType: media, Digest: "sha256:" + hex.EncodeToString(sum[:]), Size: int64(len(b))}
	return d, os.WriteFile(blobPath(dir, d.Digest), bytes.TrimSpace(b), 0o600)
}

func blobPath(dir, digest string) string {
	return filepath.Join(dir, "blobs", "sha256", filepath.Base(digest[len("sha256:"):]))
}
