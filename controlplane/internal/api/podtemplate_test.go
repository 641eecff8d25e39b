package api

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// meddlingTemplates runs a function before the first update of a template.
type meddlingTemplates struct {
	Store
	once   sync.Once
	meddle func()
}

func (s *meddlingTemplates) UpdateTemplate(ctx context.Context, t pods.Template) (pods.Template, error) {
	s.once.Do(s.meddle)
	return s.Store.UpdateTemplate(ctx, t)
}

// base stores a template "base" that everyone may read, with a version of latest,
// and returns the reference to it.
func base(f *fixture, d pods.Definition) string {
	f.t.Helper()
	f.putTemplate("base", func(t *pods.Template) { t.Permissions["*"] = pods.LevelRead })
	return f.putTag("base", "latest", d)
}

// hello is what the versions of base give.
func hello(description string) pods.Definition {
	return pods.Definition{
		Image: pods.Set("podway/hello"), Description: pods.Set(description),
		EnvironmentVariables: pods.Set(map[string]string{"A": "base", "PASSWORD": "<<TAPIS_user_password>>"}),
		Networking:           pods.Set(map[string]pods.NetDef{"default": {Protocol: pods.Set("tcp"), Port: pods.Set(7687)}}),
		Command:              pods.Set([]string{"run"}),
	}
}

func TestPodsBuildOnTemplates(t *testing.T) {
	f := newFixture(t)
	first := base(f, hello("first"))
	r := f.want(http.StatusOK, "POST", "/v3/pods", "ann", `{"pod_id":"graph","template":"base","environment_variables":{"B":"own"}}`)
	v := result[pods.View](t, r)
	if v.Template != first || v.Image != "" || v.Description != "" || v.EnvironmentVariables["A"] != "" {
		t.Errorf("got %+v, want what was set on the pod, and its template pinned", v)
	}
	if r.envelope(t).Metadata["warnings"] != nil {
		t.Errorf("got %s, want no warning", r.body)
	}

	t.Run("it is shown as it is started", func(t *testing.T) {
		v := result[pods.View](t, f.want(http.StatusOK, "GET", "/v3/pods/graph/derived", "ann", ""))
		env := v.EnvironmentVariables
		if v.Image != "podway/hello" || env["A"] != "base" || env["B"] != "own" || len(env["PASSWORD"]) != 30 {
			t.Errorf("got %+v, want template and pod together, with the password", v)
		}
		if n := v.Networking["default"]; n.Protocol != pods.NetTCP || n.Port != 7687 || n.URL != "graph.pods.dev.example.org" {
			t.Errorf("got networking %+v, want the template's", n)
		}
	})
	t.Run("lists and answers show layers if asked", func(t *testing.T) {
		for _, c := range []struct{ query, mode, image, env, description string }{
			{"", "", "", "", ""},
			{"?derived=false&derived_lite=False", "", "", "", ""},
			{"?derived=true", `"full"`, "podway/hello", "base", "first"},
			{"?derived_lite=True", `"lite"`, "podway/hello", "", "first"},
			{"?derived=1&derived_lite=1", `"full"`, "podway/hello", "base", "first"},
		} {
			one := f.want(http.StatusOK, "GET", "/v3/pods/graph"+c.query, "ann", "")
			list := f.want(http.StatusOK, "GET", "/v3/pods"+c.query, "ann", "")
			for _, r := range []response{one, list} {
				m := r.envelope(t).Metadata
				if got := string(m["derived_mode"]); got != c.mode || (string(m["derived"]) == "true") != (c.mode != "") {
					t.Errorf("%s: got metadata %s", c.query, m)
				}
			}
			for _, v := range append(result[[]pods.View](t, list), result[pods.View](t, one)) {
				if v.Image != c.image || v.EnvironmentVariables["A"] != c.env || v.Description != c.description {
					t.Errorf("%s: got image %q, env %q and description %q", c.query, v.Image, v.EnvironmentVariables, v.Description)
				}
				if strings.Contains(v.EnvironmentVariables["PASSWORD"], "usersecret") {
					t.Errorf("%s: got a password in a list", c.query)
				}
			}
		}
		f.want(http.StatusBadRequest, "GET", "/v3/pods/graph?derived=perhaps", "ann", "")
		f.want(http.StatusBadRequest, "GET", "/v3/pods?derived_lite=perhaps", "ann", "")
	})

	second := f.putTag("base", "latest", hello("second"))
	t.Run("a new version of the tag does not change it", func(t *testing.T) {
		v := result[pods.View](t, f.want(http.StatusOK, "GET", "/v3/pods/graph/derived", "ann", ""))
		if v.Template != first || v.Description != "first" {
			t.Errorf("got template %s, want %s", v.Template, first)
		}
	})
	t.Run("what was shown can be sent back, without the newest version", func(t *testing.T) {
		r := f.want(http.StatusOK, "PUT", "/v3/pods/graph", "ann", `{"template":"`+first+`","description":"mine"}`)
		if got := result[pods.View](t, r).Template; got != first {
			t.Errorf("got %s, want %s", got, first)
		}
	})
	t.Run("the newest version comes with a restart that asks for it", func(t *testing.T) {
		f.want(http.StatusOK, "GET", "/v3/pods/graph/restart", "ann", "")
		if got := f.pod(pods.Key{Tenant: "dev", ID: "graph"}).Definition.Template.Or(""); got != first {
			t.Errorf("got %s after a plain restart, want %s", got, first)
		}
		r := f.want(http.StatusOK, "GET", "/v3/pods/graph/restart?grab_latest_template_tag=True", "ann", "")
		if v := result[pods.View](t, r); v.Template != second || v.StatusRequested != pods.Restart {
			t.Errorf("got %s and %s, want %s", v.Template, v.StatusRequested, second)
		}
		lines := f.lines(pods.Key{Tenant: "dev", ID: "graph"})
		if got := lines[len(lines)-1]; got != "'ann' ran restart_pod, set to RESTART, template: "+first+"→"+second {
			t.Errorf("got log %q", got)
		}
	})
	t.Run("or with an update that names the tag", func(t *testing.T) {
		third := f.putTag("base", "latest", hello("third"))
		r := f.want(http.StatusOK, "PUT", "/v3/pods/graph", "ann", `{"template":"base:latest"}`)
		if got := result[pods.View](t, r).Template; got != third {
			t.Errorf("got %s, want %s", got, third)
		}
	})
	t.Run("a pod can leave its template if it has an image", func(t *testing.T) {
		f.want(http.StatusBadRequest, "PUT", "/v3/pods/graph", "ann", `{"template":""}`)
		r := f.want(http.StatusOK, "PUT", "/v3/pods/graph", "ann", `{"template":null,"image":"postgres"}`)
		if v := result[pods.View](t, r); v.Template != "" || v.Image != "postgres" {
			t.Errorf("got %+v, want no template", v)
		}
		f.want(http.StatusOK, "GET", "/v3/pods/graph/restart?grab_latest_template_tag=true", "ann", "")
	})
}

