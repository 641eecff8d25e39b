package redisroutes

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/tests/parts"
)

func readFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// R4: connections that are reset again and again, between any two answers of
// Redis, lose no change and drop no route.
func TestResets(t *testing.T) {
	s := startReal(t)
	cp := startControlPlane(t, s)
	for i := range 50 {
		cp.set(fmt.Sprint("steady", i), "1")
	}
	cp.complete()
	proxy := parts.StartProxy(t, s.addr)
	through, err := ParseURL("redis://" + proxy.Addr)
	if err != nil {
		t.Fatal(err)
	}
	e := newEdge(t, WatcherOptions{Redis: through})
	dropsNothing(t, e, "steady")
	e.run()
	e.serves(cp.hosts())
	for i := range 20 {
		cp.set("busy", fmt.Sprint(i))
		proxy.Reset()
		cp.set("steady3", fmt.Sprint(i))
	}
	e.serves(cp.hosts())
	e.synced()
}

// dropsNothing fails the test when a route of such a host is dropped.
func dropsNothing(t *testing.T, e *edge, prefix string) {
	e.table.OnChange(func(host string, _, now *routes.Entry) {
		if now == nil && strings.HasPrefix(host, prefix) {
			t.Errorf("%s was dropped", host)
		}
	})
}

// R4: a Redis that is there and says nothing is noticed, and so is its return.
func TestSilentRedis(t *testing.T) {
	rs := parts.StartRedis(t)
	s := &server{addr: rs.Addr, kill: rs.Kill, start: rs.Start}
	s.connect(t)
	cp := startControlPlane(t, s)
	cp.set("db", "1")
	cp.complete()
	e := startEdge(t, s)
	e.serves(cp.hosts())
	rs.Signal(syscall.SIGSTOP)
	e.reaches("disconnected", func(s Status) bool { return !s.Synced && s.Stale > 0 })
	if err := same(e.hosts(), cp.hosts()); err != nil {
		t.Error(err)
	}
	rs.Signal(syscall.SIGCONT)
	e.synced()
	cp.set("db", "2")
	e.serves(cp.hosts())
	if got := e.Status().Resyncs; got != 1 {
		t.Errorf("got %d resyncs, want 1: nothing was lost", got)
	}
}

// R4: an edge may follow a read-only replica, and serves on when that loses its
// master.
func TestReplica(t *testing.T) {
	master := parts.StartRedis(t)
	s := &server{addr: master.Addr}
	s.connect(t)
	replica := parts.StartReplica(t, master)
	cp := startControlPlane(t, s)
	cp.set("db", "1")
	cp.complete()
	e := startEdge(t, &server{addr: replica.Addr})
	e.serves(cp.hosts())
	cp.set("db", "2")
	cp.set("web", "1")
	e.serves(cp.hosts())
	master.Kill()
	e.synced()
	if err := same(e.hosts(), cp.hosts()); err != nil {
		t.Error(err)
	}
}

// R4: a failover to a replica that missed writes. What it misses is served on
// until the control plane, which finds the new master by itself, has published
// everything again.
func TestFailoverWithLoss(t *testing.T) {
	master := parts.StartRedis(t)
	replica := parts.StartReplica(t, master)
	sentinel := parts.StartSentinel(t, master)
	o, err := ParseURL("redis://" + sentinel + "?master=main")
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewUniversalClient(o)
	t.Cleanup(func() { _ = client.Close() })
	pub, err := NewPublisher(PublisherOptions{Client: client, CheckInterval: 20 * time.Millisecond, Logger: testLogger(t)})
	if err != nil {
		t.Fatal(err)
	}
	cp := &controlPlane{t: t, pub: pub, store: map[routes.PodRef][]routes.Route{}}
	parts.Eventually(t, limit, func() error { return knowsReplica(t, sentinel) })
	for i := range 20 {
		cp.set(fmt.Sprint("steady", i), "1")
	}
	cp.complete()
	file := filepath.Join(t.TempDir(), "routes.snap")
	start := func() *edge {
		e := newEdge(t, WatcherOptions{Redis: o, SnapshotFile: file})
		dropsNothing(t, e, "steady")
		e.run()
		e.serves(cp.hosts())
		return e
	}
	e := start()
	at := e.Status().Version
	parts.Eventually(t, limit, func() error { return hasVersion(t, replica.Addr, at) })

	replica.Signal(syscall.SIGSTOP)
	direct := &server{addr: master.Addr}
	direct.connect(t)
	direct.do(t, "client", "kill", "type", "replica") // or what follows waits in its socket
	for i := range 5 {
		cp.set(fmt.Sprint("steady-late", i), "1")
	}
	e.serves(cp.hosts())
	master.Kill()
	replica.Signal(syscall.SIGCONT)

	for range 2 {
		e.reaches("following the new master", func(s Status) bool { return s.Synced && s.Held == 5 })
		if err := same(e.hosts(), cp.hosts()); err != nil {
			t.Error(err)
		}
		e.stop() // a restart of the edge changes nothing
		e = start()
	}
	losses := cp.watch()
	e.reaches("whole", func(s Status) bool { return s.Synced && s.Held == 0 && losses.Load() > 0 })
	e.serves(cp.hosts())
}

