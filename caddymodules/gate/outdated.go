package gate

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"
	"weak"

	"github.com/tapis-project/podway/routes"
)

// Who may not pass is refused with each request. That alone would leave sessions in
// Redis for some hours, and would let them count again if the permission, or a pod of
// that name, came back. So every edge ends those that it knows.

// tables are those that somebody watches. The zero value is ready for use.
type tables struct {
	mu  sync.Mutex
	all map[weak.Pointer[routes.Table]]struct{}
}

// add reports whether a table was not there.
func (t *tables) add(table *routes.Table) bool {
	p := weak.Make(table)
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, known := t.all[p]; known {
		return false
	}
	if t.all == nil {
		t.all = map[weak.Pointer[routes.Table]]struct{}{}
	}
	t.all[p] = struct{}{}
	return true
}

// watch ends sessions when their route in table changes. A table outlives a guard.
func (g *guard) watch(table *routes.Table) {
	if !g.watched.add(table) {
		return
	}
	p := weak.Make(g)
	table.OnChange(func(_ string, old, now *routes.Entry) {
		if g := p.Value(); g != nil {
			g.routeChanged(old, now)
		}
	})
}

// routeChanged ends the sessions of a route that was removed, or that does not let
// them pass any more. A route that asks for no login at all for a while, as that of a
// pod with an error may, ends none.
func (g *guard) routeChanged(old, now *routes.Entry) {
	if old == nil || old.Gate == nil || (now != nil && (now.Gate == nil || admitTheSame(old, now))) {
		return
	}
	if now == nil || now.Pod != old.Pod || now.Tenant != old.Tenant {
		g.drop(g.sessions.removeFunc(func(v *visitor) bool { return v.isOf(old) }))
		return
	}
	t := time.Now()
	g.drop(g.sessions.pick(func(v *visitor) bool { return v.isOf(old) && !v.mayPass(now, t) && v.end() }))
}

// end makes the session of a visitor count no more. It reports whether it did before.
// The visitor is remembered, to be told that they may not pass.
func (v *visitor) end() bool { return v.kind == bySession && !v.ended.Swap(true) }

// endFor ends the session of a visitor who may not pass.
func (g *guard) endFor(v *visitor) {
	if v.end() {
		g.drop([]*visitor{v})
	}
}

// admitTheSame reports whether two routes with a login surely let the same users
// pass. Most changes are of other things.
func admitTheSame(a, b *routes.Entry) bool {
	return a.Tenant == b.Tenant && a.Pod == b.Pod &&
		slices.Equal(a.Gate.AllowedUsers, b.Gate.AllowedUsers) && slices.Equal(a.Gate.Tenants, b.Gate.Tenants)
}

// isOf reports whether a session belongs to a route, which may be one for all names
// below a domain.
func (v *visitor) isOf(e *routes.Entry) bool {
	if v.pod != e.Pod {
		return false
	}
	_, domain, _ := strings.Cut(v.host, ".")
	return v.host == e.Host || "*."+domain == e.Host
}

// drop removes sessions from Redis, behind the back of whoever noticed that they are
// over. Other edges notice it themselves.
func (g *guard) drop(gone []*visitor) {
	if len(gone) == 0 || g.ctx.Err() != nil {
		return
	}
	keys := make([]string, len(gone))
	for i, v := range gone {
		keys[i] = v.key
	}
	g.changes.Add(1)
	g.tasks.Go(func() {
		ctx, cancel := context.WithTimeout(g.ctx, redisTimeout)
		defer cancel()
		_ = g.store.DropSessions(ctx, keys) // without Redis they end by themselves
	})
}
