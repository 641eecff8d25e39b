package caddymodules_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni/snitest"
	"github.com/tapis-project/podway/tests/parts"
)

// told is what a pod sees of a request.
type told struct {
	Host, Method, Path, Remote string
	Header                     http.Header
	Body                       int64
}

// telling is a pod that says what it sees.
func telling(w http.ResponseWriter, r *http.Request) {
	n, _ := io.Copy(io.Discard, r.Body)
	w.Header().Set("Server", "pod/1.0")
	_ = json.NewEncoder(w).Encode(told{r.Host, r.Method, r.URL.RequestURI(), r.RemoteAddr, r.Header, n})
}

func tell(t *testing.T, a answer) told {
	t.Helper()
	var got told
	if err := json.Unmarshal([]byte(a.body), &got); err != nil {
		t.Fatalf("got %d %s: %v", a.StatusCode, a.body, err)
	}
	return got
}

// http3Client returns an HTTP/3 client whose requests all go to the edge.
func (e *edge) http3Client() *http.Client {
	tr := &http3.Transport{
		TLSClientConfig: &tls.Config{RootCAs: e.pool, MinVersion: tls.VersionTLS13},
		Dial: func(ctx context.Context, _ string, tlsCfg *tls.Config, cfg *quic.Config) (*quic.Conn, error) {
			return quic.DialAddr(ctx, e.addr, tlsCfg, cfg)
		},
	}
	e.t.Cleanup(func() { tr.Close() })
	return &http.Client{Transport: tr, Timeout: limit}
}

