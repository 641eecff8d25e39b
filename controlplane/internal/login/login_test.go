package login_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/controlplane/internal/devtapis"
	"github.com/tapis-project/podway/controlplane/internal/login"
	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/controlplane/internal/store"
	"github.com/tapis-project/podway/controlplane/internal/store/tempstore"
	"github.com/tapis-project/podway/controlplane/internal/tapis"
	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/routes/keytext"
	"github.com/tapis-project/podway/routes/redisgate"
	"github.com/tapis-project/podway/tests/parts"
)

const (
	base = "http://dev.localhost:8000"
	host = "web.pods.dev.localhost"
)

// dev is a Tapis with two tenants of two sites; its keys are slow to make.
var dev = sync.OnceValue(func() *devtapis.Server {
	s, err := devtapis.New(devtapis.Options{
		Others:   []devtapis.Tenant{{ID: "other", BaseURL: "http://other.localhost:8000"}},
		Services: map[string]string{"pods": "secret"}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		panic(err)
	}
	return s
})

// fakeTapis is the real one, but for what a test sets.
type fakeTapis struct {
	*tapis.Identity

	token string // what codes are exchanged for; "": a real token
	made  int    // calls of EnsureClient for the tenant dev
}

func (f *fakeTapis) ExchangeCode(ctx context.Context, tenant string, c pods.OAuthClient, code, verifier string) (string, error) {
	token, err := f.Identity.ExchangeCode(ctx, tenant, c, code, verifier)
	if err == nil && f.token != "" {
		token = f.token
	}
	return token, err
}

func (f *fakeTapis) EnsureClient(ctx context.Context, tenant string, want pods.OAuthClient) (pods.OAuthClient, error) {
	if tenant == "dev" {
		f.made++
	}
	return f.Identity.EnsureClient(ctx, tenant, want)
}

// fixture is a login with a real store, a real Redis and a real development Tapis.
type fixture struct {
	t      *testing.T
	login  *login.Service
	tapis  *fakeTapis
	store  *store.Store
	gate   *redisgate.Store
	client *redis.Client
	redis  *parts.Redis
	log    *bytes.Buffer
	now    time.Time
	jar    http.CookieJar
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, log: new(bytes.Buffer), redis: parts.StartRedis(t), store: tempstore.New(t)}
	id, err := tapis.New(tapis.Options{
		TenantsURL: base, Site: "dev", Service: &tapis.ServiceAccount{Tenant: "dev", Name: "pods", Password: "secret"},
		Transport: dev().InProcess(), Logger: slog.New(slog.DiscardHandler),
	})
	check(t, err)
	f.client = redis.NewClient(&redis.Options{Addr: f.redis.Addr, ContextTimeoutEnabled: true, MaxRetries: -1})
	t.Cleanup(func() { f.client.Close() })
	ring, err := redisgate.ParseKeyring(keytext.New())
	check(t, err)
	f.gate, err = redisgate.New(redisgate.Options{Client: f.client, Keyring: ring})
	check(t, err)
	f.tapis = &fakeTapis{Identity: id}
	f.login, err = login.New(login.Options{
		Tapis: f.tapis, Store: f.store, Gate: f.gate, Site: "dev", Now: func() time.Time { return f.now },
		Logger: slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Route: func(_ context.Context, h string) (routes.Route, bool, error) {
			r, ok := published[h]
			return r, ok, nil
		},
	})
	check(t, err)
	f.now = time.Now()
	f.forget()
	return f
}

