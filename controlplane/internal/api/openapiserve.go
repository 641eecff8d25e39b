package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"time"

	"go.yaml.in/yaml/v3"
)

// specFiles are the forms in which the specification is served.
type specFiles struct{ json, yaml, page specFile }

// specFile is one of them, ready to be sent.
type specFile struct {
	body    []byte
	media   string
	etag    string
	headers http.Header
}

// newSpecFiles makes all forms of the specification.
func newSpecFiles(version string) (specFiles, error) {
	j, err := OpenAPI(version)
	if err != nil {
		return specFiles{}, err
	}
	y, err := yamlOf(j)
	if err != nil {
		return specFiles{}, err
	}
	page, err := renderPage(specification(version, operations()))
	if err != nil {
		return specFiles{}, err
	}
	return specFiles{
		json: newSpecFile(j, jsonType, nil),
		yaml: newSpecFile(y, yamlType, nil),
		page: newSpecFile(page, "text/html; charset=utf-8", http.Header{
			"Content-Security-Policy": {pagePolicy()}, "Referrer-Policy": {"no-referrer"},
		}),
	}, nil
}

func newSpecFile(body []byte, media string, headers http.Header) specFile {
	sum := sha256.Sum256(body)
	return specFile{body: body, media: media, headers: headers, etag: `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`}
}

// OpenAPIYAML is [OpenAPI] as YAML.
func OpenAPIYAML(version string) ([]byte, error) {
	j, err := OpenAPI(version)
	if err != nil {
		return nil, err
	}
	return yamlOf(j)
}

// yamlOf turns JSON into YAML with the same order of members.
func yamlOf(j []byte) ([]byte, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(j, &root); err != nil { // JSON is YAML
		return nil, fmt.Errorf("reading the specification: %w", err)
	}
	blockStyle(&root)
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(&root); err != nil {
		return nil, fmt.Errorf("encoding the specification: %w", err)
	}
	return b.Bytes(), nil
}

// blockStyle writes a tree as people write YAML; the encoder quotes what needs it.
func blockStyle(n *yaml.Node) {
	n.Style = 0
	for _, child := range n.Content {
		blockStyle(child)
	}
}

// openAPIJSON answers with the specification as JSON.
func (s *server) openAPIJSON(r *request) (answer, error) {
	files, err := s.spec()
	return r.file(files.json), err
}

// openAPIYAML answers with the specification as YAML.
func (s *server) openAPIYAML(r *request) (answer, error) {
	files, err := s.spec()
	return r.file(files.yaml), err
}

// docs answers with the specification as a page for people.
func (s *server) docs(r *request) (answer, error) {
	files, err := s.spec()
	return r.file(files.page), err
}

// file answers with a file that clients may keep as long as they ask whether it
// is still the same.
func (r *request) file(f specFile) answer {
	return answer{stream: func(w http.ResponseWriter) error {
		h := w.Header()
		maps.Copy(h, f.headers)
		h.Set("Content-Type", f.media)
		h.Set("Cache-Control", "no-cache")
		h.Set("Etag", f.etag)
		h.Set("X-Content-Type-Options", "nosniff")
		http.ServeContent(w, r.Request, "", time.Time{}, bytes.NewReader(f.body))
		return nil
	}}
}
