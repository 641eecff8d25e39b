package pods

import (
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// asking is a template that asks for a volume and a password, and proposes a
// volume for logs.
var asking = Definition{
	Image: Set("podway/hello"),
	VolumeMounts: Set(map[string]VolumeMount{
		"/data": {Type: MountVolume, MountPath: "/data", SourceID: "${:?Where your data is}", SubPath: "in"},
		"/logs": {Type: MountVolume, MountPath: "/logs", SourceID: "${pods:default:logs:?Where logs go}"},
	}),
	SecretMap: Set(map[string]string{"PASS": "${:?A password}", "MODE": "${pods:default:fast:?Mode}"}),
}

func answering(o TemplateOverrides) Definition {
	return Definition{Template: Set("asking:latest"), TemplateOverrides: Set(o)}
}

func TestAPodAnswersItsTemplate(t *testing.T) {
	own := answering(TemplateOverrides{
		VolumeMounts: map[string]MountOverride{"/data": {SourceID: Set("mine"), ReadOnly: Set(true), MountedBy: "ann"}},
		SecretMap:    map[string]string{"PASS": "${secret:ann:pw}"},
	})
	e, err := Resolve("web", "dev.localhost", DefaultSettings(), own, asking)
	if err != nil {
		t.Fatal(err)
	}
	wantMounts := map[string]VolumeMount{
		"/data": {Type: MountVolume, MountPath: "/data", SourceID: "mine", SubPath: "in", ReadOnly: true, MountedBy: "ann"},
		"/logs": {Type: MountVolume, MountPath: "/logs", SourceID: "logs"},
	}
	if !reflect.DeepEqual(e.VolumeMounts, wantMounts) {
		t.Errorf("got mounts %v, want %v", e.VolumeMounts, wantMounts)
	}
	wantSecrets := map[string]string{"PASS": "${secret:ann:pw}", "MODE": "${pods:default:fast:?Mode}"}
	if !reflect.DeepEqual(e.SecretMap, wantSecrets) {
		t.Errorf("got secrets %v, want %v", e.SecretMap, wantSecrets)
	}
}

func TestWhatAPodSetsComesBeforeItsAnswers(t *testing.T) {
	own := answering(TemplateOverrides{
		VolumeMounts: map[string]MountOverride{"/data": {SourceID: Set("answer")}},
		SecretMap:    map[string]string{"PASS": "${pods:pod_id}"},
	})
	own.VolumeMounts = Set(map[string]VolumeMount{"/data": {Type: MountPVC, MountPath: "/data", SourceID: "own"}})
	own.SecretMap = Set(map[string]string{"PASS": "${pods:url}"})
	e, err := Resolve("web", "dev.localhost", DefaultSettings(), own, asking)
	if err != nil || e.VolumeMounts["/data"].SourceID != "own" || e.SecretMap["PASS"] != "${pods:url}" {
		t.Errorf("got %v, %v and %v, want what the pod itself sets", e.VolumeMounts["/data"], e.SecretMap, err)
	}
}

func TestAnswersThatAreMissingOrNotAskedFor(t *testing.T) {
	for _, c := range []struct {
		name  string
		own   Definition
		chain []Definition
		want  []string
	}{
		{
			"a volume that is required", answering(TemplateOverrides{}),
			[]Definition{asking},
			[]string{"volume_mounts, /data, source_id: a volume is required: Where your data is. Name it in template_overrides.volume_mounts as source_id."},
		},
		{
			"a mount that the template does not have",
			answering(TemplateOverrides{VolumeMounts: map[string]MountOverride{"/data": {SourceID: Set("mine")}, "/x": {SourceID: Set("mine")}}}),
			[]Definition{asking},
			[]string{"template_overrides, volume_mounts, /x: the template has no such mount; it has ['/data', '/logs']."},
		},
		{
			"answers without a template",
			Definition{Image: Set("podway/hello"), TemplateOverrides: Set(TemplateOverrides{SecretMap: map[string]string{"A": "b"}})},
			nil,
			[]string{"template_overrides: the pod has no template; set the fields themselves."},
		},
		{"no answers without a template", Definition{Image: Set("podway/hello"), TemplateOverrides: Set(TemplateOverrides{})}, nil, nil},
		{
			"a source that is no volume",
			answering(TemplateOverrides{VolumeMounts: map[string]MountOverride{"/data": {SourceID: Set("No Volume")}}}),
			[]Definition{asking},
			[]string{"volume_mounts, /data, source_id: volumemount.source_id must be lowercase alphanumeric. First character must be alpha. Got 'No Volume'."},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Resolve("web", "dev.localhost", DefaultSettings(), c.own, c.chain...)
			wantProblems(t, err, c.want...)
		})
	}
	if _, err := ValidateTemplate(DefaultSettings(), asking); err != nil {
		t.Errorf("got %v, want a template that may leave open what the pod has to give", err)
	}
}

// TestAnswersTouchNothingElse: whatever templates and answers there are, what the
// answers do not name stays as it is.
func TestAnswersTouchNothingElse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		chain := []Definition{anyDefinition.Draw(t, "near"), anyDefinition.Draw(t, "deep")}
		own, o := anyDefinition.Draw(t, "own"), anyOverrides.Draw(t, "overrides")
		own.Template = Set("abc:latest")
		without := merge(own, chain)
		own.TemplateOverrides = Set(o)
		with := merge(own, chain)
		for key, m := range without.VolumeMounts.Or(nil) {
			if _, named := o.VolumeMounts[key]; !named && with.VolumeMounts.Or(nil)[key] != m {
				t.Fatalf("%s: got %v, want %v", key, with.VolumeMounts.Or(nil)[key], m)
			}
		}
		if got, want := len(with.VolumeMounts.Or(nil)), len(without.VolumeMounts.Or(nil)); got != want {
			t.Fatalf("got %d mounts, want %d", got, want)
		}
		with.TemplateOverrides, with.VolumeMounts, with.SecretMap = without.TemplateOverrides, without.VolumeMounts, without.SecretMap
		if !reflect.DeepEqual(with, without) {
			t.Fatalf("got %+v, want %+v", with, without)
		}
	})
}

