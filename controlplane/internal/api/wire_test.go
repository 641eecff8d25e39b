package api

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// wirePod is the pod of these tests as clients get it. Its fields, their order
// and their types are a contract: SDK clients build objects from them.
const wirePod = `{"pod_id":"web","image":"podway/hello","template":"","description":"DESCRIPTION","command":null,"arguments":null,` +
	`"environment_variables":{},"status_requested":"REQUESTED_STATUS","volume_mounts":{},` +
	`"time_to_stop_default":43200,"time_to_stop_instance":null,` +
	`"networking":{"default":{"protocol":"http","port":5000,"url":"web.pods.dev.example.org","ip_allow_list":[],"client_ca":"",` +
	`"tapis_auth":false,"tapis_auth_response_headers":{},"tapis_auth_allowed_users":["*"],"tapis_auth_return_path":"/",` +
	`"tapis_auth_excluded_paths":[],"tapis_auth_excluded_path_regex":[],` +
	`"access_gate":false,"access_gate_return_path":"/",` +
	`"cors_allow_origins":[],"cors_allow_methods":[],"cors_allow_headers":[],"cors_allow_credentials":false,"cors_max_age":100,` +
	`"proxy_compression":true,"proxy_compression_encodings":["zstd","br","gzip"],` +
	`"proxy_compression_excluded_content_types":[],"proxy_compression_min_response_body_bytes":1024,` +
	`"cert_state":"","cert_ready":false,"cert_provisioning_started_at":null,"cert_ready_at":null,"custom_domain":"","custom_domain_verified":false,"tapis_ui_uri":"","tapis_ui_uri_redirect":false,"tapis_ui_uri_description":""}},` +
	`"resources":{"cpu_request":250,"cpu_limit":2000,"mem_request":256,"mem_limit":3072,"gpus":0},"compute_queue":"default",` +
	`"time_to_stop_ts":null,"status":"POD_STATUS","status_container":{},"networking_live":false,` +
	`"creation_ts":"2025-07-21T12:00:00.723000","update_ts":"2025-07-21T12:00:00.723000","start_instance_ts":null}`

// renderWirePod fills in what differs between answers.
func renderWirePod(requested, status, description string) string {
	return strings.NewReplacer("REQUESTED_STATUS", requested, "POD_STATUS", status, "DESCRIPTION", description).Replace(wirePod)
}

