package redisroutes

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/tests/parts"
)

// What only a real server can do.

func TestConnectionLossCostsNoResync(t *testing.T) {
	s := startReal(t)
	cp := startControlPlane(t, s)
	for i := range 10 {
		cp.set(fmt.Sprint("pod", i), "1")
	}
	e := startEdge(t, s, func(o *WatcherOptions) { o.CheckInterval = time.Hour })
	e.serves(cp.hosts())
	for i := range 3 {
		s.do(t, "client", "kill", "type", "normal", "skipme", "yes")
		cp.set("pod3", fmt.Sprint("again", i))
		e.serves(cp.hosts())
	}
	if got := e.Status().Resyncs; got != 1 {
		t.Errorf("got %v resyncs, want 1", got)
	}
}

func TestRestartOfRedisThatKeepsItsData(t *testing.T) {
	s := startReal(t, "--appendonly", "yes", "--appendfsync", "always")
	cp := startControlPlane(t, s)
	for i := range 10 {
		cp.set(fmt.Sprint("pod", i), "1")
	}
	cp.complete()
	e := startEdge(t, s)
	e.serves(cp.hosts())
	epoch := e.Status().Epoch
	for i := range 3 {
		s.kill()
		e.reaches("disconnected", func(s Status) bool { return !s.Synced })
		s.start()
		e.synced()
		cp.set("pod3", fmt.Sprint("again", i))
		e.serves(cp.hosts())
	}
	if st := e.Status(); st.Epoch != epoch || st.Resyncs != 1 {
		t.Errorf("got %+v, want epoch %v and 1 resync", st, epoch)
	}
}

// Redis is killed in the midst of changes, again and again. No pod that lives all
// the time is ever without route.
func TestKilledInTheMidstOfChanges(t *testing.T) {
	s := startReal(t)
	cp := startControlPlane(t, s)
	for i := range 10 {
		cp.set(fmt.Sprint("steady", i), "1")
	}
	cp.complete()
	e := newEdge(t, WatcherOptions{Redis: s.options(t)})
	e.table.OnChange(func(host string, _, now *routes.Entry) {
		if now == nil && strings.HasPrefix(host, "steady") {
			t.Errorf("%s was dropped", host)
		}
	})
	e.run()
	e.serves(cp.hosts())

	// One goroutine is the control plane: changes, and a full pass after each loss.
	lost := make(chan struct{}, 1)
	background(t, func(ctx context.Context) {
		_ = cp.pub.Watch(ctx, func() {
			select {
			case lost <- struct{}{}:
			default:
			}
		})
	})
	stop := background(t, func(ctx context.Context) {
		for i := 0; ctx.Err() == nil; i++ {
			pod := routes.PodRef{Tenant: "dev", Pod: fmt.Sprint("busy", i%20)}
			cp.store[pod] = []routes.Route{route(pod.Pod, "default", fmt.Sprint(i))}
			if i%3 == 0 {
				delete(cp.store, pod)
			}
			if cp.pub.SetPod(ctx, pod.Tenant, pod.Pod, cp.store[pod]) != nil {
				sleep(ctx, time.Millisecond)
			}
			select {
			case <-lost:
				cp.publishAll(ctx)
			default:
			}
		}
	})
	for range 5 {
		version := e.Status().Version
		e.reaches("following", func(s Status) bool { return s.Synced && s.Version > version+20 && s.Held == 0 })
		s.kill()
		e.reaches("disconnected", func(s Status) bool { return !s.Synced })
		s.start()
	}
	e.synced()
	stop()
	parts.Eventually(t, limit, func() error {
		cp.publishAll(t.Context())
		return same(e.hosts(), cp.hosts())
	})
}

func TestReadOnlyRedis(t *testing.T) {
	s := startReal(t)
	cp := startControlPlane(t, s)
	cp.set("db", "1")
	cp.complete()
	e := startEdge(t, s)
	e.serves(cp.hosts())

	s.do(t, "replicaof", "127.0.0.1", strconv.Itoa(parts.FreePort(t)))
	next := []routes.Route{route("db", "default", "2")}
	if err := cp.pub.SetPod(t.Context(), "dev", "db", next); err == nil {
		t.Fatal("got published, want an error")
	}
	cp.store[routes.PodRef{Tenant: "dev", Pod: "db"}] = next
	e.serves(map[string]string{next[0].Host: "1"})
	cp.watch()
	s.do(t, "replicaof", "no", "one")
	e.serves(cp.hosts()) // the failed write is repeated
}

func TestFullRedis(t *testing.T) {
	s := startReal(t)
	cp := startControlPlane(t, s)
	cp.set("db", "1")
	s.do(t, "config", "set", "maxmemory", "1")
	next := []routes.Route{route("db", "default", "2"), route("db", "browser", "2")}
	if err := cp.pub.SetPod(t.Context(), "dev", "db", next); err == nil {
		t.Fatal("got published, want an error")
	}
	if got := inRedis(t, s); len(got) != 1 {
		t.Errorf("got %v, want nothing of a refused change", got)
	}
	s.do(t, "config", "set", "maxmemory", "0")
	cp.setRoutes("db", next...)
	startEdge(t, s).serves(cp.hosts())
}

