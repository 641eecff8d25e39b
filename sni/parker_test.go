//go:build linux

package sni

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni/snitest"
	"github.com/tapis-project/podway/tests/parts"
)

// allParked waits until all directions of n sessions are parked.
func (e *edge) allParked(t *testing.T, n int) {
	t.Helper()
	parts.Eventually(t, limit, func() error {
		if got := e.demux.Parker.Parked(); got != 2*n {
			return fmt.Errorf("got %d directions parked, want %d", got, 2*n)
		}
		return nil
	})
}

func TestIdleSessionsCostNoGoroutines(t *testing.T) {
	e := startEdge(t, nil)
	up := snitest.Serve(t, func(c *net.TCPConn) { _, _ = io.Copy(c, c) })
	snitest.Set(t, e.table, snitest.Route("echo.pods.test", routes.TCP, up.Addr))
	const sessions = 40
	before := runtime.NumGoroutine()
	var conns []*tls.Conn
	for range sessions {
		c := e.connect(t, "echo.pods.test")
		if err := echo(c, "hello"); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	for round := range 5 {
		e.allParked(t, sessions)
		// One goroutine of the pod's for each connection is left.
		if n := runtime.NumGoroutine() - before; n > sessions+10 {
			t.Errorf("got %d goroutines more than before %d sessions, want none of them", n-sessions, sessions)
		}
		for _, c := range conns {
			if err := echo(c, fmt.Sprint("round ", round)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range conns {
		c.Close()
	}
	e.quiet(t)
}

func TestParkedSessionsEnd(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(e *edge, up *snitest.Server, c *tls.Conn)
	}{
		{"the route is removed", func(e *edge, _ *snitest.Server, _ *tls.Conn) { e.table.Remove("echo.pods.test") }},
		{"the edge shuts down", func(e *edge, _ *snitest.Server, _ *tls.Conn) { e.sessions.Drain(stopped()) }},
		{"the pod closes", func(_ *edge, up *snitest.Server, _ *tls.Conn) { up.Close() }},
		{"the client closes its side", func(_ *edge, _ *snitest.Server, c *tls.Conn) { _ = c.CloseWrite() }},
		{"the client resets", func(_ *edge, _ *snitest.Server, c *tls.Conn) {
			_ = c.NetConn().(*net.TCPConn).SetLinger(0)
			_ = c.NetConn().Close()
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := startEdge(t, nil)
			up := snitest.Echo(t)
			snitest.Set(t, e.table, snitest.Route("echo.pods.test", routes.TCP, up.Addr))
			c := e.connect(t, "echo.pods.test")
			if err := echo(c, "hello"); err != nil {
				t.Fatal(err)
			}
			e.allParked(t, 1)
			start := time.Now()
			tt.end(e, up, c)
			wantClosed(t, c, soon)
			c.Close() // where only one side was closed
			if !e.sessions.WaitEmpty(withTimeout(t, limit)) || time.Since(start) > soon {
				t.Errorf("got the end after %v, want it soon", time.Since(start))
			}
			e.quiet(t)
		})
	}
}

// A mistake of the edge ends the session that met it, and is in the log.
func TestPanicEndsItsSessionOnly(t *testing.T) {
	down, client := tcpPair(t)
	up, pod := tcpPair(t)
	all, table := NewSessions(new(Stats)), routes.NewTable()
	snitest.Set(t, table, snitest.Route("echo.pods.test", routes.TCP, "127.0.0.1:1"))
	ctx, x := all.Open(t.Context(), table, table.Get("echo.pods.test"), AddrOf(client.LocalAddr()))
	ended := make(chan error, 1)
	go relay(ctx, down, up, x, conversation{saw: func([]byte) { panic("oops") }}, nil, func(err error) {
		x.End()
		ended <- err
	})
	if _, err := io.WriteString(pod, "hello"); err != nil {
		t.Fatal(err)
	}
	wantClosed(t, client, limit)
	if err := <-ended; !errors.Is(err, errPanicked) {
		t.Errorf("got %v, want %v", err, errPanicked)
	}
	if n := all.Len(); n != 0 {
		t.Errorf("got %d sessions, want none", n)
	}
}

// tcpPair returns both ends of a connection.
func tcpPair(t *testing.T) (a, b *net.TCPConn) {
	t.Helper()
	got := make(chan *net.TCPConn, 1)
	end := make(chan struct{})
	s := snitest.Serve(t, func(c *net.TCPConn) {
		got <- c
		<-end
	})
	t.Cleanup(func() { close(end) })
	c, err := net.Dial("tcp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn), <-got
}

// A session may be parked in the middle of a TLS record. It relies on crypto/tls
// going on after a read that timed out.
func TestParkedInTheMiddleOfARecord(t *testing.T) {
	e := startEdge(t, nil)
	snitest.Set(t, e.table, snitest.Route("echo.pods.test", routes.TCP, snitest.Echo(t).Addr))
	raw := &heldConn{Conn: e.dial(t)}
	c := e.client(raw, "echo.pods.test")
	if err := echo(c, "hello"); err != nil {
		t.Fatal(err)
	}
	for _, cut := range []int{1, 4, 5, 6, 20} {
		raw.hold = true
		if _, err := io.WriteString(c, "hello\n"); err != nil {
			t.Fatal(err)
		}
		raw.hold = false
		if _, err := raw.Write(raw.held[:cut]); err != nil {
			t.Fatal(err)
		}
		e.allParked(t, 1)
		if _, err := raw.Write(raw.held[cut:]); err != nil {
			t.Fatal(err)
		}
		raw.held = nil
		b := make([]byte, 6)
		if _, err := io.ReadFull(c, b); err != nil || string(b) != "hello\n" {
			t.Fatalf("cut at %d: got %q, %v", cut, b, err)
		}
	}
}

// heldConn keeps what is written back while hold is set.
type heldConn struct {
	net.Conn
	hold bool
	held []byte
}

func (c *heldConn) Write(b []byte) (int, error) {
	if c.hold {
		c.held = append(c.held, b...)
		return len(b), nil
	}
	return c.Conn.Write(b)
}

// Sessions come and go, speak and fall silent, just when they are parked.
func TestParkingUnderStress(t *testing.T) {
	e := startEdge(t, func(e *edge) { e.preface.NewPerSecond, e.preface.NewBurst = 1<<20, 1<<20 })
	up := snitest.Echo(t).Addr
	snitest.Set(t, e.table, snitest.Route("echo.pods.test", routes.TCP, up))
	cert, pool := snitest.Certificate(t, "own.pods.test")
	ownUp := snitest.Serve(t, func(c *net.TCPConn) {
		tc := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}})
		defer tc.Close()
		_, _ = io.Copy(tc, tc)
	})
	snitest.Set(t, e.table, own("own.pods.test", routes.TCP, ownUp.Addr))
	end := time.Now().Add(3 * time.Second)
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() {
			host, trusted := "echo.pods.test", e.pool
			if i%3 == 0 {
				host, trusted = "own.pods.test", pool
			}
			for n := 0; time.Now().Before(end); n++ {
				c := tls.Client(e.dial(t), &tls.Config{ServerName: host, RootCAs: trusted})
				for range rand.N(12) {
					text := make([]byte, 1+rand.N(40000))
					for j := range text {
						text[j] = 'a' + byte((i+n+j)%26)
					}
					done := make(chan error, 1)
					go func() {
						_, err := c.Write(text)
						done <- err
					}()
					got := make([]byte, len(text))
					_, err := io.ReadFull(c, got)
					if err2 := <-done; err != nil || err2 != nil || string(got) != string(text) {
						t.Errorf("got %d bytes, %v, %v, want the %d that were sent", len(got), err, err2, len(text))
						return
					}
					time.Sleep(rand.N(3 * parkAfter)) // this is what is tested
				}
				c.Close()
			}
		})
	}
	wg.Wait()
	e.quiet(t)
	if n := e.demux.Parker.Parked(); n != 0 {
		t.Errorf("got %d directions parked without a session, want none", n)
	}
}
