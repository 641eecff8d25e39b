package sni

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni/snitest"
	"github.com/tapis-project/podway/tests/parts"
)

// A connection goes, in this order: to nobody if its server name has no route,
// to the session pump if the route is not HTTP, to the HTTP server.
func TestWhereConnectionsGo(t *testing.T) {
	e := startEdge(t, nil)
	up := snitest.Echo(t)
	stopped := snitest.Route("stopped.pods.test", routes.TCP)
	stopped.State = routes.Stopped
	denied := snitest.Route("denied.pods.test", routes.TCP, up.Addr)
	denied.IPAllow = []string{"192.0.2.1"}
	refusing := snitest.Serve(t, func(*net.TCPConn) {})
	refusing.Close()
	snitest.Set(t, e.table,
		snitest.Route("web.pods.test", routes.HTTP, up.Addr),
		snitest.Route("echo.pods.test", routes.TCP, up.Addr),
		snitest.Route("down.pods.test", routes.TCP, refusing.Addr),
		snitest.Route("db.pods.test", routes.Postgres, up.Addr),
		stopped, denied)

	const unrecognized = "unrecognized name"
	const noALPN = "no application protocol"
	for _, tt := range []struct {
		name, host string
		alpn       []string
		handshake  string // text of its error
		outcome    Outcome
	}{
		{"http over h2", "web.pods.test", []string{"h2", "http/1.1"}, "", HTTPConnection},
		{"http without ALPN", "web.pods.test", nil, "", HTTPConnection},
		{"http refuses what it does not speak", "web.pods.test", []string{"postgresql"}, noALPN, BadHandshake},
		{"tcp without ALPN", "echo.pods.test", nil, "", TCPSession},
		{"tcp for a browser's WebSocket", "echo.pods.test", []string{"http/1.1"}, "", TCPSession},
		{"tcp never chooses h2", "echo.pods.test", []string{"h2"}, noALPN, BadHandshake},
		{"tcp of a browser that offers h2 too", "echo.pods.test", []string{"h2", "http/1.1"}, "", TCPSession},
		{"tcp of a PostgreSQL client that begins with TLS", "echo.pods.test", []string{"postgresql"}, "", TCPSession},
		{"postgres with its ALPN", "db.pods.test", []string{"postgresql"}, "", TCPSession},
		{"postgres refuses HTTP", "db.pods.test", []string{"h2", "http/1.1"}, noALPN, BadHandshake},
		{"a name without a route, for a browser", "none.pods.test", []string{"h2", "http/1.1"}, "", HTTPConnection},
		{"a name without a route, for others", "none.pods.test", nil, unrecognized, BadHandshake},
		{"a name without a route, for PostgreSQL", "none.pods.test", []string{"postgresql"}, noALPN, BadHandshake},
		{"no server name", "", []string{"http/1.1"}, unrecognized, BadHandshake},
		{"a stopped pod", "stopped.pods.test", nil, "", NotLive},
		{"an address that is not allowed", "denied.pods.test", nil, "", AddressDenied},
		{"a pod that does not listen", "down.pods.test", nil, "", UpstreamFailed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := e.stats.opened[tt.outcome].Load()
			c := e.client(e.dial(t), tt.host, tt.alpn...)
			if tt.host == "" {
				c = tls.Client(e.dial(t), &tls.Config{InsecureSkipVerify: true, NextProtos: tt.alpn})
			}
			defer c.Close()
			err := c.Handshake()
			if (err == nil) != (tt.handshake == "") || (err != nil && !strings.Contains(err.Error(), tt.handshake)) {
				t.Fatalf("got %v, want %q", err, tt.handshake)
			}
			if tt.outcome == TCPSession {
				talk := echo
				if slices.Contains(tt.alpn, ALPNPostgres) {
					talk = echoPostgres
				}
				if err := talk(c, "hello"); err != nil {
					t.Error(err)
				}
			}
			e.outcome(t, tt.outcome, before+1)
			switch tt.outcome {
			case NotLive, AddressDenied, UpstreamFailed:
				if b, err := io.ReadAll(c); len(b) > 0 || err != nil {
					t.Errorf("got %q, %v, want a clean close", b, err)
				}
			default:
			}
		})
	}
	e.quiet(t)
	if n := up.Conns(); n != 0 {
		t.Errorf("got %d connections left at the pod, want none", n)
	}
}