func TestRequestsReachThePod(t *testing.T) {
	e := startEdge(t)
	e.publish(web("web.pods.test", pod(t, telling)), snitest.Route("echo.pods.test", routes.TCP, snitest.Echo(t).Addr))
	clients := map[string]*http.Client{
		"HTTP/1.1": e.client("HTTP/1.1"), "HTTP/2.0": e.client("HTTP/2.0"), "HTTP/3.0": e.http3Client(),
	}
	for proto, c := range clients {
		t.Run(proto, func(t *testing.T) {
			e := e.in(t)
			a := e.get(c, "https://web.pods.test/a/b?c=d%20e", "X-Mine: 1", "Authorization: Bearer mine")
			if a.StatusCode != http.StatusOK || a.Proto != proto {
				t.Fatalf("got %s %d %s", a.Proto, a.StatusCode, a.body)
			}
			got := tell(t, a)
			if got.Host != "web.pods.test" || got.Path != "/a/b?c=d%20e" || got.Method != http.MethodGet {
				t.Errorf("got %+v", got)
			}
			for name, want := range map[string]string{
				"X-Mine": "1", "Authorization": "Bearer mine",
				"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "web.pods.test", "X-Real-Ip": "127.0.0.1",
			} {
				if v := got.Header.Values(name); !slices.Equal(v, []string{want}) {
					t.Errorf("%s: got %q, want %q", name, v, want)
				}
			}
			if s := a.Header["Server"]; !slices.Equal(s, []string{"pod/1.0"}) {
				t.Errorf("Server: got %q, want the pod's own", s)
			}

			a = e.do(c, http.MethodPost, "https://web.pods.test/up", io.LimitReader(zeros{}, 5<<20))
			if got := tell(t, a); got.Body != 5<<20 || got.Method != http.MethodPost {
				t.Errorf("got %d bytes by %s, want %d", got.Body, got.Method, 5<<20)
			}

			// HTTP/3 is accepted for any name the certificate covers.
			if a := e.get(c, "https://web.pods.test/", "Host: echo.pods.test"); a.StatusCode != http.StatusMisdirectedRequest {
				t.Errorf("host of a TCP pod: got %d, want 421", a.StatusCode)
			}
			if a := e.get(c, "https://none.pods.test/"); a.StatusCode != http.StatusNotFound {
				t.Errorf("no such pod: got %d, want 404", a.StatusCode)
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func TestClaimsOfClientsAreDropped(t *testing.T) {
	e := startEdge(t)
	e.publish(web("web.pods.test", pod(t, telling)))
	spoofed := []string{
		"X-Forwarded-For", "x-forwarded-for", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-User",
		"X_Forwarded_For", "X-Real-Ip", "X-Real-IP", "X_Real_Ip", "Forwarded", "X-Tapis-Token", "X-Tapis-User", "x-tapis-tenant",
		"X_Tapis_User", "X-Tapis_User", "X-Pods-Assertion", "X-PODS-USER", "X_pods_user",
	}
	var headers []string
	for _, name := range spoofed {
		headers = append(headers, name+": spoofed")
	}
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		got := tell(t, e.get(e.client(proto), "https://web.pods.test/", headers...))
		for name, values := range got.Header {
			if slices.Contains(values, "spoofed") {
				t.Errorf("%s: the pod sees the client's %s", proto, name)
			}
		}
	}
	// Headers that Connection names belong to one hop.
	got := tell(t, e.get(e.client("HTTP/1.1"), "https://web.pods.test/", "Connection: X-Hop", "X-Hop: 1", "Te: gzip"))
	if got.Header.Get("X-Hop") != "" || got.Header.Get("Te") != "" {
		t.Errorf("got hop-by-hop headers %v", got.Header)
	}
}

// One connection serves all names its certificate covers, so the Host of each
// request decides.
func TestTheHostDecidesNotTheServerName(t *testing.T) {
	e := startEdge(t)
	b := web("b.pods.test", pod(t, telling))
	b.IPAllow = []string{"192.0.2.1"}
	gated := web("gated.pods.test", pod(t, telling))
	gated.Gate = &routes.Gate{AllowedUsers: []string{"*"}}
	e.publish(web("a.pods.test", pod(t, telling)), b, gated)

	c := e.client("HTTP/2.0")
	for _, tt := range []struct {
		name, host string
		want       int
	}{
		{"the connection's own name", "a.pods.test", 200},
		{"upper case, a port and a trailing dot", "A.Pods.Test:443", 200},
		{"a trailing dot", "a.pods.test.", 200},
		{"a trailing dot and a port", "a.PODS.test.:8443", 200},
		{"another pod, with an address list", "b.pods.test", 403},
		{"another pod, behind a login", "gated.pods.test", 403},
		{"no pod", "c.pods.test", 404},
		{"below a pod", "x.a.pods.test", 404},
		{"a wildcard", "*.pods.test", 404},
		{"an address", "127.0.0.1", 404},
		{"an IPv6 address", "[::1]:443", 404},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := e.in(t)
			a := e.get(c, "https://a.pods.test/", "Host: "+tt.host)
			if a.StatusCode != tt.want {
				t.Fatalf("got %d %s, want %d", a.StatusCode, a.body, tt.want)
			}
			if tt.want == 200 {
				if got := tell(t, a).Host; got != tt.host {
					t.Errorf("the pod sees host %q, want %q", got, tt.host)
				}
			}
		})
	}
}

func TestPagesForPodsThatAreNotLive(t *testing.T) {
	e := startEdge(t)
	c := e.client("HTTP/2.0")
	for _, tt := range []struct {
		state   routes.State
		title   string
		refresh bool
	}{
		{routes.Starting, "This pod is starting", true},
		{routes.Deleting, "This pod is shutting down", true},
		{routes.Stopped, "This pod is stopped", false},
		{routes.Error, "This pod failed to start", false},
		{routes.Finished, "This pod has finished", false},
	} {
		t.Run(string(tt.state), func(t *testing.T) {
			e := e.in(t)
			r := web("web.pods.test", "")
			r.State, r.Upstreams, r.Instance = tt.state, nil, ""
			e.publish(r)
			page := e.get(c, "https://web.pods.test/secret", "Accept: text/html,*/*;q=0.8")
			api := e.get(c, "https://web.pods.test/secret", "Accept: application/json")
			for _, a := range []answer{page, api} {
				if a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("X-Robots-Tag") != "noindex" {
					t.Errorf("got %d %v", a.StatusCode, a.Header)
				}
				if got := a.Header.Get("Retry-After") == "10"; got != tt.refresh {
					t.Errorf("got Retry-After %q", a.Header.Get("Retry-After"))
				}
				if strings.Contains(a.body, "secret") || strings.Contains(a.body, "pods.test") {
					t.Errorf("the answer tells what the request said: %s", a.body)
				}
			}
			if !strings.Contains(page.body, "<h1>"+tt.title+"</h1>") || strings.Contains(page.body, `http-equiv="refresh"`) != tt.refresh {
				t.Errorf("got page %s", page.body)
			}
			if p := page.Header.Get("Content-Security-Policy"); !strings.HasPrefix(p, "default-src 'none'; style-src 'sha256-") {
				t.Errorf("got policy %q", p)
			}
			var env map[string]any
			if err := json.Unmarshal([]byte(api.body), &env); err != nil || env["status"] != "error" || env["result"] != nil ||
				env["metadata"] == nil || env["version"] == "" || !strings.HasPrefix(fmt.Sprint(env["message"]), tt.title) {
				t.Errorf("got %s, %v", api.body, err)
			}
			if a := e.do(c, http.MethodHead, "https://web.pods.test/", nil, "Accept: text/html"); a.StatusCode != http.StatusServiceUnavailable || a.body != "" {
				t.Errorf("HEAD: got %d %q", a.StatusCode, a.body)
			}
		})
	}
}

func TestAnswersOfPods(t *testing.T) {
	e := startEdge(t)
	garbage := snitest.Serve(t, func(c *net.TCPConn) { _, _ = io.WriteString(c, "SSH-2.0-what\r\n") })
	closing := snitest.Serve(t, func(*net.TCPConn) {})
	refusing := snitest.Serve(t, func(*net.TCPConn) {})
	refusing.Close()
	e.publish(
		web("garbage.pods.test", garbage.Addr), web("closing.pods.test", closing.Addr), web("refusing.pods.test", refusing.Addr),
		web("denied.pods.test", "169.254.169.254:80"),
		web("web.pods.test", pod(t, func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/error":
				http.Error(w, "my own failure", http.StatusBadGateway)
			case "/cookies":
				w.Header().Set("Alt-Svc", `h3=":1"`)
				for _, c := range []string{"a=1; Domain=.pods.test; Path=/", "b=2; Domain=web.pods.test; Secure", "__Host-pods_session=x; Path=/", "c=3"} {
					w.Header().Add("Set-Cookie", c)
				}
			case "/redirect":
				http.Redirect(w, r, "https://elsewhere.test/", http.StatusFound)
			case "/trailer":
				w.Header().Set("Trailer", "X-Sum")
				_, _ = io.WriteString(w, "body")
				w.Header().Set("X-Sum", "42")
			case "/hint":
				w.Header().Set("Link", "</a.css>; rel=preload")
				w.WriteHeader(http.StatusEarlyHints)
				_, _ = io.WriteString(w, "done")
			}
		})))
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		c := e.client(proto)
		for _, tt := range []struct {
			name, url string
			want      int
			text      string
		}{
			{"its own error passes", "https://web.pods.test/error", 502, "my own failure\n"},
			{"its own redirect passes", "https://web.pods.test/redirect", 302, "elsewhere.test"},
			{"interim answers are no answers", "https://web.pods.test/hint", 200, "done"},
			{"something else than HTTP", "https://garbage.pods.test/", 502, "No answer from the pod"},
			{"a closed connection", "https://closing.pods.test/", 502, "No answer from the pod"},
			{"nobody listens", "https://refusing.pods.test/", 503, "Almost there"},
			{"an address that is never dialled", "https://denied.pods.test/", 502, "No answer from the pod"},
		} {
			if a := e.get(c, tt.url); a.StatusCode != tt.want || !strings.Contains(a.body, tt.text) {
				t.Errorf("%s, %s: got %d %q, want %d with %q", proto, tt.name, a.StatusCode, a.body, tt.want, tt.text)
			}
		}
		if a := e.get(c, "https://refusing.pods.test/"); a.Header.Get("Retry-After") != "10" {
			t.Errorf("got Retry-After %q, want 10", a.Header.Get("Retry-After"))
		}
		a := e.get(c, "https://web.pods.test/cookies")
		if got, want := a.Header["Set-Cookie"], []string{"a=1; Path=/", "b=2; Domain=web.pods.test; Secure", "c=3"}; !slices.Equal(got, want) {
			t.Errorf("got cookies %q, want %q", got, want)
		}
		if slices.Contains(a.Header["Alt-Svc"], `h3=":1"`) {
			t.Error("the pod's Alt-Svc passes")
		}
		if a := e.get(c, "https://web.pods.test/trailer"); a.Trailer.Get("X-Sum") != "42" {
			t.Errorf("got trailers %v", a.Trailer)
		}
	}
}

