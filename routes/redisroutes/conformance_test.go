package redisroutes

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/tests/parts"
)

// The suite that every kind of Redis has to pass. faults_test.go holds what needs
// a real server.

func TestRecordsAreReadable(t *testing.T) {
	onServers(t, func(t *testing.T, s *server) {
		cp := startControlPlane(t, s)
		cp.set("db", "1")
		cp.complete()
		epoch, err := s.client.Get(t.Context(), "podway:{default}:epoch").Result()
		if err != nil || epoch == "" {
			t.Fatalf("got epoch %q (%v), want one", epoch, err)
		}
		record := `{"schema":1,"host":"db.pods.dev.localhost","version":2,"tenant":"dev","pod":"db","net":"default",` +
			`"instance":"1","protocol":"http","state":"live","upstreams":["127.0.0.1:80"]}`
		if got := s.client.HGetAll(t.Context(), "podway:{default}:routes").Val(); !maps.Equal(got, map[string]string{"db.pods.dev.localhost": record}) {
			t.Errorf("got routes %v, want %v", got, record)
		}
		if got := s.client.Get(t.Context(), "podway:{default}:version").Val(); got != "3" {
			t.Errorf("got version %v, want 3", got)
		}
		if got := s.client.Get(t.Context(), "podway:{default}:complete").Val(); got != epoch {
			t.Errorf("got complete %q, want %q", got, epoch)
		}
		var log []string
		for _, m := range s.client.XRange(t.Context(), "podway:{default}:log", "-", "+").Val() {
			log = append(log, fmt.Sprint(m.ID, m.Values))
		}
		want := []string{
			fmt.Sprint("1-0", map[string]any{"epoch": epoch}),
			fmt.Sprint("2-0", map[string]any{"host": "db.pods.dev.localhost", "route": record}),
			fmt.Sprint("3-0", map[string]any{"complete": epoch}),
		}
		if !slices.Equal(log, want) {
			t.Errorf("got log %q, want %q", log, want)
		}
		if keys := s.client.Keys(t.Context(), "*").Val(); len(keys) != 5 {
			t.Errorf("got keys %v, want 5", keys)
		}
	})
}

func TestEdgeFollowsThePublisher(t *testing.T) {
	onServers(t, func(t *testing.T, s *server) {
		cp := startControlPlane(t, s)
		for i := range 3 {
			cp.set(fmt.Sprint("old", i), "1")
		}
		e := startEdge(t, s, func(o *WatcherOptions) { o.CheckInterval = time.Hour }) // news come by themselves
		e.serves(cp.hosts())

		cp.set("db", "1")
		e.serves(cp.hosts())
		cp.set("db", "2")
		e.serves(cp.hosts())
		cp.setRoutes("db", route("db", "default", "2"), route("db", "browser", "2"))
		e.serves(cp.hosts())
		cp.setRoutes("db", route("db", "browser", "2"))
		e.serves(cp.hosts())
		cp.setRoutes("db")
		e.serves(cp.hosts())

		st := e.Status()
		if !st.Synced || !st.Loaded || st.Resyncs != 1 || st.Stale != 0 || st.Held != 0 || st.BadRecords != 0 || st.Routes != 3 {
			t.Errorf("got %+v, want synced after 1 resync", st)
		}
		if time.Since(st.LastContact) > limit {
			t.Errorf("got last contact %v, want now", st.LastContact)
		}
	})
}

func TestChangesArriveInOrderAndOnce(t *testing.T) {
	onServers(t, func(t *testing.T, s *server) {
		cp := startControlPlane(t, s)
		cp.set("db", "start")
		e := newEdge(t, WatcherOptions{Redis: s.options(t)})
		var mu sync.Mutex
		var got []string
		e.table.OnChange(func(_ string, _, now *routes.Entry) {
			mu.Lock()
			defer mu.Unlock()
			if now == nil {
				got = append(got, "gone")
				return
			}
			got = append(got, now.Instance)
		})
		e.run()
		e.synced()
		want := []string{"start"}
		for i := range 50 {
			cp.set("db", fmt.Sprint(i))
			want = append(want, fmt.Sprint(i))
			if i%10 == 9 {
				cp.setRoutes("db")
				want = append(want, "gone")
			}
		}
		parts.Eventually(t, limit, func() error {
			mu.Lock()
			defer mu.Unlock()
			if !slices.Equal(got, want) {
				return fmt.Errorf("got %q, want %q", got, want)
			}
			return nil
		})
	})
}

