package api

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// fakeLogin stands in for logins, and keeps what it is told.
type fakeLogin struct {
	away      bool // Redis does not answer
	loggedOut []string
	published []string // hosts, "-" before those withdrawn
	uses      map[string]pods.AccessTokenUses
}

var errAway = errors.New("redis does not answer")

func (f *fakeLogin) Start(w http.ResponseWriter, r *http.Request) error {
	if r.URL.Query().Get("host") == "none" {
		return pods.Errorf(pods.NotFound, "No such pod.")
	}
	w.Header().Set("Location", "https://tapis.example.org/")
	w.WriteHeader(http.StatusFound)
	return nil
}

func (f *fakeLogin) Callback(w http.ResponseWriter, r *http.Request) error { return f.Start(w, r) }

func (f *fakeLogin) LoginURL(_ context.Context, apiHost, pod, net string) (string, error) {
	if pod != "web" {
		return "", pods.Errorf(pods.NotFound, "There is no pod that asks for a login at '%s'", pod)
	}
	return "https://" + net + "." + pod + "." + apiHost + "/.podway/login", nil
}

func (f *fakeLogin) ShareURL(ctx context.Context, apiHost, pod, net string) (string, error) {
	to, err := f.LoginURL(ctx, apiHost, pod, net)
	return strings.Replace(to, "/login", "/share", 1), err
}

func (f *fakeLogin) LogoutEverywhere(_ context.Context, tenant, user string) error {
	if f.away {
		return pods.Errorf(pods.Unavailable, "away")
	}
	f.loggedOut = append(f.loggedOut, user+"@"+tenant)
	return nil
}

func (f *fakeLogin) NewLinkSecret() string { return "link/secret" }

func (f *fakeLogin) HashSecret(k pods.AccessTokenKind, host, secret string) string {
	return string(k) + " hash of " + secret + " at " + host
}

func (f *fakeLogin) PublishShares(_ context.Context, _ pods.Key, hosts map[string]string) error {
	f.published = append(f.published, slices.Sorted(maps.Values(hosts))...)
	return f.err()
}

func (f *fakeLogin) WithdrawShares(_ context.Context, hosts map[string]string) error {
	for _, host := range slices.Sorted(maps.Values(hosts)) {
		f.published = append(f.published, "-"+host)
	}
	return f.err()
}

func (f *fakeLogin) ShareUses(context.Context, map[string]string) (map[string]pods.AccessTokenUses, error) {
	return f.uses, f.err()
}

func (f *fakeLogin) err() error {
	if f.away {
		return errAway
	}
	return nil
}

// shareable has two http entries, of which one has an access gate, and a database.
func shareable(p *pods.Pod) {
	p.Permissions["reader"], p.Permissions["user"] = pods.LevelRead, pods.LevelUser
	p.Definition.Networking = pods.Set(map[string]pods.NetDef{
		"default": {},
		"shared":  {Port: pods.Set(5001), AccessGate: pods.Set(true)},
		"data":    {Port: pods.Set(5432), Protocol: pods.Set("postgres")},
	})
}

// created is an access token as it is answered once.
type created struct {
	ID            string  `json:"id"`
	Secret        string  `json:"secret"`
	RedemptionURL string  `json:"redemption_url"`
	ExpiresAt     *string `json:"expires_at"`
	MaxUses       *int    `json:"max_uses"`
	Uses          int     `json:"uses"`
	Revoked       bool    `json:"revoked"`
	LastUsedAt    *string `json:"last_used_at"`
}

