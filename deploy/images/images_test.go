package main

import (
	"archive/tar"
	"bytes"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tapis-project/podway/tests/parts"
)

// secrets are the shapes of what must never be in an image. A key that a program
// only knows the format of has no body. Each begins with fixed letters, which are
// searched for fast in what is large.
var secrets = map[string]*regexp.Regexp{
	"a private key":        regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/=\s]{64,}-----END`),
	"a JSON web token":     regexp.MustCompile(`eyJ[A-Za-z0-9_-]{16,}\.eyJ[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{32,}`),
	"a key of AWS":         regexp.MustCompile(`AKIA[0-9A-Z]{16}`),
	"a token of GitHub":    regexp.MustCompile(`gh[pousr]_[A-Za-z0-9]{36}`),
	"a login in a URL":     regexp.MustCompile(`://[a-z]+:[A-Za-z0-9]{16,}@`),
	"a folder of a person": regexp.MustCompile(`/home/[a-z]+/[a-z]+/`),
}

// built builds the images once and returns the folder of the archives.
func built(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("builds whole programs")
	}
	dir := t.TempDir()
	if err := run(t.Context(), []string{"-out", dir, "-version", "v1.2.3", "-revision", "abc"}); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestImages(t *testing.T) {
	if err := parts.DependsOn(parts.Product()...); err != nil {
		t.Fatal(err)
	}
	first, second := built(t), built(t)
	for _, p := range products {
		t.Run(p.name, func(t *testing.T) {
			archive := read(t, filepath.Join(first, p.program+".tar"))
			if !bytes.Equal(archive, read(t, filepath.Join(second, p.program+".tar"))) {
				t.Error("two builds differ")
			}
			config, layer := unpack(t, archive)
			checkConfig(t, config)
			files := untar(t, layer)
			checkFiles(t, p, files)
			if sbom := read(t, filepath.Join(first, p.program+".cdx.json")); !bytes.Equal(sbom, files["usr/share/sbom/"+p.program+".cdx.json"]) {
				t.Error("the bill of materials beside the image is not the one inside")
			} else {
				checkBill(t, sbom)
			}
			for name, content := range files {
				scan(t, name, content)
			}
		})
	}
}

func checkConfig(t *testing.T, text []byte) {
	t.Helper()
	var config struct {
		Config struct {
			User   string
			Labels map[string]string
			Env    []string
		}
	}
	if err := json.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	if got, want := config.Config.User, "65532:65532"; got != want {
		t.Errorf("user: got %s, want %s", got, want)
	}
	for label, want := range map[string]string{"version": "v1.2.3", "revision": "abc", "licenses": "Apache-2.0"} {
		if got := config.Config.Labels["org.opencontainers.image."+label]; got != want {
			t.Errorf("label %s: got %q, want %q", label, got, want)
		}
	}
	scan(t, "configuration", text)
}

// checkFiles compares the image's files with the list of all that may be there.
func checkFiles(t *testing.T, p product, files map[string][]byte) {
	t.Helper()
	want := []string{
		"usr/bin/" + p.program, "etc/ssl/certs/ca-certificates.crt", "etc/passwd", "etc/group", "etc/nsswitch.conf",
		"usr/share/zoneinfo.zip", "usr/share/sbom/" + p.program + ".cdx.json",
	}
	for name := range p.files {
		want = append(want, strings.TrimPrefix(name, "/"))
	}
	var got []string
	for name := range files {
		got = append(got, name)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("files: got %q, want %q", got, want)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(files["etc/ssl/certs/ca-certificates.crt"]) {
		t.Error("the authorities are no certificates")
	}
}

func checkBill(t *testing.T, text []byte) {
	t.Helper()
	var d document
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	refs := map[string]bool{}
	for _, c := range d.Components {
		if refs[c.Ref] || c.Version == "" || !strings.HasPrefix(c.PURL, "pkg:golang/") {
			t.Errorf("got component %+v, want one with a version, listed once", c)
		}
		refs[c.Ref] = true
	}
	if len(refs) < 10 {
		t.Errorf("got %d components, want all modules of the program", len(refs))
	}
}

func scan(t *testing.T, name string, content []byte) {
	t.Helper()
	for what, shape := range secrets {
		if found := shape.Find(content); found != nil {
			t.Errorf("%s holds %s: %.20q…", name, what, found)
		}
	}
}

// The scan is worth nothing if it finds nothing.
func TestScanFindsSecrets(t *testing.T) {
	for what, text := range map[string]string{
		"a private key":        "-----BEGIN EC PRIVATE KEY-----\n" + strings.Repeat("A", 64) + "\n-----END EC PRIVATE KEY-----",
		"a JSON web token":     "eyJ" + strings.Repeat("a", 20) + ".eyJ" + strings.Repeat("b", 20) + "." + strings.Repeat("c", 40),
		"a key of AWS":         "AKIA" + strings.Repeat("A", 16),
		"a token of GitHub":    "ghp_" + strings.Repeat("a", 36),
		"a login in a URL":     "rediss://edge:" + strings.Repeat("a", 20) + "@redis",
		"a folder of a person": "/home/jane/src/podway",
	} {
		if !secrets[what].MatchString(text) {
			t.Errorf("%s is not found", what)
		}
	}
}

// unpack returns the configuration and the layer of an image with one layer.
func unpack(t *testing.T, archive []byte) (config, layer []byte) {
	t.Helper()
	files := untar(t, archive)
	blob := func(digest string) []byte { return files["blobs/sha256/"+strings.TrimPrefix(digest, "sha256:")] }
	type pointer struct{ Digest string }
	var index struct{ Manifests []pointer }
	if err := json.Unmarshal(files["index.json"], &index); err != nil || len(index.Manifests) != 1 {
		t.Fatalf("got %v, %v, want one manifest", index, err)
	}
	var manifest struct {
		Config pointer
		Layers []pointer
	}
	if err := json.Unmarshal(blob(index.Manifests[0].Digest), &manifest); err != nil || len(manifest.Layers) != 1 {
		t.Fatalf("got %v, %v, want one layer", manifest, err)
	}
	return blob(manifest.Config.Digest), blob(manifest.Layers[0].Digest)
}

// untar returns the files of a tar. Links would be ways to a shell, so there are none.
func untar(t *testing.T, text []byte) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for tr := tar.NewReader(bytes.NewReader(text)); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeDir {
			continue
		}
		if h.Typeflag != tar.TypeReg || h.Mode&0o6000 != 0 {
			t.Errorf("%s: got type %c and mode %o, want a plain file", h.Name, h.Typeflag, h.Mode)
		}
		if files[h.Name], err = io.ReadAll(tr); err != nil {
			t.Fatal(err)
		}
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
