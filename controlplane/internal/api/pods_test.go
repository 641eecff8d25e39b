package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// result decodes the result of an answer.
func result[T any](t *testing.T, r response) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(r.envelope(t).Result, &v); err != nil {
		t.Fatalf("%v: %s", err, r.body)
	}
	return v
}

// ids returns the ids of an answer's pods.
func ids(t *testing.T, r response) string {
	t.Helper()
	var list []string
	for _, v := range result[[]pods.View](t, r) {
		list = append(list, string(v.PodID))
	}
	return strings.Join(list, " ")
}

func TestListPods(t *testing.T) {
	f := newFixture(t)
	describe := func(text, image string, perms pods.Permissions) func(*pods.Pod) {
		return func(p *pods.Pod) {
			p.Definition = pods.Definition{Image: pods.Set(image), Description: pods.Set(text)}
			p.Permissions = perms
		}
	}
	owner := pods.LevelAdmin
	f.put("anna", describe("first", "postgres", pods.Permissions{"owner": owner, "reader": pods.LevelRead}))
	f.put("berta", describe("second", "podway/hello", pods.Permissions{"owner": owner, "*": pods.LevelRead}))
	f.put("carla", describe("third", "podway/hello", pods.Permissions{"owner": owner, "reader": pods.LevelNone}))
	f.put("dora", describe("a First one", "podway/hello", pods.Permissions{"owner": owner}))
	f.put("emma", func(p *pods.Pod) { p.Tenant = "other" })

	for _, c := range []struct{ name, token, query, admin, want string }{
		{"the owner sees all of the tenant that are theirs", "owner", "", "", "anna berta carla dora"},
		{"a reader sees what is shared with them or everyone", "reader", "", "", "anna berta"},
		{"a stranger sees what is shared with everyone", "stranger", "", "", "berta"},
		{"an admin sees no more without asking", "admin", "", "", "berta"},
		{"an admin who says no sees no more", "admin", "", "false", "berta"},
		{"an admin sees the tenant in admin mode", "admin", "", "true", "anna berta carla dora"},
		{"another tenant sees its own", "owner@other", "", "", "emma"},
		{"a first page", "owner", "?limit=2", "", "anna berta"},
		{"a second page", "owner", "?limit=3&offset=3", "", "dora"},
		{"a page beyond the end", "owner", "?limit=3&offset=30", "", ""},
		{"an offset without a limit", "owner", "?offset=2", "", "carla dora"},
		{"a search in descriptions, whatever the case", "owner", "?search=FIRST", "", "anna dora"},
		{"a search in ids", "owner", "?search=arl", "", "carla"},
		{"a search in images", "owner", "?search=postgres", "", "anna"},
		{"a page of a search", "owner", "?search=hello&limit=1&offset=1", "", "carla"},
		{"a search finds nothing of others", "stranger", "?search=first", "", ""},
		{"a parameter that is not known changes nothing", "reader", "?derived_lite=true", "", "anna berta"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := f.want(http.StatusOK, "GET", "/v3/pods"+c.query, c.token, "", "X-Pods-Admin", c.admin)
			if got := ids(t, r); got != c.want {
				t.Errorf("got pods %q, want %q", got, c.want)
			}
		})
	}
	t.Run("admin mode tells which pods the role is not needed for", func(t *testing.T) {
		r := f.want(http.StatusOK, "GET", "/v3/pods", "admin", "", "X-Pods-Admin", "true")
		if got := string(r.envelope(t).Metadata["admin_context"]); !strings.Contains(got, `"user_accessible_ids":["berta"]`) {
			t.Errorf("got admin_context %s, want berta in it", got)
		}
	})
}

// spoiled is a pod that satisfies the rules of today no longer.
func spoiled(p *pods.Pod) {
	p.Definition.Resources = pods.Set(pods.ResourcesDef{CPULimit: pods.Set(999_999)})
}

