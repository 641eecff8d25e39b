package pods

import (
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestProvenance(t *testing.T) {
	template := Definition{
		Image: Set("neo4j"), Description: Set("of the template"),
		EnvironmentVariables: Set(map[string]string{"A": "template"}), Resources: Set(ResourcesDef{CPULimit: Set(4000)}),
	}
	own := Definition{
		Template: Set("abc:latest" + at17), Description: Null[string](), EnvironmentVariables: Set(map[string]string{"B": "pod"}),
		Resources: Set(ResourcesDef{MemLimit: Set(512), GPUs: Null[int]()}),
	}
	p := Pod{Key: Key{ID: "mypod"}, Definition: own, Requested: On, State: State{Status: StatusAvailable}}
	e, err := Resolve("mypod", "dev.localhost", DefaultSettings(), own, template)
	if err != nil {
		t.Fatal(err)
	}
	got := NewProvenance(p, e, template)
	modified := []string{"description", "environment_variables", "resources.gpus", "resources.mem_limit", "template"}
	if !slices.Equal(got.ModifiedFields, modified) || !got.HasTemplate || got.Template != "abc:latest"+at17 {
		t.Errorf("got %+v, want the modified fields %v", got, modified)
	}
	for name, want := range map[string]Field{
		"image":                 {FromTemplate, false, true, nil, "neo4j", "neo4j"},
		"description":           {FromPod, true, true, nil, "of the template", ""},
		"environment_variables": {FromPod, true, true, map[string]any{"B": "pod"}, map[string]any{"A": "template"}, map[string]any{"A": "template", "B": "pod"}},
		"command":               {FromDefault, false, false, nil, nil, nil},
		"compute_queue":         {FromDefault, false, false, nil, nil, "default"},
		"status_requested":      {FromPod, true, false, On, nil, On},
	} {
		if f := got.Fields[name]; !reflect.DeepEqual(f, want) {
			t.Errorf("%s: got %+v, want %+v", name, f, want)
		}
	}
	sum := 0
	for _, n := range got.Summary {
		sum += n
	}
	if sum != len(got.Fields) || got.Summary[FromPod] != 4 {
		t.Errorf("got summary %v of %d fields, want 4 of the pod", got.Summary, len(got.Fields))
	}
	o := NewOverrides(p)
	if _, ok := o.Overrides["template"]; ok || len(o.Overrides) != 3 || o.Status != StatusAvailable {
		t.Errorf("got overrides %+v, want 3 without the template", o)
	}
}

func TestSecretValuesAreInNoProvenance(t *testing.T) {
	own := Definition{Image: Set("nginx"), SecretMap: Set(map[string]string{"A": "sealed:canary", "B": "${secret:ann:x}"})}
	p := Pod{Key: Key{ID: "mypod"}, Definition: own}
	e, err := Resolve("mypod", "dev.localhost", DefaultSettings(), own)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"A": WriteOnly, "B": "${secret:ann:x}"}
	if got := NewOverrides(p).Overrides["secret_map"]; !reflect.DeepEqual(got, want) {
		t.Errorf("got overrides %v, want %v", got, want)
	}
	f := NewProvenance(p, e, own).Fields["secret_map"]
	for _, got := range []any{f.PodValue, f.TemplateValue, f.DerivedValue} {
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
}

func TestDecodeReset(t *testing.T) {
	got, err := DecodeReset([]byte(`{"fields":["image","resources"]}`))
	if err != nil || !slices.Equal(got, []string{"image", "resources"}) {
		t.Errorf("got %v and %v", got, err)
	}
	_, err = DecodeReset([]byte(`{}`))
	wantProblems(t, err, "body, fields: field required")
	_, err = DecodeReset([]byte(`{"fields":["template"]}`))
	wantProblems(t, err, "fields: 'template' can't be reset. Choose of ['arguments', 'command', 'compute_queue', 'description', "+
		"'environment_variables', 'healthchecks', 'image', 'networking', 'resources', 'secret_map', 'template_overrides', 'volume_mounts'].")
}

// TestResetLeavesTheRest resets any fields of any definition.
func TestResetLeavesTheRest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := anyDefinition.Draw(t, "definition")
		fields := rapid.SliceOf(rapid.SampledFrom(resettable)).Draw(t, "fields")
		got, err := d.Reset(fields)
		if err != nil {
			t.Fatal(err)
		}
		before, after := tree(d), tree(got)
		for _, name := range fields {
			if _, ok := after[name]; ok {
				t.Fatalf("got %s after its reset", name)
			}
			delete(before, name)
		}
		if !reflect.DeepEqual(before, after) {
			t.Fatalf("got %v, want %v", after, before)
		}
	})
}