func TestUnchangedRoutesAreNotWritten(t *testing.T) {
	onServers(t, func(t *testing.T, s *server) {
		version := func() string { return s.client.Get(t.Context(), "podway:{default}:version").Val() }
		gated := route("db", "default", "1")
		gated.Version = 77 // ignored
		gated.Gate = &routes.Gate{AllowedUsers: []string{}, ResponseHeaders: map[string]string{"X-B": "<b>", "X-A": "&"}}

		cp := startControlPlane(t, s)
		cp.setRoutes("db", gated)
		want := version()
		cp.setRoutes("db", gated)
		other := startControlPlane(t, s) // knows the routes from Redis only
		other.setRoutes("db", gated)
		if got := version(); got != want {
			t.Errorf("got version %v, want %v", got, want)
		}
		changed := route("db", "browser", "1")
		cp.setRoutes("db", gated, changed)
		cp.complete()
		want = version()
		cp.complete()
		if got := version(); got != want {
			t.Errorf("after completing twice: got version %v, want %v", got, want)
		}
	})
}

func TestSetPodRefuses(t *testing.T) {
	onServers(t, func(t *testing.T, s *server) {
		cp := startControlPlane(t, s)
		cp.set("db", "1")
		cp.set("web", "1")
		want := map[string]string{"db.pods.dev.localhost": "1", "web.pods.dev.localhost": "1"}

		invalid := route("web", "default", "2")
		invalid.Upstreams = nil
		foreign := route("db", "default", "2")
		foreign.Pod = "web"
		large := route("web", "default", "2")
		large.CORS = &routes.CORS{AllowOrigins: []string{strings.Repeat("a", routes.MaxRecordBytes)}}
		for _, tc := range []struct {
			name string
			rs   []routes.Route
			want string
			is   error
		}{
			{"an invalid route", []routes.Route{invalid}, "upstreams: a live route needs at least one", nil},
			{"a route of another pod", []routes.Route{route("db", "default", "2"), route("web", "default", "1")}, "the route is of pod dev/db", nil},
			{"a host of another pod", []routes.Route{foreign, route("web", "default", "1")}, `publishing route "db.pods.dev.localhost"`, ErrHostTaken},
			{"a route that is too large", []routes.Route{large}, "bytes, at most", nil},
			{"a host given twice", []routes.Route{route("web", "default", "2"), route("web", "default", "3")}, "given twice", nil},
		} {
			t.Run(tc.name, func(t *testing.T) {
				err := cp.pub.SetPod(t.Context(), "dev", "web", tc.rs)
				if err == nil || !strings.Contains(err.Error(), tc.want) || (tc.is != nil && !errors.Is(err, tc.is)) {
					t.Errorf("got %v, want %q", err, tc.want)
				}
				e := startEdge(t, s)
				e.serves(want)
			})
		}
		// What is good is published beside what is not.
		err := cp.pub.SetPod(t.Context(), "dev", "web", []routes.Route{foreign, invalid, route("web", "browser", "2")})
		if !errors.Is(err, ErrHostTaken) {
			t.Errorf("got %v, want %v", err, ErrHostTaken)
		}
		want["web-browser.pods.dev.localhost"] = "2"
		startEdge(t, s).serves(want)
	})
}

func TestPods(t *testing.T) {
	onServers(t, func(t *testing.T, s *server) {
		cp := startControlPlane(t, s)
		check := func(want ...routes.PodRef) {
			t.Helper()
			for _, pub := range []*Publisher{cp.pub, startControlPlane(t, s).pub} {
				got, err := pub.Pods(t.Context())
				if err != nil || !slices.Equal(got, want) {
					t.Errorf("got %v (%v), want %v", got, err, want)
				}
			}
		}
		check()
		cp.set("web", "1")
		cp.set("db", "1")
		other := route("a", "default", "1")
		other.Tenant, other.Host = "alpha", "a.pods.alpha.localhost"
		if err := cp.pub.SetPod(t.Context(), "alpha", "a", []routes.Route{other}); err != nil {
			t.Fatal(err)
		}
		check(routes.PodRef{Tenant: "alpha", Pod: "a"}, routes.PodRef{Tenant: "dev", Pod: "db"}, routes.PodRef{Tenant: "dev", Pod: "web"})
		cp.setRoutes("web")
		check(routes.PodRef{Tenant: "alpha", Pod: "a"}, routes.PodRef{Tenant: "dev", Pod: "db"})
	})
}

