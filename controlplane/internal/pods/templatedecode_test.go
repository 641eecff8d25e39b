package pods

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestDecodeNewTemplate(t *testing.T) {
	for _, c := range []struct {
		name, body string
		want       NewTemplate
		problems   []string
	}{
		{"the least", `{"template_id":"neo4j"}`, NewTemplate{ID: "neo4j", Metatags: []string{}}, nil},
		{
			"everything", `{"template_id":"neo4j","description":"d","metatags":["a","b"],"archive_message":"old"}`,
			NewTemplate{ID: "neo4j", Description: "d", Metatags: []string{"a", "b"}, ArchiveMessage: "old"},
			nil,
		},
		{"nothing", `{}`, NewTemplate{}, []string{"body, template_id: field required"}},
		{"a number for an id", `{"template_id":5}`, NewTemplate{}, []string{"body, template_id: str type expected"}},
		{"an empty id", `{"template_id":""}`, NewTemplate{}, []string{"template_id: template_id length must be between 3-64 characters. Inputted length: 0"}},
		{"a short id", `{"template_id":"ab"}`, NewTemplate{}, []string{"template_id: template_id length must be between 3-64 characters. Inputted length: 2"}},
		{"a long id", `{"template_id":"` + strings.Repeat("a", 65) + `"}`, NewTemplate{}, []string{
			"template_id: template_id length must be between 3-64 characters. Inputted length: 65",
		}},
		{"an id with a capital", `{"template_id":"Neo4j"}`, NewTemplate{}, []string{"template_id: template_id must be lowercase alphanumeric. First character must be alpha."}},
		{"a reserved id", `{"template_id":"tags"}`, NewTemplate{}, []string{"template_id: template_id overlaps with reserved template ids: ['tags']"}},
		{"null", `{"template_id":"neo4j","description":null}`, NewTemplate{}, []string{"body, description: none is not an allowed value; leave the field out"}},
		{"an unknown field", `{"template_id":"neo4j","tenant_id":"x"}`, NewTemplate{}, []string{"body, tenant_id: extra fields not permitted"}},
		{"a description of 256 characters", `{"template_id":"neo4j","description":"` + strings.Repeat("a", 256) + `"}`, NewTemplate{}, []string{
			"description: description field must be less than 255 characters. Inputted length: 256",
		}},
		{"51 metatags", `{"template_id":"neo4j","metatags":[` + strings.Repeat(`"a",`, 50) + `"a"]}`, NewTemplate{}, []string{"metatags: metatags may hold 50 entries at most. Got 51"}},
		{"a long metatag", `{"template_id":"neo4j","metatags":["` + strings.Repeat("a", 129) + `"]}`, NewTemplate{}, []string{
			"metatags: metatags must have at most 128 characters each. Got '" + strings.Repeat("a", 128) + "...'",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := DecodeNewTemplate([]byte(c.body))
			wantProblems(t, err, c.problems...)
			if err == nil && !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestTemplatePatch(t *testing.T) {
	before := Template{Description: "d", Metatags: []string{"a"}, ArchiveMessage: "old"}
	for _, c := range []struct {
		name, body string
		want       Template
	}{
		{"nothing changes nothing", `{}`, before},
		{"null changes nothing", `{"description":null,"metatags":null,"archive_message":null}`, before},
		{"a field", `{"archive_message":""}`, Template{Description: "d", Metatags: []string{"a"}}},
		{"all of them", `{"description":"","metatags":[],"archive_message":"x"}`, Template{Metatags: []string{}, ArchiveMessage: "x"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			patch, err := DecodeTemplatePatch([]byte(c.body))
			if err != nil {
				t.Fatal(err)
			}
			if got := patch.Apply(before); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
	_, err := DecodeTemplatePatch([]byte(`{"template_id":"x","description":"ü"}`))
	wantProblems(t, err, "body, template_id: extra fields not permitted", "description: description field may only contain ASCII characters.")
}

func TestDecodeNewTemplateTag(t *testing.T) {
	tag := func(definition string) string { return `{"pod_definition":` + definition + `,"commit_message":"m"}` }
	for _, c := range []struct {
		name, body string
		want       NewTemplateTag
		problems   []string
	}{
		{"an empty definition", tag(`{}`), NewTemplateTag{Tag: "latest", CommitMessage: "m"}, nil},
		{
			"a tag", `{"pod_definition":{"image":"mongo:8"},"commit_message":"m","tag":"8.0-rc"}`,
			NewTemplateTag{Tag: "8.0-rc", CommitMessage: "m", Definition: Definition{Image: Set("mongo:8")}},
			nil,
		},
		{
			"what is shown where nothing is set",
			tag(`{"image":null,"template":"","description":null,"command":null,"arguments":null,"environment_variables":{},"volume_mounts":{},
				"time_to_stop_default":null,"time_to_stop_instance":null,"networking":{},"compute_queue":"default",
				"resources":{"cpu_request":null,"cpu_limit":null,"mem_request":null,"mem_limit":null,"gpus":null}}`),
			NewTemplateTag{Tag: "latest", CommitMessage: "m"},
			nil,
		},
		{
			"nulls in parts", tag(`{"networking":{"default":{"port":7687,"protocol":null,"url":""}},"resources":{"gpus":1,"cpu_limit":null}}`),
			NewTemplateTag{Tag: "latest", CommitMessage: "m", Definition: Definition{
				Networking: Set(map[string]NetDef{"default": {Port: Set(7687)}}), Resources: Set(ResourcesDef{GPUs: Set(1)}),
			}},
			nil,
		},
		{"nothing", `{}`, NewTemplateTag{}, []string{"body, commit_message: field required", "body, pod_definition: field required"}},
		{"null for a definition", tag(`null`), NewTemplateTag{}, []string{"body, pod_definition: none is not an allowed value; leave the field out"}},
		{"a text for a definition", tag(`"x"`), NewTemplateTag{}, []string{"body, pod_definition: value is not a valid dict"}},
		{"what belongs to a pod", tag(`{"pod_id":"x","status_requested":"ON"}`), NewTemplateTag{}, []string{
			"body, pod_definition, pod_id: extra fields not permitted", "body, pod_definition, status_requested: extra fields not permitted",
		}},
		{"values out of bounds", tag(`{"resources":{"cpu_limit":99},"networking":{"default":{"port":5}},"image":"A"}`), NewTemplateTag{}, []string{
			"body, pod_definition, networking, default, port: networking.port must have 2 to 5 digits. Got port: 5",
			"body, pod_definition, resources, cpu_limit: resources.cpu_x out of bounds. Received: 99. Maximum: 6000. Minimum: 250. User requires extra role to break bounds. Contact admin.",
			"image: image must look like [registry[:port]/]name[:tag][@digest] with a lowercase name",
		}},
		{"a tag with a colon", `{"pod_definition":{},"commit_message":"m","tag":"a:b"}`, NewTemplateTag{}, []string{
			"tag: tag must be 1 to 80 letters, digits, '.' or '-'. Got 'a:b'",
		}},
		{"an empty tag", `{"pod_definition":{},"commit_message":"m","tag":""}`, NewTemplateTag{}, []string{
			"tag: tag must be 1 to 80 letters, digits, '.' or '-'. Got ''",
		}},
		{"a commit message outside ASCII", `{"pod_definition":{},"commit_message":"ü"}`, NewTemplateTag{}, []string{
			"commit_message: commit_message field may only contain ASCII characters.",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := DecodeNewTemplateTag([]byte(c.body), DefaultSettings())
			wantProblems(t, err, c.problems...)
			if err == nil && !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

// TestTagsAreSentAsTheyAreShown sends back what is shown of any definition: it
// comes out as it was, but for null, which means nothing in a template, and for
// the queue "default".
func TestTagsAreSentAsTheyAreShown(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := anyDefinition.Draw(t, "definition")
		d.Template, d.ComputeQueue = Opt[string]{}, Opt[string]{}
		d.EnvironmentVariables = anyOpt(t, "valid env", oneOf(map[string]string{}, map[string]string{"A": "ü\n", "B": ""}))
		shown, err := json.Marshal(map[string]any{
			"pod_definition": NewTemplateTagView(TemplateTag{Definition: d}, true).PodDefinition, "commit_message": "m",
		})
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeNewTemplateTag(shown, DefaultSettings())
		if err != nil {
			t.Fatalf("%v: %s", err, shown)
		}
		again, err := json.Marshal(got.Definition)
		if err != nil {
			t.Fatal(err)
		}
		before, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if a, b := withoutNulls(t, again), withoutNulls(t, before); !reflect.DeepEqual(a, b) {
			t.Fatalf("got  %v\nwant %v", a, b)
		}
	})
}

// withoutNulls decodes JSON without null members and empty objects.
func withoutNulls(t *rapid.T, b []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return prune(v)
}

func prune(v any) any {
	m, ok := v.(map[string]any)
	if !ok {
		return v
	}
	out := map[string]any{}
	for name, value := range m {
		value = prune(value)
		if inner, isObject := value.(map[string]any); value != nil && (!isObject || len(inner) > 0) {
			out[name] = value
		}
	}
	return out
}

func TestDecodeNewTagFromPod(t *testing.T) {
	got, err := DecodeNewTagFromPod([]byte(`{"template_id":"neo4j","commit_message":"m"}`))
	if want := (NewTagFromPod{TemplateID: "neo4j", Tag: "latest", CommitMessage: "m"}); err != nil || got != want {
		t.Errorf("got %+v and %v, want %+v", got, err, want)
	}
	_, err = DecodeNewTagFromPod([]byte(`{"tag":"a b","pod_definition":{}}`))
	wantProblems(t, err,
		"body, commit_message: field required", "body, pod_definition: extra fields not permitted", "body, template_id: field required",
		"tag: tag must be 1 to 80 letters, digits, '.' or '-'. Got 'a b'")
}
