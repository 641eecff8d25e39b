package gate

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/golang-jwt/jwt/v5"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/routes/keytext"
	"github.com/tapis-project/podway/routes/redisgate"
	"github.com/tapis-project/podway/routes/redisroutes"
	"github.com/tapis-project/podway/tests/parts"
)

// limit is for things that take no time, on a machine that is busy.
const limit = 20 * time.Second

const (
	host  = "web.pods.test" // behind a login, for ada
	host2 = "lab.pods.test" // another pod behind a login
)

func TestMain(m *testing.M) {
	redis.SetLogger(silence{})
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"),
		goleak.IgnoreAnyFunction("go.opencensus.io/stats/view.(*worker).start"),
		goleak.IgnoreAnyFunction("github.com/golang/glog.(*fileSink).flushDaemon"))
}

type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

// issuerKeys are the keys that tenants sign with. Making them takes long.
var issuerKeys = sync.OnceValue(func() map[string]*rsa.PrivateKey {
	keys := map[string]*rsa.PrivateKey{}
	for _, name := range []string{"dev", "dev2", "tacc", "evil"} {
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		keys[name] = k
	}
	return keys
})

func publicPEM(name string) string {
	der, err := x509.MarshalPKIXPublicKey(issuerKeys()[name].Public())
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// goodClaims are those of a token that counts, of ada.
func goodClaims(username string) jwt.MapClaims {
	return jwt.MapClaims{
		"iss": "https://dev.test/v3/tokens", "sub": username + "@dev", "exp": time.Now().Add(time.Hour).Unix(),
		"tapis/tenant_id": "dev", "tapis/username": username, "tapis/token_type": "access", "tapis/account_type": "user",
	}
}

func signed(t testing.TB, method jwt.SigningMethod, key any, c jwt.MapClaims) string {
	t.Helper()
	s, err := jwt.NewWithClaims(method, c).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func tokenOf(t testing.TB, username string) string {
	return signed(t, jwt.SigningMethodRS256, issuerKeys()["dev"], goodClaims(username))
}

// podRequest is what a pod has received.
type podRequest struct {
	target string
	header http.Header
	body   string
}

// site is a gate with its Redis, pods that record everything, and a login page.
type site struct {
	t      testing.TB
	h      *Handler
	table  *routes.Table
	store  *redisgate.Store
	redis  *miniredis.Miniredis // nil with another one
	client *redis.Client
	addr   string // of the edge
	login  *httptest.Server
	log    *parts.Output

	mu       sync.Mutex
	username string // who logs in
	tenant   string
	got      []podRequest // by the pods
	pod      http.HandlerFunc
}

func newSite(t testing.TB) *site {
	t.Helper()
	m := miniredis.NewMiniRedis()
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	s := newSiteOn(t, m.Addr())
	s.redis = m
	return s
}

func newSiteOn(t testing.TB, redisAddr string) *site {
	t.Helper()
	s := &site{t: t, table: routes.NewTable(), username: "ada", tenant: "dev", log: new(parts.Output)}
	opts, err := redisroutes.ParseURL("redis://" + redisAddr)
	s.check(err)
	g, err := newGuard(opts, "", keytext.New())
	s.check(err)
	t.Cleanup(func() { _ = g.Destruct() })
	s.store = g.store
	s.client = redis.NewClient(&redis.Options{Addr: redisAddr})
	t.Cleanup(func() { s.client.Close() })
	s.h = &Handler{
		guard: g, table: s.table, log: slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		settings: settings{lifetime: 8 * time.Hour, idle: time.Hour},
	}
	lives.watch(s.table)
	g.watch(s.table)
	s.startLogin()
	s.startEdge()
	s.check(s.store.SetTenants(t.Context(), []redisgate.Tenant{
		{ID: "dev", SiteID: "site1", Issuer: "https://dev.test/v3/tokens", PublicKeys: []string{publicPEM("dev"), publicPEM("dev2")}, LoginURL: s.login.URL},
		{ID: "tacc", SiteID: "site1", Issuer: "https://tacc.test/v3/tokens", PublicKeys: []string{publicPEM("tacc")}, LoginURL: s.login.URL},
	}))
	s.eventually(func() bool { return g.tenants.known("dev") != nil })
	s.route(gated(host, "ada"))
	s.route(gated(host2, "ada", "bob"))
	return s
}

// gated returns a route behind a login for these users.
func gated(name string, users ...string) routes.Route {
	pod, _, _ := strings.Cut(name, ".")
	return routes.Route{
		Host: name, Tenant: "dev", Pod: pod, Net: "default", Protocol: routes.HTTP, State: routes.Live,
		Upstreams: []string{"10.0.0.1:80"}, Gate: &routes.Gate{AllowedUsers: users},
	}
}

// shared returns a route that shares open.
func shared(name string) routes.Route {
	r := gated(name)
	r.Gate, r.AccessGate = nil, new(routes.AccessGate)
	return r
}

func (s *site) route(r routes.Route) {
	s.t.Helper()
	e, err := routes.Compile(r)
	s.check(err)
	s.table.Put(e)
}

func (s *site) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) eventually(f func() bool) {
	s.t.Helper()
	deadline := time.Now().Add(limit)
	for !f() {
		if time.Now().After(deadline) {
			s.t.Fatalf("not reached within %v", limit)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// startLogin starts a control plane that logs everybody in as s.username.
func (s *site) startLogin() {
	s.login = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l, ok := redisgate.ParseLogin(r.URL.Query())
		if !ok || r.URL.Path != redisgate.LoginPath {
			http.Error(w, "bad login", http.StatusBadRequest)
			return
		}
		s.mu.Lock()
		h := redisgate.Handoff{Host: l.Host, Attempt: l.Attempt, Username: s.username, Tenant: s.tenant}
		s.mu.Unlock()
		code, err := s.store.PutHandoff(r.Context(), h)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		http.Redirect(w, r, l.CallbackURL(code), http.StatusFound)
	}))
	s.t.Cleanup(s.login.Close)
}

// startEdge starts a server with the gate, and a pod behind it.
func (s *site) startEdge() {
	pod := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		s.mu.Lock()
		s.got = append(s.got, podRequest{r.RequestURI, r.Header.Clone(), string(body)})
		serve := s.pod
		s.mu.Unlock()
		if serve != nil {
			serve(w, r)
			return
		}
		_, _ = io.WriteString(w, "pod")
	}))
	s.t.Cleanup(pod.Close)
	to, _ := url.Parse(pod.URL)
	proxy := &httputil.ReverseProxy{
		Rewrite:  func(pr *httputil.ProxyRequest) { pr.Out.URL.Scheme, pr.Out.URL.Host = to.Scheme, to.Host },
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
			w.WriteHeader(http.StatusBadGateway)
		},
	}
	next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		e := s.table.Lookup(routes.NormalizeHost(r.Host))
		if e != nil && e.Gated() && !Admitted(r.Context()) {
			w.WriteHeader(http.StatusTeapot)
			return nil
		}
		ctx, cancel := context.WithCancelCause(r.Context())
		defer cancel(nil)
		OnRevoke(ctx, revokeContext(cancel))
		proxy.ServeHTTP(w, r.WithContext(ctx))
		return nil
	})
	edge := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = s.h.ServeHTTP(w, caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, nil), next)
	}))
	edge.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	edge.StartTLS()
	s.t.Cleanup(edge.Close)
	s.addr = edge.Listener.Addr().String()
}

