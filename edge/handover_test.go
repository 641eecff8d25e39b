package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni/snitest"
	"github.com/tapis-project/podway/tests/parts"
)

// successor returns an edge on the same port, with the same files, that is to take
// over from p. It is not started.
func (p *process) successor(n int) *process {
	s := *p
	s.admin, s.cmd, s.log = "admin"+strconv.Itoa(n)+".sock", nil, nil
	p.t.Cleanup(s.clean)
	return &s
}

// ended waits until the edge has ended by itself.
func (p *process) ended() {
	p.t.Helper()
	select {
	case err := <-p.done:
		if err != nil {
			p.t.Errorf("the edge ended with %v", err)
		}
	case <-time.After(limit):
		p.t.Fatal("the edge goes on")
	}
	p.cmd = nil
}

// visitors connect as fast as they can, until stop is called.
type visitors struct {
	visits atomic.Int64
	stop   chan struct{}
	failed chan error
	all    sync.WaitGroup
}

// visit starts visitors of HTTP and TCP routes.
func (p *process) visit(visits ...func() error) *visitors {
	v := &visitors{stop: make(chan struct{}), failed: make(chan error, len(visits))}
	for _, visit := range visits {
		v.all.Go(func() {
			for {
				select {
				case <-v.stop:
					return
				default:
				}
				if err := visit(); err != nil {
					v.failed <- err
					return
				}
				v.visits.Add(1)
			}
		})
	}
	return v
}

// end stops the visitors and returns how often they came.
func (v *visitors) end(t *testing.T) int64 {
	t.Helper()
	close(v.stop)
	v.all.Wait()
	close(v.failed)
	for err := range v.failed {
		t.Errorf("a connect failed: %v", err)
	}
	return v.visits.Load()
}

// webServer returns the address of an HTTP server.
func webServer(t *testing.T) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "pod") }))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// visitEcho makes one connection to a TCP route and uses it.
func (p *process) visitEcho() error {
	c, err := p.dial("echo.pods.test")
	if err != nil {
		return fmt.Errorf("tcp: %w", err)
	}
	defer c.Close()
	return echo(c)
}

// visitWeb makes one connection to an HTTP route and uses it.
func (p *process) visitWeb() error {
	c, err := p.dial("web.pods.test")
	if err != nil {
		return fmt.Errorf("http: %w", err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: web.pods.test\r\nConnection: close\r\n\r\n"); err != nil {
		return fmt.Errorf("http: %w", err)
	}
	b, err := io.ReadAll(c)
	if err == nil && !bytes.HasPrefix(b, []byte("HTTP/1.1 200 ")) {
		err = errors.New("no answer: " + string(b))
	}
	if err != nil {
		return fmt.Errorf("http: %w", err)
	}
	return nil
}

// An edge takes over from another while clients connect as fast as they can.
func TestHandover(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts whole edges")
	}
	rs := parts.StartRedis(t)
	publish(t, rs.Addr,
		snitest.Route("echo.pods.test", routes.TCP, snitest.Echo(t).Addr),
		snitest.Route("web.pods.test", routes.HTTP, webServer(t)))
	p := newProcess(t, rs.Addr)
	p.env = []string{"PODWAY_EDGE_HANDOVER=" + filepath.Join(p.dir, "handover.sock")}
	p.start()
	session := p.connect("echo.pods.test")
	if err := echo(session); err != nil {
		t.Fatal(err)
	}

	v := p.visit(p.visitEcho, p.visitWeb, p.visitEcho, p.visitWeb)
	for n := range 3 {
		next := p.successor(n)
		before := v.visits.Load()
		next.start()
		if n == 0 { // of the first edge, which serves it until its end
			if err := echo(session); err != nil {
				t.Errorf("a session of the edge before: %v", err)
			}
		}
		p.ended()
		if n == 0 {
			if _, err := session.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Errorf("the session ended with %v, want %v", err, io.EOF)
			}
		}
		p = next
		parts.Eventually(t, limit, func() error {
			if got := v.visits.Load(); got < before+40 {
				return fmt.Errorf("got %d visits since the last edge began, want 40", got-before)
			}
			return nil
		})
	}
	t.Logf("%d visits", v.end(t))
	if err := p.visitEcho(); err != nil {
		t.Error(err)
	}
}

// One that can't serve takes nothing over.
func TestHandoverToAnEdgeThatFails(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts whole edges")
	}
	rs := parts.StartRedis(t)
	publish(t, rs.Addr, snitest.Route("echo.pods.test", routes.TCP, snitest.Echo(t).Addr))
	p := newProcess(t, rs.Addr)
	p.env = []string{"PODWAY_EDGE_HANDOVER=" + filepath.Join(p.dir, "handover.sock")}
	p.start()
	c := p.connect("echo.pods.test")

	next := p.successor(1)
	next.env = append(next.env, "PODWAY_EDGE_UPSTREAMS=nonsense")
	next.launch()
	if err := <-next.done; err == nil {
		t.Error("an edge with a bad configuration has started")
	}
	next.cmd = nil
	for range 5 {
		if err := p.visitEcho(); err != nil {
			t.Errorf("after another edge failed to start: %v", err)
		}
	}
	if err := echo(c); err != nil {
		t.Error(err)
	}
}

// systemd keeps the socket while the edge is restarted.
func TestSocketOfSystemd(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts a whole edge")
	}
	rs := parts.StartRedis(t)
	publish(t, rs.Addr, snitest.Route("echo.pods.test", routes.TCP, snitest.Echo(t).Addr))
	p := newProcess(t, rs.Addr)
	ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", p.port))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	socket, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	p.socket = socket
	for range 2 {
		p.start()
		if err := p.visitEcho(); err != nil {
			t.Fatal(err)
		}
		p.terminate()
	}
	// The next client waits for the next edge.
	waiting := make(chan error, 1)
	go func() { waiting <- p.visitEcho() }()
	p.start()
	if err := <-waiting; err != nil {
		t.Errorf("a client that came between two edges: %v", err)
	}
}