func TestPublishersWorkSideBySide(t *testing.T) {
	onServers(t, func(t *testing.T, s *server) {
		e := startEdge(t, s)
		planes := []*controlPlane{startControlPlane(t, s), startControlPlane(t, s)}
		var wg sync.WaitGroup
		for i, cp := range planes {
			wg.Go(func() {
				for n := range 40 {
					pod := fmt.Sprintf("p%dx%d", i, n%7)
					rs := []routes.Route{route(pod, "default", fmt.Sprint(n))}
					// Each conflict is another's success, so this ends.
					err := errors.New("not yet")
					for err != nil && t.Context().Err() == nil {
						err = cp.pub.SetPod(t.Context(), "dev", pod, rs)
					}
					cp.store[routes.PodRef{Tenant: "dev", Pod: pod}] = rs
				}
			})
		}
		wg.Wait()
		want := planes[0].hosts()
		maps.Copy(want, planes[1].hosts())
		e.serves(want)

		// Each knows what the other wrote.
		for _, cp := range planes {
			for _, host := range []string{"p0x1", "p1x1"} {
				before := s.client.Get(t.Context(), "podway:{default}:version").Val()
				rs := planes[0].store[routes.PodRef{Tenant: "dev", Pod: host}]
				if rs == nil {
					rs = planes[1].store[routes.PodRef{Tenant: "dev", Pod: host}]
				}
				if err := cp.pub.SetPod(t.Context(), "dev", host, rs); err != nil {
					t.Fatal(err)
				}
				if got := s.client.Get(t.Context(), "podway:{default}:version").Val(); got != before {
					t.Errorf("%s was written again: got version %v, want %v", host, got, before)
				}
			}
		}
	})
}

func TestNamespacesAreApart(t *testing.T) {
	onServers(t, func(t *testing.T, s *server) {
		cp := startControlPlane(t, s)
		cp.set("db", "1")
		blue, err := NewPublisher(PublisherOptions{Client: s.client, Namespace: "blue", Logger: testLogger(t)})
		if err != nil {
			t.Fatal(err)
		}
		web := route("web", "default", "1")
		if err := blue.SetPod(t.Context(), "dev", "web", []routes.Route{web}); err != nil {
			t.Fatal(err)
		}
		startEdge(t, s).serves(cp.hosts())
		startEdge(t, s, func(o *WatcherOptions) { o.Namespace = "blue" }).serves(map[string]string{web.Host: "1"})
	})
}

func TestScriptsAreLoadedAgain(t *testing.T) {
	onServers(t, func(t *testing.T, s *server) {
		cp := startControlPlane(t, s)
		cp.set("db", "1")
		s.do(t, "script", "flush")
		cp.set("db", "2")
		startEdge(t, s).serves(cp.hosts())
	})
}

// A control plane and its Redis in memory are both restarted: the edge serves the
// old routes until all of them are published again, then drops what is left over.
func TestRestartOfControlPlaneAndRedis(t *testing.T) {
	onServers(t, func(t *testing.T, s *server) {
		cp := startControlPlane(t, s)
		for i := range 10 {
			cp.set(fmt.Sprint("pod", i), "1")
		}
		cp.complete()
		e := startEdge(t, s)
		e.serves(cp.hosts())
		old := cp.hosts()

		s.kill()
		e.reaches("disconnected", func(s Status) bool { return !s.Synced && s.Stale > 0 })
		e.serves(old)
		s.start()
		e.reaches("holding", func(s Status) bool { return s.Synced && s.Held == 10 })
		e.serves(old)

		// Seven of ten pods come back, in a new run; three were deleted meanwhile.
		again := startControlPlane(t, s)
		for i := range 7 {
			again.set(fmt.Sprint("pod", i), "2")
		}
		both := maps.Clone(old)
		maps.Copy(both, again.hosts())
		e.serves(both)
		e.reaches("holding the rest", func(s Status) bool { return s.Synced && s.Held == 3 })

		again.complete()
		e.serves(again.hosts())
		e.reaches("whole", func(s Status) bool { return s.Held == 0 })
	})
}

