package login

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/tapis-project/podway/tests/parts"
	"github.com/tapis-project/podway/tests/system"
)

// within bounds what happens in a moment, on a machine that is busy.
const within = 30 * time.Second

// gated is a pod with a login in front, for holders of READ.
const gated = `{"pod_id":%q,"image":"podway/hello","networking":{"default":{"protocol":"http","port":5000,"tapis_auth":true,
	"tapis_auth_allowed_users":["AUTHORIZED_READS"],"tapis_auth_response_headers":{"X-Who":"<<tapisusername>>@<<tapistenantid>>"}}}}`

func TestLogin(t *testing.T) {
	s := system.Start(t)
	s.StartEdge()
	owner := s.Login("testuser")
	for _, pod := range []string{"web", "sibling"} {
		owner.Call(http.MethodPost, "/v3/pods", strings.Replace(gated, "%q", strconv.Quote(pod), 1))
	}
	owner.Call(http.MethodPost, "/v3/pods", `{"pod_id":"shared","image":"podway/hello","networking":{"default":{"protocol":"http","port":5000,
		"access_gate":true,"access_gate_return_path":"/headers"}}}`)
	s.WaitLive("web", "sibling", "shared")

	for _, tt := range []struct {
		name string
		run  func(t *testing.T, s *system.System, owner system.User)
	}{
		{"a visitor is back on the page first asked for, and the pod knows who it is", firstPage},
		{"a session counts at one pod", oneSessionPerPod},
		{"a callback counts once, in the browser that began it", callbackOnce},
		{"a login leads to the pod's own host only", openRedirects},
		{"programs show their token", programs},
		{"who is not on the list is denied", denied},
		{"who is taken off the list is out at once", takenOff},
		{"a logout ends the sessions everywhere", logoutEverywhere},
		{"a link lets people without an account pass", shareLink},
		{"a password does, too", sharePassword},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, s, owner) })
	}
}

func firstPage(t *testing.T, s *system.System, _ system.User) {
	b := newBrowser(t, s)
	p := b.logIn(podURL(s, "web", "/headers?a=b&c=%2F"), "testuser")
	if p.status != http.StatusOK || p.url.RequestURI() != "/headers?a=b&c=%2F" {
		t.Fatalf("got %v", p)
	}
	var seen struct{ Headers http.Header }
	if err := json.Unmarshal([]byte(p.body), &seen); err != nil {
		t.Fatal(err)
	}
	if got, want := seen.Headers.Get("X-Who"), "testuser@dev"; got != want {
		t.Errorf("the pod learns that %q visits, want %q", got, want)
	}
	if seen.Headers.Get("X-Pods-Assertion") == "" {
		t.Error("the pod gets no assertion")
	}
	// The one of the login and the session are cookies; the pod gets none of them.
	if seen.Headers.Get("Cookie") != "" || seen.Headers.Get("X-Tapis-Token") != "" {
		t.Errorf("the pod gets secrets: %s", p.body)
	}
	if again := b.do(http.MethodGet, podURL(s, "web", "/"), nil); again.status != http.StatusOK {
		t.Errorf("with the session: got %v", again)
	}
}

func oneSessionPerPod(t *testing.T, s *system.System, _ system.User) {
	b := newBrowser(t, s)
	b.logIn(podURL(s, "web", "/"), "testuser")
	host, err := url.Parse(podURL(s, "web", "/"))
	if err != nil {
		t.Fatal(err)
	}
	cookies := b.c.Jar.Cookies(host)
	if len(cookies) != 1 || cookies[0].Name != "__Host-pods_session" {
		t.Fatalf("got the cookies %v, want the session", cookies)
	}
	stranger := newBrowser(t, s)
	p := stranger.do(http.MethodGet, podURL(s, "sibling", "/"), nil, "Cookie", cookies[0].String())
	if p.to == nil || p.to.Path != "/v3/pods/login" {
		t.Errorf("at the sibling: got %v, want the login", p)
	}
	// The same person needs no second password, but a second login.
	if p := b.logIn(podURL(s, "sibling", "/headers"), "testuser"); p.status != http.StatusOK {
		t.Errorf("got %v", p)
	}
}