func TestHTTPServerGetsRequests(t *testing.T) {
	e := startEdge(t, nil)
	snitest.Set(t, e.table, snitest.Route("web.pods.test", routes.HTTP, "127.0.0.1:1"))
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		p := new(http.Protocols)
		p.SetHTTP1(proto == "HTTP/1.1")
		p.SetHTTP2(proto == "HTTP/2.0")
		tr := &http.Transport{
			Protocols: p, TLSClientConfig: &tls.Config{RootCAs: e.pool, ServerName: "web.pods.test"},
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", e.addr)
			},
		}
		res, err := (&http.Client{Transport: tr, Timeout: limit}).Get("https://web.pods.test/")
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if want := proto + " web.pods.test"; string(b) != want {
			t.Errorf("got %q, want %q", b, want)
		}
		tr.CloseIdleConnections()
	}
	e.quiet(t)
}

func TestRedisClientsAreToldWhy(t *testing.T) {
	e := startEdge(t, nil)
	e.sessions.Limit(0, 0)
	cache := func(host string, change func(*routes.Route)) routes.Route {
		r := snitest.Route(host, routes.Redis, "127.0.0.1:1")
		change(&r)
		return r
	}
	snitest.Set(t, e.table,
		cache("stopped.pods.test", func(r *routes.Route) { r.State = routes.Stopped }),
		cache("denied.pods.test", func(r *routes.Route) { r.IPAllow = []string{"192.0.2.1"} }),
		cache("full.pods.test", func(*routes.Route) {}))
	for host, want := range map[string]string{
		"stopped.pods.test": "-ERR this pod is stopped. Start it, then connect again.\r\n",
		"denied.pods.test":  "-ERR this pod does not accept connections from your address. Its owner can change the pod's ip_allow_list.\r\n",
		"full.pods.test":    "-ERR this pod has too many connections. Close some, for example with a connection pool.\r\n",
	} {
		c := e.connect(t, host)
		if _, err := io.WriteString(c, "PING\r\n"); err != nil {
			t.Fatal(err)
		}
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(c); string(b) != want || err != nil {
			t.Errorf("%s: got %q, %v, want %q", host, b, err, want)
		}
	}
	e.quiet(t)
}

func TestHalfClose(t *testing.T) {
	e := startEdge(t, nil)
	// The pod answers when it has seen the end of the client's side.
	counting := snitest.Serve(t, func(c *net.TCPConn) {
		n, _ := io.Copy(io.Discard, c)
		fmt.Fprintf(c, "%d bytes", n)
	})
	// The pod ends its side first, and the client goes on.
	got := make(chan string, 1)
	greeting := snitest.Serve(t, func(c *net.TCPConn) {
		_, _ = io.WriteString(c, "bye")
		_ = c.CloseWrite()
		b, _ := io.ReadAll(c)
		got <- string(b)
	})
	snitest.Set(t, e.table,
		snitest.Route("count.pods.test", routes.TCP, counting.Addr),
		snitest.Route("greet.pods.test", routes.TCP, greeting.Addr))

	c := e.connect(t, "count.pods.test")
	if _, err := c.Write(make([]byte, 300<<10)); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(c); string(b) != "307200 bytes" || err != nil {
		t.Errorf("got %q, %v, want %q", b, err, "307200 bytes")
	}

	c = e.connect(t, "greet.pods.test")
	if b, err := io.ReadAll(c); string(b) != "bye" || err != nil {
		t.Errorf("got %q, %v, want bye", b, err)
	}
	if _, err := io.WriteString(c, "thanks"); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if g := <-got; g != "thanks" {
		t.Errorf("got %q, want thanks", g)
	}
	e.quiet(t)
}