// Only Redis is restarted empty: whoever published notices and publishes again.
func TestRestartOfRedis(t *testing.T) {
	onServers(t, func(t *testing.T, s *server) {
		cp := startControlPlane(t, s)
		for i := range 5 {
			cp.set(fmt.Sprint("pod", i), "1")
		}
		cp.complete()
		losses := cp.watch()
		e := newEdge(t, WatcherOptions{Redis: s.options(t)})
		e.table.OnChange(func(host string, _, now *routes.Entry) {
			if now == nil {
				t.Errorf("%s was dropped", host)
			}
		})
		e.run()
		e.serves(cp.hosts())
		epoch := e.Status().Epoch

		s.kill()
		s.start()
		e.reaches("in a new epoch, nothing held", func(s Status) bool {
			return s.Synced && s.Epoch != epoch && s.Epoch != "" && s.Held == 0
		})
		e.serves(cp.hosts())
		if losses.Load() == 0 {
			t.Error("got no loss reported")
		}
	})
}

func TestFlushIsNoticedWhileConnected(t *testing.T) {
	onServers(t, func(t *testing.T, s *server) {
		cp := startControlPlane(t, s)
		for i := range 5 {
			cp.set(fmt.Sprint("pod", i), "1")
		}
		cp.complete()
		e := startEdge(t, s)
		e.serves(cp.hosts())
		epoch := e.Status().Epoch
		cp.watch()
		s.do(t, "flushall")
		e.reaches("in a new epoch, nothing held", func(s Status) bool {
			return s.Synced && s.Epoch != epoch && s.Epoch != "" && s.Held == 0
		})
		e.serves(cp.hosts())
	})
}

// What an operator may do to the keys by hand.
func TestDamagedKeysAreMended(t *testing.T) {
	for _, tc := range []struct {
		name   string
		damage []any
	}{
		{"the routes are removed", []any{"del", "podway:{default}:routes"}},
		{"one route is removed", []any{"hdel", "podway:{default}:routes", "pod1.pods.dev.localhost"}},
		{"the version is removed", []any{"del", "podway:{default}:version"}},
		{"the version goes back", []any{"set", "podway:{default}:version", "2"}},
		{"the epoch is removed", []any{"del", "podway:{default}:epoch"}},
		{"the epoch is another", []any{"set", "podway:{default}:epoch", "x"}},
		{"the mark is removed", []any{"del", "podway:{default}:complete"}},
		{"the log is removed", []any{"del", "podway:{default}:log"}},
		{"the log is trimmed to nothing", []any{"xtrim", "podway:{default}:log", "maxlen", "0"}},
		{"the log has a foreign entry", []any{"xadd", "podway:{default}:log", "*", "a", "b"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			onServers(t, func(t *testing.T, s *server) {
				cp := startControlPlane(t, s)
				for i := range 5 {
					cp.set(fmt.Sprint("pod", i), "1")
				}
				cp.complete()
				e := startEdge(t, s)
				e.serves(cp.hosts())
				e.table.OnChange(func(host string, _, now *routes.Entry) {
					if now == nil && cp.hosts()[host] != "" {
						t.Errorf("%s was dropped", host)
					}
				})
				s.do(t, tc.damage...)

				// The control plane goes on.
				pod := routes.PodRef{Tenant: "dev", Pod: "new"}
				cp.store[pod] = []routes.Route{route("new", "default", "1")}
				want := cp.hosts()
				background(t, func(ctx context.Context) {
					_ = cp.pub.Watch(ctx, func() { cp.publishAll(ctx) })
				})
				parts.Eventually(t, limit, func() error {
					return cp.pub.SetPod(t.Context(), pod.Tenant, pod.Pod, cp.store[pod])
				})
				e.serves(want)
				e.reaches("whole", func(s Status) bool { return s.Synced && s.Held == 0 })
				parts.Eventually(t, limit, func() error { return same(inRedis(t, s), want) })
			})
		})
	}
}