func callbackOnce(t *testing.T, s *system.System, _ system.User) {
	b := newBrowser(t, s)
	back := b.consent(b.open(podURL(s, "web", "/")), "testuser")
	if got, want := back.to.Path, "/v3/pods/auth/callback"; got != want {
		t.Fatalf("got back to %v, want %s", back.to, want)
	}
	for name, target := range map[string]string{
		"without a state":    tenantURL(s, "/v3/pods/auth/callback?code="+back.to.Query().Get("code")),
		"with another state": tenantURL(s, "/v3/pods/auth/callback?state=x&code="+back.to.Query().Get("code")),
	} {
		if p := b.do(http.MethodGet, target, nil); p.status != http.StatusBadRequest || p.header.Get("Set-Cookie") != "" {
			t.Errorf("%s: got %v", name, p)
		}
	}
	if p := newBrowser(t, s).do(http.MethodGet, back.to.String(), nil); p.status != http.StatusBadRequest || p.header.Get("Set-Cookie") != "" {
		t.Errorf("in another browser: got %v", p)
	}
	handoff := b.do(http.MethodGet, back.to.String(), nil)
	if handoff.to == nil || handoff.to.Path != "/.podway/callback" {
		t.Fatalf("got %v", handoff)
	}
	if p := b.do(http.MethodGet, back.to.String(), nil); p.status != http.StatusBadRequest {
		t.Errorf("a second time: got %v", p)
	}
	if p := newBrowser(t, s).do(http.MethodGet, handoff.to.String(), nil); p.status == http.StatusOK || p.to != nil {
		t.Errorf("the code in another browser: got %v", p)
	}
}

func openRedirects(t *testing.T, s *system.System, _ system.User) {
	b := newBrowser(t, s)
	home := podURL(s, "web", "/")
	b.logIn(home, "testuser")
	for _, to := range []string{
		"https://evil.example/", "//evil.example", `/\evil.example`, `\\evil.example`, "/%09/evil.example", "/\t/evil.example",
		"javascript:alert(1)", "/%5cevil.example", "/%2f%2fevil.example", "///evil.example", "/.//evil.example", " //evil.example", "@evil.example",
	} {
		p := b.open(podURL(s, "web", "/.podway/login?return="+url.QueryEscape(to)))
		if p.url.Path == "/v3/oauth2/authorize" {
			p = b.follow(b.consent(p, "testuser"))
		}
		if p.url.Scheme+"://"+p.url.Host+"/" != home || strings.HasPrefix(p.url.EscapedPath(), "//") {
			t.Errorf("%q: ended at %v", to, p.url)
		}
	}
}

func programs(t *testing.T, s *system.System, owner system.User) {
	b := newBrowser(t, s)
	for _, c := range []struct {
		name, token string
		status      int
	}{
		{"no token", "", http.StatusUnauthorized},
		{"a token that is none", "x", http.StatusForbidden},
		{"the owner's", owner.Token, http.StatusOK},
		{"one of somebody who is not on the list", s.Login("otheruser").Token, http.StatusForbidden},
	} {
		header := []string{"Accept", "*/*", "Sec-Fetch-Mode", "cors"}
		if c.token != "" {
			header = append(header, "X-Tapis-Token", c.token)
		}
		if p := b.do(http.MethodGet, podURL(s, "web", "/headers"), nil, header...); p.status != c.status || p.to != nil || strings.Contains(p.body, c.token) && len(c.token) > 1 {
			t.Errorf("%s: got %v, want %d", c.name, p, c.status)
		}
	}
}

func denied(t *testing.T, s *system.System, _ system.User) {
	b := newBrowser(t, s)
	if p := b.logIn(podURL(s, "web", "/"), "otheruser"); p.status != http.StatusForbidden || strings.Contains(p.body, "podway/hello") {
		t.Errorf("got %v", p)
	}
	if p := b.do(http.MethodGet, podURL(s, "web", "/"), nil); p.to == nil {
		t.Errorf("afterwards: got %v, want the login", p)
	}
}