func decodeResult[T any](t *testing.T, r response) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(r.envelope(t).Result, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestAccessTokens(t *testing.T) {
	f := newFixture(t)
	f.put("web", shareable)
	const path = "/v3/pods/web/access-tokens"

	link := decodeResult[created](t, f.want(http.StatusOK, "POST", path, "owner", `{"label":"reviewers","expires_in_seconds":60,"max_uses":3}`))
	if link.Secret != "link/secret" || link.RedemptionURL != "https://web-shared.pods.dev.example.org/.podway/share?t=link%2Fsecret" ||
		link.MaxUses == nil || *link.MaxUses != 3 || link.ExpiresAt == nil || *link.ExpiresAt != "2025-07-21T12:01:00.723000" {
		t.Errorf("got the link %+v", link)
	}
	password := decodeResult[created](t, f.want(http.StatusOK, "POST", path, "owner", `{"kind":"password","password":"open sesame"}`))
	if password.Secret != "open sesame" || password.RedemptionURL != "" || password.ExpiresAt != nil || password.MaxUses != nil {
		t.Errorf("got the password %+v", password)
	}
	if want := []string{"web-shared.pods.dev.example.org", "web-shared.pods.dev.example.org"}; !slices.Equal(f.login.published, want) {
		t.Errorf("published for %v, want %v", f.login.published, want)
	}

	f.login.uses = map[string]pods.AccessTokenUses{link.ID: {Count: 2, Last: noon}}
	r := f.want(http.StatusOK, "GET", path, "user", "")
	if strings.Contains(r.body, "secret") || strings.Contains(r.body, "hash") || strings.Contains(r.body, "sesame") {
		t.Errorf("the list shows more than it may: %s", r.body)
	}
	list := decodeResult[[]created](t, r)
	if len(list) != 2 || list[0].ID != link.ID && list[1].ID != link.ID {
		t.Fatalf("got %s", r.body)
	}

	r = f.want(http.StatusOK, "DELETE", path+"/"+link.ID, "owner", "")
	for _, x := range decodeResult[[]created](t, r) {
		if x.Revoked != (x.ID == link.ID) || (x.Uses == 2) != (x.ID == link.ID) || (x.LastUsedAt != nil) != (x.ID == link.ID) {
			t.Errorf("after the revocation: got %+v", x)
		}
	}
	tokens, err := f.store.AccessTokens(t.Context(), pods.Key{Tenant: "dev", ID: "web"})
	if err != nil || len(tokens) != 2 || len(tokens[0].Hashes) != 2 {
		t.Errorf("stored: got %+v and %v, want hashes for both http entries", tokens, err)
	}
	if log := f.log.String(); strings.Contains(log, "sesame") || strings.Contains(log, "link/secret") {
		t.Error("a secret is in the log")
	}

	f.login.published = nil
	f.want(http.StatusOK, "DELETE", "/v3/pods/web", "owner", "")
	if want := []string{"-web-shared.pods.dev.example.org"}; !slices.Equal(f.login.published, want) {
		t.Errorf("at deletion: got %v, want %v", f.login.published, want)
	}
}

func TestBadAccessTokensAreRefused(t *testing.T) {
	f := newFixture(t)
	f.put("web", shareable)
	f.put("db", func(p *pods.Pod) {
		p.Definition.Networking = pods.Set(map[string]pods.NetDef{"default": {Protocol: pods.Set("tcp")}})
	})
	for _, c := range []struct{ name, pod, body, want string }{
		{"another kind", "web", `{"kind":"key"}`, "kind must be 'link' or 'password'"},
		{"a password for a link", "web", `{"password":"secret"}`, "password can only be set with kind 'password'"},
		{"a short password", "web", `{"kind":"password","password":"short"}`, "password must have 6 to 256 characters"},
		{"no life at all", "web", `{"expires_in_seconds":0}`, "expires_in_seconds must be between 1 and"},
		{"a life without end", "web", `{"expires_in_seconds":9000000000000}`, "expires_in_seconds must be between 1 and"},
		{"no uses", "web", `{"max_uses":0}`, "max_uses must be between 1 and"},
		{"a long label", "web", `{"label":"` + strings.Repeat("x", 129) + `"}`, "label must have at most 128 characters"},
		{"a label of two lines", "web", `{"label":"a\nb"}`, "no control characters"},
		{"a field that is none", "web", `{"secret":"x"}`, "secret"},
		{"a pod without http", "db", `{}`, "there is nothing to share"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := f.want(http.StatusBadRequest, "POST", "/v3/pods/"+c.pod+"/access-tokens", "owner", c.body).envelope(t).text(); !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q in it", got, c.want)
			}
		})
	}
}

