package gate

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/singleflight"

	"github.com/tapis-project/podway/routes/redisgate"
)

// Bounds of what is remembered. An entry takes about 2 KiB.
const (
	maxSessions = 50_000
	maxTokens   = 10_000
	maxHosts    = 10_000
)

// guards are the guards that configurations with the same settings share.
var guards = caddy.NewUsagePool()

// guard knows the visitors. It asks Redis about each of them once, and is told by
// Redis what has changed since.
type guard struct {
	store  *redisgate.Store
	client redis.UniversalClient
	ring   *redisgate.Keyring

	tenants  *tenants
	sessions *sessions
	tokens   *cache[*visitor] // by the hash of the token
	redeemed *cache[*visitor] // by the hash of the share cookie
	shares   *cache[map[string]redisgate.Share]

	// changes counts what Redis told. What was looked up while it grew may be out of
	// date.
	changes atomic.Uint64
	lookups singleflight.Group

	passwords chan struct{} // holds as many as are compared at once

	watched tables

	ctx    context.Context
	cancel context.CancelFunc
	tasks  sync.WaitGroup
}

// takeGuard returns the guard for a Redis, a namespace and keys.
func takeGuard(opts *redis.UniversalOptions, namespace, keys string) (g *guard, key string, err error) {
	key = redisgate.Hash(fmt.Sprintf("%q %q %q %q %q", opts.Addrs, opts.Username, opts.Password, namespace, keys))
	v, _, err := guards.LoadOrNew(key, func() (caddy.Destructor, error) { return newGuard(opts, namespace, keys) })
	if err != nil {
		return nil, "", err
	}
	return v.(*guard), key, nil
}

func newGuard(opts *redis.UniversalOptions, namespace, keys string) (*guard, error) {
	ring, err := redisgate.ParseKeyring(keys)
	if err != nil {
		return nil, err
	}
	o := *opts
	o.ContextTimeoutEnabled = true // else only the client's own timeouts end a wait
	o.DialTimeout, o.MaxRetries, o.DialerRetries = time.Second, 1, 1
	client := redis.NewUniversalClient(&o)
	store, err := redisgate.New(redisgate.Options{Client: client, Namespace: namespace, Keyring: ring})
	if err != nil {
		_ = client.Close()
		return nil, err
	}
	g := &guard{
		store: store, client: client, ring: ring,
		tenants:  &tenants{read: store.Tenants},
		sessions: newSessions(maxSessions), tokens: newCache[*visitor](maxTokens),
		redeemed: newCache[*visitor](maxSessions), shares: newCache[map[string]redisgate.Share](maxHosts),
		passwords: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)),
	}
	g.tenants.onChange = g.tokens.clear
	g.ctx, g.cancel = context.WithCancel(context.Background())
	g.tasks.Go(func() { store.Watch(g.ctx, g.learn) })
	g.tasks.Go(g.expire)
	return g, nil
}

// Destruct implements [caddy.Destructor].
func (g *guard) Destruct() error {
	g.cancel()
	g.tasks.Wait()
	return g.client.Close()
}

// learn forgets what an event says is over, and ends what goes on because of it.
func (g *guard) learn(e redisgate.Event) {
	g.changes.Add(1)
	switch e.Kind {
	case redisgate.SessionEnded:
		g.sessions.remove(e.Session)
		lives.endVisitors(func(v *visitor) bool { return v.kind == bySession && v.key == e.Session })
	case redisgate.UserLoggedOut:
		g.forgetUser(e)
	case redisgate.SharesChanged:
		g.sharesChanged(e.Host)
	case redisgate.TenantsChanged:
		g.tenants.reload(g.ctx)
	default:
		g.resync()
	}
}

// sharesChanged reads the shares of a host again, if they were known: their visitors shall
// pass when Redis goes away before one of them comes.
func (g *guard) sharesChanged(host string) {
	_, known := g.shares.get(host)
	g.shares.remove(host)
	if known {
		_, _ = g.sharesOf(g.ctx, host) // without Redis the next visitor asks again
	}
	g.recheckShares(host)
}

func (g *guard) forgetUser(e redisgate.Event) {
	is := func(v *visitor) bool {
		return v.kind == bySession && v.tenant == e.Tenant && strings.EqualFold(v.username, e.Username) && !v.created.After(e.Until)
	}
	g.sessions.removeFunc(is)
	lives.endVisitors(is)
}

// resync forgets everything that may have changed while nobody told.
func (g *guard) resync() {
	g.sessions.clear()
	g.shares.clear()
	g.tenants.reload(g.ctx)
	g.recheckShares("")
	g.recheckSessions()
}

// recheckSessions ends the requests of sessions that are over.
func (g *guard) recheckSessions() {
	seen := map[*visitor]bool{}
	lives.endVisitors(func(v *visitor) bool {
		if v.kind == bySession {
			seen[v] = true
		}
		return false
	})
	for v := range seen {
		g.touch(v, v.idle, time.Now())
	}
}

// recheckShares ends the requests of shares of a host that are over; of all hosts
// if it is empty.
func (g *guard) recheckShares(host string) {
	hosts := map[string]bool{}
	lives.endIf(host, func(x *request) bool {
		if x.visitor != nil && x.visitor.kind == byShare {
			hosts[x.entry.Host] = true
		}
		return false
	})
	for h := range hosts {
		shares, err := g.sharesOf(g.ctx, h)
		if err != nil {
			continue // Redis went away again; it will be asked once more
		}
		lives.endIf(h, func(x *request) bool {
			v := x.visitor
			return v != nil && v.kind == byShare && !counts(shares, v, time.Now())
		})
	}
}

// expire ends requests when the time of their visitor is over.
func (g *guard) expire() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-g.ctx.Done():
			return
		case now := <-tick.C:
			lives.expire(now)
		}
	}
}
