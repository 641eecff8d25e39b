package certs

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/routes/redisroutes"
)

// Defaults of [Limits].
const (
	DefaultPerName    = 10
	DefaultPerTenant  = 20
	DefaultTotal      = 200
	DefaultMinBackoff = time.Minute
	DefaultMaxBackoff = 12 * time.Hour
)

// Limits of what is ordered from certificate authorities, counted in Redis for all
// edges. Zero fields mean the default.
type Limits struct {
	// Orders for one name in a day, renewals and failures included. Default: 10.
	PerName int `json:"per_name,omitempty"`
	// Orders for hosts of one tenant that no zone has, in a day, renewals not
	// included. Default: 20.
	PerTenant int `json:"per_tenant,omitempty"`
	// Orders in an hour. Default: 200.
	Total int `json:"total,omitempty"`
	// How long a name waits after its first failure. It doubles with each. Default: 1m.
	MinBackoff caddy.Duration `json:"min_backoff,omitempty"`
	// How long it waits at most. Default: 12h.
	MaxBackoff caddy.Duration `json:"max_backoff,omitempty"`
}

func (l Limits) withDefaults() Limits {
	return Limits{
		PerName: cmp.Or(l.PerName, DefaultPerName), PerTenant: cmp.Or(l.PerTenant, DefaultPerTenant), Total: cmp.Or(l.Total, DefaultTotal),
		MinBackoff: cmp.Or(l.MinBackoff, caddy.Duration(DefaultMinBackoff)), MaxBackoff: cmp.Or(l.MaxBackoff, caddy.Duration(DefaultMaxBackoff)),
	}
}

func (l Limits) check() error {
	if l.PerName < 0 || l.PerTenant < 0 || l.Total < 0 || l.MinBackoff < 0 || l.MaxBackoff < 0 {
		return errors.New("reading limits: a limit is negative")
	}
	return nil
}

// errLimit is why an order is not made now.
var errLimit = errors.New("no certificate is ordered now")

// keys are the names in Redis.
type keys struct{ namespace, state, backoff, orders string }

func newKeys(namespace string) (keys, error) {
	prefix, err := redisroutes.Key(namespace, "certs:")
	return keys{namespace: namespace, state: prefix + "state", backoff: prefix + "backoff:", orders: prefix + "orders:"}, err
}

//go:embed limits.lua
var limitsSource string

var limitsScript = redis.NewScript(limitsSource)

// limiter counts orders. It is safe for concurrent use.
type limiter struct {
	client redis.UniversalClient
	keys   keys
	limits Limits
	budget budget
}

// order counts an order for a subject. The error is [errLimit] if it must not be
// made. A tenant of "" is not counted.
func (l *limiter) order(ctx context.Context, subject, tenant string) error {
	perTenant := l.limits.PerTenant
	if tenant == "" {
		perTenant = 0
	}
	answer, err := limitsScript.Run(ctx, l.client,
		[]string{l.keys.backoff + subject, l.keys.orders + "name:" + subject, l.keys.orders + "tenant:" + tenant, l.keys.orders + "total"},
		l.limits.PerName, perTenant, l.limits.Total).Slice()
	if err != nil {
		return fmt.Errorf("counting orders of certificates: %w", err)
	}
	which, _ := answer[0].(string)
	left, _ := answer[1].(int64)
	if which == "" {
		made, _ := answer[2].(int64)
		l.budget.note(float64(made)/float64(l.limits.Total), time.Duration(left)*time.Millisecond)
		return nil
	}
	wait := (time.Duration(left) * time.Millisecond).Round(time.Second)
	if which == "total" {
		l.budget.note(1, wait)
	}
	switch which {
	case "backoff":
		return fmt.Errorf("%w: the last order for %s failed; it is tried again in %v", errLimit, subject, wait)
	case "name":
		return fmt.Errorf("%w: %d were ordered for %s within a day; the next can be in %v", errLimit, l.limits.PerName, subject, wait)
	case "tenant":
		return fmt.Errorf("%w: %d were ordered for tenant %s within a day; the next can be in %v", errLimit, l.limits.PerTenant, tenant, wait)
	default:
		return fmt.Errorf("%w: %d were ordered within an hour; the next can be in %v", errLimit, l.limits.Total, wait)
	}
}

// failed makes a subject wait, longer each time.
func (l *limiter) failed(ctx context.Context, subject string) (time.Duration, error) {
	key := l.keys.backoff + subject
	n, err := l.client.HIncrBy(ctx, key, "failures", 1).Result()
	if err != nil {
		return 0, fmt.Errorf("noting a failed order: %w", err)
	}
	wait := backoff(time.Duration(l.limits.MinBackoff), time.Duration(l.limits.MaxBackoff), n)
	_, err = l.client.TxPipelined(ctx, func(tx redis.Pipeliner) error {
		tx.HSet(ctx, key, "until", strconv.FormatInt(time.Now().Add(wait).UnixMilli(), 10))
		tx.PExpire(ctx, key, 2*time.Duration(l.limits.MaxBackoff))
		return nil
	})
	return wait, err
}

// backoff returns how long to wait after the nth failure in a row.
func backoff(least, most time.Duration, n int64) time.Duration {
	wait := least
	for ; n > 1 && wait < most; n-- {
		wait *= 2
	}
	return min(wait, most)
}

// obtained ends the wait of a subject.
func (l *limiter) obtained(ctx context.Context, subject string) error {
	return l.client.Del(ctx, l.keys.backoff+subject).Err()
}