func TestBytesArriveAsTheyWereSent(t *testing.T) {
	e := startEdge(t, nil)
	snitest.Set(t, e.table, snitest.Route("echo.pods.test", routes.TCP, snitest.Echo(t).Addr))
	c := e.connect(t, "echo.pods.test")
	const size = 3<<20 + 17
	sent := make([]byte, size)
	for i := range sent {
		sent[i] = byte(i * 7 >> 3)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := c.Write(sent); err != nil {
			t.Error(err)
		}
		_ = c.CloseWrite()
	})
	got, err := io.ReadAll(c)
	wg.Wait()
	if err != nil || string(got) != string(sent) {
		t.Errorf("got %d bytes, %v, want the %d that were sent", len(got), err, size)
	}
	e.quiet(t)
	for _, p := range e.stats.Protocols() {
		if p.Protocol == routes.TCP && (p.Received != size || p.Sent != size || p.Opened != 1 || p.Active != 0) {
			t.Errorf("got %+v, want %d bytes both ways of one session", p, size)
		}
	}
}

func TestRevokedSessionsEnd(t *testing.T) {
	up := snitest.Echo(t)
	base := snitest.Route("echo.pods.test", routes.TCP, up.Addr)
	for _, tt := range []struct {
		name   string
		change func(*routes.Table)
		ends   bool
	}{
		{"the route is removed", func(tb *routes.Table) { tb.Remove(base.Host) }, true},
		{"the pod is stopped", func(tb *routes.Table) { r := base; r.State = routes.Stopped; snitest.Set(t, tb, r) }, true},
		{"the pod was started again", func(tb *routes.Table) { r := base; r.Instance = "2"; snitest.Set(t, tb, r) }, true},
		{"its upstream moved", func(tb *routes.Table) { r := base; r.Upstreams = []string{"127.0.0.1:1"}; snitest.Set(t, tb, r) }, true},
		{"the client is not allowed any more", func(tb *routes.Table) { r := base; r.IPAllow = []string{"192.0.2.0/24"}; snitest.Set(t, tb, r) }, true},
		{"the client is allowed by name now", func(tb *routes.Table) { r := base; r.IPAllow = []string{"127.0.0.1"}; snitest.Set(t, tb, r) }, false},
		{"the same is published again", func(tb *routes.Table) { snitest.Set(t, tb, base) }, false},
		{"another route changes", func(tb *routes.Table) { tb.Remove("other.pods.test") }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := startEdge(t, nil)
			snitest.Set(t, e.table, base, snitest.Route("other.pods.test", routes.TCP, up.Addr), snitest.Route("third.pods.test", routes.TCP, up.Addr))
			mine, third := e.connect(t, base.Host), e.connect(t, "third.pods.test")
			for _, c := range []net.Conn{mine, third} {
				if err := echo(c, "hello"); err != nil {
					t.Fatal(err)
				}
			}
			tt.change(e.table)
			if tt.ends {
				wantClosed(t, mine, soon)
			} else if err := echo(mine, "still here"); err != nil {
				t.Error(err)
			}
			if err := echo(third, "still here"); err != nil {
				t.Errorf("a session of another route: %v", err)
			}
			mine.Close()
			third.Close()
			e.quiet(t)
		})
	}
}

