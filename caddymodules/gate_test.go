package caddymodules_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	neturl "net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/routes/keytext"
	"github.com/tapis-project/podway/routes/redisgate"
	"github.com/tapis-project/podway/tests/parts"
)

// startGatedEdge starts an edge with a gate key, and returns the control plane's
// side of the gate.
func startGatedEdge(t *testing.T) (*edge, *redisgate.Store) {
	t.Helper()
	key := keytext.New()
	file := filepath.Join(t.TempDir(), "gate.key")
	if err := os.WriteFile(file, []byte(key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PODWAY_GATE_KEY_FILE", file)
	addr := miniredis.RunT(t).Addr()
	e := startEdgeOn(t, addr)
	ring, err := redisgate.ParseKeyring(key)
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { client.Close() })
	store, err := redisgate.New(redisgate.Options{Client: client, Keyring: ring})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.SetTenants(t.Context(), []redisgate.Tenant{{ID: "dev", SiteID: "s", LoginURL: "https://dev.test"}}); err != nil {
		t.Fatal(err)
	}
	return e, store
}

// gatedWeb returns an HTTP route behind a login.
func gatedWeb(host, upstream string, users ...string) routes.Route {
	r := web(host, upstream)
	r.Gate = &routes.Gate{AllowedUsers: users, ResponseHeaders: map[string]string{"X-User": "<<tapisusername>>"}}
	return r
}

// TestGateBeforeThePod goes through a login with the configuration of `make run`.
func TestGateBeforeThePod(t *testing.T) {
	e, store := startGatedEdge(t)
	upstream := pod(t, telling)
	e.publish(gatedWeb("web.pods.test", upstream, "ada"), web("free.pods.test", upstream))
	c := e.client("HTTP/1.1")
	url := "https://web.pods.test:" + e.port

	if a := e.get(c, url+"/"); a.StatusCode != http.StatusUnauthorized {
		t.Fatalf("without a session: got %d %s, want 401", a.StatusCode, a.body)
	}
	var a answer
	parts.Eventually(t, limit, func() error { // the tenants may have come a moment ago
		a = e.get(c, url+"/x?y=z", "Accept: text/html")
		return wantStatus(a, http.StatusFound)
	})
	login, ok := redisgate.ParseLogin(mustURL(t, a.Header.Get("Location")).Query())
	if !ok || login.Host != "web.pods.test" || login.Port != e.port {
		t.Fatalf("got a login of %+v", login)
	}
	code, err := store.PutHandoff(t.Context(), redisgate.Handoff{Host: login.Host, Attempt: login.Attempt, Username: "ada", Tenant: "dev"})
	if err != nil {
		t.Fatal(err)
	}
	a = e.get(c, login.CallbackURL(code), "Cookie: "+cookieOf(a, "__Host-pods_login"), "Accept: text/html")
	if to := a.Header.Get("Location"); a.StatusCode != http.StatusSeeOther || to != url+"/x?y=z" {
		t.Fatalf("got %d %q %s", a.StatusCode, to, a.body)
	}
	session := "Cookie: a=b; " + cookieOf(a, "__Host-pods_session")

	got := tell(t, e.get(c, url+"/x", session, "X-User: root", "X_User: root", "X-Pods-Assertion: root", "Connection: X-User"))
	if got.Header.Get("X-User") != "ada" || got.Header.Get("Cookie") != "a=b" || len(got.Header["X_user"]) != 0 {
		t.Errorf("the pod got %v", got.Header)
	}
	if v := got.Header.Get("X-Pods-Assertion"); strings.Count(v, ".") != 2 {
		t.Errorf("got the assertion %q", v)
	}
	if got := tell(t, e.get(c, "https://free.pods.test/", session, "X-Pods-Assertion: root")); len(got.Header["X-Pods-Assertion"]) != 0 || got.Header.Get("Cookie") != "a=b" {
		t.Errorf("the ungated pod got %v", got.Header)
	}
	// The Host decides, whatever name the connection was opened with.
	if a := e.get(e.client("HTTP/2.0"), "https://free.pods.test/", "Host: web.pods.test"); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("by another connection: got %d, want 401", a.StatusCode)
	}

	// A share alone gates too.
	r := web("open.pods.test", upstream)
	r.AccessGate = new(routes.AccessGate)
	e.publish(r)
	if a := e.get(c, "https://open.pods.test/"); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("behind shares: got %d, want 401", a.StatusCode)
	}

	// A new configuration forgets nobody.
	e.load("2s")
	tell(t, e.get(c, url+"/x", session))

	// Taken off the list.
	e.publish(gatedWeb("web.pods.test", upstream, "bob"))
	parts.Eventually(t, soon, func() error { return wantStatus(e.get(c, url+"/x", session), http.StatusForbidden) })
}