func TestTemplatesOfPodsAreChecked(t *testing.T) {
	f := newFixture(t)
	base(f, hello("x"))
	f.putTemplate("private")
	f.putTag("private", "latest", hello("x"))
	f.putTemplate("bad", func(t *pods.Template) { t.Permissions["*"] = pods.LevelRead })
	f.putTag("bad", "latest", pods.Definition{Image: pods.Set("evil/x")})
	f.putTag("bad", "none", pods.Definition{})
	for _, c := range []struct{ name, body, want string }{
		{"a template that is not there", `{"pod_id":"graph","template":"nothing"}`, "template: Template not found: 'nothing'. Verify template_id exists."},
		{"a template that one may not read", `{"pod_id":"graph","template":"private:latest"}`, "template: Template tag not found: 'private:latest'. Verify template_id and tag both exist."},
		{"a template whose image is not allowed", `{"pod_id":"graph","template":"bad"}`, "image: Custom pod.image images must be in allowlist."},
		{"a template without image", `{"pod_id":"graph","template":"bad:none"}`, "template: Could not find image or template on template that the user specified."},
		{"an access gate in front of the template's tcp", `{"pod_id":"graph","template":"base","networking":{"default":{"access_gate":true}}}`, "networking, default, access_gate"},
		{"an older name that is nothing", `{"pod_id":"graph","pod_template":"private"}`, "pod_template: 'private' is neither a template that you may use nor an image in the allowlist."},
		{"an older name that can't be", `{"pod_id":"graph","pod_template":"A B"}`, "pod_template: 'A B' is neither"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := f.want(http.StatusBadRequest, "POST", "/v3/pods", "ann", c.body)
			if got := r.envelope(t).text(); !strings.HasPrefix(got, c.want) {
				t.Errorf("got message %q, want it to start with %q", got, c.want)
			}
			f.want(http.StatusNotFound, "GET", "/v3/pods/graph", "ann", "")
		})
	}
	t.Run("who loses a template keeps the pod and can change it", func(*testing.T) {
		f.want(http.StatusOK, "POST", "/v3/pods", "ann", `{"pod_id":"graph","template":"base"}`)
		f.want(http.StatusOK, "DELETE", "/v3/pods/templates/base/permissions/*", "owner", "")
		ref := f.pod(pods.Key{Tenant: "dev", ID: "graph"}).Definition.Template.Or("")
		f.want(http.StatusOK, "PUT", "/v3/pods/graph", "ann", `{"description":"x","template":"`+ref+`"}`)
		f.want(http.StatusBadRequest, "PUT", "/v3/pods/graph", "ann", `{"template":"base"}`)
		f.want(http.StatusBadRequest, "GET", "/v3/pods/graph/restart?grab_latest_template_tag=true", "ann", "")
		f.want(http.StatusOK, "GET", "/v3/pods/graph/restart", "ann", "")
	})
}

