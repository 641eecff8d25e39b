package api

import (
	"encoding/json"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

func TestEveryOperationIsDescribed(t *testing.T) {
	var names []string
	for _, tag := range tags {
		names = append(names, tag.Name)
	}
	for _, op := range operations() {
		a := op.about
		if !slices.Contains(names, a.tag) {
			t.Errorf("%s: got tag %q, want one of %q", op.id, a.tag, names)
		}
		if a.summary == "" || strings.HasSuffix(a.summary, ".") || strings.Contains(a.summary, "\n") {
			t.Errorf("%s: got summary %q, want one line without a full stop", op.id, a.summary)
		}
		if (a.returns.name == "") == (len(a.streams) == 0) && a.returns.name == "" {
			t.Errorf("%s: what it answers is not described", op.id)
		}
		if op.body != (a.body != nil) {
			t.Errorf("%s: it takes a body: %v, and describes one: %v", op.id, op.body, a.body != nil)
		}
		for _, m := range pathParamPattern.FindAllStringSubmatch(op.pattern, -1) {
			if pathParams[m[1]].Description == "" {
				t.Errorf("%s: path parameter %s is not described", op.id, m[1])
			}
		}
		for _, q := range a.query {
			if q.text == "" || q.schema.Type == "" {
				t.Errorf("%s: query parameter %s is not described", op.id, q.name)
			}
		}
	}
}

func TestEveryPropertyIsDescribed(t *testing.T) {
	d, err := theSpec()
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for model, s := range d.Components.Schemas {
		if s.Properties["metadata"] != nil && s.Properties["version"] != nil {
			continue // an envelope
		}
		for name, p := range s.Properties {
			used[name], used[model+"."+name] = true, true
			if p.Description == "" {
				t.Errorf("property %s.%s is not described", model, name)
			}
		}
	}
	for name := range properties {
		if !used[name] {
			t.Errorf("there is a description of %q, which no model has", name)
		}
	}
}

func TestExamplesAreWhatTheyShow(t *testing.T) {
	for i, op := range operations() {
		if op.about.body == nil {
			continue
		}
		t.Run(op.id, func(t *testing.T) {
			d, s := inputSchema(t, &operations()[i])
			var example any
			if err := json.Unmarshal([]byte(op.about.example), &example); err != nil {
				t.Fatalf("example %q: %v", op.about.example, err)
			}
			for _, problem := range d.check(s, example, "body") {
				t.Error(problem)
			}
		})
	}
}

// inputSchema reads the schema of an operation's body.
func inputSchema(t *testing.T, op *operation) (specDocument, *readSchema) {
	t.Helper()
	b, err := json.Marshal(specification("test", []operation{*op}))
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		specDocument

		Paths map[string]map[string]struct {
			RequestBody struct {
				Content map[string]struct{ Schema *readSchema }
			}
		}
	}
	if err := json.Unmarshal(b, &d); err != nil {
		t.Fatal(err)
	}
	s := d.Paths[op.pattern][strings.ToLower(op.method)].RequestBody.Content[jsonType].Schema
	if s == nil {
		t.Fatal("no body")
	}
	return d.specDocument, s
}

// decoders read the bodies that the models describe.
var decoders = map[string]func(body []byte) error{
	"create_pod": func(b []byte) error { _, err := pods.DecodeNewPod(b, pods.DefaultSettings()); return err },
	"update_pod": func(b []byte) error { _, err := pods.DecodePodPatch(b, pods.DefaultSettings()); return err },
	"set_pod_permission": func(b []byte) error {
		_, err := pods.DecodeGrant(b)
		return err
	},
	"exec_pod_commands": func(b []byte) error { _, err := decodeExec(b); return err },
}

