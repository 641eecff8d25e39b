package api

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// putAsking stores a template that asks for a volume and two values.
func (f *fixture) putAsking() {
	f.t.Helper()
	f.putTemplate("asking", builtIn)
	f.putTag("asking", "latest", pods.Definition{
		Image: pods.Set("podway/hello"),
		VolumeMounts: pods.Set(map[string]pods.VolumeMount{
			"/data":  {Type: pods.MountVolume, MountPath: "/data", SourceID: "${:?Your data}"},
			"/tmp/x": {Type: pods.MountPVC, MountPath: "/tmp/x", SourceID: "scratch"},
		}),
		SecretMap: pods.Set(map[string]string{"PASS": "${:?A password}", "MODE": "${pods:default:fast:?Mode}"}),
		EnvironmentVariables: pods.Set(map[string]string{
			"PASS": "<${pods:secrets:PASS}>", "MODE": "${pods:secrets:MODE}", "SHELL": "${HOME}",
		}),
	})
}

const answers = `{"pod_id":"app","template":"asking","volume_mounts":{"/tmp/x":null},"template_overrides":{` +
	`"volume_mounts":{"/data":{"source_id":"mine","read_only":true}},"secret_map":{"PASS":"${secret:pw}"}}}`

// putAnswered creates a pod of the owner's that answers what its template asks.
func (f *fixture) putAnswered() {
	f.t.Helper()
	f.putAsking()
	f.putVolume("mine", func(v *pods.Volume) { v.Permissions = pods.Permissions{"owner": pods.LevelAdmin} })
	f.putSecret("pw", func(s *pods.Secret) { s.Permissions = pods.Permissions{"owner": pods.LevelAdmin} })
	f.want(http.StatusOK, "POST", "/v3/pods", "owner", answers)
	f.want(http.StatusOK, "POST", "/v3/pods/app/permissions", "owner", `{"user":"reader","level":"READ"}`)
	f.want(http.StatusOK, "POST", "/v3/pods/app/permissions", "owner", `{"user":"user","level":"USER"}`)
}

// derivedPod is a part of what get_derived_pod answers.
type derivedPod struct {
	EnvironmentVariables map[string]string           `json:"environment_variables"`
	SecretMap            map[string]string           `json:"secret_map"`
	VolumeMounts         map[string]pods.VolumeMount `json:"volume_mounts"`
	TemplateOverrides    pods.TemplateOverrides      `json:"template_overrides"`
}

func (f *fixture) derived(query, token string, header ...string) (derivedPod, map[string]json.RawMessage) {
	f.t.Helper()
	e := f.want(http.StatusOK, "GET", "/v3/pods/app/derived"+query, token, "", header...).envelope(f.t)
	var d derivedPod
	if err := json.Unmarshal(e.Result, &d); err != nil {
		f.t.Fatal(err)
	}
	return d, e.Metadata
}

