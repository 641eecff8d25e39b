package image_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tapis-project/podway/deploy/cluster/image"
)

func TestLayersKeepOneEntryPerPath(t *testing.T) {
	host := filepath.Join(t.TempDir(), "host")
	if err := os.WriteFile(host, []byte("host"), 0o600); err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	l := image.NewLayer(&buf)
	err := errors.Join(
		l.MergeUsr(),
		l.File("/etc/a", 0o644, "first"),
		l.File("/etc/a", 0o644, "second"),
		l.Copy("/opt/deep/er/host", 0o755, host),
		l.Dir("/tmp", 0o1777, 0, 0),
		l.Entry(&tar.Header{Typeflag: tar.TypeReg, Name: "./lib/x.so", Mode: 0o644, Size: 1}, strings.NewReader("x")),
		l.Entry(&tar.Header{Typeflag: tar.TypeLink, Name: "./bin/y", Linkname: "./lib/x.so"}, nil),
		l.Entry(&tar.Header{Typeflag: tar.TypeDir, Name: "./lib/"}, nil),
		l.Entry(&tar.Header{Typeflag: tar.TypeChar, Name: "./dev/null"}, nil),
		l.Entry(&tar.Header{Typeflag: tar.TypeDir, Name: "./"}, nil),
		l.Close(),
	)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for tr := tar.NewReader(&buf); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, strings.Join([]string{h.Name, h.Linkname, string(content)}, "|"))
	}
	want := []string{
		"usr/||", "usr/bin/||", "bin|usr/bin|", "usr/sbin/||", "sbin|usr/sbin|", "usr/lib/||", "lib|usr/lib|", "usr/lib64/||", "lib64|usr/lib64|",
		"etc/||", "etc/a||first", "opt/||", "opt/deep/||", "opt/deep/er/||", "opt/deep/er/host||host", "tmp/||",
		"usr/lib/x.so||x", "usr/bin/y|usr/lib/x.so|",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestTheRegistryServesWhatWasBuilt(t *testing.T) {
	dir := t.TempDir()
	hello := func(content string) error {
		return image.Build(filepath.Join(dir, "hello"), image.Config{
			Names:      []string{"docker.io/podway/hello:latest", "example.org/hello:1"},
			Entrypoint: []string{"/hello"}, User: "1:1", Ports: []string{"80/tcp"},
		}, func(l *image.Layer) error { return l.File("/hello", 0o755, content) })
	}
	if err := hello("old"); err != nil {
		t.Fatal(err)
	}
	registry, err := image.NewRegistry(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := hello("new"); err != nil { // replaces the first
		t.Fatal(err)
	}
	srv := httptest.NewServer(registry)
	t.Cleanup(srv.Close)

	get(t, srv.URL+"/v2/", http.StatusOK)
	m := get(t, srv.URL+"/v2/podway/hello/manifests/latest?ns=docker.io", http.StatusOK)
	if again := get(t, srv.URL+"/v2/hello/manifests/1?ns=example.org", http.StatusOK); string(again) != string(m) {
		t.Error("the second name gives another image")
	}
	if again := get(t, srv.URL+"/v2/podway/hello/manifests/"+digest(m), http.StatusOK); string(again) != string(m) {
		t.Error("the digest gives another manifest")
	}
	var manifest struct {
		Config struct{ Digest string }
		Layers []struct {
			Digest string
			Size   int
		}
	}
	if err := json.Unmarshal(m, &manifest); err != nil {
		t.Fatal(err)
	}
	layer := get(t, srv.URL+"/v2/podway/hello/blobs/"+manifest.Layers[0].Digest, http.StatusOK)
	if digest(layer) != manifest.Layers[0].Digest || len(layer) != manifest.Layers[0].Size || !bytes.Contains(layer, []byte("new")) {
		t.Error("the layer is not what its digest says")
	}
	config := get(t, srv.URL+"/v2/podway/hello/blobs/"+manifest.Config.Digest, http.StatusOK)
	if digest(config) != manifest.Config.Digest || !bytes.Contains(config, []byte(`"User":"1:1"`)) {
		t.Errorf("got config %s, want what was built", config)
	}

	get(t, srv.URL+"/v2/podway/hello/manifests/2?ns=docker.io", http.StatusNotFound)
	get(t, srv.URL+"/v2/podway/hello/manifests/latest?ns=quay.io", http.StatusNotFound)
	get(t, srv.URL+"/v2/podway/hello/blobs/sha256:..", http.StatusNotFound)
	get(t, srv.URL+"/other", http.StatusNotFound)
}

func TestAFailedBuildLeavesTheImageBefore(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x")
	config := image.Config{Names: []string{"docker.io/library/x:1"}}
	if err := image.Build(path, config, func(*image.Layer) error { return nil }); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	if err := image.Build(path, config, func(*image.Layer) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("got %v, want the cause", err)
	}
	if _, err := image.NewRegistry(dir); err != nil {
		t.Errorf("got %v, want the image before", err)
	}
}

func get(t *testing.T, url string, status int) []byte {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != status {
		t.Fatalf("%s: got %d %s, want %d", url, resp.StatusCode, body, status)
	}
	return body
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}