func takenOff(t *testing.T, s *system.System, owner system.User) {
	b := newBrowser(t, s)
	owner.Call(http.MethodPost, "/v3/pods/web/permissions", `{"user":"otheruser","level":"READ"}`)
	parts.Eventually(t, within, func() error {
		return want(b.logIn(podURL(s, "web", "/"), "otheruser"), http.StatusOK)
	})
	ws, _, err := websocket.Dial(t.Context(), "wss"+strings.TrimPrefix(podURL(s, "web", "/ws"), "https"), &websocket.DialOptions{
		HTTPClient: b.c, HTTPHeader: http.Header{"Origin": {strings.TrimSuffix(podURL(s, "web", ""), "/")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ws.CloseNow() }()
	if err := ws.Write(t.Context(), websocket.MessageText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, text, err := ws.Read(t.Context()); err != nil || string(text) != "hello" {
		t.Fatalf("got %q and %v", text, err)
	}
	closed := make(chan time.Time, 1)
	go func() {
		_, _, _ = ws.Read(t.Context())
		closed <- time.Now()
	}()
	began := time.Now()
	owner.Call(http.MethodDelete, "/v3/pods/web/permissions/otheruser", "")
	select {
	case at := <-closed:
		t.Logf("the WebSocket was closed after %v", at.Sub(began).Round(time.Millisecond))
		if at.Sub(began) > 5*time.Second { // one second, where nothing else runs
			t.Errorf("the WebSocket was closed after %v", at.Sub(began))
		}
	case <-time.After(within):
		t.Fatal("the WebSocket stays open")
	}
	if p := b.do(http.MethodGet, podURL(s, "web", "/"), nil); p.status != http.StatusForbidden {
		t.Errorf("afterwards: got %v", p)
	}
}

func logoutEverywhere(t *testing.T, s *system.System, owner system.User) {
	one, two := newBrowser(t, s), newBrowser(t, s)
	for _, b := range []*browser{one, two} {
		if p := b.logIn(podURL(s, "web", "/"), "testuser"); p.status != http.StatusOK {
			t.Fatalf("got %v", p)
		}
	}
	owner.Call(http.MethodPost, "/v3/pods/auth/logout", "")
	for _, b := range []*browser{one, two} {
		parts.Eventually(t, within, func() error { return want(b.do(http.MethodGet, podURL(s, "web", "/"), nil), http.StatusFound) })
	}
}

// newToken makes an access token of the shared pod.
func newToken(owner system.User, t *testing.T, body string) (id, secret, link string) {
	t.Helper()
	var made struct {
		ID            string `json:"id"`
		Secret        string `json:"secret"`
		RedemptionURL string `json:"redemption_url"`
	}
	owner.Call(http.MethodPost, "/v3/pods/shared/access-tokens", body).Into(t, &made)
	return made.ID, made.Secret, made.RedemptionURL
}

func shareLink(t *testing.T, s *system.System, owner system.User) {
	id, secret, link := newToken(owner, t, `{"label":"reviewers","max_uses":1}`)
	if !strings.HasPrefix(link, podURL(s, "shared", "/.podway/share?t=")) {
		t.Fatalf("got the link %q", link)
	}
	b := newBrowser(t, s)
	for range 2 { // looking at it, as previews do, is no use of it
		if p := b.do(http.MethodGet, link, nil); p.status != http.StatusOK || p.header.Get("Referrer-Policy") != "no-referrer" {
			t.Fatalf("got %v", p)
		}
	}
	p := b.follow(b.do(http.MethodPost, podURL(s, "shared", "/.podway/share"), url.Values{"t": {secret}}))
	if p.status != http.StatusOK || p.url.RequestURI() != "/headers" || strings.Contains(p.body, secret) {
		t.Fatalf("got %v", p)
	}
	if p := newBrowser(t, s).do(http.MethodPost, podURL(s, "shared", "/.podway/share"), url.Values{"t": {secret}}); p.to != nil {
		t.Errorf("a second use: got %v", p)
	}
	var list []struct {
		ID   string `json:"id"`
		Uses int    `json:"uses"`
	}
	owner.Call(http.MethodGet, "/v3/pods/shared/access-tokens", "").Into(t, &list)
	if len(list) != 1 || list[0].ID != id || list[0].Uses != 1 {
		t.Errorf("got %v, want one use", list)
	}
	owner.Call(http.MethodDelete, "/v3/pods/shared/access-tokens/"+id, "")
	parts.Eventually(t, within, func() error {
		return not(b.do(http.MethodGet, podURL(s, "shared", "/headers"), nil, "Sec-Fetch-Mode", "cors", "Accept", "*/*"), http.StatusOK)
	})
}

func sharePassword(t *testing.T, s *system.System, owner system.User) {
	newToken(owner, t, `{"kind":"password","password":"open sesame"}`)
	b := newBrowser(t, s)
	share := podURL(s, "shared", "/.podway/share")
	if p := b.do(http.MethodPost, share, url.Values{"password": {"open says me"}}); p.to != nil {
		t.Errorf("with another password: got %v", p)
	}
	if p := b.follow(b.do(http.MethodPost, share, url.Values{"password": {"open sesame"}})); p.status != http.StatusOK || p.url.Path != "/headers" {
		t.Errorf("got %v", p)
	}
}
