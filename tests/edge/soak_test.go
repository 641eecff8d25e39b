package edge

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni/snitest"
	"github.com/tapis-project/podway/tests/parts"
)

const (
	soakRate = 1000 // writes of routes per second

	// perPod is how many connections each pod of the soak has: below the limit of
	// a pod, and 20 pods of a tenant are below that of a tenant.
	perPod, podsPerTenant = 200, 20
)

// soakSize returns how many connections to hold and for how long: a little, with
// the race detector, in `make test`; what `make soak` says otherwise.
func soakSize(t *testing.T) (conns int, d time.Duration) {
	t.Helper()
	s := os.Getenv("PODWAY_SOAK")
	if s == "" {
		return 1000, 5 * time.Second
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		t.Fatalf("PODWAY_SOAK=%q is not a number of connections", s)
	}
	return n, time.Minute
}

// E10: idle connections of every kind, while routes of other pods are written all
// the time. None is dropped; when they have left, nothing is left of them.
func TestE10Soak(t *testing.T) {
	n, d := soakSize(t)
	rs := parts.StartRedis(t)
	e := startEdge(t, "redis://"+rs.Addr)
	pub := newPublisher(t, "redis://"+rs.Addr)
	pods := soakPods(t, e, pub, n)
	for i, k := range soakKinds { // what is made once is made by then
		l, err := k.open(e, "127.0.0.8", pods[i].Host)
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
	}
	e.reaches("empty", func(s status) bool { return s.Connections == 0 })
	writeRoutes(t, pub, time.Second)
	before := e.mustUsage()
	start := time.Now()
	conns := openAll(t, e, pods, n)
	opened := time.Since(start)
	during := e.mustUsage()
	writes := writeRoutes(t, pub, d)
	dropped := stillThere(t, e, conns)
	after := e.mustUsage()
	t.Logf("%d connections, opened in %v; %d route writes in %v; %d dropped", n, opened.Round(time.Millisecond), writes, d, dropped)
	t.Logf("before: %v", before)
	t.Logf("with connections: %v (%.1f kB resident each)", during, float64(during.rss-before.rss)/1e3/float64(n))
	t.Logf("after the writes, all used once more: %v", after)
	for _, l := range conns {
		l.Close()
	}
	t.Logf("after all have left: %v", e.settles(before))
	if dropped > 0 {
		t.Errorf("got %d connections dropped, want none", dropped)
	}
	if want := int(d.Seconds() * soakRate); writes < want/2 {
		t.Errorf("got %d writes, want about %d", writes, want)
	}
}

// soakKinds are those that can be idle.
var soakKinds = []kind{kinds[0], kinds[1], kinds[2], kinds[4], kinds[5]}

// soakPods publishes a pod for every perPod connections, of all kinds in turn.
func soakPods(t *testing.T, e *edge, pub *publisher, n int) []routes.Route {
	t.Helper()
	up := upstreams(t)
	var pods []routes.Route
	for i := range max((n+perPod-1)/perPod, len(soakKinds)) {
		k := soakKinds[i%len(soakKinds)]
		r := snitest.Route(fmt.Sprintf("soak%d.pods.test", i), k.protocol, up[k.protocol])
		r.Tenant = fmt.Sprintf("tenant%d", i/podsPerTenant)
		pods = append(pods, r)
	}
	e.serve(pub, pods...)
	return pods
}

// openAll opens n connections, from so many addresses that none is over a limit.
func openAll(t *testing.T, e *edge, pods []routes.Route, n int) []*live {
	t.Helper()
	conns := make([]*live, n)
	inParallel(n, func(i int) {
		pod := i % len(pods)
		l, err := soakKinds[pod%len(soakKinds)].open(e, client(i/100), pods[pod].Host)
		if err != nil {
			t.Errorf("connection %d: %v", i, err)
			return
		}
		conns[i] = l
	})
	t.Cleanup(func() {
		for _, l := range conns {
			if l != nil {
				l.Close()
			}
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	return conns
}

// writeRoutes changes routes of other pods at soakRate, and returns how many it
// has changed.
func writeRoutes(t *testing.T, pub *publisher, d time.Duration) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	const every = 10 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	n, start := 0, time.Now()
	for {
		select {
		case <-ctx.Done():
			return n
		case <-tick.C:
		}
		for due := int(time.Since(start).Seconds() * soakRate); n < due && ctx.Err() == nil; n++ {
			r := snitest.Route(fmt.Sprintf("other%d.pods.test", n%500), routes.TCP, "127.0.0.1:9")
			r.Instance = strconv.Itoa(n)
			if err := pub.put(ctx, r); err != nil && ctx.Err() == nil {
				t.Fatal(err)
			}
		}
	}
}

// stillThere uses every connection once more, and returns how many have ended.
func stillThere(t *testing.T, e *edge, conns []*live) int {
	t.Helper()
	if s, err := e.status(); err != nil || s.Connections != len(conns) {
		t.Errorf("got %d connections, %v, want %d", s.Connections, err, len(conns))
	}
	var dropped atomic.Int64
	var said sync.Once
	inParallel(len(conns), func(i int) {
		if err := conns[i].use(); err != nil {
			dropped.Add(1)
			said.Do(func() { t.Errorf("connection %d: %v", i, err) })
		}
	})
	return int(dropped.Load())
}