func TestStreamsAreNotHeldBack(t *testing.T) {
	e := startEdge(t)
	next := make(chan struct{})
	e.publish(web("web.pods.test", pod(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-next:
			case <-r.Context().Done():
				return
			}
		}
	})))
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		res, err := e.client(proto).Get("https://web.pods.test/")
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(res.Body)
		for i := range 3 {
			got, err := lines.ReadString('\n')
			if err != nil || got != fmt.Sprintf("data: %d\n", i) {
				t.Fatalf("%s: got %q, %v", proto, got, err)
			}
			_, _ = lines.ReadString('\n')
			next <- struct{}{}
		}
		res.Body.Close()
	}
}

// sockets is a pod that echoes WebSocket messages.
func sockets(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer c.CloseNow() //nolint:errcheck // the test is over then
	for {
		kind, b, err := c.Read(r.Context())
		if err != nil || c.Write(r.Context(), kind, b) != nil {
			return
		}
	}
}

// socket opens a WebSocket.
func (e *edge) socket(host string) *websocket.Conn {
	e.t.Helper()
	c, _, err := websocket.Dial(e.t.Context(), "wss://"+host+"/ws", &websocket.DialOptions{HTTPClient: e.client("HTTP/1.1")})
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { _ = c.CloseNow() })
	return c
}