func TestPodsWithAnInvalidDefinition(t *testing.T) {
	f := newFixture(t)
	f.put("good")
	k := f.put("spoiled", spoiled).Key

	r := f.want(http.StatusOK, "GET", "/v3/pods", "owner", "")
	e := r.envelope(t)
	if got := ids(t, r); got != "good" || e.text() != "Some pods failed validation. Please check metadata.warnings for details." {
		t.Errorf("got pods %q and message %q", got, e.text())
	}
	if got := string(e.Metadata["warnings"]); !strings.Contains(got, "spoiled") || !strings.Contains(got, "cpu_limit") {
		t.Errorf("got warnings %s, want pod and field in them", got)
	}
	r = f.want(http.StatusOK, "GET", "/v3/pods/spoiled", "owner", "")
	if got := r.envelope(t).Metadata["warnings"]; got == nil {
		t.Errorf("got no warning for a pod that is read: %s", r.body)
	}
	f.want(http.StatusBadRequest, "GET", "/v3/pods/spoiled/derived", "owner", "")
	f.want(http.StatusBadRequest, "PUT", "/v3/pods/spoiled", "owner", `{"description":"x"}`)
	f.want(http.StatusOK, "PUT", "/v3/pods/spoiled", "owner", `{"status_requested":"OFF","description":""}`) // no change
	f.want(http.StatusOK, "PUT", "/v3/pods/spoiled", "owner", `{"status_requested":"RESTART"}`)
	f.want(http.StatusOK, "GET", "/v3/pods/spoiled/stop", "owner", "")
	f.want(http.StatusOK, "PUT", "/v3/pods/spoiled", "owner", `{"resources":{}}`)
	if got := f.pod(k).Requested; got != pods.Off {
		t.Errorf("got %s, want %s", got, pods.Off)
	}
	f.want(http.StatusOK, "DELETE", "/v3/pods/spoiled", "owner", "")
}

func TestCreatePod(t *testing.T) {
	f := newFixture(t)
	r := f.want(http.StatusOK, "POST", "/v3/pods", "owner",
		`{"pod_id":"web","image":"podway/hello:1","status_requested":"OFF","environment_variables":{"A":"<<TAPIS_user_password>>"}}`)
	if got := result[pods.View](t, r); got.Status != pods.StatusStopped || got.StatusRequested != pods.Off {
		t.Errorf("got status %s, requested %s, want STOPPED and OFF", got.Status, got.StatusRequested)
	}
	k := pods.Key{Tenant: "dev", ID: "web"}
	p := f.pod(k)
	if p.Owner != "owner" || p.Site != "dev" || p.UID == "" || !p.CreatedAt.Equal(noon) || p.State.Status != pods.StatusStopped {
		t.Errorf("got %+v", p)
	}
	if got := p.Permissions.List(); !slices.Equal(got, []string{"owner:ADMIN"}) {
		t.Errorf("got permissions %v", got)
	}
	if got := f.lines(k); !slices.Equal(got, []string{"Pod object created by 'owner'"}) {
		t.Errorf("got action log %v", got)
	}
	if got := f.wakes(); !slices.Equal(got, []pods.Key{k}) {
		t.Errorf("got wakes %v, want one of %v", got, k)
	}
	c, err := f.store.Credentials(t.Context(), k)
	if err != nil || c.UserUsername != "web" || len(c.UserPassword) != 30 {
		t.Errorf("got credentials %+v, error %v", c, err)
	}
}

func TestCreatePodStartsWhatIsToRestart(t *testing.T) {
	f := newFixture(t)
	r := f.want(http.StatusOK, "POST", "/v3/pods", "owner", `{"pod_id":"web","image":"podway/hello","status_requested":"RESTART"}`)
	if got := result[pods.View](t, r); got.Status != pods.StatusRequested || got.StatusRequested != pods.On {
		t.Errorf("got status %s, requested %s, want REQUESTED and ON", got.Status, got.StatusRequested)
	}
}

// TestClusterRefusesPods checks what the cluster is asked, and what becomes of
// its answer.
func TestClusterRefusesPods(t *testing.T) {
	f := newFixture(t)
	f.put("web")
	var asked pods.Workload
	for _, c := range []struct {
		name   string
		err    error
		status int
		text   string
	}{
		{"a reason is told", pods.Errorf(pods.Invalid, "image: not in the catalogue"), http.StatusBadRequest, "image: not in the catalogue"},
		{"a cluster that is away", pods.Errorf(pods.Unavailable, "The cluster does not answer."), http.StatusServiceUnavailable, "The cluster does not answer."},
		{"a failure is ours", errors.New("panic in the kubelet"), http.StatusInternalServerError, "Unexpected."},
	} {
		t.Run(c.name, func(t *testing.T) {
			f.cluster.admit = func(w pods.Workload) error { asked = w; return c.err }
			before := f.dump()
			for _, r := range []response{
				f.want(c.status, "POST", "/v3/pods", "owner", `{"pod_id":"new","image":"podway/hello","environment_variables":{"A":"<<TAPIS_pod_id>>"}}`),
				f.want(c.status, "PUT", "/v3/pods/web", "owner", `{"environment_variables":{"A":"<<TAPIS_pod_id>>"}}`),
			} {
				if got := r.envelope(t).text(); !strings.HasPrefix(got, c.text) {
					t.Errorf("got message %q, want %q", got, c.text)
				}
				if asked.Env["A"] != string(asked.ID) {
					t.Errorf("got workload %+v, want placeholders filled in", asked)
				}
			}
			if after := f.dump(); after != before {
				t.Errorf("the store changed:\n%s\n%s", before, after)
			}
		})
	}
}