func TestRevokingAClientThatReadsNothing(t *testing.T) {
	e := startEdge(t, nil)
	up := snitest.Serve(t, func(c *net.TCPConn) {
		for { // more than any buffer on the way holds
			if _, err := c.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	})
	snitest.Set(t, e.table, snitest.Route("flood.pods.test", routes.TCP, up.Addr))
	c := e.connect(t, "flood.pods.test")
	defer c.Close()
	parts.Eventually(t, limit, func() error { // until everything is full
		before := e.stats.of(routes.TCP).sent.Load()
		time.Sleep(20 * time.Millisecond)
		if now := e.stats.of(routes.TCP).sent.Load(); now != before || now == 0 {
			return fmt.Errorf("%d bytes and more on their way", now)
		}
		return nil
	})
	start := time.Now()
	e.table.Remove("flood.pods.test")
	if !e.sessions.WaitEmpty(withTimeout(t, limit)) {
		t.Fatal("the session goes on")
	}
	if d := time.Since(start); d > soon {
		t.Errorf("got the end after %v, want it soon", d)
	}
}

func TestRevokedBeforeItWasRegistered(t *testing.T) {
	stats := new(Stats)
	s, table := NewSessions(stats), routes.NewTable()
	table.OnChange(s.Changed)
	snitest.Set(t, table, snitest.Route("echo.pods.test", routes.TCP, "127.0.0.1:1"))
	e := table.Get("echo.pods.test")
	table.Remove("echo.pods.test") // between look-up and registration
	ctx, x := s.Open(t.Context(), table, e, AddrOf(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}))
	if !errors.Is(context.Cause(ctx), ErrRevoked) {
		t.Errorf("got %v, want %v", context.Cause(ctx), ErrRevoked)
	}
	x.End()
	x.End()
	if n := s.Len(); n != 0 {
		t.Errorf("got %d sessions, want none", n)
	}
}

func TestDrain(t *testing.T) {
	e := startEdge(t, nil)
	snitest.Set(t, e.table, snitest.Route("echo.pods.test", routes.TCP, snitest.Echo(t).Addr))
	a, b := e.connect(t, "echo.pods.test"), e.connect(t, "echo.pods.test")
	for _, c := range []net.Conn{a, b} {
		if err := echo(c, "hello"); err != nil {
			t.Fatal(err)
		}
	}
	a.Close() // ends by itself
	if n := e.sessions.Drain(withTimeout(t, 300*time.Millisecond)); n > 2 {
		t.Errorf("got %d sessions ended, want the ones that were left", n)
	}
	wantClosed(t, b, limit)
	e.quiet(t)
	if n := e.sessions.Drain(t.Context()); n != 0 {
		t.Errorf("got %d sessions ended, want none", n)
	}
}

func TestSweepComparesEverySession(t *testing.T) {
	s, old, now := NewSessions(new(Stats)), routes.NewTable(), routes.NewTable()
	snitest.Set(t, old, snitest.Route("a.pods.test", routes.TCP, "127.0.0.1:1"), snitest.Route("b.pods.test", routes.TCP, "127.0.0.1:1"))
	snitest.Set(t, now, snitest.Route("a.pods.test", routes.TCP, "127.0.0.1:1"))
	client := AddrOf(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9})
	a, xa := s.Open(t.Context(), old, old.Get("a.pods.test"), client)
	b, xb := s.Open(t.Context(), old, old.Get("b.pods.test"), client)
	defer xa.End()
	defer xb.End()
	s.Sweep(now)
	if a.Err() != nil || !errors.Is(context.Cause(b), ErrRevoked) {
		t.Errorf("got %v and %v, want nil and %v", a.Err(), context.Cause(b), ErrRevoked)
	}
	list := s.List("", 10)
	if len(list) != 2 || list[0].Host != "a.pods.test" || list[0].Client != client || len(s.List("b.pods.test", 10)) != 1 || len(s.List("", 1)) != 1 {
		t.Errorf("got %+v", list)
	}
}

func TestHandshakesWaitForTheTable(t *testing.T) {
	ready := make(chan struct{})
	e := startEdge(t, func(e *edge) { e.demux.Ready = ready })
	c := e.client(e.dial(t), "echo.pods.test")
	done := make(chan error, 1)
	go func() { done <- echo(c, "hello") }()
	snitest.Set(t, e.table, snitest.Route("echo.pods.test", routes.TCP, snitest.Echo(t).Addr))
	close(ready)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