// inRedis returns what stands in Redis: host to instance.
func inRedis(t testing.TB, s *server) map[string]string {
	t.Helper()
	m := make(map[string]string)
	for host, raw := range s.client.HGetAll(t.Context(), "podway:{default}:routes").Val() {
		r, err := decode(host, raw)
		if err != nil {
			t.Fatal(err)
		}
		m[host] = r.Instance
	}
	return m
}

func TestHoldEnds(t *testing.T) {
	// lose makes the edge hold 5 routes in an epoch that is never completed.
	lose := func(t *testing.T, s *server, e *edge) {
		s.do(t, "flushall")
		e.reaches("holding", func(s Status) bool { return s.Held == 5 })
		startControlPlane(t, s).set("new", "1")
	}
	onServers(t, func(t *testing.T, s *server) {
		for name, end := range map[string]func(*edge){
			"when its time is over": func(*edge) {},
			"when an operator agrees": func(e *edge) {
				if got := e.Confirm(); got != 5 {
					t.Errorf("got %v confirmed, want 5", got)
				}
				if got := e.Confirm(); got != 0 {
					t.Errorf("got %v confirmed again, want 0", got)
				}
			},
		} {
			t.Run(name, func(t *testing.T) {
				s.do(t, "flushall")
				cp := startControlPlane(t, s)
				for i := range 5 {
					cp.set(fmt.Sprint("pod", i), "1")
				}
				e := startEdge(t, s, func(o *WatcherOptions) {
					if strings.Contains(name, "time") {
						o.HoldTime = time.Second
					}
				})
				e.serves(cp.hosts())
				lose(t, s, e)
				end(e)
				e.serves(map[string]string{"new.pods.dev.localhost": "1"})
			})
		}
	})
}

// Nothing says that a Redis without any epoch is right, so time alone does not
// end the hold.
func TestHoldHasNoEndWhileNothingIsPublished(t *testing.T) {
	onServers(t, func(t *testing.T, s *server) {
		cp := startControlPlane(t, s)
		cp.set("db", "1")
		e := startEdge(t, s, func(o *WatcherOptions) { o.HoldTime, o.CheckInterval = time.Nanosecond, time.Millisecond })
		e.serves(cp.hosts())
		s.do(t, "flushall")
		e.reaches("holding", func(s Status) bool { return s.Held == 1 })
		contact := e.Status().LastContact
		e.reaches("checked again", func(s Status) bool { return s.LastContact.Sub(contact) > 100*time.Millisecond })
		e.serves(cp.hosts())
	})
}

func TestHeldRouteThatComesBackStays(t *testing.T) {
	onServers(t, func(t *testing.T, s *server) {
		cp := startControlPlane(t, s)
		cp.set("a", "1")
		cp.set("b", "1")
		e := startEdge(t, s)
		e.serves(cp.hosts())
		s.do(t, "flushall")
		e.reaches("holding", func(s Status) bool { return s.Held == 2 })
		startControlPlane(t, s).set("a", "1")
		e.reaches("holding one", func(s Status) bool { return s.Held == 1 })
		if got := e.Confirm(); got != 1 {
			t.Errorf("got %v confirmed, want 1", got)
		}
		e.serves(map[string]string{"a.pods.dev.localhost": "1"})
	})
}

// A pass that began before the loss must not declare the new epoch complete.
func TestCompleteWaitsForWhatWasLost(t *testing.T) {
	onServers(t, func(t *testing.T, s *server) {
		cp := startControlPlane(t, s)
		cp.set("a", "1")
		cp.set("b", "1")
		cp.complete()
		s.do(t, "flushall")
		cp.set("a", "2") // notices
		if err := cp.pub.Complete(t.Context()); !errors.Is(err, ErrNotComplete) {
			t.Errorf("got %v, want %v", err, ErrNotComplete)
		}
		// A pod that was deleted meanwhile is still listed, so that it gets removed.
		got, err := cp.pub.Pods(t.Context())
		if want := []routes.PodRef{{Tenant: "dev", Pod: "a"}, {Tenant: "dev", Pod: "b"}}; err != nil || !slices.Equal(got, want) {
			t.Errorf("got %v (%v), want %v", got, err, want)
		}
		cp.setRoutes("b")
		cp.complete()
	})
}