func TestAccessTokensWithoutRedis(t *testing.T) {
	f := newFixture(t)
	f.put("web", shareable)
	f.login.away = true
	made := decodeResult[created](t, f.want(http.StatusOK, "POST", "/v3/pods/web/access-tokens", "owner", `{}`))
	r := f.want(http.StatusOK, "DELETE", "/v3/pods/web/access-tokens/"+made.ID, "owner", "")
	if e := r.envelope(t); !strings.Contains(string(e.Metadata["warnings"]), "told as soon as possible") {
		t.Errorf("got no warning: %s", r.body)
	}
	if len(f.wakes()) != 2 {
		t.Errorf("woken %d times, want 2: the reconciler tells the edges later", len(f.wakes()))
	}
}

func TestLogoutEverywhere(t *testing.T) {
	f := newFixture(t)
	f.want(http.StatusOK, "POST", "/v3/pods/auth/logout", "reader@other", "", "Host", "x")
	f.login.away = true
	f.want(http.StatusServiceUnavailable, "POST", "/v3/pods/auth/logout", "reader", "")
	if want := []string{"reader@other"}; !slices.Equal(f.login.loggedOut, want) {
		t.Errorf("got %v, want %v", f.login.loggedOut, want)
	}
}

func TestLoginsThatAreNotSetUp(t *testing.T) {
	f := newFixture(t, func(d *Deps) { d.Login = nil })
	f.put("web", shareable)
	for _, c := range []struct{ method, path, token, body string }{
		{"GET", "/v3/pods/login", "", ""},
		{"GET", "/v3/pods/auth/callback", "", ""},
		{"POST", "/v3/pods/auth/logout", "owner", ""},
		{"POST", "/v3/pods/web/access-tokens", "owner", `{}`},
	} {
		f.want(http.StatusServiceUnavailable, c.method, c.path, c.token, c.body)
	}
	f.want(http.StatusOK, "GET", "/v3/pods/web/access-tokens", "owner", "")
}

func TestLoginPagesFailAsEverythingElse(t *testing.T) {
	f := newFixture(t)
	for _, path := range []string{"/v3/pods/login", "/v3/pods/auth/callback"} {
		if got := f.want(http.StatusFound, "GET", path, "", "").header.Get("Location"); got != "https://tapis.example.org/" {
			t.Errorf("%s: got %q", path, got)
		}
		if got := f.want(http.StatusNotFound, "GET", path+"?host=none", "", "").envelope(t).text(); got != "No such pod." {
			t.Errorf("%s: got %q", path, got)
		}
	}
}

func TestPodAuthSendsPeopleToTheLogin(t *testing.T) {
	f := newFixture(t)
	f.put("web", func(p *pods.Pod) {
		p.Definition.Networking = pods.Set(map[string]pods.NetDef{"gated": {TapisAuth: pods.Set(true)}})
	})
	const page = "text/html,*/*;q=0.8"
	for _, c := range []struct {
		name, path, token string
		header            []string
		status            int
		to                string
	}{
		{"a person without a token", "web-gated", "", []string{"Accept", page, "Sec-Fetch-Mode", "navigate"}, http.StatusFound, "https://gated.web.dev.example.org/.podway/login"},
		{"a person at the default entry", "web", "", []string{"Accept", page}, http.StatusFound, "https://default.web.dev.example.org/.podway/login"},
		{"a person with an old cookie", "web-gated", "", []string{"Accept", page, "Cookie", "X-Tapis-Token=expired"}, http.StatusFound, "https://gated.web.dev.example.org/.podway/login"},
		{"a script with an old cookie", "web-gated", "", []string{"Accept", page, "Sec-Fetch-Mode", "cors", "Cookie", "X-Tapis-Token=expired"}, http.StatusForbidden, ""},
		{"a program with a bad token", "web-gated", "expired", []string{"Accept", page}, http.StatusForbidden, ""},
		{"a program without a token", "web-gated", "", []string{"Accept", "*/*"}, http.StatusUnauthorized, ""},
		{"a pod that is not there", "none", "", []string{"Accept", page}, http.StatusNotFound, ""},
		{"a good cookie", "web-gated", "", []string{"Accept", page, "Cookie", "X-Tapis-Token=guest"}, http.StatusOK, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := f.want(c.status, "GET", "/v3/pods/"+c.path+"/auth", c.token, "", c.header...)
			if got := r.header.Get("Location"); got != c.to {
				t.Errorf("got %q, want %q", got, c.to)
			}
		})
	}
}
