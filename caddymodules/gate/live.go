package gate

import (
	"context"
	"sync"
	"time"
	"weak"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni"
)

// lives holds the requests that go on at gated hosts, WebSockets above all, so that
// they end when the visitor may not pass any more. There is one for the process:
// requests outlive configurations.
var lives = newRegistry()

// request is a request that goes on.
type request struct {
	entry    *routes.Entry
	visitor  *visitor // nil: the path needed no proof
	excluded func(*routes.Entry) bool
	cancel   context.CancelCauseFunc
}

// registry holds requests by the host of their route. It is safe for concurrent
// use.
type registry struct {
	mu     sync.Mutex
	byHost map[string]map[*request]struct{}

	tables map[weak.Pointer[routes.Table]]struct{} // that are watched
}

func newRegistry() *registry {
	return &registry{byHost: map[string]map[*request]struct{}{}, tables: map[weak.Pointer[routes.Table]]struct{}{}}
}

// watch ends requests when their route in table changes. A table is watched once,
// however often it is given.
func (l *registry) watch(table *routes.Table) {
	p := weak.Make(table)
	l.mu.Lock()
	_, known := l.tables[p]
	l.tables[p] = struct{}{}
	l.mu.Unlock()
	if !known {
		table.OnChange(l.changed)
	}
}

// changed ends the requests of a host that its new route does not let pass. If
// there is none, requests end anyway.
func (l *registry) changed(host string, _, now *routes.Entry) {
	if now == nil {
		return
	}
	l.endIf(host, func(x *request) bool { return !x.mayStay(now) })
}

func (x *request) mayStay(now *routes.Entry) bool {
	switch {
	case !now.Gated():
		return true
	case x.visitor == nil:
		return x.excluded(now)
	default:
		return x.visitor.mayPass(now, time.Now())
	}
}

// open registers a request; end removes it. The context ends with the cause
// [sni.ErrRevoked], as if the route had changed, when the visitor may not pass any
// more.
func (l *registry) open(ctx context.Context, x *request) (_ context.Context, end func()) {
	ctx, x.cancel = context.WithCancelCause(ctx)
	l.mu.Lock()
	m := l.byHost[x.entry.Host]
	if m == nil {
		m = map[*request]struct{}{}
		l.byHost[x.entry.Host] = m
	}
	m[x] = struct{}{}
	l.mu.Unlock()
	return ctx, func() {
		l.mu.Lock()
		m := l.byHost[x.entry.Host]
		if delete(m, x); len(m) == 0 {
			delete(l.byHost, x.entry.Host)
		}
		l.mu.Unlock()
		x.cancel(nil)
	}
}

// endIf ends the requests of a host, or of all if host is empty, for which f is
// true.
func (l *registry) endIf(host string, f func(*request) bool) {
	var gone []*request
	l.mu.Lock()
	pick := func(m map[*request]struct{}) {
		for x := range m {
			if f(x) {
				gone = append(gone, x)
			}
		}
	}
	if host != "" {
		pick(l.byHost[host])
	} else {
		for _, m := range l.byHost {
			pick(m)
		}
	}
	l.mu.Unlock()
	for _, x := range gone {
		count(endedRequests)
		x.cancel(sni.ErrRevoked)
	}
}

// endVisitors ends the requests of the visitors for whom f is true.
func (l *registry) endVisitors(f func(*visitor) bool) {
	l.endIf("", func(x *request) bool { return x.visitor != nil && f(x.visitor) })
}

// expire ends the requests of visitors whose time is over.
func (l *registry) expire(now time.Time) {
	l.endVisitors(func(v *visitor) bool { return !now.Before(v.expires) })
}