func TestUpdatePod(t *testing.T) {
	f := newFixture(t)
	k := f.put("web").Key
	later := noon.Add(time.Hour)
	f.deps.Now = func() time.Time { return later }

	f.want(http.StatusOK, "PUT", "/v3/pods/web", "owner", `{"networking":{"default":{"port":8080}},"environment_variables":{"TOKEN":"secret"}}`)
	p := f.pod(k)
	if !p.UpdatedAt.Equal(later) || p.Requested != pods.Off {
		t.Errorf("got UpdatedAt %v and %s, want %v and OFF", p.UpdatedAt, p.Requested, later)
	}
	if d := p.Definition; d.Description.IsSet() || d.Resources.IsSet() || d.Networking.Or(nil)["default"].Protocol.IsSet() {
		t.Errorf("got definition %+v, want only what was set", d)
	}
	want := []string{
		"Pod object created by 'owner'",
		"'owner' updated pod: environment_variables.TOKEN: added (hidden), networking.default.port: 5000→8080",
	}
	if got := f.lines(k); !slices.Equal(got, want) {
		t.Errorf("got action log %q, want %q", got, want)
	}
	if got := len(f.wakes()); got != 1 {
		t.Errorf("got %d wakes, want 1", got)
	}

	t.Run("a default that is set explicitly is no change", func(t *testing.T) {
		f.want(http.StatusOK, "PUT", "/v3/pods/web", "owner", `{"time_to_stop_default":43200,"networking":{"default":{"protocol":"http","port":8080}}}`)
		if got := f.pod(k); got.Version != p.Version {
			t.Errorf("got version %d, want %d", got.Version, p.Version)
		}
	})
	t.Run("a whole value is replaced", func(t *testing.T) {
		f.want(http.StatusOK, "PUT", "/v3/pods/web", "owner", `{"environment_variables":{"OTHER":"x"}}`)
		if got := f.pod(k).Definition.EnvironmentVariables.Or(nil); len(got) != 1 || got["OTHER"] != "x" {
			t.Errorf("got %v, want OTHER only", got)
		}
	})
	t.Run("a new wish is obeyed", func(t *testing.T) {
		r := f.want(http.StatusOK, "PUT", "/v3/pods/web", "owner", `{"status_requested":"ON"}`)
		if got := result[pods.View](t, r); got.StatusRequested != pods.On {
			t.Errorf("got %s, want ON", got.StatusRequested)
		}
	})
}

// meddlingStore runs a function before the first update that passes.
type meddlingStore struct {
	Store
	once   sync.Once
	meddle func()
}

func (s *meddlingStore) UpdatePod(ctx context.Context, p pods.Pod, events ...pods.Event) (pods.Pod, error) {
	s.once.Do(s.meddle)
	return s.Store.UpdatePod(ctx, p, events...)
}

