package api

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

const (
	wireTemplate = `{"template_id":"neo4j","description":"graphs","metatags":["db"],"archive_message":"",` +
		`"creation_ts":"2025-07-21T12:00:00.723000","update_ts":"2025-07-21T12:00:00.723000"}`
	wireTagHead = `{"template_id":"neo4j",`
	wireTagTail = `"commit_message":"because","description":"","archive_message":"","tag":"5","tag_timestamp":"5@2025-07-21-12:00:00","added_by":"owner","creation_ts":"2025-07-21T12:00:00.723000"}`
	wireTag     = wireTagHead + `"pod_definition":{"arguments":null,"command":null,"compute_queue":"default","description":null,` +
		`"environment_variables":{},"image":"podway/hello","networking":{"default":{"port":7687,"protocol":"tcp"}},` +
		`"resources":{"cpu_limit":null,"cpu_request":null,"gpus":1,"mem_limit":null,"mem_request":null},"template":null,` +
		`"time_to_stop_default":-1,"time_to_stop_instance":null,"volume_mounts":{}},` + wireTagTail
	definition5 = `{"image":"podway/hello","networking":{"default":{"port":7687,"protocol":"TCP"}},"resources":{"gpus":1},"time_to_stop_default":-1}`
)

// neo4j stores the template of these tests, with one version of one tag.
func neo4j(f *fixture) {
	f.t.Helper()
	f.putTemplate("neo4j", func(t *pods.Template) {
		t.Description, t.Metatags = "graphs", []string{"db"}
		t.Permissions["reader"] = pods.LevelRead
	})
	n, err := pods.DecodeNewTemplateTag([]byte(`{"commit_message":"because","pod_definition":`+definition5+`}`), f.deps.Settings)
	if err != nil {
		f.t.Fatal(err)
	}
	f.putTag("neo4j", "5", n.Definition)
}

// envelopeOK is a successful answer.
func envelopeOK(message, result string) string {
	return `{"message":"` + message + `","metadata":{},"result":` + result + `,"status":"success","version":"test"}`
}

