package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
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
	results := map[string]reflect.Type{}
	for _, op := range operations() {
		a := op.about
		result := reflect.TypeOf(a.returns.result)
		if other, ok := results[a.returns.name]; ok && other != result {
			t.Errorf("%s: the name %s is that of an envelope around %v, too", op.id, a.returns.name, other)
		}
		results[a.returns.name] = result
		if !slices.Contains(names, a.tag) {
			t.Errorf("%s: got tag %q, want one of %q", op.id, a.tag, names)
		}
		if a.summary == "" || strings.HasSuffix(a.summary, ".") || strings.Contains(a.summary, "\n") {
			t.Errorf("%s: got summary %q, want one line without a full stop", op.id, a.summary)
		}
		if a.returns.name == "" && len(a.streams) == 0 && !a.sendsOn {
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
	for name := range propertyDocs {
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

// TestModelsAreWhatIsRead sends each property of each body with a value of no
// type that it could have: who reads it complains about the value, not about the
// property. A body without anything lacks what is required.
func TestModelsAreWhatIsRead(t *testing.T) {
	f := newFixture(t)
	ops := operations()
	for i := range ops {
		op := &ops[i]
		p, ok := probes[op.id]
		if op.about.body == nil || !ok { // TestPermissionMatrix tells
			continue
		}
		t.Run(op.id, func(t *testing.T) {
			id := pods.ID("body" + strconv.Itoa(i))
			f.putObject(*op, id)
			path, _ := target(*op, p, id)
			d, s := inputSchema(t, op)
			wrap := "%s"
			if s.Type == "array" {
				s, wrap = s.Items, "[%s]"
			}
			if s.Ref != "" {
				s = d.Components.Schemas[afterSlash(s.Ref)]
			}
			send := func(body string) string {
				r := f.call(op.method, path, "admin", fmt.Sprintf(wrap, body))
				if r.status != http.StatusBadRequest {
					t.Fatalf("got status %d for %s, want %d: %s", r.status, body, http.StatusBadRequest, r.body)
				}
				return r.envelope(t).text()
			}
			for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
				if got := send(`{"` + name + `":[{}]}`); strings.Contains(got, name+": extra fields not permitted") {
					t.Errorf("nobody reads the property %s: %s", name, got)
				}
			}
			if len(s.Required) == 0 {
				return
			}
			got := send(`{}`)
			for _, name := range s.Required {
				if !strings.Contains(got, name) {
					t.Errorf("property %s is not required: %s", name, got)
				}
			}
		})
	}
}

// queryCall finds in our sources where a parameter of a query is read by its name.
var queryCall = regexp.MustCompile(`(?:\.query[A-Z]\w*\(|Query\(\)\.(?:Get|Has)\()"(\w+)"`)

func TestParametersThatAreReadAreDescribed(t *testing.T) {
	described := map[string]bool{}
	for _, op := range operations() {
		for _, q := range op.about.query {
			described[q.name] = true
		}
	}
	sources, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range sources {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range queryCall.FindAllStringSubmatch(string(b), -1) {
			if !described[m[1]] {
				t.Errorf("%s reads the query parameter %q, which no operation describes", file, m[1])
			}
		}
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
	f.settle()
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
	f.settle()
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