// sessionVisitor returns who the edge takes a browser for, from what it remembers.
func (s *site) sessionVisitor(b *browser) *visitor {
	s.t.Helper()
	v := s.h.guard.sessions.find(b.cookies[host][sessionCookie], host, "web")
	if v == nil {
		s.t.Fatal("got no session in memory")
	}
	return v
}

// received returns and forgets what the pods have received.
func (s *site) received() []podRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	got := s.got
	s.got = nil
	return got
}

// browser is a browser with cookies by host, as browsers keep those that begin with
// __Host-.
type browser struct {
	s       *site
	c       *http.Client
	cookies map[string]map[string]string // by host and name
}

func (s *site) browser() *browser {
	tr := &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		DialTLSContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}).DialContext(ctx, network, s.addr)
		},
	}
	s.t.Cleanup(tr.CloseIdleConnections)
	return &browser{s: s, cookies: map[string]map[string]string{}, c: &http.Client{
		Transport: tr, Timeout: limit,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// answer is a response with its body read.
type answer struct {
	*http.Response
	body string
}

// do sends a request, with headers given as "Name: value". A value after
// "Cookie: " is added to the browser's own.
func (b *browser) do(method, target, body string, headers ...string) answer {
	b.s.t.Helper()
	req, err := http.NewRequestWithContext(b.s.t.Context(), method, target, strings.NewReader(body))
	b.s.check(err)
	if body != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	name := req.URL.Hostname()
	for _, k := range slices.Sorted(maps.Keys(b.cookies[name])) {
		req.Header.Add("Cookie", k+"="+b.cookies[name][k])
	}
	for _, h := range headers {
		k, v, _ := strings.Cut(h, ": ")
		req.Header[k] = append(req.Header[k], v) // as it is written
	}
	if lines := req.Header["Cookie"]; len(lines) > 0 {
		req.Header["Cookie"] = []string{strings.Join(lines, "; ")}
	}
	res, err := b.c.Do(req)
	b.s.check(err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	b.s.check(err)
	b.keep(name, res)
	return answer{res, string(text)}
}

func (b *browser) keep(name string, res *http.Response) {
	if b.cookies[name] == nil {
		b.cookies[name] = map[string]string{}
	}
	for _, c := range res.Cookies() {
		if c.MaxAge < 0 {
			delete(b.cookies[name], c.Name)
			continue
		}
		b.cookies[name][c.Name] = c.Value
	}
}

// page are the headers of a navigation.
var page = []string{"Accept: text/html,application/xhtml+xml,*/*;q=0.8", "Sec-Fetch-Mode: navigate"}

// open navigates to a URL and follows redirects.
func (b *browser) open(target string) answer {
	b.s.t.Helper()
	for range 10 {
		a := b.do(http.MethodGet, target, "", page...)
		to := a.Header.Get("Location")
		if to == "" {
			return a
		}
		u, err := a.Request.URL.Parse(to)
		b.s.check(err)
		target = u.String()
	}
	b.s.t.Fatalf("redirected for ever, last to %q", target)
	return answer{}
}

// send posts a form of one of the edge's pages.
func (b *browser) send(target string, form url.Values) answer {
	b.s.t.Helper()
	u, err := url.Parse(target)
	b.s.check(err)
	return b.do(http.MethodPost, target, form.Encode(), "Origin: https://"+u.Host, "Accept: text/html")
}

func (a answer) want(t testing.TB, status int, text string) {
	t.Helper()
	if a.StatusCode != status || !strings.Contains(a.body, text) {
		t.Errorf("got %d %.600s, want %d %q", a.StatusCode, a.body, status, text)
	}
}

// corpus returns the lines of a file in testdata, split at tabs.
func corpus(t testing.TB, name string) [][]string {
	t.Helper()
	f, err := os.Open("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var lines [][]string
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if line := sc.Text(); line != "" && !strings.HasPrefix(line, "# ") {
			lines = append(lines, strings.Split(line, "\t"))
		}
	}
	return lines
}
