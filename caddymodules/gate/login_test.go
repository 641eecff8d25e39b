package gate

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/routes/keytext"
	"github.com/tapis-project/podway/routes/redisgate"
)

const web = "https://" + host

func TestFirstVisitLogsInAndComesBackToThePageAskedFor(t *testing.T) {
	s := newSite(t)
	b := s.browser()
	b.open(web+"/lab/tree?x=1%202").want(t, 200, "pod")
	got := s.received()
	if len(got) != 1 || got[0].target != "/lab/tree?x=1%202" {
		t.Fatalf("got %+v, want the page that was asked for, once", got)
	}
	cookie := b.cookies[host][sessionCookie]
	if cookie == "" || b.cookies[host][loginCookie] != "" {
		t.Errorf("got cookies %v, want a session only", b.cookies[host])
	}
	b.open(web+"/again").want(t, 200, "pod")
	if len(s.received()) != 1 {
		t.Error("the second visit did not go straight to the pod")
	}
}

func TestCookiesOfTheEdgeAreForOneHostOnly(t *testing.T) {
	s := newSite(t)
	b := s.browser()
	a := b.do(http.MethodGet, web+"/", "", page...)
	login := a.Header.Get("Set-Cookie")
	back := b.do(http.MethodGet, a.Header.Get("Location"), "").Header.Get("Location")
	session := b.do(http.MethodGet, back, "").Header.Values("Set-Cookie")
	for _, c := range append(session, login) {
		for _, want := range []string{"; Path=/", "; Secure", "; HttpOnly", "; SameSite=Lax"} {
			if !strings.HasPrefix(c, "__Host-pods_") || !strings.Contains(c, want) || strings.Contains(strings.ToLower(c), "domain") {
				t.Errorf("got %q, want %q and no domain", c, want)
			}
		}
	}
	if strings.Contains(back, b.cookies[host][sessionCookie]) || a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("got %q, %v", back, a.Header)
	}
}

func TestStartPageIsTheOwnersReturnPath(t *testing.T) {
	s := newSite(t)
	r := gated(host, "ada")
	r.Gate.ReturnPath = "/lab/tree"
	s.route(r)
	s.browser().open(web + "/")
	if got := s.received(); len(got) != 1 || got[0].target != "/lab/tree" {
		t.Errorf("got %+v, want /lab/tree", got)
	}
}

func TestUsersWhoAreNotListedAreDenied(t *testing.T) {
	s := newSite(t)
	s.username = "mallory"
	b := s.browser()
	b.open(web+"/").want(t, 403, "You may not open this pod")
	if b.cookies[host][sessionCookie] != "" || len(s.received()) != 0 {
		t.Errorf("got %v", b.cookies)
	}
	s.username, s.tenant = "ada", "tacc"
	s.browser().open(web+"/").want(t, 403, "You may not open this pod")
}

func TestTwoPodsShareNoSession(t *testing.T) {
	s := newSite(t)
	b := s.browser()
	b.open(web + "/")
	s.received()
	stolen := "Cookie: " + sessionCookie + "=" + b.cookies[host][sessionCookie]
	a := s.browser().do(http.MethodGet, "https://"+host2+"/", "", append(page, stolen)...)
	if a.StatusCode != http.StatusFound || len(s.received()) != 0 {
		t.Errorf("replay at another pod: got %d, want a login", a.StatusCode)
	}
	// Another pod under the same name is another pod.
	r := gated(host, "ada")
	r.Pod = "web2"
	s.route(r)
	if a := b.do(http.MethodGet, web+"/", "", page...); a.StatusCode != http.StatusFound {
		t.Errorf("replay at the next pod of the name: got %d, want a login", a.StatusCode)
	}
}

func TestOldAndNewCookieTogetherAreNoLoop(t *testing.T) {
	s := newSite(t)
	b := s.browser()
	b.open(web + "/")
	s.received()
	old := "Cookie: " + sessionCookie + "=" + strings.Repeat("A", 64)
	a := b.do(http.MethodGet, web+"/", "", append(page, old)...)
	a.want(t, 200, "pod")
	a = b.do(http.MethodGet, web+"/", "", append([]string{old, "Cookie: " + sessionCookie + "="}, page...)...)
	a.want(t, 200, "pod")
}

