package pods

import (
	"strings"
	"testing"
)

func TestParseImage(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0f", 32)
	for _, c := range []struct {
		ref  string
		want ImageRef
	}{
		{"postgres", ImageRef{Registry: "docker.io", Repository: "library/postgres"}},
		{"postgres:15", ImageRef{Registry: "docker.io", Repository: "library/postgres", Tag: "15"}},
		{"podway/hello", ImageRef{Registry: "docker.io", Repository: "podway/hello"}},
		{"docker.io/postgres", ImageRef{Registry: "docker.io", Repository: "library/postgres"}},
		{"index.docker.io/library/postgres", ImageRef{Registry: "docker.io", Repository: "library/postgres"}},
		{"registry-1.docker.io/x/y", ImageRef{Registry: "docker.io", Repository: "x/y"}},
		{"localhost/x", ImageRef{Registry: "localhost", Repository: "x"}},
		{"host:5000/x", ImageRef{Registry: "host:5000", Repository: "x"}},
		{"host:5000/x/y/z:v1.2_3-a", ImageRef{Registry: "host:5000", Repository: "x/y/z", Tag: "v1.2_3-a"}},
		{"ghcr.io/a-b/c__d.e@" + digest, ImageRef{Registry: "ghcr.io", Repository: "a-b/c__d.e", Digest: digest}},
		{"nginx:1@" + digest, ImageRef{Registry: "docker.io", Repository: "library/nginx", Tag: "1", Digest: digest}},
		{"localhost:5000/x/y:2", ImageRef{Registry: "localhost:5000", Repository: "x/y", Tag: "2"}},
	} {
		t.Run(c.ref, func(t *testing.T) {
			got, err := ParseImage(c.ref)
			if err != nil {
				t.Fatal(err)
			}
			if got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestParseImageRefuses(t *testing.T) {
	const (
		name     = "image must look like [registry[:port]/]name[:tag][@digest] with a lowercase name"
		tag      = "the tag of image must be 1 to 128 letters, digits, '_', '.' or '-'"
		digest   = "the digest of image must look like @sha256:<64 hex digits>"
		registry = "the registry of image must be a lowercase host name, optionally with a port"
	)
	for _, c := range []struct{ name, ref, want string }{
		{"nothing", "", "image is empty"},
		{"a capital", "Postgres", name},
		{"a space", "a b", name},
		{"a line break", "nginx\n", name},
		{"a scheme", "https://docker.io/nginx", registry},
		{"two slashes", "a//b", name},
		{"a slash at the end", "a/", name},
		{"a slash at the start", "/a", name},
		{"dots that climb", "../a", registry},
		{"an empty tag", "nginx:", tag},
		{"two tags", "nginx:1:2", name},
		{"a tag that starts with a dot", "nginx:.1", tag},
		{"an empty digest", "nginx@", digest},
		{"a short digest", "nginx@sha256:abc", digest},
		{"two digests", "nginx@sha256:" + strings.Repeat("a", 64) + "@x", digest},
		{"a registry with an underscore", "my_host.org/x", registry},
		{"a registry with a word as its port", "host:port/x", registry},
		{"a registry without a name", "host:5000/", name},
		{"600 characters", strings.Repeat("a", 600), "image has 600 characters, at most 545 are allowed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := ParseImage(c.ref); err == nil || err.Error() != c.want {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}
