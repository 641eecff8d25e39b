package api

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

const wireImage = `{"image":"a/b","tenants":["**"],"description":"x","creation_ts":"2025-07-21T12:00:00.723000","added_by":"admin"}`

// TestImageWire compares whole answers, byte by byte.
func TestImageWire(t *testing.T) {
	const cut = `"metadata":{"notice":"removed tag from image, tag enforcement does not yet exist"}`
	other := strings.ReplaceAll(wireImage, "a/b", "c")
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		want                     string
	}{
		{"an image", "GET", "/v3/pods/images/a/b", "", 200, envelopeOK("Image retrieved successfully.", wireImage)},
		{"an image by another name of it", "GET", "/pods/images/docker.io/a/b", "", 200, envelopeOK("Image retrieved successfully.", wireImage)},
		{"an image whose slash is encoded", "GET", "/v3/pods/images/a%2Fb", "", 200, envelopeOK("Image retrieved successfully.", wireImage)},
		{
			"an image that is not there", "GET", "/v3/pods/images/x/y", "", 200,
			`{"message":"Image with id x/y not found.","metadata":{},"result":"","status":"error","version":"test"}`,
		},
		{
			"an image of the settings", "GET", "/v3/pods/images/podway/hello", "", 200,
			envelopeOK("Image retrieved successfully.", `{"image":"podway/hello","tenants":["**"],"description":"Allowed by the operator's settings.","creation_ts":null,"added_by":""}`),
		},
		{"a new image", "POST", "/v3/pods/images", `{"image":"c","tenants":["**"],"description":"x"}`, 200, envelopeOK("Images added successfully.", other)},
		{
			"a new image with a tag", "POST", "/v3/pods/images", `{"image":"c:1","tenants":["**"],"description":"x"}`, 200,
			`{"message":"Images added successfully.",` + cut + `,"result":` + other + `,"status":"success","version":"test"}`,
		},
		{
			"one that is there", "POST", "/v3/pods/images", `{"image":"docker.io/a/b"}`, 409,
			`{"message":"Key (image)=(docker.io/a/b) already exists. Nothing was added. Delete that image first, or add several with skip_duplicates=true.","metadata":{},"result":null,"status":"error","version":"test"}`,
		},
		{
			"several, of which one is new", "POST", "/v3/pods/images/bulk?skip_duplicates=True", `[{"image":"a/b"},{"image":"c","tenants":["**"],"description":"x"}]`, 200,
			`{"message":"Image added successfully.","metadata":{"notice":"skipped 1 duplicate image: a/b"},"result":[` + other + `],"status":"success","version":"test"}`,
		},
		{
			"several that are there", "POST", "/v3/pods/images/bulk?skip_duplicates=true", `[{"image":"a/b:1"},{"image":"library/../a"}]`, 400,
			`{"message":["image: image must look like [registry[:port]/]name[:tag][@digest] with a lowercase name"],"metadata":{},"result":null,"status":"error","version":"test"}`,
		},
		{
			"only duplicates", "POST", "/v3/pods/images/bulk?skip_duplicates=true", `[{"image":"a/b:1"},{"image":"a/b"}]`, 200,
			`{"message":"No images added - all images were duplicates.","metadata":{"notice":"removed tag from image, tag enforcement does not yet exist; skipped 2 duplicate images: a/b, a/b"},"result":[],"status":"success","version":"test"}`,
		},
		{
			"several with a duplicate", "POST", "/v3/pods/images/bulk", `[{"image":"c"},{"image":"a/b"}]`, 409,
			`{"message":"Key (image)=(a/b) already exists. Nothing was added. Delete that image first, or add several with skip_duplicates=true.","metadata":{},"result":null,"status":"error","version":"test"}`,
		},
		{
			"an object instead of a list", "POST", "/v3/pods/images/bulk", `{"image":"c"}`, 400,
			`{"message":["body: value is not a valid list; a JSON list was expected. Got dict."],"metadata":{},"result":null,"status":"error","version":"test"}`,
		},
		{
			"a change", "PUT", "/v3/pods/images/docker.io/a/b", `{"tenants":["dev","-other"],"description":null}`, 200,
			envelopeOK("Image updated successfully.", strings.ReplaceAll(wireImage, `["**"]`, `["dev","-other"]`)),
		},
		{
			"no change", "PUT", "/v3/pods/images/a/b", `{"tenants":["**"],"description":"x"}`, 200,
			`{"message":"Incoming data made no changes to image. Is incoming data equal to current data?","metadata":{},"result":` + wireImage + `,"status":"error","version":"test"}`,
		},
		{
			"a change to what is none", "PUT", "/v3/pods/images/a/b", `{"tenants":["a b"],"image":"c"}`, 400,
			`{"message":["body, image: extra fields not permitted","tenants: tenants must hold tenant ids, '-' and a tenant id for all but that one, '*' for the main tenants or '**' for every tenant. Got 'a b'"],"metadata":{},"result":null,"status":"error","version":"test"}`,
		},
		{
			"a change of one that is not there", "PUT", "/v3/pods/images/x/y", `{"tenants":["**"]}`, 200,
			`{"message":"Image with id x/y not found.","metadata":{},"result":"","status":"error","version":"test"}`,
		},
		{
			"a change of one of the settings", "PUT", "/v3/pods/images/postgres", `{"tenants":["**"]}`, 409,
			`{"message":"Image postgres is allowed by the operator's settings, not by the list. It can't be changed here.","metadata":{},"result":null,"status":"error","version":"test"}`,
		},
		{"a deletion", "DELETE", "/v3/pods/images/a/b", "", 200, envelopeOK("Image successfully deleted.", `"a/b"`)},
		{
			"a deletion of one that is not there", "DELETE", "/v3/pods/images/x/y", "", 200,
			`{"message":"Image with id x/y not found - not deleted.","metadata":{},"result":"","status":"error","version":"test"}`,
		},
		{
			"a deletion of one of the settings", "DELETE", "/v3/pods/images/postgres", "", 409,
			`{"message":"Image postgres is allowed by the operator's settings, not by the list. It can't be deleted here.","metadata":{},"result":null,"status":"error","version":"test"}`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			f.want(http.StatusOK, "POST", "/v3/pods/images", "admin", `{"image":"a/b","tenants":["**"],"description":"x"}`)
			if got := f.want(c.status, c.method, c.path, "admin", c.body).body; got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestImagesAreListed(t *testing.T) {
	f := newFixture(t)
	f.want(http.StatusOK, "POST", "/v3/pods/images/bulk", "admin", `[{"image":"quay.io/x/y","tenants":["other"],"description":"notebooks"},{"image":"postgres","tenants":["dev"]}]`)
	for _, c := range []struct{ name, query, want string }{
		{"all of the site, with those of the settings that are in no list", "", "postgres quay.io/x/y podway/hello"},
		{"a search in descriptions", "?search=NOTE", "quay.io/x/y"},
		{"a page", "?limit=1&offset=1", "quay.io/x/y"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := f.want(http.StatusOK, "GET", "/v3/pods/images"+c.query, "stranger", "")
			var names []string
			for _, v := range result[[]pods.ImageView](t, r) {
				names = append(names, v.Image)
			}
			if got := strings.Join(names, " "); got != c.want || r.envelope(t).text() != "Images retrieved successfully." {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	r := f.want(http.StatusOK, "GET", "/v3/pods/images", "admin", "", "X-Pods-Admin", "true")
	if got := string(r.envelope(t).Metadata["admin_context"]); !strings.Contains(got, `"user_accessible_images":["postgres","podway/hello"]`) {
		t.Errorf("got admin_context %s, want what the tenant may run", got)
	}
}

func TestImagesDecideWhatPodsMayRun(t *testing.T) {
	f := newFixture(t)
	const refused = "image: Custom pod.image images must be in allowlist. Check /pods/images or speak to admin. Image derived: a/b"
	create := func(token string, status int) {
		t.Helper()
		r := f.want(status, "POST", "/v3/pods", token, `{"pod_id":"web","image":"a/b:2"}`)
		if got := r.envelope(t).text(); status != http.StatusOK && got != refused {
			t.Errorf("got message %q, want %q", got, refused)
		}
	}
	create("owner", http.StatusBadRequest)
	f.want(http.StatusOK, "POST", "/v3/pods/images", "admin", `{"image":"a/b","tenants":["*","-other"]}`)
	create("owner", http.StatusOK) // dev is a main tenant
	create("owner@other", http.StatusBadRequest)
	f.want(http.StatusOK, "DELETE", "/v3/pods/images/a/b", "admin", "")
	f.want(http.StatusBadRequest, "PUT", "/v3/pods/web", "owner", `{"description":"x"}`)
	f.want(http.StatusOK, "GET", "/v3/pods/web/restart", "owner", "")
}

func TestOnlyTrustedAdminsChangeImages(t *testing.T) {
	f := newFixture(t, func(d *Deps) { d.Settings.AdminTenants = []string{"main"} })
	f.want(http.StatusForbidden, "POST", "/v3/pods/images", "admin", `{"image":"a/b"}`)
	f.want(http.StatusForbidden, "POST", "/v3/pods/images", "owner@main", `{"image":"a/b"}`)
	f.want(http.StatusForbidden, "PUT", "/v3/pods/images/a/b", "admin", `{"tenants":["**"]}`)
	f.want(http.StatusOK, "POST", "/v3/pods/images", "admin@main", `{"image":"a/b"}`)
}
