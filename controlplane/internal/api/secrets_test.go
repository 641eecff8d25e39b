package api

import (
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// putSecret stores a secret of the user "owner", whose value is "value of <id>".
func (f *fixture) putSecret(id string, adjust ...func(*pods.Secret)) pods.Secret {
	f.t.Helper()
	x := pods.Secret{
		SecretKey: pods.SecretKey{Tenant: "dev", Owner: "owner", ID: id}, UID: "uid" + id, Scope: pods.ScopeUser, Readable: true, Writable: true,
		Permissions: pods.Permissions{"owner": pods.LevelAdmin}, CreatedAt: noon, UpdatedAt: noon,
	}
	for _, a := range adjust {
		a(&x)
	}
	e := pods.SecretEvent{At: noon, Kind: pods.SecretCreated, Actor: x.Owner}
	if err := f.store.CreateSecret(f.t.Context(), x, "value of "+id, e); err != nil {
		f.t.Fatal(err)
	}
	return x
}

// audit returns the kinds of a secret's events.
func (f *fixture) audit(k pods.SecretKey) []pods.SecretEventKind {
	f.t.Helper()
	es, err := f.store.SecretEvents(f.t.Context(), k)
	if err != nil {
		f.t.Fatal(err)
	}
	var kinds []pods.SecretEventKind
	for _, e := range es {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

func TestSecretOnTheWire(t *testing.T) {
	f := newFixture(t)
	const view = `{"secret_id":"db_pass","scope":"user","pod_id":"","description":"for the db","readable":true,"writable":true,` +
		`"sk_secret_name":"owner:db_pass","creation_ts":"2025-07-21T12:00:00.723000","added_by":"owner"}`
	for _, c := range []struct{ method, path, body, want string }{
		{
			"POST", "/v3/pods/secrets", `{"secret_id":"db_pass","secret_value":"canary1","description":"for the db"}`,
			`{"message":"Secret created successfully.","metadata":{},"result":` + view + `,"status":"success","version":"test"}`,
		},
		{
			"GET", "/v3/pods/secrets", "",
			`{"message":"Secrets retrieved successfully.","metadata":{},"result":[` + view + `],"status":"success","version":"test"}`,
		},
		{
			"GET", "/v3/pods/secrets/db_pass", "",
			`{"message":"Secret retrieved successfully.","metadata":{"audit":["25/07/21 12:00: 'owner' SECRET_CREATED"],"used_by":[]},"result":` + view + `,"status":"success","version":"test"}`,
		},
		{
			"GET", "/v3/pods/secrets/db_pass/value", "",
			`{"message":"Secret value retrieved successfully.","metadata":{},"result":{"secret_value":"canary1"},"status":"success","version":"test"}`,
		},
		{
			"PUT", "/v3/pods/secrets/db_pass", `{"secret_value":"canary2"}`,
			`{"message":"Secret updated successfully.","metadata":{},"result":` + view + `,"status":"success","version":"test"}`,
		},
		{
			"GET", "/v3/pods/secrets/owner:db_pass/value", "",
			`{"message":"Secret value retrieved successfully.","metadata":{},"result":{"secret_value":"canary2"},"status":"success","version":"test"}`,
		},
		{
			"PUT", "/v3/pods/secrets/db_pass", `{"description":"for the db"}`,
			`{"message":"Incoming data made no changes to secret. Is incoming data equal to current data?","metadata":{},"result":` + view + `,"status":"error","version":"test"}`,
		},
		{
			"POST", "/v3/pods/secrets/db_pass/permissions", `{"user":"friend","level":"READ"}`,
			`{"message":"Secret permissions updated successfully.","metadata":{},"result":{"permissions":["friend:READ","owner:ADMIN"]},"status":"success","version":"test"}`,
		},
		{
			"DELETE", "/v3/pods/secrets/db_pass/permissions/friend", "",
			`{"message":"Secret permission deleted successfully.","metadata":{},"result":{"permissions":["owner:ADMIN"]},"status":"success","version":"test"}`,
		},
		{
			"DELETE", "/v3/pods/secrets/db_pass", "",
			`{"message":"Secret successfully deleted.","metadata":{},"result":"","status":"success","version":"test"}`,
		},
	} {
		if r := f.want(http.StatusOK, c.method, c.path, "owner", c.body); r.body != c.want {
			t.Errorf("%s %s: got\n%s\nwant\n%s", c.method, c.path, r.body, c.want)
		}
	}
	want := []pods.SecretEventKind{
		pods.SecretCreated, pods.SecretRead, pods.SecretUpdated, pods.SecretRead, pods.SecretUpdated, pods.SecretUpdated, pods.SecretDeleted,
	}
	if got := f.audit(pods.SecretKey{Tenant: "dev", Owner: "owner", ID: "db_pass"}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if log := f.log.String(); strings.Contains(log, "canary") {
		t.Errorf("a value is in the log:\n%s", log)
	}
}

func TestSecretRequestsThatAreRefused(t *testing.T) {
	f := newFixture(t)
	f.put("web")
	f.put("hers", func(p *pods.Pod) { p.Permissions = pods.Permissions{"her": pods.LevelAdmin, "owner": pods.LevelRead} })
	f.putSecret("taken")
	locked := f.putSecret("locked", func(x *pods.Secret) { x.Readable, x.Writable = false, false })
	for _, owner := range []string{"ann", "bob"} {
		f.putSecret("both", func(x *pods.Secret) {
			x.Owner, x.UID = owner, "uidboth"+owner
			x.Permissions = pods.Permissions{owner: pods.LevelAdmin, "owner": pods.LevelUser}
		})
	}
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		message                  string
	}{
		{"a name that is taken", "POST", "", `{"secret_id":"taken","secret_value":"canary"}`, 409, "Key (secret_id)=(taken) already exists. Change its value with PUT /v3/pods/secrets/taken."},
		{"a name that is none", "POST", "", `{"secret_id":"a:b","secret_value":"canary"}`, 400, "secret_id: secret_id must consist of letters, digits, '_' and '-'."},
		{"no value", "POST", "", `{"secret_id":"new"}`, 400, "body, secret_value: field required"},
		{"a value that is no text", "POST", "", `{"secret_id":"new","secret_value":{"canary":1}}`, 400, "body, secret_value: str type expected"},
		{"a scope that is none", "POST", "", `{"secret_id":"new","secret_value":"canary","scope":"all"}`, 400, "scope: scope must be one of the following: ['user', 'pod']."},
		{"a pod's secret without a pod", "POST", "", `{"secret_id":"new","secret_value":"canary","scope":"pod"}`, 400, "pod_id: pod_id is required if scope is 'pod'."},
		{"a user's secret with a pod", "POST", "", `{"secret_id":"new","secret_value":"canary","pod_id":"web"}`, 400, "pod_id: pod_id can only be given if scope is 'pod'."},
		{"a secret of somebody else's pod", "POST", "", `{"secret_id":"new","secret_value":"canary","scope":"pod","pod_id":"hers"}`, 400, "pod_id: there is no pod 'hers' on which you hold USER."},
		{"a secret of no pod", "POST", "", `{"secret_id":"new","secret_value":"canary","scope":"pod","pod_id":"none"}`, 400, "pod_id: there is no pod 'none' on which you hold USER."},
		{"a long description", "POST", "", `{"secret_id":"new","secret_value":"canary","description":"` + strings.Repeat("x", 501) + `"}`, 400, "description: description field must be less than 500 characters. Inputted length: 501"},
		{"the value of what is not readable", "GET", "/locked/value", "", 403, "Secret 'locked' is not readable. Pods can use it, but nobody can see its value."},
		{"another value for what is not writable", "PUT", "/locked", `{"secret_value":"canary"}`, 403, "Secret 'locked' is not writable. Delete it and create it again to give it another value."},
		{"a protection that is taken away", "PUT", "/locked", `{"readable":true}`, 403, "readable and writable can't be set back to true. Delete the secret and create it again."},
		{"a name that two others share", "GET", "/both", "", 409, "Several users share a secret 'both' with you. Name one as 'owner:both'; sk_secret_name in the list has this form."},
		{"somebody's secret that is not there", "GET", "/ann:none", "", 404, "Secret with identifier secret_id: 'ann:none' not found"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := f.want(c.status, c.method, "/v3/pods/secrets"+c.path, "owner", c.body)
			if got := r.envelope(t).text(); got != c.message || strings.Contains(r.body, "canary") {
				t.Errorf("got %q, want %q", got, c.message)
			}
		})
	}
	f.want(http.StatusOK, "GET", "/v3/pods/secrets/ann:both", "owner", "")
	f.want(http.StatusOK, "PUT", "/v3/pods/secrets/locked", "owner", `{"description":"may change"}`)
	want := []pods.SecretEventKind{pods.SecretCreated, pods.SecretReadDenied, pods.SecretWriteDenied, pods.SecretUpdated}
	if got := f.audit(locked.SecretKey); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestASharedSecretIsFoundByItsName(t *testing.T) {
	f := newFixture(t)
	f.putSecret("pw", func(x *pods.Secret) { x.Permissions["friend"] = pods.LevelRead })
	view := result[pods.SecretView](t, f.want(http.StatusOK, "GET", "/v3/pods/secrets/pw", "friend", ""))
	if view.AddedBy != "owner" {
		t.Errorf("got %+v, want the owner's", view)
	}
	r := f.want(http.StatusOK, "GET", "/v3/pods/secrets/pw", "friend", "")
	if len(r.envelope(t).Metadata) != 0 {
		t.Errorf("got %s, want no audit log for a reader", r.body)
	}
	f.want(http.StatusOK, "POST", "/v3/pods/secrets", "friend", `{"secret_id":"pw","secret_value":"mine"}`)
	view = result[pods.SecretView](t, f.want(http.StatusOK, "GET", "/v3/pods/secrets/pw", "friend", ""))
	if view.AddedBy != "friend" {
		t.Errorf("got %+v, want one's own first", view)
	}
}

func TestASecretTellsWhichPodsUseIt(t *testing.T) {
	f := newFixture(t)
	f.putSecret("pw")
	p := f.put("web")
	if err := f.store.SetBindings(t.Context(), p.Key, p.UID, []pods.Binding{{Kind: pods.KindSecret, Owner: "owner", ID: "pw"}}, nil); err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{"GET", "DELETE"} {
		r := f.want(http.StatusOK, method, "/v3/pods/secrets/pw", "owner", "")
		if got := string(r.envelope(t).Metadata["used_by"]); got != `["web"]` {
			t.Errorf("%s: got %s, want the pod", method, r.body)
		}
	}
}

func TestSecretMapOnTheWire(t *testing.T) {
	f := newFixture(t)
	f.putSecret("pw")
	const body = `{"pod_id":"web","image":"podway/hello","status_requested":"OFF",` +
		`"secret_map":{"PW":"${secret:pw}","KEY":"${pods:random:32}","URL":"${pods:url}","LIT":"canary1","MIX":"canary2 ${pods:pod_id}"},` +
		`"environment_variables":{"A":"x${pods:secrets:PW}y","B":"${HOME} $canary3"}}`
	r := f.want(http.StatusOK, "POST", "/v3/pods", "owner", body)
	shown := map[string]string{
		"PW": "${secret:owner:pw}", "KEY": "${pods:random:32}", "URL": "${pods:url}", "LIT": "<<write-only>>", "MIX": "<<write-only>>",
	}
	if got := result[pods.View](t, r).SecretMap; !reflect.DeepEqual(got, shown) {
		t.Errorf("got %v, want %v", got, shown)
	}
	if got := string(r.envelope(t).Metadata["config_syntax_warnings"]); !strings.Contains(got, "environment_variables, B: holds a ${...} that stays as it is") {
		t.Errorf("got %s, want a warning about B", got)
	}
	stored := f.pod(pods.Key{Tenant: "dev", ID: "web"})

	// What was shown can be sent back and changes nothing.
	r = f.want(http.StatusOK, "PUT", "/v3/pods/web", "owner",
		`{"secret_map":{"PW":"${secret:owner:pw}","KEY":"${pods:random:32}","URL":"${pods:url}","LIT":"<<write-only>>","MIX":"<<write-only>>"}}`)
	if e := r.envelope(t); e.Status != failure || !reflect.DeepEqual(f.pod(stored.Key).Definition, stored.Definition) {
		t.Errorf("got %s, want no change", r.body)
	}
	r = f.want(http.StatusOK, "PUT", "/v3/pods/web", "owner",
		`{"secret_map":{"PW":"${secret:pw}","KEY":"${pods:random:32}","URL":"${pods:url}","LIT":"canary1","MIX":"canary2 ${pods:pod_id}"}}`)
	if e := r.envelope(t); e.Status != failure {
		t.Errorf("got %s, want no change: the values are the same", r.body)
	}
	f.want(http.StatusOK, "PUT", "/v3/pods/web", "owner", `{"secret_map":{"PW":"${secret:pw}","LIT":"canary4"}}`)
	lines := f.lines(stored.Key)
	if got, want := lines[len(lines)-1], "'owner' updated pod: secret_map.KEY: removed, secret_map.LIT: changed (hidden), secret_map.MIX: removed, secret_map.URL: removed"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}

	for _, path := range []string{"/v3/pods/web", "/v3/pods", "/v3/pods/web/derived", "/v3/pods?derived=true", "/v3/pods/web/overrides", "/v3/pods/web/provenance", "/v3/pods/web/logs"} {
		if r := f.want(http.StatusOK, "GET", path, "owner", ""); strings.Contains(r.body, "canary1") || strings.Contains(r.body, "canary2") ||
			strings.Contains(r.body, "canary4") || strings.Contains(r.body, "sealed:") || strings.Contains(r.body, "value of pw") {
			t.Errorf("%s shows what is secret: %s", path, r.body)
		}
	}
	if dump := f.dump(); strings.Contains(dump, "canary1") || strings.Contains(dump, "canary2") || strings.Contains(dump, "canary4") {
		t.Errorf("a value is stored as it is:\n%s", dump)
	}
	if log := f.log.String(); strings.Contains(log, "canary") {
		t.Errorf("a value is in the log:\n%s", log)
	}
}

func TestSecretMapsThatAreRefused(t *testing.T) {
	f := newFixture(t)
	f.putSecret("pw")
	f.putSecret("hers", func(x *pods.Secret) {
		x.Owner = "her"
		x.Permissions = pods.Permissions{"her": pods.LevelAdmin, "owner": pods.LevelAdmin}
	})
	f.putSecret("other", func(x *pods.Secret) { x.Scope, x.Pod = pods.ScopePod, "another" })
	for _, c := range []struct{ name, fields, want string }{
		{"a secret that is not there", `"secret_map":{"A":"${secret:none}"}`, "secret_map, A: user 'owner' has no secret 'none'."},
		{"another user's secret", `"secret_map":{"A":"${secret:her:hers}"}`, "secret_map, A: the secret is one of 'her'. Only that user can set a reference to it."},
		{"another pod's secret", `"secret_map":{"A":"${secret:other}"}`, "secret_map, A: secret 'owner:other' can be used by pod 'another' only."},
		{"a random value that is too short", `"secret_map":{"A":"${pods:random:7}"}`, "secret_map, A: ${pods:random:N} needs a length from 8 to 128."},
		{"a reference that is not known", `"secret_map":{"A":"${pods:uri}"}`, "secret_map, A: a reference that starts with ${pods: is not known; known are random, url, pod_id, tapis_url and networking."},
		{"a networking entry that is not there", `"secret_map":{"A":"${pods:networking:x:port}"}`, "secret_map, A: networking has no entry 'x'."},
		{"a template's placeholder", `"secret_map":{"A":"${:?give it}"}`, "secret_map, A: ${:?...} and ${pods:default:...} stand in templates only; give a value."},
		{"a mask for a value that is not there", `"secret_map":{"A":"<<write-only>>"}`, "secret_map, A: '<<write-only>>' stands for a value that is there already; give the value."},
		{"a value that is no text", `"secret_map":{"A":1}`, "secret_map, A: secret_map val must be str. Got int."},
		{"a name that is none", `"secret_map":{"A B":"x"}`, "secret_map, A B: secret_map key must consist of at most 128 letters, digits, '_' and '-'."},
		{"a variable that refers to nothing", `"environment_variables":{"V":"${pods:secrets:NONE:?what}"}`, "environment_variables, V: secret_map has no entry 'NONE'. Add it, or remove the reference."},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := f.want(http.StatusBadRequest, "POST", "/v3/pods", "owner", `{"pod_id":"web","image":"podway/hello",`+c.fields+`}`)
			if got := r.envelope(t).text(); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestATemplateAsksForSecrets(t *testing.T) {
	f := newFixture(t)
	f.putSecret("pw")
	f.want(http.StatusOK, "POST", "/v3/pods/templates", "owner", `{"template_id":"app"}`)
	r := f.want(http.StatusBadRequest, "POST", "/v3/pods/templates/app/tags", "owner",
		`{"commit_message":"x","pod_definition":{"image":"podway/hello","secret_map":{"PW":"${secret:pw}"}}}`)
	if got, want := r.envelope(t).text(), "secret_map, PW: a template can't refer to a user's secret; use ${:?description} for a value that the pod has to give."; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	f.want(http.StatusOK, "POST", "/v3/pods/templates/app/tags", "owner",
		`{"commit_message":"x","pod_definition":{"image":"podway/hello","secret_map":{"PW":"${:?the password}","HOST":"${pods:default:localhost:?host}"},
		"environment_variables":{"URL":"db://${pods:secrets:PW}@${pods:secrets:HOST}"}}}`)
	r = f.want(http.StatusBadRequest, "POST", "/v3/pods", "owner", `{"pod_id":"web","template":"app"}`)
	if got, want := r.envelope(t).text(), "secret_map, PW: a value is required: the password"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	f.want(http.StatusOK, "POST", "/v3/pods", "owner", `{"pod_id":"web","template":"app","status_requested":"OFF","secret_map":{"PW":"${secret:pw}"}}`)
	r = f.want(http.StatusOK, "POST", "/v3/pods/web/save_pod_as_template_tag", "owner", `{"template_id":"app","commit_message":"y","tag":"mine"}`)
	if !strings.Contains(r.body, `"secret_map":{"PW":"${:?PW}"}`) {
		t.Errorf("got %s, want a template that asks for the password", r.body)
	}
	f.want(http.StatusOK, "DELETE", "/v3/pods/secrets/pw", "owner", "")
	r = f.want(http.StatusBadRequest, "GET", "/v3/pods/web/start", "owner", "")
	if got, want := r.envelope(t).text(), "secret_map, PW: user 'owner' has no secret 'pw'."; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
