package edge

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni/snitest"
	"github.com/tapis-project/podway/tests/parts"
)

// E10: live sessions of every kind on 20 routes. One route after the other is
// deleted, stopped, restarted or closed to the client: its sessions end, at once,
// and no other.
func TestE10OnlyWhatIsRevokedEnds(t *testing.T) {
	rs := parts.StartRedis(t)
	e := startEdge(t, "redis://"+rs.Addr)
	pub := newPublisher(t, "redis://"+rs.Addr)
	pg := parts.StartPostgres(t)
	up := upstreams(t)
	up[routes.Postgres] = fmt.Sprintf("127.0.0.1:%d", pg.Port)

	all := map[string][]*live{} // by host
	byHost := map[string]routes.Route{}
	for i := range 20 {
		k := kinds[i%4] // the other two keep nothing open at the pod
		r := snitest.Route(fmt.Sprintf("pod%d.pods.test", i), k.protocol, up[k.protocol])
		e.serve(pub, r)
		byHost[r.Host] = r
		for j := range 3 {
			l, err := k.open(e, client(10*i+j), r.Host)
			if err != nil {
				t.Fatalf("%s: %v", k.name, err)
			}
			t.Cleanup(func() { l.Close() })
			all[r.Host] = append(all[r.Host], l)
		}
	}
	var worst time.Duration
	for i, change := range []struct {
		name string
		do   func(r routes.Route)
	}{
		{"deleted", pub.remove},
		{"stopped", func(r routes.Route) { r.State, r.Instance, r.Upstreams = routes.Stopped, "", nil; pub.set(r) }},
		{"run again", func(r routes.Route) { r.Instance = "2"; pub.set(r) }},
		{"closed to this client", func(r routes.Route) { r.IPAllow = []string{"192.0.2.1"}; pub.set(r) }},
	} {
		for j := range 4 { // one of each kind
			host := fmt.Sprintf("pod%d.pods.test", 4*i+j)
			what := fmt.Sprintf("%s, %s", kinds[j].name, change.name)
			start := time.Now()
			change.do(byHost[host])
			for _, l := range all[host] {
				if err := l.ended(soon); err != nil {
					t.Errorf("%s: %v", what, err)
				}
			}
			worst = max(worst, time.Since(start))
			delete(all, host)
			useAll(t, what, all)
		}
	}
	t.Logf("the slowest of 16 changes had ended all its own after %v", worst)
	if worst > soon {
		t.Errorf("got %v, want them soon", worst)
	}
}

// useAll expects that all sessions go on.
func useAll(t *testing.T, after string, all map[string][]*live) {
	t.Helper()
	var wg sync.WaitGroup
	for host, ls := range all {
		for _, l := range ls {
			wg.Go(func() {
				if err := l.use(); err != nil {
					t.Errorf("after another pod's change (%s): %s: %v", after, host, err)
				}
			})
		}
	}
	wg.Wait()
}
