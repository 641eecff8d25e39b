package gate

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/tapis-project/podway/routes/redisgate"
)

// touchEvery is how often Redis is told that a session is used, at most.
const touchEvery = 5 * time.Minute

// sessionOf returns the visitor of a session cookie. It returns
// [redisgate.ErrNotFound] if there is no such session, any other error if Redis
// does not answer. Sessions that it knows are not looked up.
func (g *guard) sessionOf(ctx context.Context, id, host, pod string, idle time.Duration, now time.Time) (*visitor, error) {
	nanos := now.UnixNano()
	if v := g.sessions.find(id, host, pod); v != nil && now.Before(v.expires) && nanos-v.used.Load() < int64(idle) {
		v.used.Store(nanos)
		if nanos-v.touched.Load() > int64(min(touchEvery, idle/4)) {
			g.touch(v, idle, now)
		}
		return v, nil
	}
	if !g.store.KnowsSessionID(id, host, pod) {
		return nil, redisgate.ErrNotFound
	}
	key := redisgate.SessionKey(id, host, pod)
	v, err, _ := g.lookups.Do(key, func() (any, error) { return g.lookup(ctx, key, id, host, pod, idle) })
	if err != nil {
		return nil, err
	}
	return v.(*visitor), nil
}

func (g *guard) lookup(ctx context.Context, key, id, host, pod string, idle time.Duration) (*visitor, error) {
	// Others may wait for the answer, whatever becomes of this request.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), redisTimeout)
	defer cancel()
	count(sessionLookups)
	before := g.changes.Load()
	x, err := g.store.Session(ctx, id, host, pod)
	if err != nil {
		if errors.Is(err, redisgate.ErrNotFound) {
			g.sessions.remove(key)
		}
		return nil, err
	}
	v := newSessionVisitor(id, x, idle)
	g.sessions.add(v, func() bool { return g.changes.Load() != before })
	g.touch(v, idle, time.Now())
	return v, nil
}

func newSessionVisitor(id string, x redisgate.Session, idle time.Duration) *visitor {
	v := &visitor{
		kind: bySession, key: redisgate.SessionKey(id, x.Host, x.Pod),
		username: x.Username, tenant: x.Tenant, created: x.Created, expires: x.Expires,
		id: strings.Clone(id), host: x.Host, pod: x.Pod, idle: idle, // what a request brings holds all of its header
	}
	v.used.Store(time.Now().UnixNano())
	return v
}

// touch tells Redis that a session is used, behind the request's back. If the
// session is gone, so is the visitor.
func (g *guard) touch(v *visitor, idle time.Duration, now time.Time) {
	last := v.touched.Load()
	if g.ctx.Err() != nil || !v.touched.CompareAndSwap(last, now.UnixNano()) {
		return // somebody else does
	}
	g.tasks.Go(func() {
		ctx, cancel := context.WithTimeout(g.ctx, redisTimeout)
		defer cancel()
		alive, err := g.store.TouchSession(ctx, v.key, redisgate.Session{Expires: v.expires}, idle)
		if err != nil {
			return // it will be told later
		}
		if !alive {
			g.changes.Add(1)
			g.sessions.remove(v.key)
			lives.endVisitors(func(x *visitor) bool { return x.kind == bySession && x.key == v.key })
		}
	})
}

// endSession ends a session that somebody replaced or left.
func (g *guard) endSession(ctx context.Context, id, host, pod string) error {
	if !g.store.KnowsSessionID(id, host, pod) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, redisTimeout)
	defer cancel()
	key := redisgate.SessionKey(id, host, pod)
	err := g.store.EndSession(ctx, key)
	if err == nil {
		// This edge does not have to wait for its own message.
		g.learn(redisgate.Event{Kind: redisgate.SessionEnded, Session: key})
	}
	return err
}
