package sni

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni/snitest"
	"github.com/tapis-project/podway/tests/parts"
)

// limit is how long a test waits for what should take no time.
const limit = 20 * time.Second

// soon is how long a revoked session may go on: a second is promised, and tests
// run on busy machines.
const soon = 3 * time.Second

// edge is everything of this package in front of an HTTP server.
type edge struct {
	addr     string
	table    *routes.Table
	sessions *Sessions
	stats    *Stats
	preface  *Preface
	demux    *Demux
	hub      *Hub
	config   *tls.Config
	pool     *x509.CertPool
}

// startEdge starts an edge for *.pods.test whose HTTP server answers with the
// protocol and the host of the request.
func startEdge(t *testing.T, change func(*edge)) *edge {
	t.Helper()
	cert, pool := snitest.Certificate(t, "*.pods.test")
	stats := new(Stats)
	e := &edge{
		table: routes.NewTable(), sessions: NewSessions(stats), stats: stats, pool: pool,
		preface: &Preface{Stats: stats, Passthrough: new(PassthroughCount)}, hub: new(Hub),
	}
	e.preface.Passthrough.Watch(e.table)
	e.table.OnChange(e.sessions.Changed)
	e.demux = &Demux{
		Table: e.table, Sessions: e.sessions, Stats: stats, Log: slog.New(slog.DiscardHandler),
		Cancels: NewCancels(), Zones: []string{"pods.test"},
		Dialer: &Dialer{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
	}
	protos := map[routes.Protocol][]string{
		routes.Postgres: {ALPNPostgres}, routes.TCP: {alpnHTTP11}, routes.HTTP: {alpnHTTP2, alpnHTTP11},
	}
	e.config = &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		c := &tls.Config{NextProtos: protos[routes.HTTP], MinVersion: tls.VersionTLS12}
		if p, ok := protos[HelloProtocol(e.table, h)]; ok {
			c.NextProtos = p
		}
		c.GetCertificate = func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if !HelloAdmitted(e.table, h) {
				return nil, nil
			}
			return &cert, nil
		}
		return c, nil
	}}
	if change != nil {
		change(e)
	}
	e.park(t)
	sock, err := Listen(t.Context(), "127.0.0.1:0", net.ListenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	e.addr = sock.Addr().String()
	e.serve(t, sock)
	return e
}

// parkAfter makes sessions idle so early that every test meets it.
const parkAfter = 10 * time.Millisecond

// park gives the edge a parker, which ends after the last session.
func (e *edge) park(t *testing.T) {
	if runtime.GOOS != "linux" {
		return
	}
	k, err := NewParker(parkAfter)
	if err != nil {
		t.Fatal(err)
	}
	e.demux.Parker = k
	t.Cleanup(func() {
		e.sessions.Drain(stopped())
		ctx, stop := context.WithTimeout(context.Background(), limit)
		defer stop()
		if !e.sessions.WaitEmpty(ctx) {
			t.Error("sessions go on after the test")
		}
		if n := k.Parked(); n != 0 {
			t.Errorf("got %d directions parked without a session, want none", n)
		}
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
}

// serve runs an HTTP server on a handle, as a new configuration would.
func (e *edge) serve(t *testing.T, sock net.Listener) *http.Server {
	srv := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "%s %s", r.Proto, r.Host)
		}),
		ReadHeaderTimeout: limit,
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, 0),
	}
	ln := e.demux.Wrap(e.hub, tls.NewListener(e.preface.Wrap(sock), e.config))
	go func() { _ = srv.Serve(ln) }()
	t.Cleanup(func() { srv.Close() })
	return srv
}

// dial opens a TCP connection to the edge.
func (e *edge) dial(t *testing.T) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", e.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

// client begins TLS over c.
func (e *edge) client(c net.Conn, host string, alpn ...string) *tls.Conn {
	return tls.Client(c, &tls.Config{ServerName: host, RootCAs: e.pool, NextProtos: alpn, MinVersion: tls.VersionTLS12})
}

// connect returns a TLS connection to host.
func (e *edge) connect(t *testing.T, host string, alpn ...string) *tls.Conn {
	t.Helper()
	c := e.client(e.dial(t), host, alpn...)
	if err := c.Handshake(); err != nil {
		t.Fatalf("connecting to %s: %v", host, err)
	}
	return c
}

// loopbackOnly is a resolver without DNS.
func loopbackOnly(context.Context, string) ([]string, error) { return []string{"127.0.0.1"}, nil }

// echo sends a line and expects it back.
func echo(c net.Conn, text string) error {
	if _, err := c.Write([]byte(text + "\n")); err != nil {
		return err
	}
	got, err := bufio.NewReader(c).ReadString('\n')
	if err != nil || got != text+"\n" {
		return fmt.Errorf("got %q, %w, want %q", got, err, text)
	}
	return nil
}

// echoPostgres begins a session with a pod that echoes its start, and one line.
func echoPostgres(c net.Conn, text string) error {
	if _, err := io.WriteString(c, startup+text+"\n"); err != nil {
		return err
	}
	got := make([]byte, len(startup)+len(text)+1)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != startup+text+"\n" {
		return fmt.Errorf("got %q, %w, want %q", got, err, startup+text+"\n")
	}
	return nil
}

// wantClosed expects the end of a connection, clean or not, before within.
func wantClosed(t *testing.T, c net.Conn, within time.Duration) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(within))
	if _, err := io.Copy(io.Discard, c); err != nil {
		if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
			t.Fatalf("still open after %v", within)
		}
	}
}

// outcome waits until an opening was counted as o.
func (e *edge) outcome(t *testing.T, o Outcome, n uint64) {
	defer func() {
		if t.Failed() {
			e.stats.Outcomes(func(o Outcome, n uint64) {
				if n > 0 {
					t.Logf("outcome %v: %d", o, n)
				}
			})
		}
	}()
	t.Helper()
	parts.Eventually(t, limit, func() error {
		if got := e.stats.opened[o].Load(); got != n {
			return fmt.Errorf("got %d connections counted as %v, want %d", got, o, n)
		}
		return nil
	})
}

// quiet waits until nothing is left of past connections.
func (e *edge) quiet(t *testing.T) {
	t.Helper()
	parts.Eventually(t, limit, func() error {
		if n, m := e.preface.Open(), e.sessions.Len(); n != 0 || m != 0 {
			return fmt.Errorf("got %d connections and %d sessions, want none", n, m)
		}
		if n, m := e.preface.Handshaking(), e.preface.Clients(); n != 0 || m != 0 {
			return fmt.Errorf("got %d handshakes computing and %d clients, want none", n, m)
		}
		if n, m := e.sessions.pods.size(), e.sessions.tenants.size(); n != 0 || m != 0 {
			return fmt.Errorf("got %d pods and %d tenants counted, want none", n, m)
		}
		return nil
	})
}

func withTimeout(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func mustAddr(s string) netip.Addr { return netip.MustParseAddr(s) }

func prefixes(ss []string) []netip.Prefix {
	var ps []netip.Prefix
	for _, s := range ss {
		ps = append(ps, netip.MustParsePrefix(s))
	}
	return ps
}
