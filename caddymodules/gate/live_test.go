package gate

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/routes/redisgate"
)

// goOn begins a request that does not end by itself. The channel is closed when it
// does.
func (s *site) goOn(b *browser, base string, headers ...string) <-chan struct{} {
	s.t.Helper()
	s.mu.Lock()
	s.pod = func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/stream" {
			_, _ = io.WriteString(w, "pod")
			return
		}
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
	s.mu.Unlock()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, base+"/stream", nil)
	s.check(err)
	for k, v := range b.cookies[req.URL.Hostname()] {
		req.Header.Add("Cookie", k+"="+v)
	}
	for _, h := range headers {
		k, v, _ := strings.Cut(h, ": ")
		req.Header.Add(k, v)
	}
	res, err := b.c.Transport.RoundTrip(req)
	s.check(err)
	if res.StatusCode != http.StatusOK {
		s.t.Fatalf("got %d for a request that goes on", res.StatusCode)
	}
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		close(ended)
	}()
	s.t.Cleanup(func() { res.Body.Close(); <-ended })
	return ended
}

// soon is how long what may not go on does. A second is promised, and tests run on
// busy machines.
const soon = 3 * time.Second

func (s *site) await(ended <-chan struct{}) {
	s.t.Helper()
	select {
	case <-ended:
	case <-time.After(soon):
		s.t.Errorf("the request goes on after %v", soon)
	}
}

func (s *site) goesOn(ended <-chan struct{}) {
	s.t.Helper()
	select {
	case <-ended:
		s.t.Error("a request ended that may go on")
	default:
	}
}

func TestRequestsEndWhenTheVisitorMayNotPassAnyMore(t *testing.T) {
	both := gated(host, "ada", "bob")
	for name, end := range map[string]func(s *site, b *browser){
		"taken off the list": func(s *site, _ *browser) { s.route(gated(host, "bob")) },
		"logged out": func(_ *site, b *browser) {
			b.send(web+logoutPath, nil)
		},
		"logged out everywhere, elsewhere": func(s *site, _ *browser) {
			s.check(s.store.LogoutEverywhere(s.t.Context(), "dev", "ADA"))
		},
		"the session was ended elsewhere": func(s *site, b *browser) {
			s.check(s.store.EndSession(s.t.Context(), redisgate.SessionKey(b.cookies[host][sessionCookie], host, "web")))
		},
		"the session's time is over": func(s *site, b *browser) {
			lives.expire(s.sessionVisitor(b).expires)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.route(both)
			ada, bob := s.browser(), s.browser()
			ada.open(web + "/")
			s.mu.Lock()
			s.username = "bob"
			s.mu.Unlock()
			bob.open(web + "/")
			goes := s.goOn(bob, web)
			ended := s.goOn(ada, web)
			end(s, ada)
			s.await(ended)
			if name != "the session's time is over" {
				s.goesOn(goes)
			}
			if name != "the session's time is over" {
				if a := ada.do(http.MethodGet, web+"/", "", page...); a.StatusCode == http.StatusOK {
					t.Errorf("the next request: got %d", a.StatusCode)
				}
			}
		})
	}
}

func TestRequestsByTokenEndWithTheList(t *testing.T) {
	s := newSite(t)
	ended := s.goOn(s.browser(), web, "X-Tapis-Token: "+tokenOf(t, "ada"))
	s.route(gated(host, "ada", "bob"))
	s.goesOn(ended)
	s.route(gated(host, "bob"))
	s.await(ended)
}

func TestRequestsOfOpenPathsEndWithTheException(t *testing.T) {
	s := newSite(t)
	r := gated(host, "ada")
	r.Gate.ExcludedPaths = []string{"/stream"}
	s.route(r)
	ended := s.goOn(s.browser(), web)
	s.route(r)
	s.goesOn(ended)
	s.route(gated(host, "ada"))
	s.await(ended)
}

func TestNothingIsLeftOfRequests(t *testing.T) {
	s := newSite(t)
	b := s.browser()
	b.open(web + "/")
	s.eventually(func() bool {
		return len(lives.shard(host).pick(nil, func(x *request) bool { return x.entry.Host == host })) == 0
	})
}

