package api

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

func TestPodAuth(t *testing.T) {
	f := newFixture(t)
	f.put("web", func(p *pods.Pod) {
		p.Permissions["reader"] = pods.LevelRead
		p.Definition.Networking = pods.Set(map[string]pods.NetDef{
			"default": {},
			"gated": {
				Port: pods.Set(5001), TapisAuth: pods.Set(true), TapisAuthAllowedUsers: pods.Set([]string{"AUTHORIZED_READS", "guest"}),
				TapisAuthResponseHeaders: pods.Set(map[string]string{"X-Who": "<<tapisusername>>@<<tapistenantid>>"}),
			},
		})
	})
	for _, c := range []struct {
		name, path, token string
		status            int
		want              string
	}{
		{"someone who is listed may pass", "web-gated", "guest", http.StatusOK, "Already authenticated"},
		{"a holder of the level may pass", "web-gated", "reader", http.StatusOK, "Already authenticated"},
		{"a stranger may not", "web-gated", "stranger", http.StatusForbidden, "user 'stranger' is authenticated but not in the tapis_auth_allowed_users for web-gated"},
		{"without a token there is nobody to pass", "web-gated", "", http.StatusUnauthorized, "No Tapis access token found"},
		{"a bad token is refused", "web-gated", "expired", http.StatusForbidden, "Not authenticated"},
		{"keys that are away are told", "web-gated", "keys_away", http.StatusServiceUnavailable, "keys"},
		{"an entry without login has nothing to tell", "web", "guest", http.StatusForbidden, "tapis_auth is not set"},
		{"an entry that is not there", "web-nothing", "guest", http.StatusNotFound, "Pod with identifier pod_id: 'web-nothing' not found"},
		{"a pod that is not there", "none-gated", "guest", http.StatusNotFound, "Pod with identifier pod_id: 'none' not found"},
		{"a pod of another tenant", "web-gated", "guest@other", http.StatusNotFound, "not found"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := f.want(c.status, "GET", "/v3/pods/"+c.path+"/auth", c.token, "")
			if !strings.Contains(r.body, c.want) {
				t.Errorf("got %s, want %q in it", r.body, c.want)
			}
			want := ""
			if c.status == http.StatusOK {
				want = c.token + "@dev"
			}
			if got := r.header.Get("X-Who"); got != want {
				t.Errorf("got header %q, want %q", got, want)
			}
		})
	}
}

func TestPodAuthCallbackNeedsACode(t *testing.T) {
	f := newFixture(t)
	if got, want := f.want(http.StatusBadRequest, "GET", "/v3/pods/web/auth/callback", "", "").envelope(t).text(), "query, code: field required"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTraefikConfigListsHosts(t *testing.T) {
	f := newFixture(t)
	f.put("web")
	f.put("db", func(p *pods.Pod) {
		p.Definition.Networking = pods.Set(map[string]pods.NetDef{
			"default": {Protocol: pods.Set("postgres"), Port: pods.Set(5432)},
			"inside":  {Protocol: pods.Set("local_only"), Port: pods.Set(9000)},
		})
	})
	got := string(f.want(http.StatusOK, "GET", "/v3/traefik-config", "admin", "").envelope(t).Result)
	want := `[{"host":"db.pods.dev.example.org","pod_id":"db","network":"default","protocol":"postgres","port":5432,"status":"STOPPED"},` +
		`{"host":"web.pods.dev.example.org","pod_id":"web","network":"default","protocol":"http","port":5000,"status":"STOPPED"}]`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