func TestOlderFormsOfPods(t *testing.T) {
	f := newFixture(t)
	base(f, hello("x"))
	f.putTemplate("postgres", func(t *pods.Template) { t.Permissions["*"] = pods.LevelRead })
	f.putTag("postgres", "latest", pods.Definition{
		Image: pods.Set("postgres"), VolumeMounts: pods.Set(map[string]pods.VolumeMount{"data": {Type: "pvc", MountPath: "/data"}}),
	})
	for _, c := range []struct {
		name, body      string
		image, template string
		port, mounts    int
	}{
		{"a template", `{"pod_template":"base"}`, "podway/hello", "base:latest@", 7687, 0},
		{"a template comes before an image of the same name", `{"pod_template":"postgres"}`, "postgres", "postgres:latest@", 5000, 1},
		{"an image of a template's name with a tag that is not there", `{"pod_template":"postgres:15"}`, "postgres:15", "", 5000, 0},
		{"an image", `{"pod_template":"podway/hello:1"}`, "podway/hello:1", "", 5000, 0},
		{"a port", `{"pod_template":"base","routing_port":80}`, "podway/hello", "base:latest@", 80, 0},
		{"a volume", `{"pod_template":"base","persistent_volume":true}`, "podway/hello", "base:latest@", 7687, 1},
		{"a volume that the template has", `{"pod_template":"postgres","persistent_volume":true}`, "postgres", "postgres:latest@", 5000, 1},
		{"no volume", `{"image":"podway/hello","persistent_volume":false}`, "podway/hello", "", 5000, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			f.want(http.StatusOK, "POST", "/v3/pods", "ann", `{"pod_id":"graph",`+c.body[1:])
			v := result[pods.View](t, f.want(http.StatusOK, "GET", "/v3/pods/graph/derived", "ann", ""))
			if v.Image != c.image || !strings.HasPrefix(v.Template, c.template) || (c.template == "") != (v.Template == "") ||
				v.Networking["default"].Port != c.port || len(v.VolumeMounts) != c.mounts {
				t.Errorf("got %+v, want %+v", v, c)
			}
			f.want(http.StatusOK, "DELETE", "/v3/pods/graph", "ann", "")
		})
	}
}

func TestProvenanceOfPods(t *testing.T) {
	f := newFixture(t)
	ref := base(f, hello("x"))
	f.want(http.StatusOK, "POST", "/v3/pods", "owner", `{"pod_id":"graph","template":"base","image":"postgres","resources":{"gpus":1}}`)
	p := result[pods.Provenance](t, f.want(http.StatusOK, "GET", "/v3/pods/graph/provenance", "owner", ""))
	for field, want := range map[string]pods.Source{
		"image": pods.FromPod, "resources": pods.FromPod, "description": pods.FromTemplate, "networking": pods.FromTemplate, "compute_queue": pods.FromDefault,
	} {
		if got := p.Fields[field].Source; got != want {
			t.Errorf("%s: got %q, want %q", field, got, want)
		}
	}
	o := result[pods.Overrides](t, f.want(http.StatusOK, "GET", "/v3/pods/graph/overrides", "owner", ""))
	if o.Template != ref || strings.Join(o.ModifiedFields, " ") != "image resources.gpus template" {
		t.Errorf("got %+v", o)
	}

	r := f.want(http.StatusOK, "POST", "/v3/pods/graph/reset_field", "owner", `{"fields":["image"]}`)
	if v := result[pods.View](t, r); v.Image != "" || v.Resources.GPUs != 1 {
		t.Errorf("got %+v, want the image given back and nothing else", v)
	}
	for body, want := range map[string]string{
		`{"fields":["image"]}`:  "fields: nothing to reset; the pod sets none of them itself.",
		`{"fields":[]}`:         "fields: nothing to reset; the pod sets none of them itself.",
		`{"fields":["pod_id"]}`: "fields: 'pod_id' can't be reset.",
	} {
		r := f.want(http.StatusBadRequest, "POST", "/v3/pods/graph/reset_field", "owner", body)
		if got := r.envelope(t).text(); !strings.HasPrefix(got, want) {
			t.Errorf("%s: got message %q, want %q", body, got, want)
		}
	}
	lines := f.lines(pods.Key{Tenant: "dev", ID: "graph"})
	if got := lines[len(lines)-1]; got != "'owner' reset image" {
		t.Errorf("got log %q", got)
	}
}