func TestAPodAnswersWhatItsTemplateAsks(t *testing.T) {
	f := newFixture(t)
	f.putAsking()
	r := f.want(http.StatusBadRequest, "POST", "/v3/pods", "owner", `{"pod_id":"app","template":"asking"}`).envelope(t)
	const asked = "volume_mounts, /data, source_id: a volume is required: Your data. Name it in template_overrides.volume_mounts as source_id."
	if got := r.text(); got != asked {
		t.Errorf("got %q, want %q", got, asked)
	}

	f = newFixture(t)
	f.putAnswered()
	d, metadata := f.derived("", "owner")
	want := map[string]pods.VolumeMount{"/data": {Type: pods.MountVolume, MountPath: "/data", SourceID: "mine", ReadOnly: true}}
	if len(d.VolumeMounts) != 1 || d.VolumeMounts["/data"] != want["/data"] {
		t.Errorf("got mounts %v, want %v", d.VolumeMounts, want)
	}
	if got := d.TemplateOverrides.SecretMap["PASS"]; got != "${secret:owner:pw}" {
		t.Errorf("got answer %q, want the owner's secret", got)
	}
	for name, want := range map[string]string{
		"available_placeholders": `{"required":[{"key":"PASS","description":"A password"}],"optional":[{"key":"MODE","description":"Mode"}]}`,
		"volume_placeholders":    `[{"key":"/data","description":"Your data"}]`,
	} {
		if got := string(metadata[name]); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	if metadata["config_syntax_warnings"] == nil || metadata["secrets_resolved"] != nil {
		t.Errorf("got metadata %v, want a warning about ${HOME} and nothing of secrets", metadata)
	}
	// Volumes that the pod's answers bring are checked as its own.
	f.want(http.StatusBadRequest, "PUT", "/v3/pods/app", "owner", `{"template_overrides":{"volume_mounts":{"/data":{"source_id":"none"}}}}`)
	f.want(http.StatusForbidden, "PUT", "/v3/pods/app", "user", `{"template_overrides":{"volume_mounts":{"/data":{"read_only":false}}}}`)
}

func TestDerivedPodWithSecrets(t *testing.T) {
	f := newFixture(t)
	f.putAnswered()
	key := pods.SecretKey{Tenant: "dev", Owner: "owner", ID: "pw"}
	const value = "value of pw"
	d, metadata := f.derived("?resolve_secrets=True&include_configs=true&check_unresolved=1", "owner")
	if got := d.EnvironmentVariables["PASS"]; got != "<"+value+">" || d.EnvironmentVariables["MODE"] != "fast" || d.SecretMap["PASS"] != value {
		t.Errorf("got %v and %v, want the values", d.EnvironmentVariables, d.SecretMap)
	}
	if got := string(metadata["secrets_resolved"]); got != "true" {
		t.Errorf("got secrets_resolved %s, want true", got)
	}
	if got := string(metadata["unresolved_patterns"]); got != `["${HOME}"]` {
		t.Errorf("got unresolved_patterns %s, want ${HOME}", got)
	}
	if got := f.audit(key); !slices.Contains(got, pods.SecretRead) {
		t.Errorf("got audit log %v, want that somebody read the value", got)
	}
	for token, status := range map[string]int{"reader": 403, "user": 403, "stranger": 404, "admin": 200} {
		f.want(status, "GET", "/v3/pods/app/derived?resolve_secrets=true", token, "")
	}
	for token, status := range map[string]int{"owner": 403, "admin": 200} {
		f.want(status, "GET", "/v3/pods/app/derived?resolve_secrets=true&reveal_write_only=true", token, "")
	}
	f.want(http.StatusBadRequest, "GET", "/v3/pods/app/derived?resolve_secrets=maybe", "owner", "")

	f.want(http.StatusOK, "PUT", "/v3/pods/secrets/pw", "owner", `{"readable":false}`)
	if d, _ := f.derived("?resolve_secrets=true", "owner"); d.SecretMap["PASS"] != pods.WriteOnly {
		t.Errorf("got %q of a secret that can't be read, want %q", d.SecretMap["PASS"], pods.WriteOnly)
	}
	if d, _ := f.derived("?resolve_secrets=true&reveal_write_only=true", "admin"); d.SecretMap["PASS"] != value {
		t.Errorf("got %q, want the value for an admin who asks for it", d.SecretMap["PASS"])
	}

	f.want(http.StatusOK, "DELETE", "/v3/pods/secrets/pw?force=true", "owner", "")
	d, metadata = f.derived("?resolve_secrets=true", "owner")
	if string(metadata["secrets_resolved"]) != "false" || metadata["secret_resolution_errors"] == nil || d.SecretMap["PASS"] != "${secret:owner:pw}" {
		t.Errorf("got %v and %v, want the reference and what is wrong with it", d.SecretMap, metadata)
	}
}

func TestChangesThatWaitForARestart(t *testing.T) {
	f := newFixture(t)
	p := f.put("app", func(p *pods.Pod) { p.State.Status = pods.StatusAvailable })
	e, err := pods.Resolve(p.ID, "dev.example.org", f.deps.Settings, p.Definition)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.store.SetBindings(t.Context(), p.Key, p.UID, nil, pods.Fingerprints(p, e)); err != nil {
		t.Fatal(err)
	}
	pending := func() []string {
		var v struct {
			PendingRestart []string `json:"pending_restart"`
		}
		got := f.want(http.StatusOK, "GET", "/v3/pods/app/provenance", "owner", "").envelope(t)
		if err := json.Unmarshal(got.Result, &v); err != nil {
			t.Fatal(err)
		}
		return v.PendingRestart
	}
	if got := pending(); got == nil || len(got) > 0 {
		t.Errorf("got %v, want an empty list", got)
	}
	f.want(http.StatusOK, "PUT", "/v3/pods/app", "owner", `{"environment_variables":{"A":"b"},"description":"new"}`)
	if got := pending(); !slices.Equal(got, []string{"environment_variables"}) {
		t.Errorf("got %v, want what a restart applies", got)
	}
	if _, metadata := f.derived("", "owner"); string(metadata["pending_restart"]) != `["environment_variables"]` {
		t.Errorf("got %v, want the same in the metadata", metadata)
	}
}

// eventfulCluster is a fakeCluster that notes events.
type eventfulCluster struct {
	*fakeCluster

	events []pods.ClusterEvent
}

func (c eventfulCluster) Events(context.Context, pods.Key) ([]pods.ClusterEvent, error) {
	return c.events, nil
}

func TestPodEvents(t *testing.T) {
	f := newFixture(t)
	f.put("web")
	const start = `{"message":"Pod events retrieved successfully.","metadata":{},"result":{"pod_id":"web","k8_name":"pods-dev-dev-web","status":"STOPPED","events":[`
	const end = `],"ephemeral_configmaps":[]},"status":"success","version":"test"}`
	if got := f.want(200, "GET", "/v3/pods/web/events", "owner", "").body; got != start+end {
		t.Errorf("got %s, want no events", got)
	}
	at := func(minute int) time.Time { return time.Date(2025, 1, 2, 3, minute, 5, 0, time.UTC) }
	f.deps.Cluster = eventfulCluster{f.cluster, []pods.ClusterEvent{
		{Type: "Normal", Reason: "Scheduled", Message: "on a node", Count: 1, First: at(1), Last: at(1), Source: "scheduler"},
		{Type: "Warning", Reason: "BackOff", Message: "no image", Count: 3, First: at(2), Last: at(4), Source: "kubelet"},
	}}
	const last = `{"type":"Warning","reason":"BackOff","message":"no image","count":3,` +
		`"first_time":"2025-01-02T03:02:05.000000","last_time":"2025-01-02T03:04:05.000000","source":"kubelet"}`
	if got := f.want(200, "GET", "/v3/pods/web/events?limit=1", "owner", "").body; got != start+last+end {
		t.Errorf("got %s, want the newest event", got)
	}
	for _, limit := range []string{"0", "501", "x"} {
		f.want(http.StatusBadRequest, "GET", "/v3/pods/web/events?limit="+limit, "owner", "")
	}
}

func TestWhatATagTellsItsUsers(t *testing.T) {
	f := newFixture(t)
	f.putTemplate("mine", func(t *pods.Template) { t.Permissions = pods.Permissions{"owner": pods.LevelAdmin} })
	r := f.want(200, "POST", "/v3/pods/templates/mine/tags", "owner",
		`{"pod_definition":{"image":"podway/hello"},"commit_message":"m","description":"Open /ui.","archive_message":"Use mine:2."}`).envelope(t)
	var tag struct {
		Description    string `json:"description"`
		ArchiveMessage string `json:"archive_message"`
		TagTimestamp   string `json:"tag_timestamp"`
	}
	if err := json.Unmarshal(r.Result, &tag); err != nil || tag.Description != "Open /ui." || tag.ArchiveMessage != "Use mine:2." {
		t.Fatalf("got %s and %v, want both texts", r.Result, err)
	}
	created := f.want(200, "POST", "/v3/pods", "owner", `{"pod_id":"app","template":"mine"}`).envelope(t)
	if got, want := string(created.Metadata["warnings"]), `["Template mine:`+tag.TagTimestamp+`: Use mine:2."]`; got != want {
		t.Errorf("got warnings %s, want %s", got, want)
	}
}

func TestConfigurationFilesOfAPod(t *testing.T) {
	f := newFixture(t)
	f.putSecret("pw")
	f.want(http.StatusOK, "POST", "/v3/pods", "owner", `{"pod_id":"app","image":"podway/hello","secret_map":{"PASS":"${secret:pw}"},
		"volume_mounts":{"/etc/app.conf":{"type":"ephemeral","config_content":"<<TAPIS_pod_id>> ${pods:secrets:PASS} ${HOME}","config_permissions":"0600"}}}`)
	for query, want := range map[string]string{
		"":                      "",
		"?include_configs=true": "app ${pods:secrets:PASS} ${HOME}",
		"?include_configs=true&resolve_secrets=yes": "app value of pw ${HOME}",
	} {
		d, metadata := f.derived(query, "owner")
		if got := d.VolumeMounts["/etc/app.conf"]; got.ConfigContent != want || got.ConfigPermissions != "0600" {
			t.Errorf("%s: got %+v, want the content %q", query, got, want)
		}
		if got := string(metadata["config_syntax_warnings"]); !strings.Contains(got, "volume_mounts, /etc/app.conf, config_content") {
			t.Errorf("%s: got warnings %s, want one about ${HOME}", query, got)
		}
	}
	const want = `"ephemeral_configmaps":[{"mount_path":"/etc/app.conf","configmap_name":"pods-dev-dev-app","exists_in_k8s":false,"config_content_bytes":45}]`
	if got := f.want(http.StatusOK, "GET", "/v3/pods/app/events", "owner", "").body; !strings.Contains(got, want) {
		t.Errorf("got %s, want %s in it", got, want)
	}
	f.want(http.StatusBadRequest, "PUT", "/v3/pods/app", "owner", `{"secret_map":{}}`)
	if got := strings.Join(f.lines(pods.Key{Tenant: "dev", ID: "app"}), " "); strings.Contains(got, "HOME") {
		t.Errorf("got the action log %q, want nothing of the file's content", got)
	}
}