// TestTemplateWire compares whole answers, byte by byte.
func TestTemplateWire(t *testing.T) {
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		want                     string
	}{
		{"a list", "GET", "/v3/pods/templates", "", 200, envelopeOK("Templates retrieved successfully.", "["+wireTemplate+"]")},
		{"a template", "GET", "/pods/templates/neo4j", "", 200, envelopeOK("Template retrieved successfully.", wireTemplate)},
		{
			"a new template", "POST", "/v3/pods/templates", `{"template_id":"mine","description":"graphs","metatags":["db"]}`, 200,
			envelopeOK("Template added successfully.", strings.ReplaceAll(wireTemplate, "neo4j", "mine")),
		},
		{
			"an update", "PUT", "/v3/pods/templates/neo4j", `{"description":"more"}`, 200,
			envelopeOK("Template updated successfully.", strings.ReplaceAll(wireTemplate, "graphs", "more")),
		},
		{
			"an update that changes nothing", "PUT", "/v3/pods/templates/neo4j", `{"description":"graphs"}`, 200,
			`{"message":"Incoming data made no changes to template. Is incoming data equal to current data?","metadata":{},"result":` + wireTemplate + `,"status":"error","version":"test"}`,
		},
		{"a deletion", "DELETE", "/v3/pods/templates/neo4j", "", 200, envelopeOK("Template and associated Template Tags successfully deleted.", `""`)},
		{
			"templates and tags", "GET", "/v3/pods/templates/tags", "", 200,
			envelopeOK("Templates and tags retrieved successfully.", `{"neo4j":`+strings.TrimSuffix(wireTemplate, "}")+`,"tags":[`+wireTag+`]}}`),
		},
		{
			"templates and tags without definitions", "GET", "/v3/pods/templates/tags?full=False", "", 200,
			envelopeOK("Templates and tags retrieved successfully.", `{"neo4j":`+strings.TrimSuffix(wireTemplate, "}")+`,"tags":[`+wireTagHead+wireTagTail+`]}}`),
		},
		{"tags", "GET", "/v3/pods/templates/neo4j/tags?full=True", "", 200, envelopeOK("Template tags retrieved successfully.", "["+wireTag+"]")},
		{"tags without definitions", "GET", "/v3/pods/templates/neo4j/tags?full=false", "", 200, envelopeOK("Template tags retrieved successfully.", "["+wireTagHead+wireTagTail+"]")},
		{"a tag", "GET", "/v3/pods/templates/neo4j/tags/5", "", 200, envelopeOK("Template tags retrieved and filtered successfully.", "["+wireTag+"]")},
		{"a version", "GET", "/v3/pods/templates/neo4j/tags/5@2025-07-21-12:00:00", "", 200, envelopeOK("Template tags retrieved and filtered successfully.", "["+wireTag+"]")},
		{"another version", "GET", "/v3/pods/templates/neo4j/tags/5@2025-07-21-12:00:01", "", 200, envelopeOK("Template tags retrieved and filtered successfully.", "[]")},
		{"a tag that is not there", "GET", "/v3/pods/templates/neo4j/tags/latest", "", 200, envelopeOK("Template tags retrieved and filtered successfully.", "[]")},
		{
			"a new version of the tag, in the same second", "POST", "/v3/pods/templates/neo4j/tags", `{"tag":"5","commit_message":"because","pod_definition":` + definition5 + `}`, 200,
			envelopeOK("Template tag added successfully.", strings.ReplaceAll(wireTag, "12:00:00\"", "12:00:01\"")),
		},
		{"a deleted tag", "DELETE", "/v3/pods/templates/neo4j/tags/5@2025-07-21-12:00:00", "", 200, envelopeOK("Template tag successfully deleted.", `""`)},
		{"permissions", "GET", "/v3/pods/templates/neo4j/permissions", "", 200, envelopeOK("Template permissions retrieved successfully.", `{"permissions":["owner:ADMIN","reader:READ"]}`)},
		{
			"a permission that is set", "POST", "/v3/pods/templates/neo4j/permissions", `{"user":"*","level":"READ"}`, 200,
			envelopeOK("Template permissions updated successfully.", `{"permissions":["*:READ","owner:ADMIN","reader:READ"]}`),
		},
		{"a permission that is taken away", "DELETE", "/v3/pods/templates/neo4j/permissions/reader", "", 200, envelopeOK("Template permission deleted successfully.", `{"permissions":["owner:ADMIN"]}`)},
		{
			"the last admin", "DELETE", "/v3/pods/templates/neo4j/permissions/owner", "", 400,
			`{"message":"Operation would result in template with no users in ADMIN role. Rolling back.","metadata":{},"result":null,"status":"error","version":"test"}`,
		},
		{
			"a permission that is not there", "DELETE", "/v3/pods/templates/neo4j/permissions/nobody", "", 404,
			`{"message":"Could not find permission for template with username nobody when deleting permission","metadata":{},"result":null,"status":"error","version":"test"}`,
		},
		{
			"no such template", "GET", "/v3/pods/templates/x", "", 404,
			`{"message":"Template with identifier template_id: 'x' not found","metadata":{},"result":null,"status":"error","version":"test"}`,
		},
		{
			"a tag that can't be deleted", "DELETE", "/v3/pods/templates/neo4j/tags/6", "", 404,
			`{"message":"Template tag with identifier 'neo4j:6' not found","metadata":{},"result":null,"status":"error","version":"test"}`,
		},
		{
			"an id that is taken", "POST", "/v3/pods/templates", `{"template_id":"neo4j"}`, 409,
			`{"message":"Key (template_id)=(neo4j) already exists. Templates of all tenants share their ids. Choose another template_id.","metadata":{},"result":null,"status":"error","version":"test"}`,
		},
		{
			"a query that can't be read", "GET", "/v3/pods/templates/neo4j/tags?full=perhaps", "", 400,
			`{"message":["query, full: value could not be parsed to a boolean"],"metadata":{},"result":null,"status":"error","version":"test"}`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			neo4j(f)
			if got := f.want(c.status, c.method, c.path, "owner", c.body).body; got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestTemplatesAreListed(t *testing.T) {
	f := newFixture(t)
	neo4j(f)
	f.putTemplate("shared", func(t *pods.Template) { t.Permissions["*"] = pods.LevelRead })
	f.putTemplate("builtin", builtIn)
	f.putTemplate("foreign", func(t *pods.Template) { t.Tenant = "other" })
	f.putTemplate("given", func(t *pods.Template) { t.Tenant, t.Permissions["tenant.dev"] = "other", pods.LevelRead })
	for _, c := range []struct{ name, token, query, admin, want string }{
		{"the owner sees theirs", "owner", "", "", "builtin given neo4j shared"},
		{"a reader sees what they may read", "reader", "", "", "builtin given neo4j shared"},
		{"a stranger sees what is shared", "stranger", "", "", "builtin given shared"},
		{"another tenant sees its own", "owner@other", "", "", "builtin foreign given"},
		{"an admin sees no more without asking", "admin", "", "", "builtin given shared"},
		{"an admin sees the tenant in admin mode", "admin", "", "true", "builtin given neo4j shared"},
		{"a page", "owner", "?limit=2&offset=1", "", "given neo4j"},
		{"a search in metatags", "owner", "?search=DB", "", "neo4j"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, path := range []string{"/v3/pods/templates", "/v3/pods/templates/tags"} {
				r := f.want(http.StatusOK, "GET", path+c.query, c.token, "", "X-Pods-Admin", c.admin)
				if got := strings.Join(templateIDs(t, r), " "); got != c.want {
					t.Errorf("%s: got %q, want %q", path, got, c.want)
				}
			}
		})
	}
	r := f.want(http.StatusOK, "GET", "/v3/pods/templates", "admin", "", "X-Pods-Admin", "true")
	if got := string(r.envelope(t).Metadata["admin_context"]); !strings.Contains(got, `"user_accessible_ids":["builtin","given","shared"]`) {
		t.Errorf("got admin_context %s", got)
	}
}

// templateIDs returns the ids of a list, or of an object by id.
func templateIDs(t *testing.T, r response) []string {
	t.Helper()
	var ids []string
	var list []pods.TemplateView
	if json.Unmarshal(r.envelope(t).Result, &list) == nil {
		for _, v := range list {
			ids = append(ids, v.TemplateID)
		}
		return ids
	}
	for id := range result[map[string]json.RawMessage](t, r) {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// TestTemplatesOfOthers goes through who may do what beyond the levels on one
// template, which the matrix has.
func TestTemplatesOfOthers(t *testing.T) {
	const share = `{"user":"**","level":"READ"}`
	for _, c := range []struct {
		name          string
		template      func(*pods.Template)
		trusted       []string
		method, path  string
		token, body   string
		status        int
		messagePrefix string
	}{
		{"an owner can't share with every tenant", nil, nil, "POST", "/permissions", "owner", share, 403, "Only admins of the service"},
		{"an admin of the tenant can", nil, nil, "POST", "/permissions", "admin", share, 200, ""},
		{"an owner can't give everyone more than READ", nil, nil, "POST", "/permissions", "owner", `{"user":"*","level":"USER"}`, 400, "body, level: "},
		{"an admin of another tenant does not see it", nil, nil, "POST", "/permissions", "admin@other", share, 404, "Template with"},
		{"an admin of another tenant may only read what is shared with it", func(t *pods.Template) { t.Permissions["tenant.other"] = pods.LevelRead }, nil, "DELETE", "", "admin@other", "", 403, "Not authorized"},
		{"a user may read what is built in", builtIn, nil, "GET", "", "stranger@other", "", 200, ""},
		{"a user may not change what is built in", builtIn, nil, "PUT", "", "owner", `{"description":"x"}`, 403, "Not authorized"},
		{"an admin of any tenant may change what is built in", builtIn, nil, "PUT", "", "admin@other", `{"description":"x"}`, 200, ""},
		{"unless only others are trusted with it", builtIn, []string{"dev"}, "PUT", "", "admin@other", `{"description":"x"}`, 403, "Not authorized"},
		{"who are", builtIn, []string{"dev"}, "PUT", "", "admin", `{"description":"x"}`, 200, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, func(d *Deps) { d.Settings.AdminTenants = c.trusted })
			adjust := c.template
			if adjust == nil {
				adjust = func(*pods.Template) {}
			}
			f.putTemplate("neo4j", adjust)
			r := f.want(c.status, c.method, "/v3/pods/templates/neo4j"+c.path, c.token, c.body)
			if got := r.envelope(t).text(); !strings.HasPrefix(got, c.messagePrefix) {
				t.Errorf("got message %q, want it to start with %q", got, c.messagePrefix)
			}
		})
	}
}

func TestTagsAreChecked(t *testing.T) {
	f := newFixture(t)
	neo4j(f)
	f.putTemplate("private", func(t *pods.Template) { t.Permissions = pods.Permissions{"somebody": pods.LevelAdmin} })
	f.putTag("private", "latest", pods.Definition{Image: pods.Set("podway/hello")})
	f.putTemplate("mixin")
	f.putTag("mixin", "latest", pods.Definition{Template: pods.Set("neo4j:5@2025-07-21-12:00:00")})
	for _, c := range []struct{ name, definition, want string }{
		{"an image that is not allowed", `{"image":"evil/x"}`, "image: Custom pod.image images must be in allowlist."},
		{"a template that is not there", `{"template":"nothing"}`, "template: Template not found: 'nothing'. Verify template_id exists."},
		{"a tag that is not there", `{"template":"neo4j:6"}`, "template: Template tag not found: 'neo4j:6'. Verify template_id and tag both exist."},
		{"a template without latest", `{"template":"neo4j"}`, "template: Template tag not found: 'neo4j:latest'. Verify template_id and tag both exist."},
		{"a version that is not there", `{"template":"neo4j:5@2025-07-21-12:00:09"}`, "template: Template tag not found: 'neo4j:5@2025-07-21-12:00:09'. Verify template_id, tag, and timestamp all exist."},
		{"a template that one may not read", `{"template":"private"}`, "template: Template not found: 'private'. Verify template_id exists."},
		{"an image two levels away", `{"template":"mixin"}`, "template: Pods cannot have more than 2 levels of templates."},
		{"shares in front of the base's tcp", `{"template":"neo4j:5","networking":{"default":{"access_gate":true}}}`, "networking, default, access_gate: networking.access_gate can only be used with protocol 'http'."},
		{"a request above the limit", `{"resources":{"cpu_request":3000}}`, "resources, cpu_request: resources.cpu_x found"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := f.want(http.StatusBadRequest, "POST", "/v3/pods/templates/neo4j/tags", "owner", `{"commit_message":"x","pod_definition":`+c.definition+`}`)
			if got := r.envelope(t).text(); !strings.HasPrefix(got, c.want) {
				t.Errorf("got message %q, want it to start with %q", got, c.want)
			}
		})
	}
	t.Run("a base is pinned, and what a template gives needs no image", func(t *testing.T) {
		body := `{"tag":"small","commit_message":"x","pod_definition":{"template":"neo4j:5","resources":{"gpus":0}}}`
		r := f.want(http.StatusOK, "POST", "/v3/pods/templates/neo4j/tags", "owner", body)
		if v := result[pods.TemplateTagView](t, r); v.PodDefinition["template"] != "neo4j:5@2025-07-21-12:00:00" {
			t.Errorf("got %v, want the base pinned", v.PodDefinition["template"])
		}
		f.want(http.StatusOK, "POST", "/v3/pods/templates/mixin/tags", "owner", `{"commit_message":"x","pod_definition":{"description":"no image"}}`)
	})
}

