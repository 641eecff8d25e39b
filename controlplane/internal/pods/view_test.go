package pods

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestTimestamp(t *testing.T) {
	austin := time.FixedZone("CDT", -5*3600)
	for _, c := range []struct {
		name string
		in   time.Time
		want string
	}{
		{"unset", time.Time{}, `null`},
		{"with all digits", time.Date(2025, 7, 21, 17, 35, 6, 723456789, time.UTC), `"2025-07-21T17:35:06.723456"`},
		{"with digits that are zero", time.Date(2025, 7, 21, 17, 35, 6, 723000000, time.UTC), `"2025-07-21T17:35:06.723000"`},
		{"a whole second", time.Date(2025, 7, 21, 17, 35, 6, 0, time.UTC), `"2025-07-21T17:35:06.000000"`},
		{"another zone", time.Date(2025, 7, 21, 12, 35, 6, 0, austin), `"2025-07-21T17:35:06.000000"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, err := json.Marshal(At(c.in))
			if err != nil || string(b) != c.want {
				t.Fatalf("got %s and %v, want %s", b, err, c.want)
			}
			var back Timestamp
			if err := json.Unmarshal(b, &back); err != nil || back != At(c.in) {
				t.Errorf("got %v and %v back, want %v", back, err, At(c.in))
			}
		})
	}
	var ts Timestamp
	for _, bad := range []string{`1`, `"now"`, `"2025-07-21T17:35:06Z"`} {
		if err := json.Unmarshal([]byte(bad), &ts); err == nil {
			t.Errorf("got no error for %s, want one", bad)
		}
	}
	if AtPtr(nil) != (Timestamp{}) {
		t.Errorf("got %v for nil, want the zero value", AtPtr(nil))
	}
}

func TestViewOfAFreshPod(t *testing.T) {
	created := time.Date(2025, 7, 21, 17, 35, 6, 723000000, time.UTC)
	p := Pod{
		Key: Key{Tenant: "dev", ID: "mypod"}, Requested: On, CreatedAt: created, UpdatedAt: created.Add(time.Second),
		State: State{Status: StatusRequested},
	}
	e, err := Resolve("mypod", "dev.localhost", DefaultSettings(), Definition{Image: Set("nginx")})
	if err != nil {
		t.Fatal(err)
	}
	// The order of the fields is part of what is compared.
	want := `{"pod_id":"mypod","image":"nginx","template":"","description":"","command":null,"arguments":null,` +
		`"environment_variables":{},"status_requested":"ON","volume_mounts":{},"time_to_stop_default":43200,"time_to_stop_instance":null,` +
		`"networking":{"default":{"protocol":"http","port":5000,"url":"mypod.pods.dev.localhost","ip_allow_list":[],"client_ca":"","tapis_auth":false,` +
		`"tapis_auth_response_headers":{},"tapis_auth_allowed_users":["*"],"tapis_auth_return_path":"/","tapis_auth_excluded_paths":[],` +
		`"tapis_auth_excluded_path_regex":[],"access_gate":false,"access_gate_return_path":"/","cors_allow_origins":[],"cors_allow_methods":[],"cors_allow_headers":[],` +
		`"cors_allow_credentials":false,"cors_max_age":100,"proxy_compression":true,"proxy_compression_encodings":["zstd","br","gzip"],` +
		`"proxy_compression_excluded_content_types":[],"proxy_compression_min_response_body_bytes":1024,"cert_state":"","cert_ready":false,"cert_provisioning_started_at":null,"cert_ready_at":null,"custom_domain":"","custom_domain_verified":false,"tapis_ui_uri":"",` +
		`"tapis_ui_uri_redirect":false,"tapis_ui_uri_description":""}},` +
		`"resources":{"cpu_request":250,"cpu_limit":2000,"mem_request":256,"mem_limit":3072,"gpus":0},"compute_queue":"default",` +
		`"time_to_stop_ts":null,"status":"REQUESTED","status_container":{},"networking_live":false,"creation_ts":"2025-07-21T17:35:06.723000",` +
		`"update_ts":"2025-07-21T17:35:07.723000","start_instance_ts":null}`
	checkView(t, NewView(p, e), want)
}

func TestViewOfARunningPod(t *testing.T) {
	at := time.Date(2025, 7, 21, 17, 35, 6, 0, time.UTC)
	p := Pod{
		Key: Key{Tenant: "dev", ID: "mypod"}, Requested: Restart, CreatedAt: at, UpdatedAt: at,
		State: State{
			Status: StatusAvailable, Ready: true, StartedAt: new(at.Add(time.Minute)), StopAt: new(at.Add(time.Hour)),
			Container: ContainerStatus{Phase: "Running", StartTime: &at, Message: "Pod is running.", RestartCount: 2},
		},
	}
	e := Effective{Image: "nginx", Command: []string{}, Arguments: []string{"<a>"}, TimeToStopInstance: new(600)}
	want := `{"pod_id":"mypod","image":"nginx","template":"","description":"","command":[],"arguments":["<a>"],` +
		`"environment_variables":{},"status_requested":"RESTART","volume_mounts":{},"time_to_stop_default":0,"time_to_stop_instance":600,` +
		`"networking":{},"resources":{"cpu_request":0,"cpu_limit":0,"mem_request":0,"mem_limit":0,"gpus":0},"compute_queue":"",` +
		`"time_to_stop_ts":"2025-07-21T18:35:06.000000","status":"AVAILABLE",` +
		`"status_container":{"phase":"Running","start_time":"2025-07-21T17:35:06.000000","message":"Pod is running.","ready":true,"restart_count":2},"networking_live":false,` +
		`"creation_ts":"2025-07-21T17:35:06.000000","update_ts":"2025-07-21T17:35:06.000000","start_instance_ts":"2025-07-21T17:36:06.000000"}`
	checkView(t, NewView(p, e), want)
}

func TestViewOfAContainerThatWaits(t *testing.T) {
	p := Pod{State: State{Container: ContainerStatus{Phase: "Pending", Message: "Pod is still initializing."}}}
	b, err := json.Marshal(NewView(p, Effective{}).StatusContainer)
	want := `{"phase":"Pending","start_time":null,"message":"Pod is still initializing.","ready":false,"restart_count":0}`
	if err != nil || string(b) != want {
		t.Errorf("got %s and %v, want %s", b, err, want)
	}
}

func checkView(t *testing.T, v View, want string) {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(b.String()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	var back View
	if err := json.Unmarshal(b.Bytes(), &back); err != nil || !reflect.DeepEqual(back, v) {
		t.Errorf("got  %+v and %v back\nwant %+v", back, err, v)
	}
}

func TestViewSharesNothingWithThePod(t *testing.T) {
	e := Effective{EnvironmentVariables: map[string]string{"A": "1"}, Networking: map[string]Networking{"default": completeNet(NetDef{}).clone()}}
	v := NewView(Pod{}, e)
	v.EnvironmentVariables["A"] = "scribble"
	v.Networking["default"].TapisAuthAllowedUsers[0] = "scribble"
	if e.EnvironmentVariables["A"] != "1" || e.Networking["default"].TapisAuthAllowedUsers[0] != "*" {
		t.Errorf("got %+v after the view was changed, want it as it was", e)
	}
}
