package gate

import (
	"context"
	"crypto/rsa"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tapis-project/podway/routes/redisgate"
)

const (
	// reloadEvery is how often a token that can't be verified makes the edge look
	// for new keys.
	reloadEvery = time.Minute

	// firstReloadEvery is the same while nothing was read at all.
	firstReloadEvery = time.Second

	// redisTimeout bounds a wait for Redis.
	redisTimeout = 2 * time.Second
)

// tenant is a tenant with its keys parsed.
type tenant struct {
	redisgate.Tenant
	keys []*rsa.PublicKey
}

// tenants is what is known of the tenants. What was read once is used as long as
// Redis is down. It is safe for concurrent use.
type tenants struct {
	read func(context.Context) (map[string]redisgate.Tenant, error)
	now  atomic.Pointer[map[string]*tenant] // nil until it was read

	mu       sync.Mutex // held while it is read
	tried    time.Time
	onChange func()
}

// known returns a tenant, or nil.
func (t *tenants) known(id string) *tenant {
	all := t.now.Load()
	if all == nil {
		return nil
	}
	return (*all)[id]
}

// get returns a tenant, reading once more if it is not known.
func (t *tenants) get(ctx context.Context, id string) *tenant {
	if x := t.known(id); x != nil {
		return x
	}
	t.again(ctx)
	return t.known(id)
}

// again reads the tenants, unless that was tried a short time ago. It reports
// whether they were read.
func (t *tenants) again(ctx context.Context) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	every := reloadEvery
	if t.now.Load() == nil {
		every = firstReloadEvery
	}
	if time.Since(t.tried) < every {
		return false
	}
	return t.load(ctx)
}

// reload reads the tenants now.
func (t *tenants) reload(ctx context.Context) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.load(ctx)
}

func (t *tenants) load(ctx context.Context) bool {
	t.tried = time.Now()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), redisTimeout)
	defer cancel()
	read, err := t.read(ctx)
	if err != nil {
		return false // it goes on with what it has
	}
	all := make(map[string]*tenant, len(read))
	for id, r := range read {
		x := &tenant{Tenant: r}
		for _, pem := range r.PublicKeys {
			// A key that can't be read verifies nothing; others may.
			if key, err := jwt.ParseRSAPublicKeyFromPEM([]byte(pem)); err == nil {
				x.keys = append(x.keys, key)
			}
		}
		all[id] = x
	}
	t.now.Store(&all)
	if t.onChange != nil {
		t.onChange()
	}
	return true
}