// TestConcurrentChanges has many requests go on while routes, sessions and shares
// change. What may not pass never does after a change.
func TestConcurrentChanges(t *testing.T) {
	s := newSite(t)
	b := s.browser()
	token := "X-Tapis-Token: " + tokenOf(t, "ada") // a session would be over after the first change
	var turn atomic.Int64                          // odd while nobody may pass
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			c := s.browser()
			for {
				select {
				case <-stop:
					return
				default:
				}
				before := turn.Load()
				a := c.do(http.MethodGet, web+"/", "", token)
				if before%2 == 1 && before == turn.Load() && a.StatusCode == http.StatusOK {
					t.Error("passed while it was not allowed")
				}
			}
		})
	}
	for i := range 50 {
		s.route(gated(host, "bob"))
		turn.Add(1)
		s.check(s.store.Publish(t.Context(), redisgate.Event{Kind: redisgate.SessionEnded, Session: fmt.Sprint(i)}))
		b.do(http.MethodGet, web+"/", "", token).want(t, 403, "")
		turn.Add(1)
		s.route(gated(host, "ada"))
		b.do(http.MethodGet, web+"/", "", token).want(t, 200, "")
	}
	close(stop)
	wg.Wait()
}

func TestUngatedPodsGetNoCookieOfTheEdgeEither(t *testing.T) {
	s := newSite(t)
	r := gated(host)
	r.Gate = nil
	s.route(r)
	s.browser().do(http.MethodGet, web+"/.podway/login", "", "Cookie: a=b; "+sessionCookie+"=x").want(t, 200, "pod")
	if got := s.received(); len(got) != 1 || got[0].header.Get("Cookie") != "a=b" {
		t.Errorf("got %+v", got)
	}
}

func TestWithoutAKeyNobodyPasses(t *testing.T) {
	s := newSite(t)
	g := s.h.guard
	s.h.guard = nil
	defer func() { s.h.guard = g }()
	for _, path := range []string{"/", jwksPath, loginPath} {
		s.browser().do(http.MethodGet, web+path, "", "X-Tapis-Token: "+tokenOf(t, "ada")).want(t, 418, "")
	}
}

func TestAddressListComesFirst(t *testing.T) {
	s := newSite(t)
	r := gated(host, "ada")
	r.IPAllow = []string{"192.0.2.1"}
	s.route(r)
	s.browser().do(http.MethodGet, web+"/", "", page...).want(t, 418, "") // the next handler says so
}

func TestOrigins(t *testing.T) {
	s := newSite(t)
	r := gated(host, "ada")
	r.CORS = &routes.CORS{AllowOrigins: []string{"https://app.example"}, AllowCredentials: true}
	s.route(r)
	b := s.browser()
	b.open(web + "/")
	upgrade := []string{"Upgrade: websocket", "Connection: Upgrade", "Sec-Websocket-Version: 13", "Sec-Websocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="}
	for _, tt := range []struct {
		name    string
		headers []string
		allowed bool
	}{
		{"the pod's own page", []string{"Origin: https://" + host}, true},
		{"the pod's own page, written otherwise", []string{"Origin: https://" + strings.ToUpper(host) + ":443"}, true},
		{"the pod's own page, by Sec-Fetch-Site", []string{"Sec-Fetch-Site: same-origin"}, true},
		{"the pod's own page that hides where it is", []string{"Origin: null", "Sec-Fetch-Site: same-origin"}, true},
		{"an origin on the route's list", []string{"Origin: https://app.example", "Sec-Fetch-Site: cross-site"}, true},
		{"nothing is said", nil, false},
		{"another site", []string{"Origin: https://evil.example"}, false},
		{"a sibling pod", []string{"Origin: https://" + host2, "Sec-Fetch-Site: same-site"}, false},
		{"a sibling pod that says nothing else", []string{"Sec-Fetch-Site: same-site"}, false},
		{"the tenant's own site", []string{"Origin: https://pods.test"}, false},
		{"plain HTTP", []string{"Origin: http://" + host}, false},
		{"another port", []string{"Origin: https://" + host + ":8443"}, false},
		{"a name that begins alike", []string{"Origin: https://" + host + ".evil.example"}, false},
		{"a name that ends alike", []string{"Origin: https://x" + host}, false},
		{"a user before the name", []string{"Origin: https://" + host + "@evil.example"}, false},
		{"a path behind the name", []string{"Origin: https://" + host + "/x"}, false},
		{"a hidden page", []string{"Origin: null"}, false},
		{"a hidden frame of another site", []string{"Origin: null", "Sec-Fetch-Site: cross-site"}, false},
		{"another site that lies by Sec-Fetch-Site", []string{"Origin: https://evil.example", "Sec-Fetch-Site: same-origin"}, false},
		{"two origins", []string{"Origin: https://" + host, "Origin: https://evil.example"}, false},
		{"no origin", []string{"Origin: "}, false},
		{"a star", []string{"Origin: *"}, false},
	} {
		want := http.StatusForbidden
		if tt.allowed {
			want = http.StatusOK
		}
		for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "PROPFIND"} {
			if a := b.do(method, web+"/", "", tt.headers...); a.StatusCode != want {
				t.Errorf("%s by %s: got %d, want %d", tt.name, method, a.StatusCode, want)
			}
		}
		a := b.do(http.MethodGet, web+"/", "", append(upgrade, tt.headers...)...)
		if got := a.StatusCode != http.StatusForbidden; got != tt.allowed {
			t.Errorf("%s by WebSocket: got %d", tt.name, a.StatusCode)
		}
		if a := b.do(http.MethodGet, web+"/", "", tt.headers...); a.StatusCode != http.StatusOK {
			t.Errorf("%s by GET: got %d, want 200", tt.name, a.StatusCode)
		}
		token := append([]string{"X-Tapis-Token: " + tokenOf(t, "ada")}, tt.headers...)
		if a := s.browser().do(http.MethodPost, web+"/", "", token...); a.StatusCode != http.StatusOK {
			t.Errorf("%s with a token: got %d, want 200", tt.name, a.StatusCode)
		}
	}
	preflight := []string{"Origin: https://evil.example", "Access-Control-Request-Method: POST"}
	s.browser().do(http.MethodOptions, web+"/", "", preflight...).want(t, 418, "")
	if len(s.received()) == 0 {
		t.Error("no request has reached the pod")
	}
}

