package sni

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni/pgwire"
	"github.com/tapis-project/podway/sni/snitest"
)

// dialFrom opens a connection from an address of loopback.
func (e *edge) dialFrom(t *testing.T, from string) (net.Conn, error) {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: limit}
	c, err := d.DialContext(t.Context(), "tcp", e.addr)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { c.Close() })
	return c, c.SetDeadline(time.Now().Add(limit))
}

// session opens a session from an address and uses it.
func (e *edge) session(t *testing.T, from, host string) (*tls.Conn, error) {
	t.Helper()
	raw, err := e.dialFrom(t, from)
	if err != nil {
		return nil, err
	}
	c := e.client(raw, host)
	return c, echo(c, "hello")
}

func TestOneClientOverItsLimitHurtsNobodyElse(t *testing.T) {
	const most = 5
	e := startEdge(t, func(e *edge) { e.preface.MaxPerClient = most })
	snitest.Set(t, e.table, snitest.Route("echo.pods.test", routes.TCP, snitest.Echo(t).Addr))
	var mu sync.Mutex
	var open []net.Conn
	refused := 0
	var wg sync.WaitGroup
	for range 3 * most {
		wg.Go(func() {
			c, err := e.session(t, "127.0.0.2", "echo.pods.test")
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				refused++
				return
			}
			open = append(open, c)
		})
	}
	wg.Wait()
	if len(open) != most || refused != 2*most {
		t.Errorf("got %d connections and %d refused, want %d and %d", len(open), refused, most, 2*most)
	}
	e.outcome(t, ClientLimit, 2*most)
	for range most {
		c, err := e.session(t, "127.0.0.3", "echo.pods.test")
		if err != nil {
			t.Fatalf("another client: %v", err)
		}
		open = append(open, c)
	}
	for _, c := range open {
		c.Close()
	}
	e.quiet(t)
	if _, err := e.session(t, "127.0.0.2", "echo.pods.test"); err != nil {
		t.Errorf("after all have left: %v", err)
	}
}

// burstOnly makes what is allowed independent of how long a test takes.
func burstOnly(r *rates) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.perSecond = 0
}

func TestNewConnectionsPerClient(t *testing.T) {
	e := startEdge(t, func(e *edge) { e.preface.NewPerSecond, e.preface.NewBurst = 1, 3 })
	burstOnly(e.preface.rates)
	snitest.Set(t, e.table, snitest.Route("echo.pods.test", routes.TCP, snitest.Echo(t).Addr))
	for i := range 5 {
		c, err := e.session(t, "127.0.0.2", "echo.pods.test")
		if (err == nil) != (i < 3) {
			t.Errorf("connection %d: got %v", i+1, err)
		}
		if err == nil {
			c.Close()
		}
	}
	if _, err := e.session(t, "127.0.0.3", "echo.pods.test"); err != nil {
		t.Errorf("another client: %v", err)
	}
	e.outcome(t, ClientRate, 2)
}

// Behind a load balancer the client counts, not the balancer.
func TestLimitsCountTheClientOfAProxyHeader(t *testing.T) {
	e := startEdge(t, func(e *edge) {
		e.preface.ProxyProtocolFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		e.preface.MaxPerClient = 1
	})
	snitest.Set(t, e.table, snitest.Route("echo.pods.test", routes.TCP, snitest.Echo(t).Addr))
	for _, tt := range []struct {
		client string
		ok     bool
	}{
		{"TCP4 192.0.2.1 192.0.2.200", true},
		{"TCP4 192.0.2.2 192.0.2.200", true},
		{"TCP4 192.0.2.1 192.0.2.200", false},
		{"TCP6 2001:db8:0:1::1 2001:db8::9", true},
		{"TCP6 2001:db8:0:1:ffff::2 2001:db8::9", false},
		{"TCP6 2001:db8:0:2::1 2001:db8::9", true},
	} {
		c := e.dial(t)
		if _, err := fmt.Fprintf(c, "PROXY %s 40000 443\r\n", tt.client); err != nil {
			t.Fatal(err)
		}
		if err := echo(e.client(c, "echo.pods.test"), "hello"); (err == nil) != tt.ok {
			t.Errorf("%s: got %v", tt.client, err)
		}
	}
	e.outcome(t, ClientLimit, 2)
}

