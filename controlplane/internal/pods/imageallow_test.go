package pods

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// fakeImages is a list of images by canonical name; nil fails.
type fakeImages map[string]AllowedImage

func (f fakeImages) Image(_ context.Context, image string) (AllowedImage, error) {
	if f == nil {
		return AllowedImage{}, errors.New("disk on fire")
	}
	if a, ok := f[image]; ok {
		return a, nil
	}
	return AllowedImage{}, Errorf(NotFound, "no such image")
}

func TestAllowImage(t *testing.T) {
	s := Settings{
		ImageAllowList: []string{"docker.io/library/postgres", "docker.io/podway/hello", "host:5000/x/y"},
		MainTenants:    []string{"main"},
	}
	list := fakeImages{
		"docker.io/library/nginx":    {Tenants: []string{"dev"}},
		"docker.io/library/alpine":   {Tenants: []string{"**"}},
		"docker.io/library/debian":   {Tenants: []string{"*"}},
		"docker.io/library/fedora":   {Tenants: []string{"**", "-dev"}},
		"docker.io/library/ubuntu":   {Tenants: []string{"*", "-main"}},
		"docker.io/library/nobody":   {Tenants: []string{}},
		"docker.io/library/postgres": {Tenants: []string{"-dev"}},
	}
	const refused = "image: Custom pod.image images must be in allowlist. Check /pods/images or speak to admin. Image derived: "
	for _, c := range []struct{ name, tenant, image, want string }{
		{"an image of the settings", "dev", "postgres", ""},
		{"with a tag", "dev", "postgres:15", ""},
		{"with a digest", "dev", "postgres@sha256:" + strings.Repeat("a", 64), ""},
		{"with its registry", "dev", "docker.io/library/postgres:15", ""},
		{"of a folder", "dev", "podway/hello:latest", ""},
		{"of another registry", "dev", "host:5000/x/y:1", ""},
		{"an image that is in no list", "dev", "httpd:1", refused + "httpd"},
		{"an allowed name as the start of another", "dev", "postgres-evil", refused + "postgres-evil"},
		{"an allowed name in another registry", "dev", "evil.example/library/postgres:1", refused + "evil.example/library/postgres"},
		{"an allowed name in another folder", "dev", "evil/postgres", refused + "evil/postgres"},
		{"an allowed registry as a folder", "dev", "evil.example/host:5000/x/y", "image: image must look like [registry[:port]/]name[:tag][@digest] with a lowercase name"},
		{"nothing", "dev", "", "image: image is empty"},
		{"an image for the tenant", "dev", "docker.io/nginx:1", ""},
		{"an image for another tenant", "other", "nginx:1", refused + "nginx"},
		{"an image for every tenant", "other", "alpine", ""},
		{"an image for the main tenants, of which it is one", "main", "debian", ""},
		{"an image for the main tenants, of which it is none", "dev", "debian", refused + "debian"},
		{"an image for all but the tenant", "dev", "fedora", refused + "fedora"},
		{"an image for all but another tenant", "other", "fedora", ""},
		{"an image for the main tenants but this one", "main", "ubuntu", refused + "ubuntu"},
		{"an image without tenants", "dev", "nobody", refused + "nobody"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := AllowImage(t.Context(), list, c.tenant, c.image, s)
			if c.want == "" {
				wantProblems(t, err)
			} else {
				wantProblems(t, err, c.want)
			}
		})
	}
	t.Run("a list that fails allows nothing and is told from a refusal", func(t *testing.T) {
		if err := AllowImage(t.Context(), fakeImages(nil), "dev", "nginx", s); ErrorCode(err) != Internal {
			t.Errorf("got %v, want an internal error", err)
		}
	})
}

func TestDecodeNewImages(t *testing.T) {
	const tenants = "tenants: tenants must hold tenant ids, '-' and a tenant id for all but that one, '*' for the main tenants or '**' for every tenant. Got "
	for _, c := range []struct {
		name, body string
		want       []string
	}{
		{"all fields", `[{"image":"a/b:1","tenants":["**","*","dev","-tacc.x"],"description":"x"},{"image":"host:5000/x"}]`, nil},
		{"an empty list", `[]`, nil},
		{"an object", `{"image":"a"}`, []string{"body: value is not a valid list; a JSON list was expected. Got dict."}},
		{"no body", ``, []string{"body: field required; send a JSON list"}},
		{"an entry that is a text", `["a"]`, []string{"body, 0: value is not a valid dict"}},
		{"mistakes in two entries", `[{"image":"A"},{"image":"b","tag":"1"}]`, []string{
			"body, 1, tag: extra fields not permitted",
			"image: image must look like [registry[:port]/]name[:tag][@digest] with a lowercase name",
		}},
		{"no image", `[{"tenants":[]}]`, []string{"body, 0, image: field required"}},
		{"an empty image", `[{"image":""}]`, []string{"image: image is empty"}},
		{"two colons", `[{"image":"a:b:c"}]`, []string{"image: image cannot have more than one ':' in the string. Got 'a:b:c'"}},
		{"a tenant with a blank", `[{"image":"a","tenants":["de v"]}]`, []string{tenants + "'de v'"}},
		{"three stars", `[{"image":"a","tenants":["***"]}]`, []string{tenants + "'***'"}},
		{"a description outside ASCII", `[{"image":"a","description":"ü"}]`, []string{"description: description field may only contain ASCII characters."}},
		{"501 images", "[" + strings.Repeat(`{"image":"a"},`, 500) + `{"image":"a"}]`, []string{"body: the list may hold 500 images at most. Got 501"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := DecodeNewImages([]byte(c.body))
			wantProblems(t, err, c.want...)
		})
	}
	t.Run("tags and digests are cut", func(t *testing.T) {
		for ref, want := range map[string]NewImage{
			"postgres":                              {Image: "postgres"},
			"postgres:15":                           {Image: "postgres", CutTag: true},
			"host:5000/x/y":                         {Image: "host:5000/x/y"},
			"host:5000/x/y:latest":                  {Image: "host:5000/x/y", CutTag: true},
			"a/b@sha256:" + strings.Repeat("a", 64): {Image: "a/b", CutTag: true},
		} {
			got, err := DecodeNewImage([]byte(`{"image":"` + ref + `"}`))
			if err != nil || got.Image != want.Image || got.CutTag != want.CutTag {
				t.Errorf("%s: got %+v and %v, want %+v", ref, got, err, want)
			}
		}
	})
}
