package edge

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni/snitest"
	"github.com/tapis-project/podway/tests/parts"
)

// faulty is an edge with routes and an open session, and the Redis that fails.
type faulty struct {
	*edge
	redis   *parts.Redis
	proxy   *parts.Proxy // between the two
	pub     *publisher   // not through the proxy
	session *live
	pods    int
}

func startFaulty(t *testing.T) *faulty {
	t.Helper()
	rs := parts.StartRedis(t)
	f := &faulty{redis: rs, proxy: parts.StartProxy(t, rs.Addr), pods: 30}
	f.edge = startEdge(t, "redis://"+f.proxy.Addr)
	f.pub = newPublisher(t, "redis://"+rs.Addr)
	up := snitest.Echo(t).Addr
	var rs2 []routes.Route
	for i := range f.pods {
		rs2 = append(rs2, snitest.Route(fmt.Sprintf("pod%d.pods.test", i), routes.TCP, up))
	}
	f.serve(f.pub, rs2...)
	l, err := openTCP(f.edge, "127.0.0.4", "pod0.pods.test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	f.session = l
	return f
}

// client returns a client of the Redis itself.
func (f *faulty) client(t *testing.T) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: f.redis.Addr})
	t.Cleanup(func() { c.Close() })
	return c
}

// whole fails the test if a route is missing, or the session has ended.
func (f *faulty) whole(t *testing.T, when string) {
	t.Helper()
	if err := f.session.use(); err != nil {
		t.Errorf("%s: the session: %v", when, err)
	}
	if s, err := f.status(); err != nil || s.Routes.Count < f.pods {
		t.Errorf("%s: got %d routes, %v, want %d", when, s.Routes.Count, err, f.pods)
	}
	l, err := openTCP(f.edge, "127.0.0.4", fmt.Sprintf("pod%d.pods.test", f.pods-1))
	if err != nil {
		t.Errorf("%s: a new connection: %v", when, err)
		return
	}
	l.Close()
}

