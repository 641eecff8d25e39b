package image

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Registry serves images to pull, by the distribution protocol of OCI. It is
// safe for concurrent use.
//
// It answers for every registry: a runtime that takes it as a mirror says in the
// query "ns" whose image it wants, "docker.io" if it does not.
type Registry struct {
	dir string
}

// images are the blobs of all images, as they are on the disk now.
type images struct {
	manifests map[string]located // by full name with tag
	blobs     map[string]located // by digest
}

// located is a blob of one of the images.
type located struct {
	descriptor
	path string
}

// NewRegistry serves the images in the folders below dir. An image that is built
// again later is seen.
func NewRegistry(dir string) (*Registry, error) {
	r := &Registry{dir: dir}
	_, err := r.read()
	return r, err
}

// read reads all images. It is done for each request, which is cheap enough for
// a handful of images and a handful of requests.
func (r *Registry) read() (images, error) {
	indexes, err := filepath.Glob(filepath.Join(r.dir, "*", "index.json"))
	if err != nil {
		return images{}, fmt.Errorf("looking for images: %w", err)
	}
	all := images{manifests: make(map[string]located), blobs: make(map[string]located)}
	for _, path := range indexes {
		dir := filepath.Dir(path)
		if err := all.read(dir); err != nil {
			return images{}, fmt.Errorf("reading image %s: %w", filepath.Base(dir), err)
		}
	}
	return all, nil
}

func (i images) read(dir string) error {
	var ix index
	if err := readJSON(filepath.Join(dir, "index.json"), &ix); err != nil {
		return err
	}
	for _, d := range ix.Manifests {
		var m manifest
		if err := readJSON(blobPath(dir, d.Digest), &m); err != nil {
			return err
		}
		for _, blob := range append(m.Layers, m.Config, d) {
			i.blobs[blob.Digest] = located{blob, blobPath(dir, blob.Digest)}
		}
		i.manifests[d.Annotations[refName]] = located{d, blobPath(dir, d.Digest)}
	}
	return nil
}

func readJSON(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// request matches /v2/library/postgres/manifests/15 and its like.
var request = regexp.MustCompile(`^/v2/(.+)/(manifests|blobs)/([^/]+)$`)

// ServeHTTP answers pulls.
func (r *Registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		fail(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "images can only be pulled")
		return
	}
	if req.URL.Path == "/v2/" {
		return
	}
	m := request.FindStringSubmatch(req.URL.Path)
	if m == nil {
		fail(w, http.StatusNotFound, "NAME_UNKNOWN", "no such path")
		return
	}
	all, err := r.read()
	if err != nil {
		// An image may just be being replaced; the runtime tries again.
		fail(w, http.StatusServiceUnavailable, "UNKNOWN", err.Error())
		return
	}
	name, kind, ref := m[1], m[2], m[3]
	found, ok := all.blobs[ref]
	if kind == "manifests" && !strings.Contains(ref, ":") {
		host := req.URL.Query().Get("ns")
		if host == "" {
			host = "docker.io"
		}
		found, ok = all.manifests[host+"/"+name+":"+ref]
	}
	if !ok {
		fail(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "no such image here: "+name+":"+ref)
		return
	}
	w.Header().Set("Content-Type", found.MediaType)
	w.Header().Set("Docker-Content-Digest", found.Digest)
	http.ServeFile(w, req, found.path)
}

// fail answers with an error in the protocol's form.
func fail(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	type m = map[string]any
	// The runtime that hung up needs no answer.
	_ = json.NewEncoder(w).Encode(m{"errors": []m{{"code": code, "message": message}}})
}