func TestAPIClientsAreNotRedirected(t *testing.T) {
	s := newSite(t)
	b := s.browser()
	for name, headers := range map[string][]string{
		"no Accept":         nil,
		"JSON":              {"Accept: application/json"},
		"anything":          {"Accept: */*"},
		"fetch from a page": {"Accept: text/html", "Sec-Fetch-Mode: cors"},
		"a WebSocket":       {"Accept: text/html", "Upgrade: websocket", "Connection: Upgrade"},
	} {
		a := b.do(http.MethodGet, web+"/", "", headers...)
		if a.StatusCode != http.StatusUnauthorized || a.Header.Get("Location") != "" || a.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: got %d %v", name, a.StatusCode, a.Header)
		}
		if name == "JSON" && !strings.Contains(a.body, `"status":"error"`) {
			t.Errorf("got %s, want the API's envelope", a.body)
		}
	}
	b.do(http.MethodPost, web+"/", "a=b", page...).want(t, 401, "Login required")
}

func TestLogout(t *testing.T) {
	s := newSite(t)
	b, other := s.browser(), s.browser()
	b.open(web + "/")
	other.open("https://" + host2 + "/")
	s.received()
	kept := b.cookies[host][sessionCookie]

	b.open(web+logoutPath).want(t, 200, "Log out of all pods")
	b.do(http.MethodPost, web+logoutPath, "", "Origin: https://"+host2).want(t, 403, "")
	b.open(web+"/").want(t, 200, "pod")

	b.send(web+logoutPath, nil).want(t, 200, "Logged out")
	if b.cookies[host][sessionCookie] != "" {
		t.Error("the browser still has its cookie")
	}
	again := s.browser().do(http.MethodGet, web+"/", "", append(page, "Cookie: "+sessionCookie+"="+kept)...)
	if again.StatusCode != http.StatusFound {
		t.Errorf("the cookie after the logout: got %d, want a login", again.StatusCode)
	}
	other.open("https://"+host2+"/").want(t, 200, "pod")
	b.send(web+logoutPath, nil).want(t, 200, "Logged out") // without a session
}

func TestLogoutEverywhere(t *testing.T) {
	s := newSite(t)
	b, other, bob := s.browser(), s.browser(), s.browser()
	b.open(web + "/")
	other.open("https://" + host2 + "/")
	s.username = "bob"
	bob.open("https://" + host2 + "/")
	b.send(web+logoutPath+"?everywhere=1", nil).want(t, 200, "logged out of all pods")
	for _, tt := range []struct {
		name, url string
		b         *browser
		want      int
	}{
		{"this pod", web, b, 302},
		{"another pod in another browser", "https://" + host2, other, 302},
		{"somebody else", "https://" + host2, bob, 200},
	} {
		if a := tt.b.do(http.MethodGet, tt.url+"/", "", page...); a.StatusCode != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, a.StatusCode, tt.want)
		}
	}
}

func TestReturnsFromLogins(t *testing.T) {
	lines := corpus(t, "states.txt")
	for _, line := range lines {
		t.Run(line[0], func(t *testing.T) {
			s := newSite(t)
			a := returnFrom(t, s, line[0])
			begun := false
			for _, c := range a.Cookies() {
				begun = begun || (c.Name == sessionCookie && c.MaxAge >= 0)
			}
			if want := line[1] == "yes"; begun != want {
				t.Errorf("got a session: %v, want %v; %d %.300s", begun, want, a.StatusCode, a.body)
			}
			if !begun && a.StatusCode != http.StatusBadRequest && a.StatusCode != http.StatusForbidden && a.StatusCode != http.StatusMethodNotAllowed {
				t.Errorf("got %d, want 400, 403 or 405", a.StatusCode)
			}
		})
	}
}