// TestWire compares whole answers, byte by byte.
func TestWire(t *testing.T) {
	for _, c := range []struct {
		name, method, path, token, body string
		status                          int
		want                            string
	}{
		{
			name: "health needs no token", method: "GET", path: "/v3/healthcheck", status: 200,
			want: `{"message":"The request was successful","metadata":{},"result":"I promise I'm healthy.","status":"success","version":"test"}`,
		},
		{
			name: "health below pods", method: "GET", path: "/pods/healthcheck", status: 200,
			want: `{"message":"The request was successful","metadata":{},"result":"I promise I'm healthy.","status":"success","version":"test"}`,
		},
		{
			name: "an error page", method: "GET", path: "/error-handler/503", status: 503,
			want: `{"message":"Error processing the request.","metadata":{},"result":"Error processing the request.","status":"error","version":"test"}`,
		},
		{
			name: "a list", method: "GET", path: "/v3/pods", token: "owner", status: 200,
			want: `{"message":"Pods retrieved successfully.","metadata":{},"result":[` + renderWirePod("OFF", "STOPPED", "") + `],"status":"success","version":"test"}`,
		},
		{
			name: "an empty list", method: "GET", path: "/v3/pods", token: "stranger", status: 200,
			want: `{"message":"Pods retrieved successfully.","metadata":{},"result":[],"status":"success","version":"test"}`,
		},
		{
			name: "a list in admin mode", method: "GET", path: "/v3/pods", token: "admin", status: 200,
			want: `{"message":"Pods retrieved successfully.","metadata":{"admin_context":{"admin_mode":true,"user_accessible_ids":[],` +
				`"msg":"Admin mode: all pods of the tenant are shown, not only your own."}},` +
				`"result":[` + renderWirePod("OFF", "STOPPED", "") + `],"status":"success","version":"test"}`,
		},
		{
			name: "a pod", method: "GET", path: "/pods/web", token: "owner", status: 200,
			want: `{"message":"Pod retrieved successfully.","metadata":{},"result":` + renderWirePod("OFF", "STOPPED", "") + `,"status":"success","version":"test"}`,
		},
		{
			name: "a new pod", method: "POST", path: "/v3/pods", token: "owner@other", status: 200,
			body: `{"pod_id":"web","image":"podway/hello"}`,
			want: `{"message":"Pod created successfully.","metadata":{},"result":` +
				strings.ReplaceAll(renderWirePod("ON", "REQUESTED", ""), "dev.example", "other.example") + `,"status":"success","version":"test"}`,
		},
		{
			name: "an update", method: "PUT", path: "/v3/pods/web", token: "owner", body: `{"description":"a <b> & c"}`, status: 200,
			want: `{"message":"Pod updated successfully.","metadata":{"note":["Pod updated. A pod that is running keeps its old definition until it is restarted.",` +
				`"Restart it with GET /v3/pods/web/restart to apply the changes."]},"result":` +
				renderWirePod("OFF", "STOPPED", "a <b> & c") + `,"status":"success","version":"test"}`,
		},
		{
			name: "an update that changes nothing", method: "PUT", path: "/v3/pods/web", token: "owner", body: `{"description":""}`, status: 200,
			want: `{"message":"Incoming data made no changes to pod. Is incoming data equal to current data?","metadata":{},"result":` +
				renderWirePod("OFF", "STOPPED", "") + `,"status":"error","version":"test"}`,
		},
		{
			name: "a start", method: "GET", path: "/v3/pods/web/start", token: "owner", status: 200,
			want: `{"message":"Updated pod's status_requested to ON and requested pod.","metadata":{},"result":` + renderWirePod("ON", "REQUESTED", "") + `,"status":"success","version":"test"}`,
		},
		{
			name: "a stop", method: "GET", path: "/v3/pods/web/stop", token: "owner", status: 200,
			want: `{"message":"Updated pod's status_requested to OFF.","metadata":{},"result":` + renderWirePod("OFF", "STOPPED", "") + `,"status":"success","version":"test"}`,
		},
		{
			name: "a restart", method: "GET", path: "/v3/pods/web/restart?grab_latest_template_tag=True", token: "owner", status: 200,
			want: `{"message":"Updated pod's status_requested to RESTART.","metadata":{},"result":` + renderWirePod("RESTART", "STOPPED", "") + `,"status":"success","version":"test"}`,
		},
		{
			name: "the derived pod", method: "GET", path: "/v3/pods/web/derived", token: "owner", status: 200,
			want: `{"message":"Final derived pod retrieved successfully.","metadata":{},"result":` + renderWirePod("OFF", "STOPPED", "") + `,"status":"success","version":"test"}`,
		},
		{
			name: "credentials", method: "GET", path: "/v3/pods/web/credentials", token: "owner", status: 200,
			want: `{"message":"The request was successful","metadata":{},"result":{"user_username":"web","user_password":"usersecret"},"status":"success","version":"test"}`,
		},
		{
			name: "logs", method: "GET", path: "/v3/pods/web/logs", token: "owner", status: 200,
			want: `{"message":"Pod logs retrieved successfully.","metadata":{},"result":{"logs":"","action_logs":["25/07/21 12:00: Pod object created by 'owner'"]},"status":"success","version":"test"}`,
		},
		{
			name: "permissions", method: "GET", path: "/v3/pods/web/permissions", token: "owner", status: 200,
			want: `{"message":"Pod permissions retrieved successfully.","metadata":{},"result":{"permissions":["owner:ADMIN"]},"status":"success","version":"test"}`,
		},
		{
			name: "a permission that is set", method: "POST", path: "/v3/pods/web/permissions", token: "owner", body: `{"user":"friend","level":"READ"}`, status: 200,
			want: `{"message":"Pod permissions updated successfully.","metadata":{},"result":{"permissions":["friend:READ","owner:ADMIN"]},"status":"success","version":"test"}`,
		},
		{
			name: "a deletion", method: "DELETE", path: "/v3/pods/web", token: "owner", status: 200,
			want: `{"message":"Pod successfully deleted.","metadata":{},"result":"","status":"success","version":"test"}`,
		},
		{
			name: "no token", method: "GET", path: "/v3/pods", status: 401,
			want: `{"message":"No Tapis access token found in the request.","metadata":{},"result":null,"status":"error","version":"test"}`,
		},
		{
			name: "a token of another tenant than the host's", method: "GET", path: "/v3/pods", token: "wrong_host", status: 403,
			want: `{"message":"The tenant_id claim in the token, other does not match the URL tenant, dev.","metadata":{},"result":null,"status":"error","version":"test"}`,
		},
		{
			name: "no such pod", method: "GET", path: "/v3/pods/x", token: "owner", status: 404,
			want: `{"message":"Pod with identifier pod_id: 'x' not found","metadata":{},"result":null,"status":"error","version":"test"}`,
		},
		{
			name: "a pod of someone else", method: "GET", path: "/v3/pods/web", token: "stranger", status: 404,
			want: `{"message":"Pod with identifier pod_id: 'web' not found","metadata":{},"result":null,"status":"error","version":"test"}`,
		},
		{
			name: "a body with mistakes", method: "POST", path: "/v3/pods", token: "owner", body: `{"pod_id":"Web","bogus":1}`, status: 400,
			want: `{"message":["body, bogus: extra fields not permitted","pod_id: pod_id must be lowercase alphanumeric. First character must be alpha.",` +
				`"__root__: image is required if template is not provided."],"metadata":{},"result":null,"status":"error","version":"test"}`,
		},
		{
			name: "one mistake is a list too", method: "POST", path: "/v3/pods/web/permissions", token: "owner", body: `{"user":"x","level":"FULL"}`, status: 400,
			want: `{"message":["body, level: level must be in ('NONE', 'READ', 'USER', 'ADMIN', 'APPROVEDADMIN')"],"metadata":{},"result":null,"status":"error","version":"test"}`,
		},
		{
			name: "a rule of a handler is no list", method: "DELETE", path: "/v3/pods/web/permissions/owner", token: "owner", status: 400,
			want: `{"message":"Operation would result in pod with no users in ADMIN role. Rolling back.","metadata":{},"result":null,"status":"error","version":"test"}`,
		},
		{
			name: "an id that is taken", method: "POST", path: "/v3/pods", token: "stranger", body: `{"pod_id":"web","image":"podway/hello"}`, status: 409,
			want: `{"message":"Key (pod_id)=(web) already exists. Choose another pod_id, or delete that pod first.","metadata":{},"result":null,"status":"error","version":"test"}`,
		},
		{
			name: "no such path", method: "GET", path: "/v3/nothing", status: 404,
			want: `{"message":"Could not match request to an API route.","metadata":{},"result":null,"status":"error","version":"test"}`,
		},
		{
			name: "no such method", method: "PATCH", path: "/v3/pods", status: 405,
			want: `{"message":"Could not match request to an API route: this path takes GET, POST.","metadata":{},"result":null,"status":"error","version":"test"}`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			f.put("web")
			var header []string
			if c.token == "admin" {
				header = []string{"X-Pods-Admin", "true"}
			}
			r := f.want(c.status, c.method, c.path, c.token, c.body, header...)
			if r.body != c.want {
				t.Errorf("got  %s\nwant %s", r.body, c.want)
			}
			for name, want := range map[string]string{
				"Content-Type": "application/json", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
			} {
				if got := r.header.Get(name); got != want {
					t.Errorf("got %s %q, want %q", name, got, want)
				}
			}
		})
	}
}