// knowsReplica returns nil once a Sentinel could promote a replica.
func knowsReplica(t *testing.T, sentinel string) error {
	c := redis.NewSentinelClient(&redis.Options{Addr: sentinel})
	defer c.Close()
	all, err := c.Replicas(t.Context(), "main").Result()
	if err != nil {
		return err
	}
	for _, r := range all {
		if r["master-link-status"] == "ok" {
			return nil
		}
	}
	return errors.New("no replica is known")
}

// hasVersion returns nil once a Redis has a version of the table.
func hasVersion(t *testing.T, addr string, want uint64) error {
	c := redis.NewClient(&redis.Options{Addr: addr})
	defer c.Close()
	got, err := c.Get(t.Context(), "podway:{default}:version").Uint64()
	if err == nil && got != want {
		err = fmt.Errorf("got version %d, want %d", got, want)
	}
	return err
}

// R4: keys of another type, or with values that mean nothing. No edge can follow
// them, all serve on; when the keys are gone, the control plane publishes again.
func TestKeysOfAnotherType(t *testing.T) {
	for _, tt := range []struct{ name, key, write string }{
		{"routes are a text", "routes", "set podway:{default}:routes x"},
		{"the log is a list", "log", "rpush podway:{default}:log x"},
		{"the version is no number", "version", "set podway:{default}:version x"},
		{"the version is a hash", "version", "hset podway:{default}:version a b"},
		{"the epoch is a list", "epoch", "rpush podway:{default}:epoch x"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := startReal(t)
			cp := startControlPlane(t, s)
			for i := range 5 {
				cp.set(fmt.Sprint("steady", i), "1")
			}
			cp.complete()
			e := newEdge(t, WatcherOptions{Redis: s.options(t)})
			dropsNothing(t, e, "steady")
			e.run()
			e.serves(cp.hosts())
			key := "podway:{default}:" + tt.key
			s.do(t, "del", key)
			var args []any
			for a := range strings.FieldsSeq(tt.write) {
				args = append(args, a)
			}
			s.do(t, args...)
			s.do(t, "client", "kill", "type", "normal", "skipme", "yes") // it has to look
			parts.Eventually(t, limit, func() error {
				if st := e.Status(); st.Synced && st.Held == 0 {
					return fmt.Errorf("not told: %+v", st)
				}
				return nil
			})
			late := startEdge(t, s) // it has nothing to serve, and does not fail
			s.do(t, "del", key)
			cp.watch()
			for _, e := range []*edge{e, late} {
				e.serves(cp.hosts())
				e.reaches("whole", func(s Status) bool { return s.Synced && s.Held == 0 })
			}
		})
	}
}

// R2: a record of many megabytes hurts its own host only.
func TestHugeRecord(t *testing.T) {
	s := startReal(t)
	cp := startControlPlane(t, s)
	cp.set("db", "1")
	cp.set("web", "1")
	host := route("db", "default", "").Host
	huge := strings.Repeat("x", 32<<20)
	version := s.do(t, "incr", "podway:{default}:version").(int64)
	s.do(t, "hset", "podway:{default}:routes", host, huge)
	s.do(t, "xadd", "podway:{default}:log", entryID(uint64(version)), "host", host, "route", huge)
	cp.set("web", "2")
	e := startEdge(t, s)
	want := cp.hosts()
	delete(want, host)
	e.serves(want)
	e.reaches("counting", func(s Status) bool { return s.Synced && s.BadRecords == 1 })
}

// Most of the table is lost and comes back bit by bit, in an epoch that was
// complete before, while an edge reads everything again and again.
func TestMassLossIsHeldUntilAllIsBack(t *testing.T) {
	onServers(t, func(t *testing.T, s *server) {
		cp := startControlPlane(t, s)
		for i := range 10 {
			cp.set(fmt.Sprint("steady", i), "1")
		}
		cp.complete()
		file := filepath.Join(t.TempDir(), "routes.snap")
		start := func() *edge {
			e := newEdge(t, WatcherOptions{Redis: s.options(t), SnapshotFile: file})
			dropsNothing(t, e, "steady")
			e.run()
			e.serves(cp.hosts())
			return e
		}
		start().stop()
		raw := s.client.HGetAll(t.Context(), "podway:{default}:routes").Val()
		s.do(t, "del", "podway:{default}:routes", "podway:{default}:log")
		left := len(raw)
		for host, record := range raw {
			e := start()
			e.reaches("holding", func(s Status) bool { return s.Synced && s.Held == left })
			e.stop()
			s.do(t, "hset", "podway:{default}:routes", host, record)
			left--
		}
		start().reaches("whole", func(s Status) bool { return s.Synced && s.Held == 0 })
	})
}