// returnFrom returns from a login that differs in one thing from a good one.
func returnFrom(t *testing.T, s *site, difference string) answer {
	at := attempt{ID: redisgate.NewSecret(), ReturnPath: "/x", Expires: time.Now().Add(time.Minute)}
	handoff := redisgate.Handoff{Host: host, Attempt: redisgate.Hash(at.ID), Username: "ada", Tenant: "dev"}
	place, ring, store, method := host, s.h.guard.ring, s.store, http.MethodGet
	foreign := func() *redisgate.Store {
		other, err := redisgate.ParseKeyring(keytext.New())
		s.check(err)
		st, err := redisgate.New(redisgate.Options{Client: s.client, Keyring: other})
		s.check(err)
		return st
	}
	switch difference {
	case "login cookie of another attempt":
		handoff.Attempt = redisgate.Hash(redisgate.NewSecret())
	case "login cookie of another host":
		place = host2
	case "login cookie of another installation":
		ring = foreign().Keyring()
	case "expired login cookie":
		at.Expires = time.Now()
	case "handoff for another host":
		handoff.Host = host2
	case "handoff for another attempt":
		handoff.Attempt = at.ID
	case "handoff sealed by another installation":
		store = foreign()
	case "handoff of nobody":
		handoff.Username = ""
	case "handoff of a user with a line break":
		handoff.Username = "ada\nx"
	case "user who is not listed":
		handoff.Username = "bob"
	case "user of a foreign tenant":
		handoff.Tenant = "tacc"
	case "by POST":
		method = http.MethodPost
	}
	code, err := store.PutHandoff(t.Context(), handoff)
	s.check(err)
	query := "?code=" + url.QueryEscape(code)
	switch difference {
	case "no code":
		query = ""
	case "empty code":
		query = "?code="
	case "unknown code":
		query = "?code=" + redisgate.NewSecret()
	case "huge code":
		query = "?code=" + strings.Repeat("a", 4000)
	case "used code":
		_, err := s.store.TakeHandoff(t.Context(), code)
		s.check(err)
	}
	cookie, err := redisgate.SealJSON(ring, loginCookie, place, at)
	s.check(err)
	headers := append([]string{"Cookie: " + loginCookie + "=" + cookie}, page...)
	switch difference {
	case "no login cookie":
		headers = page
	case "changed login cookie":
		headers[0] = headers[0][:len(headers[0])-6] + "AAAAAA"
	case "good, with other cookies":
		headers = append(headers, "Cookie: a=b")
	case "good, with a forged login cookie beside":
		headers = append([]string{"Cookie: " + loginCookie + "=forged"}, headers...)
	}
	return s.browser().do(method, web+callbackPath+query, "", headers...)
}

func TestLoginsOfOneClientAreLimited(t *testing.T) {
	s := newSite(t)
	b := s.browser()
	for range redisgate.LoginStarts.Most {
		if a := b.do(http.MethodGet, web+"/", "", page...); a.StatusCode != http.StatusFound {
			t.Fatalf("got %d, want a login", a.StatusCode)
		}
	}
	keys := len(s.redis.Keys())
	a := b.do(http.MethodGet, web+"/", "", page...)
	a.want(t, 429, "Too many logins")
	if now := len(s.redis.Keys()); now != keys || keys > 4 {
		t.Errorf("got %d keys after logins began and %d after more, want none but the counter: %v", keys, now, s.redis.Keys())
	}
}

func TestRedisIsDown(t *testing.T) {
	s := newSite(t)
	known, unknown := s.browser(), s.browser()
	known.open(web + "/")
	unknown.open("https://" + host2 + "/")
	s.h.guard.sessions.remove(redisgate.SessionKey(unknown.cookies[host2][sessionCookie], host2, "lab"))
	s.redis.Close()
	known.open(web+"/").want(t, 200, "pod")
	unknown.open("https://"+host2+"/").want(t, 503, "Login is not available")
	s.browser().open(web+"/").want(t, 503, "Login is not available")
	s.browser().do(http.MethodGet, web+"/", "", "Accept: */*").want(t, 401, "")
	s.browser().do(http.MethodGet, web+"/", "", "X-Tapis-Token: "+tokenOf(t, "ada")).want(t, 200, "pod")
}

// A session is looked up again after Redis was away: it may have ended meanwhile.
func TestSessionsAreLookedUpAgainAfterRedisWasAway(t *testing.T) {
	s := newSite(t)
	b := s.browser()
	b.open(web + "/")
	addr := s.redis.Addr()
	s.redis.Close()
	b.open(web+"/").want(t, 200, "pod")
	m := miniredis.NewMiniRedis() // empty: the session is lost
	s.check(m.StartAddr(addr))
	t.Cleanup(m.Close)
	s.eventually(func() bool { return b.do(http.MethodGet, web+"/", "", page...).StatusCode != http.StatusOK })
}