func TestAnswersAreDecoded(t *testing.T) {
	body := `{"pod_id":"web","template":"asking","volume_mounts":{"/tmp/x":null},"template_overrides":{
		"volume_mounts":{"/data":{"type":"TapisVolume","source_id":"mine","sub_path":"a","read_only":true,"mounted_by":"eve"}},
		"secret_map":{"PASS":"hunter2"}}}`
	n, err := DecodeNewPod([]byte(body), DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	want := TemplateOverrides{
		VolumeMounts: map[string]MountOverride{"/data": {Type: Set(MountVolume), SourceID: Set("mine"), SubPath: Set("a"), ReadOnly: Set(true)}},
		SecretMap:    map[string]string{"PASS": "hunter2"},
	}
	if got := n.Definition.TemplateOverrides.Or(TemplateOverrides{}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if m, ok := n.Definition.VolumeMounts.Or(nil)["/tmp/x"]; !ok || !m.removes() {
		t.Errorf("got %v, want an entry that removes a mount", n.Definition.VolumeMounts)
	}
	for body, want := range map[string]string{
		`{"pod_id":"web","template":"abc","template_overrides":{"networking":{}}}`:                       "body, template_overrides, networking: extra fields not permitted",
		`{"pod_id":"web","template":"abc","template_overrides":{"secret_map":{"A":"${pods:random:1}"}}}`: "template_overrides, secret_map, A: ${pods:random:N} needs a length from 8 to 128.",
		`{"pod_id":"web","template":"abc","template_overrides":{"secret_map":{"A":"${:?x}"}}}`:           "template_overrides, secret_map, A: ${:?...} and ${pods:default:...} stand in templates only; give a value.",
	} {
		_, err := DecodeNewPod([]byte(body), DefaultSettings())
		wantProblems(t, err, want)
	}
	_, err = DecodeNewTemplateTag([]byte(`{"commit_message":"m","pod_definition":{"template_overrides":{"secret_map":{"A":"b"}}}}`), DefaultSettings())
	wantProblems(t, err, "body, pod_definition, template_overrides: is for pods; a template sets the fields themselves")
}

func TestAnswersAreSealedAndClaimed(t *testing.T) {
	k := Key{Tenant: "dev", ID: "web"}
	given := answering(TemplateOverrides{
		VolumeMounts: map[string]MountOverride{"/data": {SourceID: Set("mine")}},
		SecretMap:    map[string]string{"PASS": "hunter2", "REF": "${secret:pw}"},
	})
	d, err := SealSecrets(fakeSealer{}, k, "ann", Definition{}, given)
	if err != nil {
		t.Fatal(err)
	}
	if d, err = ClaimMounts("ann", LevelUser, Definition{}, d); err != nil {
		t.Fatal(err)
	}
	o := d.TemplateOverrides.Or(TemplateOverrides{})
	if !strings.HasPrefix(o.SecretMap["PASS"], sealedPrefix) || o.SecretMap["REF"] != "${secret:ann:pw}" || o.VolumeMounts["/data"].MountedBy != "ann" {
		t.Errorf("got %+v, want a sealed value, ann's secret and ann's mount", o)
	}
	if len(SealedSecrets(d)) != 1 {
		t.Errorf("got %v, want the one sealed value", SealedSecrets(d))
	}
	if again, changed, err := ResealSecrets(fakeSealer{}, k, d); err != nil || !changed || len(SealedSecrets(again)) != 1 {
		t.Errorf("got %v, %v and %v, want it sealed again", again, changed, err)
	}
	shown := o.shown()
	if shown.SecretMap["PASS"] != WriteOnly || shown.VolumeMounts["/data"].MountedBy != "" {
		t.Errorf("got %+v, want nothing secret", shown)
	}
	// What was shown keeps the value.
	sent := answering(TemplateOverrides{VolumeMounts: shown.VolumeMounts, SecretMap: shown.SecretMap})
	if kept, err := SealSecrets(fakeSealer{}, k, "ann", d, sent); err != nil || kept.TemplateOverrides.Or(TemplateOverrides{}).SecretMap["PASS"] != o.SecretMap["PASS"] {
		t.Errorf("got %v and %v, want the value that was there", kept, err)
	}
	if _, err := ClaimMounts("bob", LevelUser, d, answering(TemplateOverrides{})); ErrorCode(err) != Forbidden {
		t.Errorf("got %v, want another's answer to be protected", err)
	}
	if TemplateSecrets(d).TemplateOverrides.IsSet() {
		t.Error("a template got a pod's answers")
	}
}

func TestChangesOfAnswersAreHidden(t *testing.T) {
	before := Effective{TemplateOverrides: TemplateOverrides{SecretMap: map[string]string{"A": "hunter2"}}}
	after := Effective{TemplateOverrides: TemplateOverrides{
		SecretMap: map[string]string{"A": "hunter3"}, VolumeMounts: map[string]MountOverride{"/data": {SourceID: Set("mine")}},
	}}
	got := UpdateText("ann", Diff(before, after, On, On))
	if want := "'ann' updated pod: template_overrides.secret_map.A: changed (hidden), template_overrides.volume_mounts./data: added"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