func TestTagsInUseAreNotDeleted(t *testing.T) {
	f := newFixture(t)
	neo4j(f)
	f.want(http.StatusOK, "POST", "/v3/pods", "owner", `{"pod_id":"graph","template":"neo4j:5","status_requested":"OFF"}`)
	r := f.want(http.StatusConflict, "DELETE", "/v3/pods/templates/neo4j/tags/5", "owner", "")
	if got := r.envelope(t).text(); !strings.Contains(got, "1 pods and 0 template tags build on it") || !strings.Contains(got, "force=true") {
		t.Errorf("got message %q, want what is in the way and what to do", got)
	}
	r = f.want(http.StatusOK, "DELETE", "/v3/pods/templates/neo4j/tags/5?force=True", "owner", "")
	if got := string(r.envelope(t).Metadata["warnings"]); !strings.Contains(got, "1 pods") {
		t.Errorf("got warnings %s, want the pod counted", got)
	}

	// The pod remains readable, stoppable and deletable.
	f.want(http.StatusOK, "GET", "/v3/pods/graph", "owner", "")
	f.want(http.StatusBadRequest, "GET", "/v3/pods/graph/derived", "owner", "")
	f.want(http.StatusOK, "GET", "/v3/pods/graph/stop", "owner", "")
	r = f.want(http.StatusOK, "GET", "/v3/pods?derived=true", "owner", "")
	e := r.envelope(t)
	if ids(t, r) != "" || !strings.Contains(string(e.Metadata["warnings"]), "Pod graph failed validation") {
		t.Errorf("got %s, want the pod in a warning only", r.body)
	}
	f.want(http.StatusOK, "DELETE", "/v3/pods/graph", "owner", "")
}