func echoSocket(ctx context.Context, c *websocket.Conn, text string) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := c.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		return err
	}
	_, b, err := c.Read(ctx)
	if err == nil && string(b) != text {
		err = fmt.Errorf("got %q, want %q", b, text)
	}
	return err
}

// What goes on ends with its route, within a second; everything else stays.
func TestRevokedRequestsEnd(t *testing.T) {
	e := startEdge(t)
	endless := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/ws" {
			sockets(w, r)
			return
		}
		if r.URL.Path == "/slow" { // never answers
			<-r.Context().Done()
			return
		}
		for { // floods
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	}
	a, b := web("a.pods.test", pod(t, endless)), web("b.pods.test", pod(t, endless))
	e.publish(a, b)
	mine, other := e.socket("a.pods.test"), e.socket("b.pods.test")
	for _, c := range []*websocket.Conn{mine, other} {
		if err := echoSocket(t.Context(), c, "hello"); err != nil {
			t.Fatal(err)
		}
	}

	type end struct {
		name string
		err  error
	}
	ends := make(chan end, 8)
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		go func() {
			res, err := e.client(proto).Get("https://a.pods.test/slow")
			if err == nil {
				res.Body.Close()
				if res.StatusCode != http.StatusServiceUnavailable {
					err = fmt.Errorf("got %d, want 503", res.StatusCode)
				}
			}
			ends <- end{"unanswered " + proto, err}
		}()
		// The body of this one is read by nobody until it is over.
		res, err := e.client(proto).Get("https://a.pods.test/flood")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
	}
	e.awaitSessions("a.pods.test", 5)

	stopped := a
	stopped.State, stopped.Upstreams, stopped.Instance = routes.Stopped, nil, ""
	start := time.Now()
	e.publish(stopped)
	e.awaitSessions("a.pods.test", 0)
	if d := time.Since(start); d > soon {
		t.Errorf("all ended after %v, want it soon", d)
	}
	if _, _, err := mine.Read(t.Context()); err == nil {
		t.Error("the WebSocket goes on")
	}
	for range 2 {
		if x := <-ends; x.err != nil {
			t.Errorf("%s: %v", x.name, x.err)
		}
	}
	if err := echoSocket(t.Context(), other, "still here"); err != nil {
		t.Errorf("a WebSocket of another pod: %v", err)
	}
}

// awaitSessions waits until a host has n sessions.
func (e *edge) awaitSessions(host string, n int) {
	e.t.Helper()
	parts.Eventually(e.t, limit, func() error {
		var list struct{ Sessions []json.RawMessage }
		if _, err := e.admin(http.MethodGet, "/podway/sessions?host="+host, &list); err != nil {
			return err
		}
		if len(list.Sessions) != n {
			return fmt.Errorf("got %d sessions of %s, want %d", len(list.Sessions), host, n)
		}
		return nil
	})
}

