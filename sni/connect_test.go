package sni

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni/connectwire"
	"github.com/tapis-project/podway/sni/pgwire"
	"github.com/tapis-project/podway/sni/snitest"
)

// fakeKeeper admits the token "ada" until it is told to end.
type fakeKeeper struct {
	mu    sync.Mutex
	live  map[int]context.CancelCauseFunc
	asked int
}

func (k *fakeKeeper) admit(ctx context.Context, _ *routes.Entry, token string) (context.Context, func(), error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked++
	switch token {
	case "ada":
	case "bob":
		return nil, nil, ErrNotAllowed
	case "lost":
		return nil, nil, errors.New("nobody knows")
	default:
		return nil, nil, ErrBadToken
	}
	id := k.asked
	ctx, k.live[id] = context.WithCancelCause(ctx)
	return ctx, func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.live, id)
	}, nil
}

func (k *fakeKeeper) revoke() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, end := range k.live {
		end(ErrRevoked)
	}
}

func (k *fakeKeeper) holds() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.live)
}

// startGated starts an edge with a gated pod "<protocol>.pods.test" for each
// protocol, and an open one "open-<protocol>.pods.test".
func startGated(t *testing.T) (*edge, *fakeKeeper) {
	t.Helper()
	k := &fakeKeeper{live: map[int]context.CancelCauseFunc{}}
	e := startEdge(t, func(e *edge) {
		e.demux.Admit = k.admit
		base := e.config.GetConfigForClient
		e.config.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			c, err := base(h)
			if p := HelloProtocol(e.table, h); err == nil && p != "" && p != routes.HTTP {
				c.NextProtos = []string{ALPNPostgres, connectwire.ALPN, alpnHTTP11}
			}
			return c, err
		}
	})
	up := snitest.Echo(t).Addr
	for _, p := range []routes.Protocol{routes.TCP, routes.Postgres, routes.Bolt, routes.MongoDB, routes.Redis} {
		r := snitest.Route("open-"+string(p)+".pods.test", p, up)
		snitest.Set(t, e.table, r)
		r = snitest.Route(string(p)+".pods.test", p, up)
		r.Gate = &routes.Gate{AllowedUsers: []string{"ada"}}
		snitest.Set(t, e.table, r)
	}
	return e, k
}

func (e *edge) greet(t *testing.T, host, token string) (net.Conn, error) {
	t.Helper()
	c := e.connect(t, host, connectwire.ALPN)
	if got := c.ConnectionState().NegotiatedProtocol; got != connectwire.ALPN {
		t.Fatalf("got the protocol %q", got)
	}
	return c, connectwire.Greet(c, token)
}

// byWeb opens the WebSocket, and returns the status if that fails.
func (e *edge) byWeb(t *testing.T, host, token string, header ...string) (*connectwire.Stream, int) {
	t.Helper()
	tr := &http.Transport{DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
		return e.client(e.dial(t), host, alpnHTTP11), nil
	}}
	t.Cleanup(tr.CloseIdleConnections)
	h := http.Header{connectwire.TokenHeader: {token}}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	ws, res, err := websocket.Dial(t.Context(), "https://"+host+connectwire.Path, &websocket.DialOptions{HTTPClient: &http.Client{Transport: tr}, HTTPHeader: h})
	if err != nil {
		if res == nil {
			t.Fatal(err)
		}
		return nil, res.StatusCode
	}
	s := connectwire.NewStream(t.Context(), ws)
	t.Cleanup(func() { s.Close() })
	return s, http.StatusSwitchingProtocols
}

// answers sends a word, and expects it and the end.
func answers(t *testing.T, c interface {
	io.ReadWriter
	CloseWrite() error
},
) {
	t.Helper()
	if _, err := io.WriteString(c, "word"); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); err != nil || string(got) != "word" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestConnectReachesPods(t *testing.T) {
	e, k := startGated(t)
	for _, p := range []string{"tcp", "postgres", "bolt", "mongodb", "redis"} {
		for host, token := range map[string]string{p: "ada", "open-" + p: ""} {
			host += ".pods.test"
			c, err := e.greet(t, host, token)
			if err != nil {
				t.Fatalf("%s: %v", host, err)
			}
			answers(t, c.(*tls.Conn))
			s, status := e.byWeb(t, host, token)
			if s == nil {
				t.Fatalf("%s: got status %d", host, status)
			}
			answers(t, s)
		}
	}
	// Programs behind some proxies offer no protocol.
	c := e.connect(t, "tcp.pods.test")
	_, _ = io.WriteString(c, "GET /.podway/connect HTTP/1.1\r\nHost: tcp.pods.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nX-Tapis-Token: ada\r\n\r\n")
	if got, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.HasPrefix(got, "HTTP/1.1 101") {
		t.Errorf("without a protocol: got %q, %v", got, err)
	}
	c.Close()
	e.outcome(t, TCPSession, 21)
	e.quiet(t)
	if n := k.holds(); n != 0 {
		t.Errorf("got %d admissions held after their sessions, want none", n)
	}
}

