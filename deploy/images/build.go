package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/tapis-project/podway/deploy/cluster/image"
)

// builder builds products into a folder.
type builder struct {
	out, version, revision, arch, prefix string
}

// build writes <program>.tar and <program>.cdx.json and returns the digest of the
// archive.
func (b builder) build(ctx context.Context, p product) (digest string, err error) {
	work, err := os.MkdirTemp("", "podway-image-")
	if err != nil {
		return "", fmt.Errorf("making a folder to build in: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	dir, err := root()
	if err != nil {
		return "", err
	}
	program := filepath.Join(work, p.program)
	if err := b.compile(ctx, dir, p, program); err != nil {
		return "", err
	}
	sbom, err := bill(program, p, b.version)
	if err != nil {
		return "", err
	}
	goRoot, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("asking for the compiler's folder: %w", err)
	}
	layout := filepath.Join(work, "image")
	p.files = inRepository(dir, p.files)
	if err := image.Build(layout, b.config(p), func(l *image.Layer) error { return p.fill(l, program, strings.TrimSpace(string(goRoot)), sbom) }); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(b.out, p.program+".cdx.json"), sbom, 0o644); err != nil { //nolint:gosec // for everyone
		return "", fmt.Errorf("writing the bill of materials: %w", err)
	}
	return archive(filepath.Join(b.out, p.program+".tar"), layout)
}

// compile builds a program that holds neither paths nor times of this machine.
func (b builder) compile(ctx context.Context, dir string, p product, to string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -buildid= -X main.version="+b.version, "-o", to, p.folder)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+b.arch, "GOAMD64=v1", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("compiling: %w\n%s", err, out)
	}
	return nil
}

func (b builder) config(p product) image.Config {
	labels := map[string]string{
		"org.opencontainers.image.title":       p.program,
		"org.opencontainers.image.description": p.description,
		"org.opencontainers.image.version":     b.version,
		"org.opencontainers.image.source":      "https://github.com/tapis-project/podway",
		"org.opencontainers.image.licenses":    "Apache-2.0",
	}
	if b.revision != "" {
		labels["org.opencontainers.image.revision"] = b.revision
	}
	return image.Config{
		Names:      []string{b.prefix + p.name + ":" + b.version},
		Entrypoint: []string{"/usr/bin/" + p.program}, Cmd: p.command, User: fmt.Sprintf("%d:%d", user, user),
		WorkingDir: "/var/lib/podway", Ports: p.ports, Architecture: b.arch, Labels: labels,
		Env: []string{"SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt", "HOME=/var/lib/podway", "ZONEINFO=" + zones},
	}
}

func inRepository(dir string, files map[string]string) map[string]string {
	all := make(map[string]string, len(files))
	for to, from := range files {
		all[to] = filepath.Join(dir, from)
	}
	return all
}

// archive writes the image's archive and returns the digest of it.
func archive(path, layout string) (string, error) {
	f, err := os.Create(path)
	if err != nil {
		return "", fmt.Errorf("creating the archive: %w", err)
	}
	defer f.Close()
	sum := sha256.New()
	if err := image.Archive(io.MultiWriter(f, sum), layout); err != nil {
		return "", err
	}
	if err := f.Close(); err != nil {
		return "", fmt.Errorf("closing the archive: %w", err)
	}
	return "sha256:" + hex.EncodeToString(sum.Sum(nil)), nil
}