// TestGatedStreamsEndWithTheList has a response go on behind a login.
func TestGatedStreamsEndWithTheList(t *testing.T) {
	e, store := startGatedEdge(t)
	started := make(chan struct{}, 1)
	upstream := pod(t, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		started <- struct{}{}
		<-r.Context().Done()
	})
	e.publish(gatedWeb("web.pods.test", upstream, "ada"))
	now := time.Now()
	id, err := store.CreateSession(t.Context(), redisgate.Session{
		Host: "web.pods.test", Pod: "web", Username: "ada", Tenant: "dev", Created: now, Expires: now.Add(time.Hour),
	}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	c := e.client("HTTP/2.0")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://web.pods.test/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Cookie", "__Host-pods_session="+id)
	go func() {
		res, err := c.Do(req)
		if err == nil {
			_, _ = io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
		close(ended)
	}()
	select {
	case <-started:
	case <-ended:
		t.Fatal("the stream did not begin")
	}
	e.publish(gatedWeb("web.pods.test", upstream, "ada", "bob"))
	e.publish(gatedWeb("web.pods.test", upstream, "bob"))
	select {
	case <-ended:
	case <-time.After(soon):
		t.Errorf("the stream goes on after %v", soon)
	}
}

// TestTrailersSayNothingThatHeadersMayNot sends in trailers what the gate takes out
// of headers. Servers that mix the two must not be taken in.
func TestTrailersSayNothingThatHeadersMayNot(t *testing.T) {
	e, store := startGatedEdge(t)
	r := gatedWeb("web.pods.test", pod(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = fmt.Fprintf(w, "%q %q", slices.Sorted(maps.Keys(r.Trailer)), r.Header["X-User"])
	}), "ada")
	r.Headers = &routes.HeaderRules{SetRequest: map[string]string{"X-Env": "prod"}}
	e.publish(r)
	now := time.Now()
	id, err := store.CreateSession(t.Context(), redisgate.Session{
		Host: "web.pods.test", Pod: "web", Username: "ada", Tenant: "dev", Created: now, Expires: now.Add(time.Hour),
	}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		body := io.LimitReader(zeroes{}, 100_000)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://web.pods.test/", body)
		if err != nil {
			t.Fatal(err)
		}
		req.Header = http.Header{"Cookie": {"__Host-pods_session=" + id}, "Origin": {"https://web.pods.test"}}
		req.Trailer = http.Header{
			"X-Sum": {"42"}, "X-User": {"root"}, "X_user": {"root"}, "X-Env": {"test"}, "Cookie": {"a=b"},
			"X-Tapis-Username": {"root"}, "X_tapis_username": {"root"}, "X-Pods-Assertion": {"root"}, "X-Tapis-Token": {"root"},
		}
		res, err := e.client(proto).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(res.Body)
		res.Body.Close()
		if want := `["X-Sum"] ["ada"]`; err != nil || string(got) != want {
			t.Errorf("%s: got %d %s, %v, want %s", proto, res.StatusCode, got, err, want)
		}
	}
}

// zeroes is a body that has no end.
type zeroes struct{}

func (zeroes) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func wantStatus(a answer, want int) error {
	if a.StatusCode != want {
		return fmt.Errorf("got %d %.200s, want %d", a.StatusCode, a.body, want)
	}
	return nil
}

func mustURL(t *testing.T, s string) *neturl.URL {
	t.Helper()
	u, err := neturl.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// cookieOf returns a cookie that a response has set, as a browser sends it.
func cookieOf(a answer, name string) string {
	for _, c := range a.Cookies() {
		if c.Name == name {
			return c.Name + "=" + c.Value
		}
	}
	return ""
}