// TestModelsFitDecoders sends each property with a value of no type it could
// have: a decoder that knows it complains about the value, not about the
// property.
func TestModelsFitDecoders(t *testing.T) {
	for id, decode := range decoders {
		t.Run(id, func(t *testing.T) {
			ops := operations()
			i := slices.IndexFunc(ops, func(op operation) bool { return op.id == id })
			if i < 0 {
				t.Fatal("no such operation")
			}
			d, s := inputSchema(t, &ops[i])
			if s.Ref != "" {
				s = d.Components.Schemas[afterSlash(s.Ref)]
			}
			for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
				body, _ := json.Marshal(map[string]any{name: []any{map[string]any{}}})
				if err := decode(body); err == nil || strings.Contains(err.Error(), name+": extra fields") {
					t.Errorf("property %s is not known to the decoder: %v", name, err)
				}
			}
			err := decode([]byte(`{}`))
			for _, name := range s.Required {
				if err == nil || !strings.Contains(err.Error(), name) {
					t.Errorf("property %s is not required: %v", name, err)
				}
			}
		})
	}
}

func TestLiteralsOfPathsAreReservedIDs(t *testing.T) {
	for _, op := range operations() {
		segment, _, _ := strings.Cut(strings.TrimPrefix(op.pattern, "/pods/"), "/")
		if !regexp.MustCompile(`^[a-z][a-z0-9]{2,}$`).MatchString(segment) || !strings.HasPrefix(op.pattern, "/pods/") {
			continue
		}
		_, err := pods.DecodeNewPod([]byte(`{"image":"podway/hello","pod_id":"`+segment+`"}`), pods.DefaultSettings())
		if err == nil || !strings.Contains(err.Error(), "reserved") {
			t.Errorf("a pod may be called %q, which %s hides", segment, op.pattern)
		}
	}
}

func TestSpecificationIsServed(t *testing.T) {
	f := newFixture(t)
	j := f.want(http.StatusOK, "GET", "/v3/pods/openapi.json", "", "")
	y := f.want(http.StatusOK, "GET", "/pods/openapi.yaml", "", "")
	page := f.want(http.StatusOK, "GET", "/v3/pods/docs", "", "")
	for r, want := range map[*response]string{&j: "application/json", &y: "application/yaml", &page: "text/html; charset=utf-8"} {
		if got := r.header.Get("Content-Type"); got != want {
			t.Errorf("got Content-Type %q, want %q", got, want)
		}
	}

	var fromJSON, fromYAML map[string]any
	if err := json.Unmarshal([]byte(j.body), &fromJSON); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal([]byte(y.body), &fromYAML); err != nil {
		t.Fatal(err)
	}
	again, _ := json.Marshal(fromYAML)
	once, _ := json.Marshal(fromJSON)
	if string(again) != string(once) {
		t.Error("JSON and YAML differ")
	}

	etag := j.header.Get("Etag")
	f.want(http.StatusNotModified, "GET", "/v3/pods/openapi.json", "", "", "If-None-Match", etag)
}

func TestDocsPageStandsAlone(t *testing.T) {
	f := newFixture(t)
	r := f.want(http.StatusOK, "GET", "/v3/pods/docs", "", "")
	style := r.body[strings.Index(r.body, "<style>")+len("<style>") : strings.Index(r.body, "</style>")]
	if style != pageCSS {
		t.Errorf("the policy allows another style sheet than the page has: %q", style)
	}
	policy := r.header.Get("Content-Security-Policy")
	if !strings.HasPrefix(policy, "default-src 'none'; style-src 'sha256-") || strings.Contains(policy, "unsafe") {
		t.Errorf("got policy %q", policy)
	}
	for _, unwanted := range []string{"<script", "src=", "<link", "@import", "url(", "style=", "onclick"} {
		if strings.Contains(r.body, unwanted) {
			t.Errorf("the page has %q", unwanted)
		}
	}
	for _, op := range operations() {
		if !strings.Contains(r.body, `id="`+op.id+`"`) {
			t.Errorf("the page does not show %s", op.id)
		}
	}
	for _, m := range regexp.MustCompile(`href="#([^"]+)"`).FindAllStringSubmatch(r.body, -1) {
		if !strings.Contains(r.body, `id="`+m[1]+`"`) {
			t.Errorf("the page links to %q, which it does not show", m[1])
		}
	}
}