func TestConnectTellsWhyNot(t *testing.T) {
	e, _ := startGated(t)
	stopped := snitest.Route("stopped.pods.test", routes.TCP, "127.0.0.1:1")
	stopped.State = routes.Stopped
	denied := snitest.Route("denied.pods.test", routes.TCP, "127.0.0.1:1")
	denied.IPAllow = []string{"192.0.2.1"}
	snitest.Set(t, e.table, stopped)
	snitest.Set(t, e.table, denied)
	snitest.Set(t, e.table, snitest.Route("gone.pods.test", routes.TCP, "127.0.0.1:1"))
	for _, tt := range []struct {
		name, host, token string
		code              connectwire.Code
		text              string
		status            int
	}{
		{"without a token", "tcp", "", connectwire.LoginRequired, "asks for a login", 401},
		{"with a bad token", "tcp", "forged", connectwire.BadToken, "not valid", 403},
		{"as somebody else", "postgres", "bob", connectwire.NotAllowed, "may not use this pod", 403},
		{"when nothing can be decided", "tcp", "lost", connectwire.Refused, "can't be checked", 503},
		{"a stopped pod", "stopped", "", connectwire.Refused, "this pod is stopped. Start it", 503},
		{"from a wrong address", "denied", "", connectwire.Refused, "from your address", 503},
		{"a pod that does not listen", "gone", "", connectwire.Refused, "did not accept", 503},
	} {
		t.Run(tt.name, func(t *testing.T) {
			host := tt.host + ".pods.test"
			c, err := e.greet(t, host, tt.token)
			r, ok := errors.AsType[*connectwire.RefusedError](err)
			if !ok || r.Code != tt.code || !strings.Contains(r.Message, tt.text) {
				t.Errorf("got %+v, want %v %q", err, tt.code, tt.text)
			}
			wantClosed(t, c, limit)
			if _, status := e.byWeb(t, host, tt.token); status != tt.status {
				t.Errorf("by web: got %d, want %d", status, tt.status)
			}
		})
	}
	e.quiet(t)
}

// Nothing but the preamble opens a gated pod.
func TestGatedPodsRefuseInTheirOwnProtocol(t *testing.T) {
	e, k := startGated(t)
	c := e.connect(t, "postgres.pods.test", ALPNPostgres)
	if _, err := io.WriteString(c, startup); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	got, err := pgwire.ParseErrorResponse(b)
	if err != nil || got.Code != pgwire.InvalidAuthorization || !strings.Contains(got.Hint, "podctl connect postgres") {
		t.Errorf("got %+v, %v", got, err)
	}
	c = e.connect(t, "redis.pods.test")
	_, _ = io.WriteString(c, "PING\r\n")
	if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.HasPrefix(line, "-") || !strings.Contains(line, "podctl connect redis") {
		t.Errorf("got %q, %v", line, err)
	}
	for _, host := range []string{"tcp.pods.test", "bolt.pods.test", "mongodb.pods.test"} {
		for _, alpn := range [][]string{nil, {alpnHTTP11}} {
			c := e.connect(t, host, alpn...)
			_, _ = io.WriteString(c, "some bytes of no protocol\r\n")
			if b, _ := io.ReadAll(c); strings.Contains(string(b), "some bytes") {
				t.Errorf("%s, %v: the pod was reached: %q", host, alpn, b)
			}
		}
	}
	c = e.connect(t, "tcp.pods.test", alpnHTTP11)
	_, _ = io.WriteString(c, "GET /x HTTP/1.1\r\nHost: tcp.pods.test\r\n\r\n")
	if b, err := io.ReadAll(c); err != nil || !strings.Contains(string(b), " 503 ") || !strings.Contains(string(b), "podctl connect tcp") {
		t.Errorf("got %q, %v", b, err)
	}
	if k.asked != 0 {
		t.Errorf("got %d tokens looked at, want none", k.asked)
	}
}

func TestConnectEndsWithThePermission(t *testing.T) {
	e, k := startGated(t)
	c, err := e.greet(t, "tcp.pods.test", "ada")
	if err != nil {
		t.Fatal(err)
	}
	s, _ := e.byWeb(t, "tcp.pods.test", "ada")
	open, err := e.greet(t, "open-tcp.pods.test", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"one", "two"} { // idle in between, for long enough to be parked
		<-time.After(3 * parkAfter)
		b := make([]byte, len(word))
		if _, err := io.WriteString(s, word); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(s, b); err != nil || string(b) != word {
			t.Fatalf("got %q, %v", b, err)
		}
	}
	if err := echo(c, "before"); err != nil {
		t.Fatal(err)
	}
	k.revoke()
	wantClosed(t, c, soon)
	if _, err := io.ReadAll(s); err == nil {
		t.Error("got a clean end of the WebSocket, want an error")
	}
	if err := echo(open, "after"); err != nil {
		t.Errorf("another pod's session: %v", err)
	}
}

