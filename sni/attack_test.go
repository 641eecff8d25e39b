package sni

import (
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni/snitest"
)

// helloOf returns what a client sends first, about size bytes of it.
func helloOf(t testing.TB, host string, size int) []byte {
	t.Helper()
	client, server := net.Pipe()
	defer server.Close()
	var protos []string
	for n := 0; n < size-300; n += 101 {
		protos = append(protos, strings.Repeat("p", 90)+fmt.Sprintf("%010d", n))
	}
	if protos != nil {
		protos = append(protos, alpnHTTP11)
	}
	go func() {
		_ = tls.Client(client, &tls.Config{ServerName: host, NextProtos: protos, CurvePreferences: []tls.CurveID{tls.X25519}, InsecureSkipVerify: true}).Handshake()
		client.Close()
	}()
	head := make([]byte, 5)
	if _, err := io.ReadFull(server, head); err != nil {
		t.Fatal(err)
	}
	hello := make([]byte, 5+int(binary.BigEndian.Uint16(head[3:])))
	copy(hello, head)
	if _, err := io.ReadFull(server, hello[5:]); err != nil {
		t.Fatal(err)
	}
	return hello
}

// inRecords returns a hello in TLS records of size bytes.
func inRecords(hello []byte, size int) []byte {
	var b []byte
	for rest := hello[5:]; len(rest) > 0; rest = rest[min(size, len(rest)):] {
		n := min(size, len(rest))
		b = append(b, hello[0], hello[1], hello[2], byte(n>>8), byte(n))
		b = append(b, rest[:n]...)
	}
	return b
}

// The server name is found wherever a hello is cut: segments and TLS records.
func TestHelloCutAnywhere(t *testing.T) {
	e := startEdge(t, func(e *edge) { e.preface.NewPerSecond, e.preface.NewBurst = 1<<20, 1<<20 })
	snitest.Set(t, e.table, snitest.Route("echo.pods.test", routes.TCP, snitest.Echo(t).Addr))
	answered := func(name string, parts ...[]byte) {
		t.Helper()
		c := e.dial(t)
		defer c.Close()
		for _, p := range parts {
			if _, err := c.Write(p); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		b := make([]byte, 6)
		if _, err := io.ReadFull(c, b); err != nil || b[0] != tlsHandshake || b[5] != 2 {
			t.Errorf("%s: got %x, %v, want a ServerHello", name, b, err)
		}
	}
	for _, size := range []int{300, 2400} {
		hello := helloOf(t, "echo.pods.test", size)
		step := max(1, len(hello)/150)
		for cut := 1; cut < len(hello); cut += step {
			answered(fmt.Sprintf("%d bytes cut at %d", len(hello), cut), hello[:cut], hello[cut:])
		}
		for _, n := range []int{1, 2, 3, 7, 100} {
			answered(fmt.Sprintf("%d bytes in records of %d", len(hello), n), inRecords(hello, n))
		}
	}
	e.quiet(t)
}

// A client that sends a byte now and then has no more time than a silent one.
func TestTricklingClients(t *testing.T) {
	e := startEdge(t, func(e *edge) { e.preface.OpenTimeout = time.Second })
	snitest.Set(t, e.table, snitest.Route("echo.pods.test", routes.TCP, snitest.Echo(t).Addr))
	hello := helloOf(t, "echo.pods.test", 300)
	start := time.Now()
	var conns []net.Conn
	for range 50 {
		conns = append(conns, e.dial(t))
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for i := 0; time.Since(start) < 1500*time.Millisecond; i++ {
		for _, c := range conns {
			_, _ = c.Write(hello[i : i+1]) // it fails after the deadline
		}
		<-tick.C
	}
	for _, c := range conns {
		wantClosed(t, c, limit)
	}
	e.outcome(t, Timeout, 50)
	e.quiet(t)
}

// Changes of other routes close nothing, a removal closes exactly its own.
func TestUnrelatedChangesCloseNothing(t *testing.T) {
	e := startEdge(t, nil)
	up := snitest.Echo(t).Addr
	var conns [2][]*tls.Conn
	for i, host := range []string{"a.pods.test", "b.pods.test"} {
		snitest.Set(t, e.table, snitest.Route(host, routes.TCP, up))
		for range 20 {
			c := e.connect(t, host)
			if err := echo(c, "hello"); err != nil {
				t.Fatal(err)
			}
			conns[i] = append(conns[i], c)
		}
	}
	for i := range 5000 {
		r := snitest.Route(fmt.Sprintf("pod%d.pods.test", i%100), routes.TCP, up)
		r.Instance = fmt.Sprint(i)
		snitest.Set(t, e.table, r, snitest.Route("a.pods.test", routes.TCP, up), snitest.Route("b.pods.test", routes.TCP, up))
	}
	if n := e.sessions.Len(); n != 40 {
		t.Errorf("got %d sessions after changes of others, want 40", n)
	}
	start := time.Now()
	e.table.Remove("a.pods.test")
	for _, c := range conns[0] {
		wantClosed(t, c, soon)
	}
	if d := time.Since(start); d > soon {
		t.Errorf("got the ends after %v, want them soon", d)
	}
	for _, c := range conns[1] {
		if err := echo(c, "still here"); err != nil {
			t.Error(err)
		}
		c.Close()
	}
	e.quiet(t)
}