func TestDeletedTemplatesWarnOfTheirPods(t *testing.T) {
	f := newFixture(t)
	neo4j(f)
	f.want(http.StatusOK, "POST", "/v3/pods", "owner", `{"pod_id":"graph","template":"neo4j:5"}`)
	r := f.want(http.StatusOK, "DELETE", "/v3/pods/templates/neo4j", "owner", "")
	if got := string(r.envelope(t).Metadata["warnings"]); !strings.Contains(got, "1 pods and 0 template tags build on it.") {
		t.Errorf("got warnings %s", got)
	}
}

func TestPodsAreSavedAsTags(t *testing.T) {
	const save = `{"template_id":"neo4j","tag":"mine","commit_message":"as it is"}`
	f := newFixture(t)
	neo4j(f)
	f.put("web", func(p *pods.Pod) {
		p.Permissions = pods.Permissions{"owner": pods.LevelAdmin, "reader": pods.LevelAdmin, "stranger": pods.LevelAdmin}
		p.Definition = pods.Definition{
			Template: pods.Set("neo4j:5@2025-07-21-12:00:00"), Description: pods.Null[string](),
			EnvironmentVariables: pods.Set(map[string]string{"A": "<<TAPIS_user_password>>"}),
			Resources:            pods.Set(pods.ResourcesDef{MemLimit: pods.Set(512)}),
		}
	})
	r := f.want(http.StatusOK, "POST", "/v3/pods/web-default/save_pod_as_template_tag", "owner", save)
	if got := r.envelope(t).text(); got != "Template tag added successfully." {
		t.Errorf("got message %q", got)
	}
	ref, err := pods.ParseTemplateRef("neo4j:mine")
	if err != nil {
		t.Fatal(err)
	}
	tag, err := f.store.TemplateTag(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	got, _ := json.Marshal(tag.Definition)
	const want = `{"template":"neo4j:5@2025-07-21-12:00:00","description":null,"environment_variables":{"A":"\u003c\u003cTAPIS_user_password\u003e\u003e"},"resources":{"mem_limit":512}}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s, what was set on the pod", got, want)
	}

	f.want(http.StatusForbidden, "POST", "/v3/pods/web/save_pod_as_template_tag", "reader", save)
	for _, c := range []struct{ token, body, want string }{
		{"stranger", save, "Template with id 'neo4j' not found. Please ensure template exists."},
		{"owner", strings.ReplaceAll(save, "neo4j", "nothing"), "Template with id 'nothing' not found. Please ensure template exists."},
	} {
		r := f.want(http.StatusBadRequest, "POST", "/v3/pods/web/save_pod_as_template_tag", c.token, c.body)
		if got := r.envelope(t).text(); got != c.want {
			t.Errorf("got message %q, want %q", got, c.want)
		}
	}
}

// TestTemplatesChangedAtTheSameTime lets another request come between reading a
// template and writing it.
func TestTemplatesChangedAtTheSameTime(t *testing.T) {
	f := newFixture(t)
	neo4j(f)
	plain := f.store
	f.deps.Store = &meddlingTemplates{Store: plain, meddle: func() {
		f.deps.Store = plain
		f.want(http.StatusOK, "POST", "/v3/pods/templates/neo4j/permissions", "owner", `{"user":"friend","level":"USER"}`)
	}}
	f.want(http.StatusOK, "PUT", "/v3/pods/templates/neo4j", "owner", `{"description":"new"}`)
	got, err := plain.Template(t.Context(), "neo4j")
	if err != nil || got.Description != "new" || got.Permissions["friend"] != pods.LevelUser {
		t.Errorf("got %+v and %v, want both changes", got, err)
	}
}

// TestUpdatesMoveTheirTime checks what clients sort by.
func TestUpdatesMoveTheirTime(t *testing.T) {
	now := noon
	f := newFixture(t, func(d *Deps) { d.Now = func() time.Time { return now } })
	neo4j(f)
	now = noon.Add(time.Hour)
	r := f.want(http.StatusOK, "PUT", "/v3/pods/templates/neo4j", "owner", `{"archive_message":"Use mydb."}`)
	v := result[pods.TemplateView](t, r)
	if v.UpdateTS != pods.At(now) || v.CreationTS != pods.At(noon) {
		t.Errorf("got created %v and updated %v", v.CreationTS, v.UpdateTS)
	}
	r = f.want(http.StatusOK, "POST", "/v3/pods", "owner", `{"pod_id":"graph","template":"neo4j:5"}`)
	if got := string(r.envelope(t).Metadata["warnings"]); got != `["Template neo4j: Use mydb."]` {
		t.Errorf("got warnings %s, want what users of the template shall know", got)
	}
}