// TestChangesAtTheSameTime lets another request come between reading a pod and
// writing it.
func TestChangesAtTheSameTime(t *testing.T) {
	const body = `{"description":"mine"}`
	for _, c := range []struct {
		name   string
		meddle func(f *fixture)
		status int
		check  func(t *testing.T, f *fixture)
	}{
		{
			"another field changes: both stay",
			func(f *fixture) {
				f.want(http.StatusOK, "PUT", "/v3/pods/web", "owner", `{"environment_variables":{"A":"theirs"}}`)
			},
			http.StatusOK,
			func(t *testing.T, f *fixture) {
				d := f.pod(pods.Key{Tenant: "dev", ID: "web"}).Definition
				if d.Description.Or("") != "mine" || d.EnvironmentVariables.Or(nil)["A"] != "theirs" {
					t.Errorf("got %+v, want both changes", d)
				}
			},
		},
		{
			"the other one does the same: nothing is left to do",
			func(f *fixture) { f.want(http.StatusOK, "PUT", "/v3/pods/web", "owner", body) },
			http.StatusOK,
			func(t *testing.T, f *fixture) {
				if got := f.pod(pods.Key{Tenant: "dev", ID: "web"}).Version; got != 2 {
					t.Errorf("got version %d, want 2", got)
				}
			},
		},
		{
			"the caller loses the right to",
			func(f *fixture) {
				f.want(http.StatusOK, "POST", "/v3/pods/web/permissions", "owner", `{"user":"user","level":"READ"}`)
			},
			http.StatusForbidden, nil,
		},
		{
			"the pod is deleted",
			func(f *fixture) { f.want(http.StatusOK, "DELETE", "/v3/pods/web", "owner", "") },
			http.StatusNotFound, nil,
		},
		{
			"another pod takes the id",
			func(f *fixture) {
				f.want(http.StatusOK, "DELETE", "/v3/pods/web", "owner", "")
				f.put("web", func(p *pods.Pod) { p.UID = "uid-of-another"; shared(p) })
			},
			http.StatusNotFound,
			func(t *testing.T, f *fixture) {
				if got := f.pod(pods.Key{Tenant: "dev", ID: "web"}).Definition.Description; got.IsSet() {
					t.Error("the new pod was changed")
				}
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			f.put("web", shared)
			plain := f.store
			f.deps.Store = &meddlingStore{Store: plain, meddle: func() {
				f.deps.Store = plain
				c.meddle(f)
			}}
			f.want(c.status, "PUT", "/v3/pods/web", "user", body)
			if c.check != nil {
				c.check(t, f)
			}
		})
	}
}

// contestedStore loses every update to someone else.
type contestedStore struct{ Store }

func (contestedStore) UpdatePod(context.Context, pods.Pod, ...pods.Event) (pods.Pod, error) {
	return pods.Pod{}, pods.Errorf(pods.Conflict, "changed meanwhile")
}

func TestChangesGiveUp(t *testing.T) {
	f := newFixture(t)
	f.put("web")
	f.deps.Store = contestedStore{f.store}
	r := f.want(http.StatusConflict, "GET", "/v3/pods/web/stop", "owner", "")
	if got := r.envelope(t).text(); !strings.Contains(got, "try again") {
		t.Errorf("got message %q", got)
	}
}

// TestManyChangesAtOnce makes real concurrent requests: none of them is lost.
func TestManyChangesAtOnce(t *testing.T) {
	const n = 8
	f := newFixture(t)
	k := f.put("web").Key
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			r := f.call("POST", "/v3/pods/web/permissions", "owner", fmt.Sprintf(`{"user":"friend%d","level":"READ"}`, i))
			if r.status != http.StatusOK {
				t.Errorf("got status %d: %s", r.status, r.body)
			}
		})
	}
	wg.Wait()
	if got := len(f.pod(k).Permissions); got != n+1 {
		t.Errorf("got %d permissions, want %d", got, n+1)
	}
}

func TestStartNeedsAStoppedPod(t *testing.T) {
	for _, c := range []struct {
		status    pods.Status
		requested pods.Requested
		want      int
	}{
		{pods.StatusStopped, pods.Off, http.StatusOK},
		{pods.StatusStopped, pods.Restart, http.StatusOK},
		{pods.StatusStopped, pods.On, http.StatusBadRequest}, // starts already, and is shown as REQUESTED
		{pods.StatusRequested, pods.On, http.StatusBadRequest},
		{pods.StatusSpawnerSetup, pods.On, http.StatusBadRequest},
		{pods.StatusCreating, pods.On, http.StatusBadRequest},
		{pods.StatusAvailable, pods.On, http.StatusBadRequest},
		{pods.StatusAvailable, pods.Off, http.StatusBadRequest},
		{pods.StatusComplete, pods.On, http.StatusBadRequest},
		{pods.StatusError, pods.On, http.StatusBadRequest},
		{pods.StatusDeleting, pods.Off, http.StatusBadRequest},
	} {
		t.Run(fmt.Sprintf("%s and %s", c.status, c.requested), func(t *testing.T) {
			f := newFixture(t)
			k := f.put("web", func(p *pods.Pod) { p.State.Status, p.Requested = c.status, c.requested }).Key
			f.want(c.want, "GET", "/v3/pods/web/start", "owner", "")
			if c.want == http.StatusOK && f.pod(k).Requested != pods.On {
				t.Errorf("got %s, want ON", f.pod(k).Requested)
			}
			f.want(http.StatusOK, "GET", "/v3/pods/web/restart", "owner", "")
			f.want(http.StatusOK, "GET", "/v3/pods/web/stop", "owner", "")
			p := f.pod(k)
			if p.Requested != pods.Off || p.State.Status != c.status {
				t.Errorf("got %s and status %s, want OFF and the status untouched: %s", p.Requested, p.State.Status, c.status)
			}
			lines := f.lines(k)
			want := []string{"'owner' ran restart_pod, set to RESTART", "'owner' ran stop_pod, set to OFF"}
			if !slices.Equal(lines[len(lines)-2:], want) {
				t.Errorf("got action log %q, want it to end with %q", lines, want)
			}
		})
	}
}

