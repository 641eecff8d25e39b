package sni

import (
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni/snitest"
	"github.com/tapis-project/podway/tests/parts"
)

func TestHandlesShareASocket(t *testing.T) {
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(parts.FreePort(t)))
	first, err := Listen(t.Context(), addr, net.ListenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	second, err := Listen(t.Context(), addr, net.ListenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if first.Addr().String() != addr || second.Addr().String() != addr {
		t.Errorf("got %v and %v, want %s", first.Addr(), second.Addr(), addr)
	}
	first.Close()
	first.Close() // twice is once
	if _, err := first.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accepting on a closed handle: got %v, want %v", err, net.ErrClosed)
	}
	go func() {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
		}
	}()
	c, err := second.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	second.Close()
	if c, err := net.Dial("tcp", addr); err == nil {
		c.Close()
		t.Error("the socket is open after its last handle was closed")
	}
	again, err := Listen(t.Context(), addr, net.ListenConfig{})
	if err != nil {
		t.Fatalf("opening the socket again: %v", err)
	}
	again.Close()
}

// Who had connected when the socket is closed is served, who comes later is refused.
func TestStopListeningLosesNoneThatConnected(t *testing.T) {
	ln, err := Listen(t.Context(), net.JoinHostPort("127.0.0.1", strconv.Itoa(parts.FreePort(t))), net.ListenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	clients := make([]net.Conn, 50)
	for i := range clients {
		if clients[i], err = net.Dial("tcp", ln.Addr().String()); err != nil {
			t.Fatal(err)
		}
		defer clients[i].Close()
	}
	defer time.AfterFunc(limit, func() { ln.Close() }).Stop() // Accept has no deadline
	var stopped sync.WaitGroup
	stopped.Go(StopListening)
	for range clients {
		c, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, "served"); err != nil {
			t.Error(err)
		}
		c.Close()
	}
	stopped.Wait()
	for i, c := range clients {
		_ = c.SetDeadline(time.Now().Add(limit))
		if got, err := io.ReadAll(c); string(got) != "served" || err != nil {
			t.Errorf("client %d: got %q, %v", i, got, err)
		}
	}
	if c, err := net.Dial("tcp", ln.Addr().String()); err == nil {
		c.Close()
		t.Error("the socket takes connections after it was closed")
	}
}

// While servers come and go, no connection fails and no session ends. The old
// server stops when the connections it was given have sent their request.
func TestServersChangeWithoutLoss(t *testing.T) {
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(parts.FreePort(t)))
	e := startEdge(t, nil)
	first, err := Listen(t.Context(), addr, net.ListenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	e.addr = addr
	e.hub = new(Hub)
	srv := e.serve(t, first)
	snitest.Set(t, e.table,
		snitest.Route("echo.pods.test", routes.TCP, snitest.Echo(t).Addr),
		snitest.Route("web.pods.test", routes.HTTP, "127.0.0.1:1"))

	old := e.connect(t, "echo.pods.test")
	if err := echo(old, "hello"); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var visits [4]atomic.Int64
	var wg sync.WaitGroup
	for i := range visits {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := e.visit(i%2 == 0); err != nil {
					t.Error(err)
					return
				}
				visits[i].Add(1)
			}
		})
	}
	for range 20 {
		next, err := Listen(t.Context(), addr, net.ListenConfig{})
		if err != nil {
			t.Fatal(err)
		}
		now := e.serve(t, next)
		var before [len(visits)]int64
		for i := range visits {
			before[i] = visits[i].Load()
		}
		parts.Eventually(t, limit, func() error {
			for i := range visits {
				if visits[i].Load() == before[i] {
					return errors.New("no connections pass")
				}
			}
			return nil
		})
		if err := srv.Shutdown(withTimeout(t, limit)); err != nil {
			t.Fatal(err)
		}
		srv = now
	}
	close(stop)
	wg.Wait()
	if err := echo(old, "still here"); err != nil {
		t.Errorf("a session older than 20 servers: %v", err)
	}
}

// visit makes one connection for HTTP or TCP and uses it.
func (e *edge) visit(web bool) error {
	raw, err := net.Dial("tcp", e.addr)
	if err != nil {
		return err
	}
	defer raw.Close()
	_ = raw.SetDeadline(time.Now().Add(limit))
	if !web {
		return echo(e.client(raw, "echo.pods.test"), "hello")
	}
	c := e.client(raw, "web.pods.test", "http/1.1")
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: web.pods.test\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	b, err := io.ReadAll(c)
	if err == nil && len(b) < 12 {
		err = io.ErrUnexpectedEOF
	}
	return err
}

func TestDialerAddresses(t *testing.T) {
	for _, tt := range []struct {
		name  string
		allow []string
		yes   []string
		no    []string
	}{
		{
			"by default the private networks", nil,
			[]string{"10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fd00::1", "::ffff:10.1.2.3"},
			[]string{
				"127.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "fe80::1%eth0",
				"fd00:ec2::254", "100.100.100.200", "8.8.8.8", "2001:db8::1", "0.0.0.0", "::", "224.0.0.1", "ff02::1", "172.32.0.1",
			},
		},
		{
			"everything is not the machine itself",
			[]string{"0.0.0.0/0", "::/0"},
			[]string{"8.8.8.8", "2001:db8::1", "10.0.0.1"},
			[]string{"127.0.0.1", "::1", "169.254.169.254", "fe80::1", "0.0.0.0", "255.255.255.255"},
		},
		{
			"loopback only where it is named",
			[]string{"127.0.0.0/8"},
			[]string{"127.0.0.1", "127.9.9.9", "::ffff:127.0.0.1"},
			[]string{"::1", "10.0.0.1"},
		},
		{"one loopback address", []string{"127.0.0.1/32", "::1/128"}, []string{"127.0.0.1", "::1"}, []string{"127.0.0.2"}},
		{"link-local not even where it is named", []string{"169.254.0.0/16"}, nil, []string{"169.254.169.254"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := &Dialer{Allow: prefixes(tt.allow)}
			for _, a := range tt.yes {
				if !d.Allowed(mustAddr(a)) {
					t.Errorf("got %s refused", a)
				}
			}
			for _, a := range tt.no {
				if d.Allowed(mustAddr(a)) {
					t.Errorf("got %s allowed", a)
				}
			}
		})
	}
}

func TestDialTriesTheNextUpstream(t *testing.T) {
	dead := snitest.Echo(t)
	dead.Close()
	live := snitest.Echo(t)
	d := &Dialer{Allow: prefixes([]string{"127.0.0.0/8"})}
	e, err := routes.Compile(snitest.Route("echo.pods.test", routes.TCP, dead.Addr, live.Addr))
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		c, err := d.Dial(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	_, err = new(Dialer).Dial(t.Context(), e)
	if !errors.Is(err, ErrDenied) {
		t.Errorf("got %v, want %v", err, ErrDenied)
	}
}