func TestSessionsEndByThemselves(t *testing.T) {
	s := newSite(t)
	b := s.browser()
	b.open(web + "/")
	v := s.sessionVisitor(b)
	if left := time.Until(v.expires); left > 8*time.Hour || left < 7*time.Hour {
		t.Errorf("got a lifetime of %v, want 8h", left)
	}
	// Not used for longer than the idle time: Redis has the last word.
	v.used.Store(time.Now().Add(-2 * time.Hour).UnixNano())
	b.open(web+"/").want(t, 200, "pod")
	v.used.Store(time.Now().Add(-2 * time.Hour).UnixNano())
	s.redis.FastForward(2 * time.Hour)
	s.h.guard.sessions.add(v, func() bool { return false })
	if a := b.do(http.MethodGet, web+"/", "", page...); a.StatusCode != http.StatusFound {
		t.Errorf("idle: got %d, want a login", a.StatusCode)
	}
}

func TestSessionsEndWithTheTokenIfSoConfigured(t *testing.T) {
	s := newSite(t)
	s.h.settings.untilToken = true
	at := attempt{ID: "a", ReturnPath: "/", Expires: time.Now().Add(time.Minute)}
	code, err := s.store.PutHandoff(t.Context(), redisgate.Handoff{
		Host: host, Attempt: redisgate.Hash("a"), Username: "ada", Tenant: "dev", TokenExpires: time.Now().Add(time.Minute),
	})
	s.check(err)
	cookie, err := redisgate.SealJSON(s.h.guard.ring, loginCookie, host, at)
	s.check(err)
	b := s.browser()
	b.do(http.MethodGet, web+callbackPath+"?code="+code, "", "Cookie: "+loginCookie+"="+cookie)
	b.open(web+"/").want(t, 200, "pod")
	v := s.sessionVisitor(b)
	if left := time.Until(v.expires); left > time.Minute {
		t.Errorf("got %v, want at most a minute", left)
	}
}

func TestOwnPaths(t *testing.T) {
	s := newSite(t)
	s.route(shared("open.pods.test"))
	b := s.browser()
	for _, tt := range []struct {
		name, method, url string
		want              int
	}{
		{"an unknown one", "GET", web + "/.podway/x", 404},
		{"the folder", "GET", web + "/.podway/", 404},
		{"keys", "GET", web + jwksPath, 200},
		{"keys by HEAD", "HEAD", web + jwksPath, 200},
		{"keys by POST", "POST", web + jwksPath, 405},
		{"a login by POST", "POST", web + loginPath, 405},
		{"a logout by PUT", "PUT", web + logoutPath, 405},
		{"shares where there are none", "GET", web + sharePath, 404},
		{"a login where there is none", "GET", "https://open.pods.test" + loginPath, 404},
		{"a return where there is none", "GET", "https://open.pods.test" + callbackPath, 404},
		{"a share by PUT", "PUT", "https://open.pods.test" + sharePath, 405},
	} {
		if a := b.do(tt.method, tt.url, "", page...); a.StatusCode != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, a.StatusCode, tt.want)
		}
	}
	if len(s.received()) != 0 {
		t.Error("a pod has got one of them")
	}
	a := b.do(http.MethodGet, web+loginPath+"?return="+url.QueryEscape("//evil.example"), "", page...)
	b.open(a.Header.Get("Location"))
	if got := s.received(); len(got) != 1 || got[0].target != "/" {
		t.Errorf("got %+v, want /", got)
	}
}

func TestPagesHaveAStrictPolicy(t *testing.T) {
	s := newSite(t)
	b := s.browser()
	for _, u := range []string{logoutPath, callbackPath, "/.podway/x"} {
		h := b.do(http.MethodGet, web+u, "", page...).Header
		csp := h.Get("Content-Security-Policy")
		if !strings.HasPrefix(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") || h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: got %v", u, h)
		}
	}
}

// TestRedisIsAskedOncePerSession counts what a loaded session costs Redis.
func TestRedisIsAskedOncePerSession(t *testing.T) {
	s := newSite(t)
	b := s.browser()
	b.open(web + "/")
	b.open(web + "/")
	var commands counting
	s.h.guard.client.AddHook(&commands)
	for range 300 {
		b.open(web + "/")
	}
	if n := commands.n.Load(); n != 0 {
		t.Errorf("got %d commands for 300 requests, want none", n)
	}
}

// counting counts the commands of a client.
type counting struct{ n atomic.Int64 }

func (*counting) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *counting) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error { c.n.Add(1); return next(ctx, cmd) }
}

func (c *counting) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error { c.n.Add(1); return next(ctx, cmds) }
}