// A restarted pod never gets a request over a connection to its earlier run.
func TestConnectionsOfAnEarlierRunAreNotUsed(t *testing.T) {
	e := startEdge(t)
	one, two := pod(t, telling), pod(t, telling)
	r := web("web.pods.test", one)
	e.publish(r)
	c := e.client("HTTP/1.1")
	first, again := tell(t, e.get(c, "https://web.pods.test/")), tell(t, e.get(c, "https://web.pods.test/"))
	if first.Remote != again.Remote {
		t.Errorf("got two connections to one run: %s and %s", first.Remote, again.Remote)
	}
	r.Instance = "2"
	e.publish(r)
	if now := tell(t, e.get(c, "https://web.pods.test/")); now.Remote == first.Remote {
		t.Errorf("got the connection of the first run, %s", now.Remote)
	}
	r.Upstreams = []string{two}
	e.publish(r)
	if a := e.get(c, "https://web.pods.test/"); a.StatusCode != http.StatusOK {
		t.Errorf("got %d from the new address", a.StatusCode)
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	e := startEdge(t)
	e.publish(web("web.pods.test", pod(t, telling)))
	for _, tt := range []struct {
		name, send, want string
	}{
		{"CONNECT", "CONNECT web.pods.test:443 HTTP/1.1\r\nHost: web.pods.test\r\n\r\n", "HTTP/1.1 405 "},
		{"no Host", "GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "},
		{"two Hosts", "GET / HTTP/1.1\r\nHost: web.pods.test\r\nHost: b\r\n\r\n", "HTTP/1.1 400 "},
		{"headers over 16 KiB", "GET / HTTP/1.1\r\nHost: web.pods.test\r\nX: " + strings.Repeat("x", 32<<10) + "\r\n\r\n", "HTTP/1.1 431 "},
		{"a line break in a length", "POST / HTTP/1.1\r\nHost: web.pods.test\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", "HTTP/1.1 400 "},
		{"a request for another server", "GET http://none.pods.test/ HTTP/1.1\r\nHost: web.pods.test\r\n\r\n", "HTTP/1.1 404 "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := e.in(t).connect("web.pods.test", "http/1.1")
			go func() { _, _ = io.WriteString(c, tt.send) }()
			b := make([]byte, len(tt.want))
			if _, err := io.ReadFull(c, b); err != nil || string(b) != tt.want {
				t.Errorf("got %q, %v, want %q", b, err, tt.want)
			}
		})
	}
}

func TestPlainHTTPIsToldToUseTLS(t *testing.T) {
	e := startEdge(t)
	res, err := http.Get("http://" + e.addr + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	if res.StatusCode != http.StatusBadRequest || string(b) != "this port speaks TLS: use https://\n" {
		t.Errorf("got %d %q", res.StatusCode, b)
	}
}

// A new configuration interrupts nothing: no session, no WebSocket, no connect.
func TestReload(t *testing.T) {
	e := startEdge(t)
	e.publish(
		web("web.pods.test", pod(t, telling)), web("ws.pods.test", pod(t, sockets)),
		snitest.Route("echo.pods.test", routes.TCP, snitest.Echo(t).Addr))
	session, socket := e.connect("echo.pods.test"), e.socket("ws.pods.test")

	ctx, cancel := context.WithCancel(t.Context())
	failures := make(chan error, 100)
	visits := make(chan struct{}, 1)
	done := make(chan struct{})
	workers := 4
	for i := range workers {
		go func() {
			defer func() { done <- struct{}{} }()
			for ctx.Err() == nil {
				if err := e.visit(i%2 == 0); err != nil {
					failures <- err
					return
				}
				select {
				case visits <- struct{}{}:
				default:
				}
			}
		}()
	}
	for i := range 20 {
		e.load(fmt.Sprintf("%dms", 1000+i))
		for range 10 {
			select {
			case <-visits:
			case err := <-failures:
				t.Fatal(err)
			}
		}
	}
	cancel()
	for range workers {
		<-done
	}
	close(failures)
	for err := range failures {
		t.Error(err)
	}
	if err := echo(session, "still here"); err != nil {
		t.Errorf("a session of the first configuration: %v", err)
	}
	if err := echoSocket(t.Context(), socket, "still here"); err != nil {
		t.Errorf("a WebSocket of the first configuration: %v", err)
	}
	// They end with their route all the same.
	e.remove("echo.pods.test")
	wantClosed(t, session, soon)
}

// visit makes one connection for HTTP or TCP and uses it.
func (e *edge) visit(web bool) error {
	if !web {
		c, err := e.dial("echo.pods.test")
		if err != nil {
			return fmt.Errorf("tcp: %w", err)
		}
		defer c.Close()
		return echo(c, "hello")
	}
	c, err := e.dial("web.pods.test", "http/1.1")
	if err != nil {
		return fmt.Errorf("http: %w", err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: web.pods.test\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	b, err := io.ReadAll(c)
	if err == nil && !bytes.HasPrefix(b, []byte("HTTP/1.1 200 ")) {
		err = errors.New("http: no answer: " + string(b))
	}
	return err
}
