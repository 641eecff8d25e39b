package redisroutes

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/tests/parts"
)

func TestMain(m *testing.M) {
	redis.SetLogger(silence{}) // its pool reports each server that a test has killed
	goleak.VerifyTestMain(m)
}

type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

// limit is for things that take milliseconds, on a machine that is busy.
const limit = 30 * time.Second

// server is a Redis that tests kill.
type server struct {
	addr   string
	client *redis.Client
	kill   func()
	start  func() // empty
}

// onServers runs a test on every kind of Redis.
func onServers(t *testing.T, f func(t *testing.T, s *server)) {
	t.Run("in process", func(t *testing.T) { f(t, startMini(t)) })
	t.Run("real", func(t *testing.T) { f(t, startReal(t)) })
}

func startMini(t *testing.T) *server {
	m := miniredis.RunT(t)
	s := &server{addr: m.Addr()}
	s.kill = func() { m.Close() }
	s.start = func() {
		m = miniredis.NewMiniRedis()
		if err := m.StartAddr(s.addr); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(m.Close)
	}
	s.connect(t)
	return s
}

func startReal(t *testing.T, args ...string) *server {
	r := parts.StartRedis(t, args...)
	s := &server{addr: r.Addr, kill: r.Kill, start: r.Start}
	s.connect(t)
	return s
}

func (s *server) connect(t *testing.T) {
	s.client = redis.NewClient(s.options(t).Simple())
	t.Cleanup(func() { _ = s.client.Close() })
}

