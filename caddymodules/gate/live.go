package gate

import (
	"context"
	"hash/maphash"
	"net/url"
	"sync"
	"time"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni"
)

// lives holds the requests that go on at gated hosts, WebSockets above all, so that
// they end when the visitor may not pass any more. There is one for the process:
// requests outlive configurations.
var lives = newRegistry()

// request is a request that goes on. Its fields are set before [registry.enter]; a
// request is registered once.
type request struct {
	entry   *routes.Entry
	visitor *visitor // nil: the path needed no proof
	url     *url.URL

	identity []string // names of headers that only the edge may set, besides the route's

	prev, next *request // in its shard, whose lock guards them
	listed     bool     // guarded likewise

	mu   sync.Mutex
	what Revoker // nil until it is known
	over bool    // the visitor may not pass any more
}

// Revoker is something that can be ended because it may not go on any more. Revoke
// may be called when it is over already, and does not wait.
type Revoker interface{ Revoke() }

// onRevoke has r ended when the visitor may not pass any more. If that is so
// already, it is ended at once.
func (x *request) onRevoke(r Revoker) {
	x.mu.Lock()
	x.what = r
	over := x.over
	x.mu.Unlock()
	if over {
		r.Revoke()
	}
}

func (x *request) revoke() {
	x.mu.Lock()
	x.over = true
	what := x.what
	x.mu.Unlock()
	if what != nil {
		what.Revoke()
	}
}

func (x *request) mayStay(now *routes.Entry) bool {
	switch {
	case !now.Gated():
		return true
	case x.visitor == nil:
		return x.url != nil && excluded(now, x.url)
	default:
		return x.visitor.mayPass(now, time.Now())
	}
}

// registry holds requests by the host of their route. Every request of a gated host
// passes through, so there are many locks, and lists instead of maps: coming and
// going allocates nothing. It is safe for concurrent use.
type registry struct {
	seed   maphash.Seed
	shards [256]shard

	watched tables
}

// shard holds the requests of some of the hosts.
type shard struct {
	mu    sync.Mutex
	first *request
}

func newRegistry() *registry { return &registry{seed: maphash.MakeSeed()} }

// watch ends requests when their route in table changes. A table is watched once,
// however often it is given.
func (l *registry) watch(table *routes.Table) {
	if l.watched.add(table) {
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

func (l *registry) shard(host string) *shard {
	return &l.shards[maphash.String(l.seed, host)%uint64(len(l.shards))]
}

// enter registers a request until it leaves.
func (l *registry) enter(x *request) {
	s := l.shard(x.entry.Host)
	s.mu.Lock()
	defer s.mu.Unlock()
	x.listed = true
	if x.next = s.first; x.next != nil {
		x.next.prev = x
	}
	s.first = x
}

// leave removes a request. It may be called more than once.
func (l *registry) leave(x *request) {
	s := l.shard(x.entry.Host)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !x.listed {
		return
	}
	x.listed = false
	if x.next != nil {
		x.next.prev = x.prev
	}
	if x.prev != nil {
		x.prev.next = x.next
	} else {
		s.first = x.next
	}
	x.prev, x.next = nil, nil
}

// open registers a request that has a context. The context ends with the cause
// [sni.ErrRevoked], as if the route had changed, when the visitor may not pass any
// more. The caller has to call end.
func (l *registry) open(ctx context.Context, x *request) (_ context.Context, end func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	x.onRevoke(revokeContext(cancel))
	l.enter(x)
	return ctx, func() {
		l.leave(x)
		cancel(nil)
	}
}

// revokeContext is a context that can be revoked.
type revokeContext context.CancelCauseFunc

// Revoke implements [Revoker].
func (f revokeContext) Revoke() { f(sni.ErrRevoked) }

// endIf ends the requests of a host, or of all if host is empty, for which f is
// true.
func (l *registry) endIf(host string, f func(*request) bool) {
	if host != "" {
		end(l.shard(host).pick(nil, func(x *request) bool { return x.entry.Host == host && f(x) }))
		return
	}
	var gone []*request
	for i := range l.shards {
		gone = l.shards[i].pick(gone, f)
	}
	end(gone)
}

// pick appends the requests for which f is true to those in picked.
func (s *shard) pick(picked []*request, f func(*request) bool) []*request {
	s.mu.Lock()
	defer s.mu.Unlock()
	for x := s.first; x != nil; x = x.next {
		if f(x) {
			picked = append(picked, x)
		}
	}
	return picked
}

func end(gone []*request) {
	for _, x := range gone {
		count(endedRequests)
		x.revoke()
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
