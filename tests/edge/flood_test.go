package edge

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni/snitest"
	"github.com/tapis-project/podway/tests/parts"
)

// startEcho starts a Redis, an edge and a pod that echoes at echo.pods.test.
func startEcho(t *testing.T, options ...string) *edge {
	t.Helper()
	rs := parts.StartRedis(t)
	e := startEdge(t, "redis://"+rs.Addr, options...)
	e.serve(newPublisher(t, "redis://"+rs.Addr), snitest.Route("echo.pods.test", routes.TCP, snitest.Echo(t).Addr))
	if _, err := e.visit("127.0.0.9"); err != nil {
		t.Fatal(err)
	}
	return e
}

// inParallel calls f for 0 to n-1, 16 at a time.
func inParallel(n int, f func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				f(int(i))
			}
		})
	}
	wg.Wait()
}

// E2: one client at three times what it may open, at once and over time, is
// refused. Other clients see no error. When all have left nothing is counted.
func TestE2FloodOfOneClient(t *testing.T) {
	e := startEcho(t)
	before := e.mustUsage()
	var mu sync.Mutex
	var open []net.Conn
	var refused, failed atomic.Int64
	inParallel(600, func(i int) {
		if i%6 == 5 { // a client among them that does nothing wrong
			if _, err := e.visit(client(i)); err != nil {
				t.Errorf("another client: %v", err)
				failed.Add(1)
			}
			return
		}
		c, err := e.dial("127.0.0.2", "echo.pods.test")
		if err == nil {
			err = echo(c, "hello")
		}
		if err != nil {
			refused.Add(1)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		open = append(open, c)
	})
	t.Logf("%d connections of one client are open, %d were refused; %d errors of others", len(open), refused.Load(), failed.Load())
	if len(open) > 256 || len(open) < 150 {
		t.Errorf("got %d open connections of one client, want no more than 256", len(open))
	}
	if n := len(open) + int(refused.Load()); n != 500 {
		t.Errorf("got %d connections, want 500 open or refused", n)
	}
	for _, c := range open {
		c.Close()
	}
	e.settles(before)
	for _, name := range []string{"podway_edge_clients", "podway_edge_connections_open", "podway_edge_tls_handshakes_computing"} {
		if v, err := e.metric(name); err != nil || v != 0 {
			t.Errorf("%s: got %v, %v, want 0", name, v, err)
		}
	}
}

// E2: the edge takes no more connections than it may hold, whoever opens them.
// Those that are open work on, and there is room when some have left.
func TestE2FloodInTotal(t *testing.T) {
	e := startEcho(t, "limits {", "max_connections 100", "}")
	before := e.mustUsage()
	session := e.connect("127.0.0.3", "echo.pods.test")
	var flood []net.Conn
	for i := range 300 {
		c, err := e.dialRaw(client(i))
		if err != nil {
			continue // refused before connect has returned
		}
		t.Cleanup(func() { c.Close() })
		flood = append(flood, c)
	}
	e.opened("overload", 190)
	if s, err := e.status(); err != nil || s.Connections > 100 {
		t.Errorf("got %d connections, %v, want 100 at most", s.Connections, err)
	}
	if err := echo(session, "still here"); err != nil {
		t.Errorf("a session from before: %v", err)
	}
	for _, c := range flood {
		c.Close()
	}
	parts.Eventually(t, limit, func() error { _, err := e.visit("127.0.0.3"); return err })
	session.Close()
	e.settles(before)
}

// E2, E3, E4, C1: thousands of connections that fail in every way there is leave
// nothing: no goroutine, no memory, no file, no certificate.
func TestE4StormOfFailures(t *testing.T) {
	e := startEcho(t)
	storm(t, e, len(failures)) // what is kept for each kind is kept by then
	before, files := e.mustUsage(), countFiles(t, e.file("caddy"))
	n := 3000
	if raceDetector {
		n = 1000
	}
	start := time.Now()
	storm(t, e, n)
	t.Logf("%d failures in %v", n, time.Since(start).Round(time.Millisecond))
	after := e.settles(before)
	t.Logf("before: %v; after: %v", before, after)
	if now := countFiles(t, e.file("caddy")); now != files {
		t.Errorf("got %d files, want %d as before", now, files)
	}
	if _, err := e.visit("127.0.0.9"); err != nil {
		t.Errorf("after the storm: %v", err)
	}
}

// failures are connections that fail. They return nil if they do.
var failures = map[string]func(e *edge, raw net.Conn, i int) error{
	"a name without route": func(e *edge, raw net.Conn, i int) error {
		return mustFail(e.secure(raw, fmt.Sprintf("name%d.pods.test", i)))
	},
	"a name without certificate": func(e *edge, raw net.Conn, i int) error {
		return mustFail(e.secure(raw, fmt.Sprintf("name%d.elsewhere.test", i), "h2", "http/1.1"))
	},
	"no name": func(_ *edge, raw net.Conn, _ int) error {
		return mustFail(nil, tls.Client(raw, &tls.Config{InsecureSkipVerify: true}).Handshake())
	},
	"a protocol that nobody speaks": func(e *edge, raw net.Conn, _ int) error {
		return mustFail(e.secure(raw, "echo.pods.test", "mqtt"))
	},
	"TLS 1.1": func(_ *edge, raw net.Conn, _ int) error {
		return mustFail(nil, tls.Client(raw, &tls.Config{
			ServerName: "echo.pods.test", InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11,
		}).Handshake())
	},
	"a client that does not trust the certificate": func(_ *edge, raw net.Conn, _ int) error {
		return mustFail(nil, tls.Client(raw, &tls.Config{ServerName: "echo.pods.test"}).Handshake())
	},
	"a client that leaves in the midst": func(_ *edge, raw net.Conn, _ int) error {
		_, err := raw.Write(clientHelloOf("echo.pods.test"))
		_ = raw.(*net.TCPConn).SetLinger(0)
		return err
	},
	"a hello of 70 kB in small records": func(_ *edge, raw net.Conn, _ int) error {
		record := append([]byte{22, 3, 1, 1, 0}, make([]byte, 256)...)
		record[5], record[6] = 1, 1 // a ClientHello of 64 KiB and more
		for range 280 {
			if _, err := raw.Write(record); err != nil {
				return nil
			}
		}
		return closed(raw, limit)
	},
	"a record longer than TLS allows": writeAndClose("\x16\x03\x01\xff\xff" + "xxxxxxxxxxxxxxxxxxxxxxxx"),
	"bytes of no protocol":            writeAndClose("\x7fELF\x02\x01\x01\x00"),
	"HTTP without TLS":                writeAndClose("GET / HTTP/1.1\r\nHost: echo.pods.test\r\n\r\n"),
	"PostgreSQL without TLS":          writeAndClose("\x00\x00\x00\x14\x00\x03\x00\x00user\x00postgres\x00\x00"),
	"bytes along with an SSLRequest":  writeAndClose("\x00\x00\x00\x08\x04\xd2\x16\x2f\x16\x03\x01\x00\x05hello"),
	"a startup packet of 2 GB":        writeAndClose("\x7f\xff\xff\xff\x00\x03\x00\x00"),
	"a PROXY header of a stranger":    writeAndClose("PROXY TCP4 192.0.2.1 192.0.2.2 40000 443\r\n"),
	"a CancelRequest with a wild key": writeAndClose("\x00\x00\x00\x10\x04\xd2\x16\x2e\x00\x00\x00\x01\x00\x00\x00\x02"),
}

func mustFail(c net.Conn, err error) error {
	if err == nil {
		if c != nil {
			c.Close()
		}
		return errors.New("got a connection")
	}
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		return err
	}
	return nil
}

// writeAndClose sends bytes and expects to be disconnected.
func writeAndClose(text string) func(*edge, net.Conn, int) error {
	return func(_ *edge, raw net.Conn, _ int) error {
		_, _ = io.WriteString(raw, text) // it may be closed already
		return closed(raw, limit)
	}
}

// storm makes n connections fail, of all kinds in turn.
func storm(t *testing.T, e *edge, n int) {
	t.Helper()
	kinds := sortedKeys(failures)
	inParallel(n, func(i int) {
		kind := kinds[i%len(kinds)]
		raw, err := e.dialRaw(client(i))
		if err != nil {
			t.Errorf("connecting: %v", err)
			return
		}
		defer raw.Close()
		_ = raw.SetDeadline(time.Now().Add(limit))
		if err := failures[kind](e, raw, i); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	})
}
