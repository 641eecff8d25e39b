package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/net/http2"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni/pgwire"
	"github.com/tapis-project/podway/sni/snitest"
	"github.com/tapis-project/podway/tests/parts"
)

// readyForQuery is what a PostgreSQL server sends when it waits.
const readyForQuery = "Z\x00\x00\x00\x05I"

// idlePostgres returns a server whose sessions are ready at once, and wait.
func idlePostgres(t *testing.T) string {
	return snitest.Serve(t, func(c *net.TCPConn) {
		if _, err := pgwire.ReadStartup(c); err == nil {
			_, _ = io.WriteString(c, readyForQuery)
			_, _ = io.Copy(io.Discard, c)
		}
	}).Addr
}

// postgres opens a session that waits.
func (p *process) postgres() *tls.Conn {
	p.t.Helper()
	c := p.connect("db.pods.test")
	start := pgwire.Startup{Code: pgwire.Protocol30, Params: []pgwire.Param{{Name: "user", Value: "a"}}}
	if _, err := c.Write(start.Append(nil)); err != nil {
		p.t.Fatal(err)
	}
	b := make([]byte, len(readyForQuery))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != readyForQuery {
		p.t.Fatalf("got %q, %v", b, err)
	}
	return c
}

// http2 opens an HTTP/2 connection that is idle.
func (p *process) http2() *http2.Framer {
	p.t.Helper()
	c := p.connect("web.pods.test", http2.NextProtoTLS)
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		p.t.Fatal(err)
	}
	f := http2.NewFramer(c, c)
	if err := f.WriteSettings(); err != nil {
		p.t.Fatal(err)
	}
	if frame, err := f.ReadFrame(); err != nil || frame.Header().Type != http2.FrameSettings {
		p.t.Fatalf("got %v, %v", frame, err)
	}
	return f
}

// awaitGoAway reads until the connection ends, and reports whether that was
// announced.
func awaitGoAway(f *http2.Framer) (announced bool) {
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return announced
		}
		if _, ok := frame.(*http2.GoAwayFrame); ok {
			announced = true
		}
	}
}

// webSockets returns an HTTP server that answers each request with a WebSocket
// that echoes.
func webSockets(t *testing.T) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer ws.CloseNow() //nolint:errcheck // the other side has gone
		for {
			kind, b, err := ws.Read(r.Context())
			if err != nil || ws.Write(r.Context(), kind, b) != nil {
				return
			}
		}
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// webSocket opens a WebSocket.
func (p *process) webSocket(ctx context.Context) *websocket.Conn {
	p.t.Helper()
	tr := &http.Transport{DialTLSContext: func(context.Context, string, string) (net.Conn, error) { return p.dial("ws.pods.test") }}
	p.t.Cleanup(tr.CloseIdleConnections)
	ws, res, err := websocket.Dial(ctx, "wss://ws.pods.test/", &websocket.DialOptions{HTTPClient: &http.Client{Transport: tr}})
	if err != nil {
		p.t.Fatal(err)
	}
	if res.Body != nil {
		res.Body.Close()
	}
	p.t.Cleanup(func() { _ = ws.CloseNow() })
	return ws
}

// Within the grace period sessions end as they like; at its end each is told in its
// own protocol.
func TestGoodbyes(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts a whole edge")
	}
	rs := parts.StartRedis(t)
	publish(t, rs.Addr,
		snitest.Route("echo.pods.test", routes.TCP, snitest.Echo(t).Addr),
		snitest.Route("bolt.pods.test", routes.Bolt, snitest.Echo(t).Addr),
		snitest.Route("db.pods.test", routes.Postgres, idlePostgres(t)),
		snitest.Route("ws.pods.test", routes.HTTP, webSockets(t)),
		snitest.Route("web.pods.test", routes.HTTP, webServer(t)))
	p := newProcess(t, rs.Addr)
	p.start()
	short, long, db, web := p.connect("echo.pods.test"), p.connect("bolt.pods.test"), p.postgres(), p.http2()
	ctx, stop := context.WithTimeout(t.Context(), limit)
	defer stop()
	ws := p.webSocket(ctx)
	for _, c := range []net.Conn{short, long} {
		if err := echo(c); err != nil {
			t.Fatal(err)
		}
	}

	ended := make(chan time.Duration, 1)
	go func() { ended <- p.terminate() }()
	if !awaitGoAway(web) {
		t.Error("an idle HTTP/2 connection is closed without GOAWAY")
	}
	parts.Eventually(t, limit, func() error {
		if c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", p.port)); err == nil {
			c.Close()
			return errors.New("connections are accepted")
		}
		return nil
	})
	for _, c := range []net.Conn{short, long} {
		if err := echo(c); err != nil {
			t.Errorf("a session in the grace period: %v", err)
		}
	}
	if err := ws.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
		t.Errorf("a WebSocket in the grace period: %v", err)
	}
	if err := short.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := short.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("a session that ends by itself: got %v, want %v", err, io.EOF)
	}

	if b, err := io.ReadAll(long); len(b) > 0 || err != nil {
		t.Errorf("Bolt: got %q, %v, want close_notify", b, err)
	}
	b, err := io.ReadAll(db)
	if r, parseErr := pgwire.ParseErrorResponse(b); err != nil || parseErr != nil || r.Severity != "FATAL" || r.Code != pgwire.AdminShutdown || !strings.Contains(r.Message, "maintenance") {
		t.Errorf("PostgreSQL: got %q, %v", b, err)
	}
	if b, err := io.ReadAll(websocket.NetConn(ctx, ws, websocket.MessageText)); string(b) != "hello" || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("WebSocket: got %q, %v, want its answer and an end", b, err)
	}
	if d := <-ended; d < 4*time.Second || d > 15*time.Second {
		t.Errorf("the edge ended after %v, want the grace period of 5s", d)
	}
}