var published = map[string]routes.Route{
	host:                            {Host: host, Tenant: "dev", Gate: &routes.Gate{AllowedUsers: []string{"*"}}},
	"open.pods.dev.localhost":       {Host: "open.pods.dev.localhost", Tenant: "dev"},
	"shared.pods.dev.localhost":     {Host: "shared.pods.dev.localhost", Tenant: "dev", AccessGate: &routes.AccessGate{}},
	"theirs.pods.other.localhost":   {Host: "theirs.pods.other.localhost", Tenant: "other", Gate: &routes.Gate{}},
	"mistaken.pods.other.localhost": {Host: "mistaken.pods.other.localhost", Tenant: "dev", Gate: &routes.Gate{}},
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// forget makes the next request one of another browser.
func (f *fixture) forget() {
	jar, err := cookiejar.New(nil)
	check(f.t, err)
	f.jar = jar
}

// page is what a browser gets.
type page struct {
	status int
	header http.Header
	body   string
}

func (p page) to() *url.URL {
	u, err := url.Parse(p.header.Get("Location"))
	if err != nil || u.Host == "" && u.Path == "" {
		return nil
	}
	return u
}

// get opens a page of the login as a browser.
func (f *fixture) get(target string, edits ...func(*http.Request)) page {
	f.t.Helper()
	r := httptest.NewRequestWithContext(f.t.Context(), http.MethodGet, target, nil)
	r.Header.Set("Accept", "text/html")
	u := &url.URL{Scheme: "http", Host: r.Host, Path: "/"}
	for _, c := range f.jar.Cookies(u) {
		r.AddCookie(c)
	}
	for _, e := range edits {
		e(r)
	}
	w := httptest.NewRecorder()
	serve := f.login.Start
	if r.URL.Path == "/v3/pods/auth/callback" {
		serve = f.login.Callback
	}
	check(f.t, serve(w, r))
	f.jar.SetCookies(u, w.Result().Cookies())
	return page{w.Code, w.Header(), w.Body.String()}
}

// attempt is the hash of an attempt id, as edges send it.
var attempt = redisgate.Hash("attempt")

func startURL(host string) string {
	return redisgate.Tenant{LoginURL: base}.LoginURLFor(redisgate.LoginRequest{Host: host, Port: "8443", Attempt: attempt})
}

var hidden = regexp.MustCompile(`<input type="hidden" name="([^"]+)" value="([^"]*)">`)

// logIn logs a user in at Tapis and consents: it returns the callback's URL.
func (f *fixture) logIn(start page, user string) *url.URL {
	f.t.Helper()
	if start.status != http.StatusFound || start.to().Path != "/v3/oauth2/authorize" {
		f.t.Fatalf("got %d to %v: %s", start.status, start.to(), start.body)
	}
	jar, err := cookiejar.New(nil)
	check(f.t, err)
	c := &http.Client{Transport: dev().InProcess(), Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.Path, "/v3/pods/") {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	b, _ := f.fetch(c, http.MethodGet, start.to().String(), nil)
	v := fields(b)
	v.Set("username", user)
	v.Set("password", user)
	b, _ = f.fetch(c, http.MethodPost, base+"/v3/oauth2/login", v)
	v = fields(b)
	v.Set("approve", "true")
	_, back := f.fetch(c, http.MethodPost, base+"/v3/oauth2/authorize", v)
	if back == nil {
		f.t.Fatal("Tapis sent the browser nowhere")
	}
	return back
}

func (f *fixture) fetch(c *http.Client, method, target string, form url.Values) (string, *url.URL) {
	f.t.Helper()
	r, err := http.NewRequestWithContext(f.t.Context(), method, target, strings.NewReader(form.Encode()))
	check(f.t, err)
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := c.Do(r)
	check(f.t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	check(f.t, err)
	to, err := resp.Location()
	if err != nil {
		to = nil
	}
	return string(b), to
}

func fields(body string) url.Values {
	v := url.Values{}
	for _, m := range hidden.FindAllStringSubmatch(body, -1) {
		v.Set(m[1], m[2])
	}
	return v
}

// refused fails the test unless a page ends the login and gives no cookie.
func (f *fixture) refused(p page, status int, text string) {
	f.t.Helper()
	if p.status != status || !strings.Contains(p.body, text) {
		f.t.Errorf("got %d %s, want %d and %q", p.status, p.body[max(0, len(p.body)-300):], status, text)
	}
	if p.to() != nil {
		f.t.Errorf("got sent to %v", p.to())
	}
	for _, c := range p.header.Values("Set-Cookie") {
		if !strings.Contains(c, "Max-Age=0") {
			f.t.Errorf("got the cookie %q", c)
		}
	}
}

func TestALoginEndsAtThePodWithACodeForIt(t *testing.T) {
	f := newFixture(t)
	f.login.Keep(t.Context())
	callback := f.logIn(f.get(startURL(host)), "testuser")
	p := f.get(callback.String())
	if p.status != http.StatusFound || p.to().Host != host+":8443" || p.to().Path != redisgate.CallbackPath {
		t.Fatalf("got %d to %v: %s", p.status, p.to(), p.body)
	}
	code := p.to().Query().Get("code")
	h, err := f.gate.TakeHandoff(t.Context(), code)
	check(t, err)
	if h.Host != host || h.Attempt != attempt || h.Username != "testuser" || h.Tenant != "dev" || h.TokenExpires.Before(f.now.Add(time.Hour)) {
		t.Errorf("got %+v", h)
	}
	if _, err := f.gate.TakeHandoff(t.Context(), code); err == nil {
		t.Error("the code counts twice")
	}
	for _, secret := range []string{code, callback.Query().Get("code"), callback.Query().Get("state"), "eyJ"} {
		if strings.Contains(f.log.String(), secret) {
			t.Errorf("the log holds a secret: %s", f.log)
		}
	}
	f.refused(f.get(callback.String()), http.StatusBadRequest, "This login has ended")
}

func TestStatesCountOnceInTheirBrowser(t *testing.T) {
	f := newFixture(t)
	f.login.Keep(t.Context())
	start := f.get(startURL(host))
	callback := f.logIn(start, "testuser")
	with := func(state string) string {
		u := *callback
		q := u.Query()
		q.Set("state", state)
		if state == "" {
			q.Del("state")
		}
		u.RawQuery = q.Encode()
		return u.String()
	}
	const ended = "This login has ended"
	f.refused(f.get(with("")), http.StatusBadRequest, ended)
	f.refused(f.get(with("x")), http.StatusBadRequest, ended)
	f.refused(f.get(with(strings.Repeat("x", 4000))), http.StatusBadRequest, ended)
	other := f.get(startURL(host)).to().Query().Get("state")
	mine := f.jar
	f.forget()
	f.refused(f.get(callback.String()), http.StatusBadRequest, ended)     // another browser
	f.refused(f.get(with(other)), http.StatusBadRequest, ended)           // which has no cookie for this one either
	f.get(startURL(host))                                                 // nor with a login of its own
	f.refused(f.get(callback.String()), http.StatusBadRequest, ended)     //
	f.jar = mine                                                          // an attempt that is too old
	f.now = f.now.Add(redisgate.AttemptTTL)                               //
	f.refused(f.get(callback.String()), http.StatusBadRequest, ended)     //
	f.now = f.now.Add(-redisgate.AttemptTTL)                              //
	f.refused(f.get(with(other)), http.StatusBadRequest, ended)           // the code of another attempt: PKCE
	if p := f.get(callback.String()); p.status != http.StatusBadRequest { // and now Tapis knows no such code
		t.Errorf("got %d, want a code that was tried elsewhere to be void", p.status)
	}
}

func TestTokensThatCountForNothing(t *testing.T) {
	f := newFixture(t)
	f.login.Keep(t.Context())
	good := func(edit func(devtapis.Claims)) string {
		c := dev().AccessClaims("dev", "testuser")
		edit(c)
		token, err := dev().Mint("dev", c)
		check(t, err)
		return token
	}
	otherTenant, err := dev().Mint("other", dev().AccessClaims("other", "testuser"))
	check(t, err)
	service, err := dev().Mint("dev", dev().ServiceClaims("pods"))
	check(t, err)
	for name, token := range map[string]string{
		"alg none":            unsigned(t),
		"HS256":               sharedSecret(t),
		"another tenant's":    otherTenant,
		"a service's":         service,
		"expired":             good(func(c devtapis.Claims) { c["exp"] = time.Now().Add(-time.Minute).Unix() }),
		"a refresh token":     good(func(c devtapis.Claims) { c["tapis/token_type"] = "refresh" }),
		"another issuer":      good(func(c devtapis.Claims) { c["iss"] = "https://evil.example/v3/tokens" }),
		"another tenant's id": good(func(c devtapis.Claims) { c["tapis/tenant_id"] = "other" }),
		"a name for everyone": good(func(c devtapis.Claims) { c["tapis/username"] = "*" }),
		"an audience":         good(func(c devtapis.Claims) { c["aud"] = "x" }),
		"no token at all":     "x",
	} {
		t.Run(name, func(t *testing.T) {
			f.t = t
			f.forget()
			f.tapis.token = token
			f.refused(f.get(f.logIn(f.get(startURL(host)), "testuser").String()), http.StatusForbidden, "This login does not count")
		})
	}
	f.t = t
	f.tapis.token = good(func(devtapis.Claims) {})
	if p := f.get(f.logIn(f.get(startURL(host)), "testuser").String()); p.status != http.StatusFound {
		t.Errorf("a good one: got %d", p.status)
	}
}

func TestLoginsThatAreNone(t *testing.T) {
	f := newFixture(t)
	f.login.Keep(t.Context())
	for name, c := range map[string]struct {
		target string
		status int
		text   string
	}{
		"no host":                  {base + "/v3/pods/login?attempt=" + attempt, http.StatusBadRequest, "This is no login"},
		"no attempt":               {base + "/v3/pods/login?host=" + host, http.StatusBadRequest, "This is no login"},
		"a port that is none":      {base + "/v3/pods/login?host=" + host + "&attempt=" + attempt + "&port=80@evil.example", http.StatusBadRequest, "This is no login"},
		"a host elsewhere":         {startURL("evil.example"), http.StatusNotFound, "No such pod"},
		"a host with a path":       {startURL(host + "/@evil.example"), http.StatusNotFound, "No such pod"},
		"a host with a port":       {startURL(host + ":1"), http.StatusNotFound, "No such pod"},
		"an upper-case host":       {startURL(strings.ToUpper(host)), http.StatusNotFound, "No such pod"},
		"a pod for everyone":       {startURL("open.pods.dev.localhost"), http.StatusNotFound, "No such pod"},
		"a pod with shares only":   {startURL("shared.pods.dev.localhost"), http.StatusNotFound, "No such pod"},
		"a pod of another tenant":  {startURL("theirs.pods.other.localhost"), http.StatusNotFound, "No such pod"},
		"the host of no tenant":    {strings.Replace(startURL(host), "dev.localhost", "evil.example", 1), http.StatusNotFound, "No such pod"},
		"a callback without code":  {base + "/v3/pods/auth/callback?state=x", http.StatusBadRequest, "This login has ended"},
		"a callback without state": {base + "/v3/pods/auth/callback?code=x", http.StatusBadRequest, "This login has ended"},
	} {
		t.Run(name, func(t *testing.T) {
			f.t = t
			f.refused(f.get(c.target), c.status, c.text)
		})
	}
}

func TestWhoDeniesIsTold(t *testing.T) {
	f := newFixture(t)
	f.login.Keep(t.Context())
	state := f.get(startURL(host)).to().Query().Get("state")
	p := f.get(base + "/v3/pods/auth/callback?error=access_denied&state=" + state)
	f.refused(p, http.StatusForbidden, "You did not log in")
	if !strings.Contains(p.body, `href="https://`+host+`:8443/"`) {
		t.Errorf("there is no way back: %s", p.body)
	}
}

func TestNobodyUnknownMakesAClient(t *testing.T) {
	f := newFixture(t)
	f.refused(f.get(startURL(host)), http.StatusServiceUnavailable, "Logins are not ready yet")
	if f.tapis.made != 0 {
		t.Errorf("asked Tapis for a client %d times, want 0", f.tapis.made)
	}
}

func TestClientsAreMadeOnceAndAgainWhenLost(t *testing.T) {
	f := newFixture(t)
	for range 3 {
		f.login.Keep(t.Context())
	}
	if f.tapis.made != 1 {
		t.Errorf("asked Tapis %d times, want once: not again so soon", f.tapis.made)
	}
	first, err := f.store.OAuthClient(t.Context(), "dev")
	check(t, err)
	if first.ID != "PODS-SERVICE-dev-dev" || first.CallbackURL != base+"/v3/pods/auth/callback" || first.Key == "" {
		t.Errorf("got %+v", first)
	}
	token, err := dev().Mint("dev", dev().ServiceClaims("pods"))
	check(t, err)
	r := httptest.NewRequestWithContext(t.Context(), http.MethodDelete, base+"/v3/oauth2/clients/"+first.ID, nil)
	r.Header.Set("X-Tapis-Token", token)
	r.Header.Set("X-Tapis-Tenant", "dev")
	r.Header.Set("X-Tapis-User", "_tapis_pods")
	w := httptest.NewRecorder()
	dev().ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatalf("deleting the client: %s", w.Body)
	}
	f.now = f.now.Add(5 * time.Minute)
	f.login.Keep(t.Context())
	second, err := f.store.OAuthClient(t.Context(), "dev")
	check(t, err)
	if second.Key == first.Key || f.tapis.made != 2 {
		t.Errorf("the client was not made again: %d calls", f.tapis.made)
	}
	if p := f.get(f.logIn(f.get(startURL(host)), "testuser").String()); p.status != http.StatusFound {
		t.Errorf("with the new one: got %d", p.status)
	}
}

func TestTenantsArePublished(t *testing.T) {
	f := newFixture(t)
	f.login.Keep(t.Context())
	check(t, f.client.FlushAll(t.Context()).Err())
	f.login.Keep(t.Context())
	got, err := f.gate.Tenants(t.Context())
	check(t, err)
	want := redisgate.Tenant{ID: "dev", SiteID: "dev", Issuer: base + "/v3/tokens", PublicKeys: []string{dev().PublicKey("dev")}, LoginURL: base}
	if g := got["dev"]; len(got) != 2 || g.Issuer != want.Issuer || g.LoginURL != want.LoginURL || g.SiteID != want.SiteID || g.PublicKeys[0] != want.PublicKeys[0] {
		t.Errorf("got %+v", got)
	}
}

func TestLoginsWithoutRedis(t *testing.T) {
	f := newFixture(t)
	f.login.Keep(t.Context())
	f.redis.Kill()
	f.refused(f.get(startURL(host)), http.StatusServiceUnavailable, "Logins are not possible now")
	if err := f.login.LogoutEverywhere(t.Context(), "dev", "testuser"); pods.ErrorCode(err) != pods.Unavailable {
		t.Errorf("got %v, want it to be unavailable", err)
	}
}

func TestTooManyLogins(t *testing.T) {
	f := newFixture(t)
	from := func(addr, forwarded string) func(*http.Request) {
		return func(r *http.Request) {
			r.RemoteAddr = addr
			if forwarded != "" {
				r.Header.Set("X-Forwarded-For", forwarded)
			}
		}
	}
	for range 60 {
		f.refused(f.get(base+"/v3/pods/login", from("192.0.2.1:1", "")), http.StatusBadRequest, "This is no login")
	}
	const tooMany = "Too many logins"
	f.refused(f.get(base+"/v3/pods/login", from("192.0.2.1:2", "198.51.100.7")), http.StatusTooManyRequests, tooMany) // who says so is unknown
	f.refused(f.get(base+"/v3/pods/login", from("10.0.0.1:2", "198.51.100.7, 192.0.2.1")), http.StatusTooManyRequests, tooMany)
	f.refused(f.get(base+"/v3/pods/login", from("10.0.0.1:2", "192.0.2.1, 198.51.100.7")), http.StatusBadRequest, "This is no login")
}

func TestProgramsGetErrors(t *testing.T) {
	f := newFixture(t)
	w := httptest.NewRecorder()
	err := f.login.Start(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, base+"/v3/pods/login", nil))
	if pods.ErrorCode(err) != pods.Invalid || w.Body.Len() > 0 {
		t.Errorf("got %v and %q", err, w.Body)
	}
}

func TestWhereAPersonLogsIn(t *testing.T) {
	f := newFixture(t)
	got, err := f.login.LoginURL(t.Context(), "dev.localhost:8000", "web", "default")
	if want := "https://" + host + "/.podway/login"; err != nil || got != want {
		t.Errorf("got %q and %v, want %q", got, err, want)
	}
	if got, err := f.login.ShareURL(t.Context(), "dev.localhost:8000", "shared", "default"); err != nil || got != "https://shared.pods.dev.localhost/.podway/share" {
		t.Errorf("got %q and %v, want the page for shares", got, err)
	}
	if _, err := f.login.ShareURL(t.Context(), "dev.localhost:8000", "web", "default"); pods.ErrorCode(err) != pods.NotFound {
		t.Errorf("got %v for a share of a pod that has none", err)
	}
	for _, pod := range []string{"open", "none"} {
		if _, err := f.login.LoginURL(t.Context(), "dev.localhost:8000", pod, "default"); pods.ErrorCode(err) != pods.NotFound {
			t.Errorf("%s: got %v", pod, err)
		}
	}
}