func TestTrimmedLogIsReadAsAWhole(t *testing.T) {
	onServers(t, func(t *testing.T, s *server) {
		cp := startControlPlane(t, s)
		for i := range 20 {
			cp.set(fmt.Sprint("pod", i), "1")
		}
		file := t.TempDir() + "/routes.snap"
		keep := func(o *WatcherOptions) { o.SnapshotFile = file }
		e := startEdge(t, s, keep)
		e.serves(cp.hosts())
		e.stop()

		for i := range 5 {
			cp.set(fmt.Sprint("pod", i), "2")
		}
		cp.setRoutes("pod7")
		s.do(t, "xtrim", "podway:{default}:log", "maxlen", "1")
		e = startEdge(t, s, keep)
		e.serves(cp.hosts())
		if got := e.Status().Resyncs; got != 1 {
			t.Errorf("got %v resyncs, want 1", got)
		}
	})
}

func TestMissedChangesComeFromTheLog(t *testing.T) {
	onServers(t, func(t *testing.T, s *server) {
		cp := startControlPlane(t, s)
		for i := range 20 {
			cp.set(fmt.Sprint("pod", i), "1")
		}
		file := t.TempDir() + "/routes.snap"
		keep := func(o *WatcherOptions) { o.SnapshotFile = file }
		e := startEdge(t, s, keep)
		e.serves(cp.hosts())
		e.stop()

		for i := range 15 { // far more than half, and no reason to hold anything
			cp.setRoutes(fmt.Sprint("pod", i))
		}
		cp.set("pod17", "2")
		e = startEdge(t, s, keep)
		e.serves(cp.hosts())
		if got := e.Status().Resyncs; got != 0 {
			t.Errorf("got %v resyncs, want 0", got)
		}
	})
}

// Same version, other history: a replica that lagged has taken over, and the
// versions were used again.
func TestOtherHistoryOfTheSameVersionIsNoticed(t *testing.T) {
	onServers(t, func(t *testing.T, s *server) {
		cp := startControlPlane(t, s)
		cp.set("a", "1")
		cp.set("b", "1")
		file := t.TempDir() + "/routes.snap"
		keep := func(o *WatcherOptions) { o.SnapshotFile = file }
		e := startEdge(t, s, keep)
		e.serves(cp.hosts())
		epoch := e.Status().Epoch
		e.stop()

		s.do(t, "flushall")
		again := startControlPlane(t, s)
		again.set("a", "2")
		again.set("c", "2")
		again.complete()
		s.do(t, "set", "podway:{default}:epoch", epoch)
		s.do(t, "set", "podway:{default}:complete", epoch)
		s.do(t, "set", "podway:{default}:version", "3")
		s.do(t, "del", "podway:{default}:log")
		s.do(t, "xadd", "podway:{default}:log", "3-0", "host", "c.pods.dev.localhost", "route",
			s.client.HGet(t.Context(), "podway:{default}:routes", "c.pods.dev.localhost").Val())
		e = startEdge(t, s, keep)
		both := maps.Clone(cp.hosts())
		maps.Copy(both, again.hosts())
		e.serves(both) // what was lost may be published again
		e.reaches("holding", func(s Status) bool { return s.Synced && s.Held == 1 })
		e.Confirm()
		e.serves(again.hosts())
	})
}

func TestFirstReadGoesOverManyPages(t *testing.T) {
	onServers(t, func(t *testing.T, s *server) {
		cp := startControlPlane(t, s)
		for i := range 5 {
			pod := fmt.Sprint("pod", i)
			var rs []routes.Route
			for n := range 1000 {
				rs = append(rs, route(pod, fmt.Sprint("n", n), "1"))
			}
			cp.setRoutes(pod, rs...)
		}
		e := startEdge(t, s)
		e.serves(cp.hosts())
		if got := e.Status().Routes; got != 5000 {
			t.Errorf("got %v routes, want 5000", got)
		}
		cp.set("pod0", "2") // removes a thousand at once
		e.serves(cp.hosts())
	})
}