func TestLimitsOfPodsAndTenants(t *testing.T) {
	e := startEdge(t, nil)
	e.sessions.Limit(2, 4)
	up := snitest.Echo(t).Addr
	own := snitest.Route("own.pods.test", routes.TCP, up)
	own.Limits = &routes.Limits{MaxConnections: 1}
	foreign := snitest.Route("foreign.pods.test", routes.TCP, up)
	foreign.Tenant = "other"
	snitest.Set(t, e.table, own, foreign,
		snitest.Route("a.pods.test", routes.TCP, up), snitest.Route("a-net.pods.test", routes.TCP, up),
		snitest.Route("b.pods.test", routes.TCP, up), snitest.Route("db.pods.test", routes.Postgres, up))
	var open []net.Conn
	for _, tt := range []struct {
		name, host string
		ok         bool
	}{
		{"the first of a pod", "a.pods.test", true},
		{"the second, at another of its hosts", "a-net.pods.test", true},
		{"the third", "a.pods.test", false},
		{"a route with a limit of its own", "own.pods.test", true},
		{"over it", "own.pods.test", false},
		{"the fourth of a tenant", "b.pods.test", true},
		{"the fifth", "b.pods.test", false},
		{"another tenant", "foreign.pods.test", true},
	} {
		c, err := e.session(t, "127.0.0.1", tt.host)
		if (err == nil) != tt.ok {
			t.Errorf("%s: got %v", tt.name, err)
		}
		open = append(open, c)
	}
	e.outcome(t, PodLimit, 2)
	e.outcome(t, TenantLimit, 1)
	c := e.postgresTLS(t, "db.pods.test")
	if _, err := io.WriteString(c, startup); err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(c)
	if r, err := pgwire.ParseErrorResponse(b); err != nil || r.Code != pgwire.TooManyConnections {
		t.Errorf("got %+v, %v, want %s", r, err, pgwire.TooManyConnections)
	}
	for _, c := range open {
		c.Close()
	}
	e.quiet(t)
	for _, p := range e.stats.Protocols() {
		if p.Protocol == routes.TCP && (p.Refused != 3 || p.Active != 0) {
			t.Errorf("got %+v, want 3 refused", p)
		}
	}
}

func TestRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRates(10, 20)
		a, b := clientPrefix(mustAddr("192.0.2.1")), clientPrefix(mustAddr("::ffff:192.0.2.2"))
		taken := func(c netip.Prefix) (n int) {
			for range 100 {
				if r.take(c, time.Now()) {
					n++
				}
			}
			return n
		}
		if n := taken(a); n != 20 {
			t.Errorf("got a burst of %d, want 20", n)
		}
		time.Sleep(500 * time.Millisecond)
		if n, m := taken(a), taken(b); n != 5 || m != 20 {
			t.Errorf("got %d after half a second and %d of another client, want 5 and 20", n, m)
		}
		time.Sleep(time.Hour)
		if n := taken(a); n != 20 {
			t.Errorf("got %d after an hour, want 20", n)
		}
		// Clients that are gone leave nothing.
		for i := range 10 * leastSweep {
			r.take(clientPrefix(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})), time.Now())
			time.Sleep(time.Millisecond)
		}
		if n := len(r.buckets); n > 2*leastSweep {
			t.Errorf("got %d buckets, want %d at most", n, 2*leastSweep)
		}
	})
}

func TestClientPrefix(t *testing.T) {
	for _, tt := range []struct{ addr, want string }{
		{"192.0.2.1", "192.0.2.1/32"},
		{"::ffff:192.0.2.1", "192.0.2.1/32"},
		{"2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"},
		{"fe80::1%eth0", "fe80::/64"},
	} {
		if got := clientPrefix(mustAddr(tt.addr)); got.String() != tt.want {
			t.Errorf("%s: got %v, want %s", tt.addr, got, tt.want)
		}
	}
}

func TestOverloadIsLoggedOncePerSecond(t *testing.T) {
	var log bytes.Buffer
	e := startEdge(t, func(e *edge) {
		e.preface.MaxPerClient = 1
		e.preface.Log = slog.New(slog.NewTextHandler(&log, nil))
	})
	var th Throttle
	start := time.Now()
	if _, ok := th.Allow(start); !ok {
		t.Error("the first is not logged")
	}
	for range 10 {
		if _, ok := th.Allow(start.Add(time.Second / 2)); ok {
			t.Error("a second one in the same second is logged")
		}
	}
	if kept, ok := th.Allow(start.Add(time.Second)); !ok || kept != 10 {
		t.Errorf("got %d, %v, want 10 kept back", kept, ok)
	}
	c := e.dial(t)
	if more, err := net.Dial("tcp", e.addr); err == nil { // it may be reset before Dial returns
		wantClosed(t, more, limit)
		more.Close()
	}
	e.outcome(t, ClientLimit, 1)
	c.Close()
	e.quiet(t)
	if !bytes.Contains(log.Bytes(), []byte("result=client_limit")) {
		t.Errorf("got the log %q", &log)
	}
}