func (s *server) options(t testing.TB) *redis.UniversalOptions {
	t.Helper()
	o, err := ParseURL("redis://" + s.addr)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// do runs a command that must succeed.
func (s *server) do(t testing.TB, args ...any) any {
	t.Helper()
	v, err := s.client.Do(t.Context(), args...).Result()
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return v
}

func testLogger(t testing.TB) *slog.Logger {
	w := t.Output()
	if testing.Short() {
		w = io.Discard
	}
	return slog.New(slog.NewTextHandler(w, nil))
}

// controlPlane is a publisher with what it shall publish, as the reconciler has
// it in its store.
type controlPlane struct {
	t     testing.TB
	pub   *Publisher
	store map[routes.PodRef][]routes.Route
}

func startControlPlane(t testing.TB, s *server) *controlPlane {
	t.Helper()
	pub, err := NewPublisher(PublisherOptions{
		Client: s.client, CheckInterval: 20 * time.Millisecond, Logger: testLogger(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	return &controlPlane{t: t, pub: pub, store: make(map[routes.PodRef][]routes.Route)}
}

// watch runs the publisher's Watch. A loss has everything published again.
func (c *controlPlane) watch() (losses *atomic.Int64) {
	losses = new(atomic.Int64)
	background(c.t, func(ctx context.Context) {
		_ = c.pub.Watch(ctx, func() {
			losses.Add(1)
			c.publishAll(ctx)
		})
	})
	return losses
}

// publishAll is a pass of the reconciler. It ignores errors: the next pass mends
// them.
func (c *controlPlane) publishAll(ctx context.Context) {
	published, err := c.pub.Pods(ctx)
	for pod, rs := range c.store {
		if e := c.pub.SetPod(ctx, pod.Tenant, pod.Pod, rs); e != nil {
			err = e
		}
	}
	for _, pod := range published {
		if _, ok := c.store[pod]; !ok {
			if e := c.pub.SetPod(ctx, pod.Tenant, pod.Pod, nil); e != nil {
				err = e
			}
		}
	}
	if err == nil {
		_ = c.pub.Complete(ctx)
	}
}

// set publishes one live route of a pod.
func (c *controlPlane) set(pod, instance string) {
	c.t.Helper()
	c.setRoutes(pod, route(pod, "default", instance))
}

func (c *controlPlane) setRoutes(pod string, rs ...routes.Route) {
	c.t.Helper()
	ref := routes.PodRef{Tenant: "dev", Pod: pod}
	c.store[ref] = rs
	if len(rs) == 0 {
		delete(c.store, ref)
	}
	if err := c.pub.SetPod(c.t.Context(), "dev", pod, rs); err != nil {
		c.t.Fatal(err)
	}
}

func (c *controlPlane) complete() {
	c.t.Helper()
	if err := c.pub.Complete(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
}

// hosts returns what an edge shall serve: host to instance.
func (c *controlPlane) hosts() map[string]string {
	m := make(map[string]string)
	for _, rs := range c.store {
		for _, r := range rs {
			m[r.Host] = r.Instance
		}
	}
	return m
}

func route(pod, net, instance string) routes.Route {
	return routes.Route{
		Host: routes.PodHost("dev.localhost", pod, net), Tenant: "dev", Pod: pod, Net: net,
		Protocol: routes.HTTP, State: routes.Live, Instance: instance, Upstreams: []string{"127.0.0.1:80"},
	}
}

// edge is a running watcher.
type edge struct {
	*Watcher
	t     testing.TB
	table *routes.Table
	stop  func() // waits for the end
}

func newEdge(t testing.TB, o WatcherOptions) *edge {
	t.Helper()
	o.Logger = testLogger(t)
	if o.CheckInterval == 0 {
		o.CheckInterval = 200 * time.Millisecond
	}
	o.snapshotQuiet = 10 * time.Millisecond
	table := routes.NewTable()
	w, err := NewWatcher(o, table)
	if err != nil {
		t.Fatal(err)
	}
	return &edge{Watcher: w, t: t, table: table}
}

func startEdge(t testing.TB, s *server, change ...func(*WatcherOptions)) *edge {
	t.Helper()
	o := WatcherOptions{Redis: s.options(t)}
	for _, f := range change {
		f(&o)
	}
	e := newEdge(t, o)
	e.run()
	return e
}

func (e *edge) run() {
	e.stop = background(e.t, func(ctx context.Context) {
		if err := e.Run(ctx); err != nil {
			e.t.Errorf("run: %v", err)
		}
	})
}

// hosts returns what the edge serves: host to instance.
func (e *edge) hosts() map[string]string {
	m := make(map[string]string)
	e.table.Range(func(r *routes.Entry) bool {
		m[r.Host] = r.Instance
		return true
	})
	return m
}

// serves waits until the edge serves exactly this.
func (e *edge) serves(want map[string]string) {
	e.t.Helper()
	parts.Eventually(e.t, limit, func() error { return same(e.hosts(), want) })
}

// reaches waits for a status.
func (e *edge) reaches(what string, ok func(Status) bool) {
	e.t.Helper()
	parts.Eventually(e.t, limit, func() error {
		if s := e.Status(); !ok(s) {
			return fmt.Errorf("not %s: %+v", what, s)
		}
		return nil
	})
}

func (e *edge) synced() {
	e.t.Helper()
	e.reaches("synced", func(s Status) bool { return s.Synced })
}

func same(got, want map[string]string) error {
	if maps.Equal(got, want) {
		return nil
	}
	var diff []string
	for host, instance := range want {
		if have, ok := got[host]; !ok || have != instance {
			diff = append(diff, fmt.Sprintf("%s: got %q, want %q", host, have, instance))
		}
	}
	for host := range got {
		if _, ok := want[host]; !ok {
			diff = append(diff, host+": got a route, want none")
		}
	}
	slices.Sort(diff)
	return fmt.Errorf("%d routes differ:\n%s", len(diff), strings.Join(diff[:min(len(diff), 10)], "\n"))
}

// background runs f until the test ends or stop is called, which waits for it.
func background(t testing.TB, f func(ctx context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(ctx)
	}()
	stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return stop
}

// startProgram runs a program until the test ends.
func startProgram(t testing.TB, argv ...string) {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}