// garbage returns records that no edge can use.
func garbage(host string) []string {
	good := `{"schema":1,"host":"` + host + `","version":1,"tenant":"dev","pod":"p","net":"default","protocol":"http","state":"live","upstreams":["127.0.0.1:80"]}`
	return []string{
		"hello", "{", "null", "[]", "\x00\xff", `{"schema":1}`,
		strings.Replace(good, `"schema":1`, `"schema":99`, 1),
		strings.Replace(good, host, "other.host", 1),
		strings.Replace(good, "127.0.0.1:80", "127.0.0.1", 1),
		good + strings.Repeat(" ", routes.MaxRecordBytes),
	}
}

// One record in ten is garbage: nine of ten routes are served, and the tenth if
// it was good before.
func TestGarbageRecords(t *testing.T) {
	const pods = 1000
	s := startReal(t)
	cp := startControlPlane(t, s)
	for i := range pods {
		cp.set(fmt.Sprint("pod", i), "1")
	}
	cp.complete()
	before := startEdge(t, s)
	before.serves(cp.hosts())

	// As a program would that knows the protocol but not what a route is.
	good := cp.hosts()
	for i := 0; i < pods; i += 10 {
		host := routes.PodHost("dev.localhost", fmt.Sprint("pod", i), "default")
		record := garbage(host)[(i/10)%10]
		version := s.do(t, "incr", "podway:{default}:version").(int64)
		s.do(t, "hset", "podway:{default}:routes", host, record)
		s.do(t, "xadd", "podway:{default}:log", entryID(uint64(version)), "host", host, "route", record)
		delete(good, host)
	}
	bad := func(s Status) bool { return s.Synced && s.BadRecords == pods/10 }
	before.reaches("counting", bad)
	before.serves(cp.hosts())

	file := filepath.Join(t.TempDir(), "routes.snap")
	after := startEdge(t, s, func(o *WatcherOptions) { o.SnapshotFile = file })
	after.serves(good)
	after.reaches("counting", bad)
	after.stop()
	after = startEdge(t, s, func(o *WatcherOptions) { o.SnapshotFile = file })
	after.reaches("counting after a restart", bad)
	after.serves(good)

	// A control plane that meets them writes its pods' routes again and removes
	// those that belong to nobody.
	again := startControlPlane(t, s)
	for i := range pods - 10 {
		again.set(fmt.Sprint("pod", i), "1")
	}
	for i := pods - 10; i < pods; i++ {
		again.setRoutes(fmt.Sprint("pod", i))
	}
	again.complete()
	for _, e := range []*edge{before, after} {
		e.serves(again.hosts())
		e.reaches("without bad records", func(s Status) bool { return s.Synced && s.BadRecords == 0 })
	}
}

func TestFiveThousandPods(t *testing.T) {
	s := startReal(t)
	e := startEdge(t, s)
	cp := startControlPlane(t, s)
	for i := range 5000 {
		cp.set(fmt.Sprint("pod", i), "1")
	}
	e.serves(cp.hosts())
	file := filepath.Join(t.TempDir(), "routes.snap")
	late := startEdge(t, s, func(o *WatcherOptions) { o.SnapshotFile = file })
	late.serves(cp.hosts())
	late.stop()
	snap, err := snapshotFile(file).load()
	if err != nil || len(snap.entries) != 5000 {
		t.Errorf("got %d routes in the snapshot (%v), want 5000", len(snap.entries), err)
	}
	if got, err := startControlPlane(t, s).pub.Pods(t.Context()); err != nil || len(got) != 5000 {
		t.Errorf("got %d pods (%v), want 5000", len(got), err)
	}
}

func TestCluster(t *testing.T) {
	s := startReal(t, "--cluster-enabled", "yes")
	s.do(t, "cluster", "addslotsrange", "0", "16383")
	parts.Eventually(t, limit, func() error {
		if info := s.client.ClusterInfo(t.Context()).Val(); !strings.Contains(info, "cluster_state:ok") {
			return fmt.Errorf("got %q", info)
		}
		return nil
	})
	followsAt(t, s, "redis://"+s.addr+"?cluster=true")
}

func TestSentinel(t *testing.T) {
	s := startReal(t)
	host, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(t.TempDir(), "sentinel.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, "sentinel monitor main %s %s 1\n", host, port), 0o600); err != nil {
		t.Fatal(err)
	}
	sentinel := startSentinel(t, conf)
	followsAt(t, s, "redis://"+sentinel+"?master=main")
}

