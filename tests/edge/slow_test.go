package edge

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni/snitest"
	"github.com/tapis-project/podway/tests/parts"
)

// E1: 5,000 connections that say nothing, a byte per second, or stop in the midst
// of the handshake. All are gone when the ten seconds for opening are over, other
// clients do not notice, and nothing of them is left.
func TestE1SlowClients(t *testing.T) {
	rs := parts.StartRedis(t)
	e := startEdge(t, "redis://"+rs.Addr)
	e.serve(newPublisher(t, "redis://"+rs.Addr), snitest.Route("echo.pods.test", routes.TCP, snitest.Echo(t).Addr))
	if _, err := e.visit("127.0.0.9"); err != nil {
		t.Fatal(err)
	}
	before := e.mustUsage()

	const slow = 5000
	hello := clientHelloOf("echo.pods.test")
	start := time.Now()
	conns := openSlow(t, e, slow, hello)
	during := e.mustUsage()

	done := make(chan struct{})
	var trickle sync.WaitGroup
	trickle.Go(func() { drip(conns, hello, done) })
	normal := visitUntil(t, e, start.Add(9*time.Second))
	for _, c := range conns {
		if err := closed(c, 5*time.Second+time.Until(start.Add(10*time.Second))); err != nil {
			t.Fatal(err)
		}
	}
	took := time.Since(start)
	close(done)
	trickle.Wait()
	e.opened("timeout", slow*9/10) // some are reset while they write
	after := e.settles(before)

	slices.Sort(normal)
	p50, p99 := normal[len(normal)/2], normal[len(normal)*99/100]
	t.Logf("%d slow clients are gone after %v; %d visits of others took %v (p50), %v (p99)", slow, took.Round(time.Millisecond), len(normal), p50, p99)
	t.Logf("before: %v; during: %v; after: %v", before, during, after)
	if took > 15*time.Second {
		t.Errorf("the last was open for %v, want little more than 10s", took)
	}
	if most := before.goroutines + slow + 200; during.goroutines > most {
		t.Errorf("got %d goroutines, want one per connection, %d at most", during.goroutines, most)
	}
	if p50 > time.Second {
		t.Errorf("other clients take %v, want no delay", p50)
	}
}

// openSlow opens connections: a third sends nothing, a third the begin of a
// hello, and a third what drip will send.
func openSlow(t *testing.T, e *edge, n int, hello []byte) []net.Conn {
	t.Helper()
	conns := make([]net.Conn, 0, n)
	for i := range n {
		c, err := e.dialRaw(client(i / 150)) // below what one client may open at once
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if i%3 == 1 {
			if _, err := c.Write(hello[:len(hello)/2]); err != nil {
				t.Fatal(err)
			}
		}
		conns = append(conns, c)
	}
	return conns
}

// drip sends every third connection a byte of the hello per second.
func drip(conns []net.Conn, hello []byte, done <-chan struct{}) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for _, b := range hello {
		for i := 2; i < len(conns); i += 3 {
			_, _ = conns[i].Write([]byte{b}) // it fails once the edge has closed it
		}
		select {
		case <-tick.C:
		case <-done:
			return
		}
	}
}

// visit makes a connection, uses it, and returns how long that took.
func (e *edge) visit(from string) (time.Duration, error) {
	start := time.Now()
	c, err := e.dial(from, "echo.pods.test")
	if err != nil {
		return 0, err
	}
	defer c.Close()
	err = echo(c, "hello")
	return time.Since(start), err
}

// visitUntil visits the edge, about 20 times per second, until an instant.
func visitUntil(t *testing.T, e *edge, end time.Time) []time.Duration {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var took []time.Duration
	for time.Now().Before(end) || len(took) < 10 {
		d, err := e.visit("127.0.0.9")
		if err != nil {
			t.Fatalf("another client: %v", err)
		}
		took = append(took, d)
		<-tick.C
	}
	return took
}

// E1, D1: a preface of PostgreSQL or PROXY that comes byte by byte is given the
// same ten seconds. (The limit is shortened here.)
func TestE1SlowPreface(t *testing.T) {
	rs := parts.StartRedis(t)
	e := startEdge(t, "redis://"+rs.Addr, "limits {", "open_timeout 1s", "}", "proxy_protocol_from 127.9.0.0/16")
	before := e.mustUsage()
	var wg sync.WaitGroup
	errs := make(chan error, 100)
	for i := range 60 {
		from, preface := client(i), "\x00\x00\x00\x08\x04\xd2\x16\x2f"
		if i%2 == 1 {
			from, preface = fmt.Sprintf("127.9.0.%d", 1+i), "PROXY TCP4 192.0.2.1 192.0.2.2 40000 443\r\n"
		}
		wg.Go(func() { errs <- dripUntilClosed(e, from, preface) })
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	e.settles(before)
}

func dripUntilClosed(e *edge, from, preface string) error {
	c, err := e.dialRaw(from)
	if err != nil {
		return err
	}
	defer c.Close()
	start := time.Now()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for i := range preface {
		if _, err := c.Write([]byte{preface[i]}); err != nil {
			break
		}
		<-tick.C
		if time.Since(start) > limit {
			return errors.New("a slow preface goes on")
		}
	}
	return closed(c, limit)
}