// Changes that are published while an edge reads everything are not missed.
func TestReadAllWhileRoutesChange(t *testing.T) {
	onServers(t, func(t *testing.T, s *server) {
		cp := startControlPlane(t, s)
		var rs []routes.Route
		for n := range 3000 {
			rs = append(rs, route("big", fmt.Sprint("n", n), "1"))
		}
		cp.setRoutes("big", rs...)
		busy := startControlPlane(t, s)
		stop := background(t, func(ctx context.Context) {
			for i := 0; ctx.Err() == nil; i++ {
				pod := fmt.Sprint("busy", i%50)
				next := []routes.Route{route(pod, "default", fmt.Sprint(i))}
				if i%3 == 0 {
					next = nil
				}
				if busy.pub.SetPod(ctx, "dev", pod, next) == nil {
					busy.store[routes.PodRef{Tenant: "dev", Pod: pod}] = next
				}
			}
		})
		var edges []*edge
		for range 3 {
			e := startEdge(t, s)
			e.synced()
			edges = append(edges, e)
		}
		stop()
		want := inRedis(t, s)
		for _, e := range edges {
			e.serves(want)
			if got := e.Status().Resyncs; got != 1 {
				t.Errorf("got %v resyncs, want 1", got)
			}
		}
	})
}

// Every state that a read of all routes returns is one that existed.
func TestReadAllReturnsOneState(t *testing.T) {
	onServers(t, func(t *testing.T, s *server) {
		cp := startControlPlane(t, s)
		// Each write moves the pod's one route to another host, so any state holds
		// exactly one.
		token := func(n int) []routes.Route {
			return []routes.Route{route("pod", fmt.Sprint("n", n%40), fmt.Sprint(n))}
		}
		if err := cp.pub.SetPod(t.Context(), "dev", "pod", token(0)); err != nil {
			t.Fatal(err)
		}
		stop := background(t, func(ctx context.Context) {
			for n := 1; ctx.Err() == nil; n++ {
				_ = cp.pub.SetPod(ctx, "dev", "pod", token(n))
			}
		})
		k, _ := newKeys("")
		src := source{client: s.client, keys: k}
		for range 30 {
			all := make(map[string]string)
			h, err := src.readAll(t.Context(), func(host, raw string) {
				delete(all, host)
				if raw != "" {
					all[host] = raw
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			if len(all) != 1 {
				t.Errorf("version %d: got %d routes, want 1", h.version, len(all))
			}
		}
		stop()
	})
}

func TestPublisherWithoutRedis(t *testing.T) {
	onServers(t, func(t *testing.T, s *server) {
		s.kill()
		o := s.options(t).Simple()
		o.MaxRetries, o.DialerRetries = -1, 1
		client := redis.NewClient(o)
		t.Cleanup(func() { _ = client.Close() })
		pub, err := NewPublisher(PublisherOptions{Client: client, CheckInterval: 20 * time.Millisecond, Logger: testLogger(t)})
		if err != nil {
			t.Fatal(err)
		}
		cp := &controlPlane{t: t, pub: pub, store: map[routes.PodRef][]routes.Route{
			{Tenant: "dev", Pod: "db"}: {route("db", "default", "1")},
		}}
		if err := pub.SetPod(t.Context(), "dev", "db", nil); err == nil {
			t.Error("got published, want an error")
		}
		if _, err := pub.Pods(t.Context()); err == nil {
			t.Error("got pods, want an error")
		}
		if err := pub.Complete(t.Context()); err == nil {
			t.Error("got complete, want an error")
		}
		cp.watch()
		e := startEdge(t, s)
		s.start()
		e.serves(cp.hosts()) // nobody had to ask again
	})
}

func TestCallsEndWithTheirContext(t *testing.T) {
	onServers(t, func(t *testing.T, s *server) {
		cp := startControlPlane(t, s)
		cp.set("db", "1")
		cp.pub.lock <- struct{}{} // as a call that waits for Redis
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := cp.pub.SetPod(ctx, "dev", "db", nil); !errors.Is(err, context.Canceled) {
			t.Errorf("set: got %v, want canceled", err)
		}
		if _, err := cp.pub.Pods(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("pods: got %v, want canceled", err)
		}
		if err := cp.pub.Watch(ctx, func() {}); err != nil {
			t.Errorf("watch: got %v, want nil", err)
		}
		<-cp.pub.lock
	})
}