// startSentinel starts a Redis in Sentinel mode, which needs its file first.
func startSentinel(t *testing.T, conf string) (addr string) {
	bin := parts.Require(t, "redis-server")
	port := parts.FreePort(t)
	f, err := os.OpenFile(conf, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := fmt.Fprintf(f, "port %d\nbind 127.0.0.1\ndir %s\n", port, filepath.Dir(conf)); err != nil {
		t.Fatal(err)
	}
	startProgram(t, bin, conf, "--sentinel")
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

// followsAt publishes and watches by way of one URL.
func followsAt(t *testing.T, s *server, url string) {
	t.Helper()
	o, err := ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewUniversalClient(o)
	t.Cleanup(func() { _ = client.Close() })
	pub, err := NewPublisher(PublisherOptions{Client: client, CheckInterval: 20 * time.Millisecond, Logger: testLogger(t)})
	if err != nil {
		t.Fatal(err)
	}
	cp := &controlPlane{t: t, pub: pub, store: make(map[routes.PodRef][]routes.Route)}
	parts.Eventually(t, limit, func() error { _, err := pub.Pods(t.Context()); return err })
	cp.set("a", "1")
	e := startEdge(t, s, func(w *WatcherOptions) { w.Redis = o })
	e.serves(cp.hosts())
	cp.setRoutes("b", route("b", "default", "1"), route("b", "x", "1"))
	cp.complete()
	e.serves(cp.hosts())
	losses := cp.watch()
	s.do(t, "flushall")
	parts.Eventually(t, limit, func() error {
		if losses.Load() == 0 {
			return fmt.Errorf("got no loss reported")
		}
		return same(e.hosts(), cp.hosts())
	})
	e.reaches("whole", func(s Status) bool { return s.Synced && s.Held == 0 })
}

// Any history of changes and faults ends with every edge serving what the control
// plane wants, and no pod that lives is without route on the way.
func TestAnyHistoryConverges(t *testing.T) {
	onServers(t, func(t *testing.T, s *server) {
		for seed := range uint64(15) {
			t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
				s.do(t, "flushall")
				runHistory(t, s, rand.New(rand.NewPCG(seed, 0)))
			})
		}
	})
}

func runHistory(t *testing.T, s *server, rnd *rand.Rand) {
	cp := startControlPlane(t, s)
	for i := range 5 {
		cp.set(fmt.Sprint("steady", i), "1")
	}
	check := func(host string, _, now *routes.Entry) {
		if now == nil && strings.HasPrefix(host, "steady") {
			t.Errorf("%s was dropped", host)
		}
	}
	file := filepath.Join(t.TempDir(), "routes.snap")
	start := func() *edge {
		e := newEdge(t, WatcherOptions{Redis: s.options(t), SnapshotFile: file, CheckInterval: 50 * time.Millisecond})
		e.table.OnChange(check)
		e.run()
		return e
	}
	e := start()
	ctx := t.Context()
	for range 60 {
		pod := routes.PodRef{Tenant: "dev", Pod: fmt.Sprint("pod", rnd.IntN(8))}
		switch n := rnd.IntN(40); {
		case n < 20:
			cp.store[pod] = []routes.Route{route(pod.Pod, "default", fmt.Sprint(rnd.IntN(3)))}
			_ = cp.pub.SetPod(ctx, pod.Tenant, pod.Pod, cp.store[pod])
		case n < 26:
			delete(cp.store, pod)
			_ = cp.pub.SetPod(ctx, pod.Tenant, pod.Pod, nil)
		case n < 30:
			_, _ = cp.pub.check(ctx)
			cp.publishAll(ctx)
		case n < 32:
			s.do(t, "flushall")
		case n < 33:
			s.do(t, "del", "podway:{default}:epoch")
		case n < 34:
			s.do(t, "del", "podway:{default}:log")
		case n < 35:
			s.do(t, "set", "podway:{default}:version", "1")
		case n < 37:
			next := startControlPlane(t, s)
			next.store = cp.store
			cp = next
		case n < 38:
			e.stop()
			e = start()
		default:
			parts.Eventually(t, limit, func() error {
				if st := e.Status(); !st.Synced {
					_, err := cp.pub.check(ctx) // edges wait for it if the keys contradict each other
					return cmp.Or(err, fmt.Errorf("not synced: %+v", st))
				}
				return nil
			})
		}
	}
	late := startEdge(t, s)
	parts.Eventually(t, limit, func() error {
		if _, err := cp.pub.check(ctx); err != nil {
			return err
		}
		cp.publishAll(ctx)
		for _, e := range []*edge{e, late} {
			if err := same(e.hosts(), cp.hosts()); err != nil {
				return err
			}
			if st := e.Status(); st.Held > 0 {
				return fmt.Errorf("got %+v, want nothing held", st)
			}
		}
		return same(inRedis(t, s), cp.hosts())
	})
}

func TestEvictionIsWarnedOf(t *testing.T) {
	s := startReal(t)
	for _, tc := range []struct {
		name, maxmemory, policy string
		want                    bool
	}{
		{"no limit of memory", "0", "allkeys-lru", false},
		{"a limit that refuses writes", "100mb", "noeviction", false},
		{"a limit that throws keys away", "100mb", "allkeys-lru", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s.do(t, "config", "set", "maxmemory", tc.maxmemory, "maxmemory-policy", tc.policy)
			var out strings.Builder
			pub, err := NewPublisher(PublisherOptions{Client: s.client, Logger: slog.New(slog.NewTextHandler(&out, nil))})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := pub.Pods(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := strings.Contains(out.String(), "redis may evict routes"); got != tc.want {
				t.Errorf("got %v, want %v in %s", got, tc.want, out.String())
			}
		})
	}
}