func TestWebSocketsAreForProgramsOfThisHost(t *testing.T) {
	e, _ := startGated(t)
	for _, tt := range []struct {
		name   string
		header []string
		want   int
	}{
		{"from a page", []string{"Origin", "https://tcp.pods.test"}, http.StatusForbidden},
		{"for another host", []string{"Host", "open-tcp.pods.test"}, http.StatusSwitchingProtocols}, // Dial takes the URL's
	} {
		if _, got := e.byWeb(t, "tcp.pods.test", "ada", tt.header...); got != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, got, tt.want)
		}
	}
	for name, request := range map[string]string{
		"421": "GET /.podway/connect HTTP/1.1\r\nHost: open-tcp.pods.test\r\n\r\n",
		"404": "GET /.podway/connected HTTP/1.1\r\nHost: tcp.pods.test\r\n\r\n",
		"426": "GET /.podway/connect HTTP/1.1\r\nHost: tcp.pods.test\r\nX-Tapis-Token: ada\r\n\r\n",
	} {
		c := e.connect(t, "tcp.pods.test", alpnHTTP11)
		_, _ = io.WriteString(c, request)
		if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 "+name) {
			t.Errorf("got %q, %v, want %s", line, err, name)
		}
	}
}

func TestOneClientMayTryFewTokens(t *testing.T) {
	e, k := startGated(t)
	code := func(token string) connectwire.Code {
		_, err := e.greet(t, "tcp.pods.test", token)
		r, _ := errors.AsType[*connectwire.RefusedError](err)
		if r == nil {
			return ""
		}
		return r.Code
	}
	for i := range badTokenBurst {
		if got := code(fmt.Sprint("forged", i)); got != connectwire.BadToken {
			t.Fatalf("try %d: got %q, want %q", i, got, connectwire.BadToken)
		}
	}
	asked := k.asked
	if got := code("forged"); got != connectwire.TooManyTries {
		t.Errorf("got %q, want %q", got, connectwire.TooManyTries)
	}
	if k.asked != asked {
		t.Error("a token beyond the limit was looked at")
	}
}

func TestHellosAreBounded(t *testing.T) {
	e, _ := startGated(t)
	c := e.connect(t, "tcp.pods.test", connectwire.ALPN)
	_, _ = c.Write([]byte{0xff, 0xff, '{'})
	wantClosed(t, c, soon)
	e.outcome(t, TooManyBytes, 1)
	c = e.connect(t, "tcp.pods.test", connectwire.ALPN)
	_, _ = io.WriteString(c, "\x00\x03abc")
	wantClosed(t, c, soon)
	e.outcome(t, UnknownProtocol, 1)
}

func TestHellosHaveADeadline(t *testing.T) {
	k := &fakeKeeper{}
	e := startEdge(t, func(e *edge) {
		e.demux.Admit = k.admit
		e.preface.OpenTimeout = time.Second
		e.config = &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{connectwire.ALPN, alpnHTTP11}, GetCertificate: certificateOf(t, e)}
	})
	snitest.Set(t, e.table, snitest.Route("tcp.pods.test", routes.TCP, snitest.Echo(t).Addr))
	c := e.connect(t, "tcp.pods.test", connectwire.ALPN)
	_, _ = c.Write([]byte{0, 50, '{'})
	wantClosed(t, c, soon)
	e.outcome(t, Timeout, 1)
	c = e.connect(t, "tcp.pods.test", alpnHTTP11)
	_, _ = io.WriteString(c, webStart+" HTTP/1.1\r\n")
	wantClosed(t, c, soon)
	e.outcome(t, Timeout, 2)
}

func certificateOf(t *testing.T, e *edge) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	cert, pool := snitest.Certificate(t, "*.pods.test")
	e.pool = pool
	return func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil }
}

// A client that offers http/1.1 and then waits for the pod is one of the pod's.
func TestClientsThatCouldSpeakHTTPReachOpenPods(t *testing.T) {
	e, _ := startGated(t)
	for _, text := range []string{"GET /.podway", "G", "GET / HTTP/1.1", "hello"} {
		c := e.connect(t, "open-tcp.pods.test", alpnHTTP11)
		if err := echo(c, text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
	speaks := snitest.Serve(t, func(c *net.TCPConn) {
		_, _ = io.WriteString(c, "welcome\n")
		_, _ = io.Copy(io.Discard, c)
	})
	snitest.Set(t, e.table, snitest.Route("first.pods.test", routes.TCP, speaks.Addr))
	c := e.connect(t, "first.pods.test", alpnHTTP11)
	if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || line != "welcome\n" {
		t.Errorf("got %q, %v", line, err)
	}
}