// TestListsOfTemplatedPodsReadATagOnce counts what a derived list costs.
func TestListsOfTemplatedPodsReadATagOnce(t *testing.T) {
	f := newFixture(t)
	ref := base(f, hello("x"))
	for _, id := range []pods.ID{"anna", "berta", "carla"} {
		f.put(id, func(p *pods.Pod) { p.Definition = pods.Definition{Template: pods.Set(ref)} })
	}
	counting := &countingTags{Store: f.store}
	f.deps.Store = counting
	r := f.want(http.StatusOK, "GET", "/v3/pods?derived_lite=true", "owner", "")
	if got := ids(t, r); got != "anna berta carla" || counting.n != 1 {
		t.Errorf("got pods %q with %d reads of a tag, want 1", got, counting.n)
	}
}

type countingTags struct {
	Store
	n int
}

func (c *countingTags) TemplateTag(ctx context.Context, r pods.TemplateRef) (pods.TemplateTag, error) {
	c.n++
	return c.Store.TemplateTag(ctx, r)
}

func TestJupyterPods(t *testing.T) {
	now := noon
	f := newFixture(t, func(d *Deps) { d.Now = func() time.Time { return now } })
	r := f.want(http.StatusBadRequest, "GET", "/v3/pods/jupyter/ensure", "Ann.B", "")
	if got := r.envelope(t).text(); !strings.Contains(got, "'jupyterlab:noauth'") {
		t.Errorf("got message %q without the template, want its name", got)
	}
	f.putTemplate("jupyterlab", builtIn)
	f.putTag("jupyterlab", "noauth", pods.Definition{
		Image: pods.Set("podway/hello"), Networking: pods.Set(map[string]pods.NetDef{"default": {Port: pods.Set(8888)}}),
	})
	ensure := func(token, wantID, wantMessage string) jupyterPod {
		t.Helper()
		r := f.want(http.StatusOK, "GET", "/v3/pods/jupyter/ensure", token, "")
		v := result[jupyterPod](t, r)
		if string(v.PodID) != wantID || r.envelope(t).text() != wantMessage {
			t.Errorf("got %s and %q, want %s and %q", v.PodID, r.envelope(t).text(), wantID, wantMessage)
		}
		return v
	}
	const created, found = "Created new Jupyter pod successfully.", "Retrieved existing Jupyter pod successfully."
	v := ensure("Ann.B", "tapistempjupyterannb001", created)
	if v.Status != "REQUESTED" || v.URL != "https://tapistempjupyterannb001.pods.dev.example.org" || v.Networking["default"].Port != 8888 {
		t.Errorf("got %+v", v)
	}
	if v := ensure("Ann.B", "tapistempjupyterannb001", found); v.Status != "ON" {
		t.Errorf("got status %q, want what is requested", v.Status)
	}
	ensure("annb", "tapistempjupyterannb002", created) // another user, whose name comes to the same

	f.want(http.StatusOK, "GET", "/v3/pods/tapistempjupyterannb001/stop", "Ann.B", "")
	ensure("Ann.B", "tapistempjupyterannb003", created)

	// One that others share is not taken for one's own.
	f.want(http.StatusOK, "POST", "/v3/pods/tapistempjupyterannb002/permissions", "annb", `{"user":"victim","level":"ADMIN"}`)
	ensure("victim", "tapistempjupytervictim001", created)

	long := strings.Repeat("x", 100)
	if v := result[jupyterPod](t, f.want(http.StatusOK, "GET", "/v3/pods/jupyter/ensure", long, "")); len(v.PodID) > 63 {
		t.Errorf("got id %s of %d characters", v.PodID, len(v.PodID))
	}
}