func TestDerivedPodHidesPasswordsFromReaders(t *testing.T) {
	f := newFixture(t)
	f.put("web", shared, func(p *pods.Pod) {
		p.Definition.EnvironmentVariables = pods.Set(map[string]string{
			"URL": "pg://<<TAPIS_user_username>>:<<TAPIS_user_password>>@x", "ADMIN": "<<tapissecret_admin_password>>",
		})
	})
	for token, want := range map[string]map[string]string{
		"reader": {"URL": "pg://web:********@x", "ADMIN": "********"},
		"user":   {"URL": "pg://web:usersecret@x", "ADMIN": "adminsecret"},
		"admin":  {"URL": "pg://web:usersecret@x", "ADMIN": "adminsecret"},
	} {
		r := f.want(http.StatusOK, "GET", "/v3/pods/web/derived", token, "")
		got := result[pods.View](t, r).EnvironmentVariables
		if got["URL"] != want["URL"] || got["ADMIN"] != want["ADMIN"] {
			t.Errorf("as %s: got %v, want %v", token, got, want)
		}
	}
}

func TestPermissions(t *testing.T) {
	f := newFixture(t)
	k := f.put("web").Key
	for _, c := range []struct {
		name, method, path, token, body string
		status                          int
		want                            string
	}{
		{"an owner shares", "POST", "", "owner", `{"user":"friend","level":"USER"}`, http.StatusOK, "friend:USER owner:ADMIN"},
		{"everyone may read", "POST", "", "owner", `{"user":"*","level":"READ"}`, http.StatusOK, "*:READ friend:USER owner:ADMIN"},
		{"an owner can't approve", "POST", "", "owner", `{"user":"owner","level":"APPROVEDADMIN"}`, http.StatusForbidden, ""},
		{"an admin of the service can", "POST", "", "admin", `{"user":"owner","level":"APPROVEDADMIN"}`, http.StatusOK, "*:READ friend:USER owner:APPROVEDADMIN"},
		{"an entry is taken away", "DELETE", "/friend", "owner", "", http.StatusOK, "*:READ owner:APPROVEDADMIN"},
		{"it is not there a second time", "DELETE", "/friend", "owner", "", http.StatusNotFound, ""},
		{"even the star", "DELETE", "/*", "owner", "", http.StatusOK, "owner:APPROVEDADMIN"},
		{"who has left can't be found any more", "GET", "", "friend", "", http.StatusNotFound, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := f.want(c.status, c.method, "/v3/pods/web/permissions"+c.path, c.token, c.body)
			if c.status != http.StatusOK {
				return
			}
			if got := strings.Join(result[permissions](t, r).Permissions, " "); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	want := []string{
		"Pod object created by 'owner'",
		"'owner' set permission for 'friend' to USER",
		"'owner' set permission for '*' to READ",
		"'admin' set permission for 'owner' to APPROVEDADMIN",
		"'owner' deleted permission for 'friend'",
		"'owner' deleted permission for '*'",
	}
	if got := f.lines(k); !slices.Equal(got, want) {
		t.Errorf("got action log %q, want %q", got, want)
	}
}

// TestCORSNeedsApproval goes the way of an owner who wants CORS for a pod.
func TestCORSNeedsApproval(t *testing.T) {
	f := newFixture(t)
	f.put("web")
	const body = `{"networking":{"default":{"cors_allow_origins":["https://a.example"]}}}`
	f.want(http.StatusBadRequest, "PUT", "/v3/pods/web", "owner", body)
	f.want(http.StatusOK, "POST", "/v3/pods/web/permissions", "admin", `{"user":"owner","level":"APPROVEDADMIN"}`)
	f.want(http.StatusOK, "PUT", "/v3/pods/web", "owner", body)
}