func TestErrorHeaders(t *testing.T) {
	f := newFixture(t)
	for _, c := range []struct {
		name, method, path, token, header, want string
		status                                  int
	}{
		{"a 401 names the header for the token", "GET", "/v3/pods", "expired", "Www-Authenticate", `Tapis header="X-Tapis-Token"`, http.StatusUnauthorized},
		{"a 405 names the methods", "PUT", "/pods/web/start", "owner", "Allow", "GET", http.StatusMethodNotAllowed},
		{"a 503 says when to come back", "GET", "/v3/pods", "keys_away", "Retry-After", "5", http.StatusServiceUnavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := f.want(c.status, c.method, c.path, c.token, "").header.Get(c.header); got != c.want {
				t.Errorf("got %s %q, want %q", c.header, got, c.want)
			}
		})
	}
}

func TestInternalErrorsAreNotTold(t *testing.T) {
	f := newFixture(t)
	f.deps.Store = brokenStore{f.store}
	r := f.want(http.StatusInternalServerError, "GET", "/v3/pods/web", "owner", "", "X-Request-ID", "abc-1")
	if strings.Contains(r.body, "disk") || r.header.Get("X-Request-ID") != "abc-1" {
		t.Errorf("got %s and id %q", r.body, r.header.Get("X-Request-ID"))
	}
	for _, want := range []string{"disk on fire", "request_id=abc-1", "level=ERROR", "status=500", "user=owner"} {
		if !strings.Contains(f.log.String(), want) {
			t.Errorf("got log %q, want it to contain %q", f.log, want)
		}
	}
}

// TestSecretsAreNotLogged sends canaries everywhere and looks for them in the log.
func TestSecretsAreNotLogged(t *testing.T) {
	f := newFixture(t)
	f.cluster.run(f.put("web", func(p *pods.Pod) {
		p.Permissions["canarytoken"] = pods.LevelAdmin
		p.Definition.EnvironmentVariables = pods.Set(map[string]string{"SECRET": "canaryenv"})
	}))
	f.call("GET", "/v3/pods/web/credentials?token=canaryquery", "owner", "", "Authorization", "canaryauth", "Cookie", "a=canarycookie")
	f.call("PUT", "/v3/pods/web", "owner", `{"environment_variables":{"SECRET":"canarynew"}}`)
	f.call("PUT", "/v3/pods/web", "owner", `{"environment_variables":{"SECRET":["canarylist"]}}`)
	f.call("POST", "/v3/pods/web/exec", "owner", `{"commands":["login","canaryargument","<<TAPIS_user_password>>"]}`)
	f.call("GET", "/v3/pods/web/logs", "expired", "", "X-Request-ID", "canary id with blanks")
	f.call("GET", "/v3/canarypath", "owner", "")
	for _, secret := range []string{"canary", "usersecret", "adminsecret"} {
		if strings.Contains(f.log.String(), secret) {
			t.Errorf("%q is in the log:\n%s", secret, f.log)
		}
	}
}