// TestHostilePod has a pod record all it gets, and answer with what it should not.
func TestHostilePod(t *testing.T) {
	s := newSite(t)
	secret := redisgate.NewSecret()
	r := gated(host, "ada")
	r.AccessGate = new(routes.AccessGate)
	s.route(r)
	share := redisgate.Share{ID: "a", Kind: redisgate.Link, Hash: redisgate.HashLink(host, secret)}
	s.check(s.store.SetShares(t.Context(), host, []redisgate.Share{share}))
	s.pod = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Add("Set-Cookie", "evil=1; Domain=.pods.test")
		w.Header().Set("Location", "https://evil.example/")
		w.WriteHeader(http.StatusFound)
	}
	b := s.browser()
	a := b.do(http.MethodGet, web+loginPath+"?return=%2Fx", "", page...)
	var secrets []string
	secrets = append(secrets, b.cookies[host][loginCookie])
	a = b.do(http.MethodGet, a.Header.Get("Location"), "")
	code := a.Header.Get("Location")[strings.Index(a.Header.Get("Location"), "code=")+5:]
	b.do(http.MethodGet, a.Header.Get("Location"), "", page...)
	b.send(web+sharePath, map[string][]string{"t": {secret}})
	token := tokenOf(t, "ada")
	secrets = append(secrets, code, secret, token, b.cookies[host][sessionCookie], b.cookies[host][shareCookie])
	for _, x := range secrets {
		if len(x) < 20 {
			t.Fatalf("got secrets %q", secrets)
		}
	}
	for _, headers := range [][]string{
		{},
		{"X-Tapis-Token: " + token},
		{"x-tapis-token: " + token},
		{"Authorization: Bearer " + token},
		{"Authorization: bearer  " + token},
		{"X_Tapis_Token: " + token},
		{"Cookie: X-Tapis-Token=" + token},
		{"Origin: https://" + host},
	} {
		for _, method := range []string{"GET", "POST", "OPTIONS", "HEAD"} {
			b.do(method, web+"/a?b=c", "", headers...)
		}
	}
	got := s.received()
	if len(got) < 10 {
		t.Fatalf("the pod got %d requests only", len(got))
	}
	for _, x := range secrets {
		for _, g := range got {
			if strings.Contains(fmt.Sprint(g), x) {
				t.Errorf("the pod got a secret: %v", g)
			}
		}
		if strings.Contains(s.log.String(), x) {
			t.Errorf("a secret is in the log")
		}
		if dump := s.redis.Dump(); strings.Contains(dump, x) {
			t.Errorf("a secret is in Redis")
		}
	}
}