// R4: whatever happens to Redis, every route is served on, and the edge says what
// is wrong. When it is over, the edge follows again.
func TestR4FaultsOfRedis(t *testing.T) {
	const (
		notSynced = "podway_edge_routes_synced 0"
		held      = "podway_edge_routes_held"
		bad       = "podway_edge_routes_bad"
	)
	for _, tt := range []struct {
		name  string
		fault func(t *testing.T, f *faulty)
		says  string // in /metrics, ahead of a number that is not 0; or as a whole
		heal  func(t *testing.T, f *faulty)
	}{
		{
			name: "it is killed and comes back empty", says: notSynced,
			fault: func(_ *testing.T, f *faulty) { f.redis.Kill() },
			heal:  func(_ *testing.T, f *faulty) { f.redis.Start() },
		},
		{
			name: "it says nothing", says: notSynced,
			fault: func(_ *testing.T, f *faulty) { f.redis.Signal(syscall.SIGSTOP) },
			heal:  func(_ *testing.T, f *faulty) { f.redis.Signal(syscall.SIGCONT) },
		},
		{
			name: "the network takes bytes and brings none", says: notSynced,
			fault: func(_ *testing.T, f *faulty) { f.proxy.Hold() },
			heal:  func(_ *testing.T, f *faulty) { f.proxy.Release() },
		},
		{
			name: "it is emptied", says: held,
			fault: func(t *testing.T, f *faulty) { f.do(t, "flushall") },
			heal:  func(*testing.T, *faulty) {},
		},
		{
			name: "it goes back to an earlier state", says: held,
			fault: func(t *testing.T, f *faulty) {
				f.do(t, "hdel", "podway:{default}:routes", "pod3.pods.test", "pod4.pods.test")
				f.do(t, "del", "podway:{default}:log")
				f.do(t, "set", "podway:{default}:version", "3")
			},
			heal: func(*testing.T, *faulty) {},
		},
		{
			name: "a record is garbage", says: bad,
			fault: func(t *testing.T, f *faulty) { f.record(t, "pod5.pods.test", "\x00garbage") },
			heal:  func(t *testing.T, f *faulty) { f.do(t, "hdel", "podway:{default}:routes", "pod5.pods.test") },
		},
		{
			name: "a record is huge", says: bad,
			fault: func(t *testing.T, f *faulty) { f.record(t, "pod5.pods.test", strings.Repeat("x", 16<<20)) },
			heal:  func(t *testing.T, f *faulty) { f.do(t, "hdel", "podway:{default}:routes", "pod5.pods.test") },
		},
		{
			name: "the routes are a text", says: notSynced,
			fault: func(t *testing.T, f *faulty) {
				f.do(t, "set", "podway:{default}:routes", "x")
				f.do(t, "xadd", "podway:{default}:log", "*", "a", "b")
			},
			heal: func(t *testing.T, f *faulty) { f.do(t, "del", "podway:{default}:routes") },
		},
		{
			name: "it refuses the login", says: notSynced,
			fault: func(t *testing.T, f *faulty) { f.lockOut(t) },
			heal:  func(t *testing.T, f *faulty) { f.letIn(t) },
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := startFaulty(t)
			tt.fault(t, f)
			parts.Eventually(t, limit, func() error { return f.complains(tt.says) })
			f.whole(t, "during")
			tt.heal(t, f)
			f.pub.watch() // the control plane notices
			fresh := snitest.Route("fresh.pods.test", routes.TCP, "127.0.0.1:9")
			f.pub.wants[fresh.Host] = fresh
			parts.Eventually(t, limit, func() error { return f.pub.again(t.Context()) })
			f.serves(fresh)
			f.reaches("whole", func(s status) bool {
				return s.Routes.Synced && s.Routes.Held == 0 && s.Routes.Bad == 0 && s.Routes.Stale == 0
			})
			f.whole(t, "afterwards")
		})
	}
}

// do runs a command on the Redis itself.
func (f *faulty) do(t *testing.T, args ...any) any {
	t.Helper()
	v, err := f.client(t).Do(context.Background(), args...).Result()
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return v
}

// record writes a record as a program would that does not know what a route is.
func (f *faulty) record(t *testing.T, host, record string) {
	t.Helper()
	v := f.do(t, "incr", "podway:{default}:version")
	f.do(t, "hset", "podway:{default}:routes", host, record)
	f.do(t, "xadd", "podway:{default}:log", fmt.Sprintf("%v-0", v), "host", host, "route", record)
}

// lockOut takes every right of those that log in without a name, as the edge
// does, and ends their connections.
func (f *faulty) lockOut(t *testing.T) {
	t.Helper()
	f.do(t, "acl", "setuser", "root", "on", ">pw", "~*", "+@all")
	f.do(t, "acl", "setuser", "default", "off")
	f.proxy.Reset()
}

func (f *faulty) letIn(t *testing.T) {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: f.redis.Addr, Username: "root", Password: "pw"})
	defer c.Close()
	if err := c.Do(t.Context(), "acl", "setuser", "default", "on").Err(); err != nil {
		t.Fatal(err)
	}
}

// complains returns nil once /metrics says that something is wrong.
func (f *faulty) complains(says string) error {
	name, want, whole := strings.Cut(says, " ")
	v, err := f.metric(name)
	if err != nil {
		return err
	}
	if (whole && fmt.Sprint(v) != want) || (!whole && v == 0) {
		return fmt.Errorf("got %s %v", name, v)
	}
	b, err := f.admin(http.MethodGet, "/podway/status")
	if err != nil {
		return err
	}
	var s status
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	if s.Routes.Synced && s.Routes.Held == 0 && s.Routes.Bad == 0 {
		return fmt.Errorf("the status says that all is well: %s", b)
	}
	return nil
}
