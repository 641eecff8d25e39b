package certs

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/caddymodules/podway"
	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni/snitest"
	"github.com/tapis-project/podway/tests/parts"
)

func newLimiter(t *testing.T, l Limits) *limiter {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: parts.StartRedis(t).Addr})
	t.Cleanup(func() { client.Close() })
	k, err := newKeys("default")
	if err != nil {
		t.Fatal(err)
	}
	return &limiter{client: client, keys: k, limits: l.withDefaults()}
}

// orders asks n times, for a name each or for one, and returns how many are allowed.
func (l *limiter) orders(t *testing.T, n int, name, tenant string, each bool) (allowed int) {
	t.Helper()
	for i := range n {
		subject := name
		if each {
			subject = fmt.Sprintf("%d.%s", i, name)
		}
		err := l.order(t.Context(), subject, tenant)
		if err == nil {
			allowed++
		} else if !errors.Is(err, errLimit) {
			t.Fatal(err)
		}
	}
	return allowed
}

func TestOrdersAreLimited(t *testing.T) {
	t.Run("for a name", func(t *testing.T) {
		l := newLimiter(t, Limits{})
		if got := l.orders(t, 30, "a.test", "", false); got != DefaultPerName {
			t.Errorf("got %d, want %d", got, DefaultPerName)
		}
		if got := l.orders(t, 1, "b.test", "", false); got != 1 {
			t.Error("another name is refused too")
		}
	})
	t.Run("for a tenant", func(t *testing.T) {
		l := newLimiter(t, Limits{})
		if got := l.orders(t, 50, "a.test", "tacc", true); got != DefaultPerTenant {
			t.Errorf("got %d, want %d", got, DefaultPerTenant)
		}
		if got := l.orders(t, 1, "b.test", "iu", true); got != 1 {
			t.Error("another tenant is refused too")
		}
		if got := l.orders(t, 1, "c.test", "", true); got != 1 {
			t.Error("a renewal, which counts for no tenant, is refused too")
		}
	})
	t.Run("for all", func(t *testing.T) {
		l := newLimiter(t, Limits{})
		if got := l.budget.used(); got != 0 {
			t.Errorf("got a budget of which %v is used, want 0", got)
		}
		if got := l.orders(t, DefaultTotal/4, "b.test", "", true); got != DefaultTotal/4 || l.budget.used() != 0.25 {
			t.Errorf("got %d, and a budget of which %v is used, want %d and 0.25", got, l.budget.used(), DefaultTotal/4)
		}
		if got := l.orders(t, 300, "a.test", "", true); got != DefaultTotal-DefaultTotal/4 || l.budget.used() != 1 {
			t.Errorf("got %d, and a budget of which %v is used, want %d and 1", got, l.budget.used(), DefaultTotal-DefaultTotal/4)
		}
		for _, key := range []string{"total", "name:0.a.test"} {
			if ttl := l.client.PTTL(t.Context(), l.keys.orders+key).Val(); ttl <= 0 {
				t.Errorf("%s is kept for ever", key)
			}
		}
	})
}

func TestNamesWaitLongerWithEachFailure(t *testing.T) {
	l := newLimiter(t, Limits{})
	for _, want := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute} {
		if got, err := l.failed(t.Context(), "a.test"); got != want || err != nil {
			t.Errorf("got %v, %v, want %v", got, err, want)
		}
	}
	if err := l.order(t.Context(), "a.test", ""); !errors.Is(err, errLimit) {
		t.Errorf("got %v, want %v", err, errLimit)
	}
	if n := l.client.Exists(t.Context(), l.keys.orders+"total").Val(); n != 0 {
		t.Error("what was refused counts as an order")
	}
	if err := l.obtained(t.Context(), "a.test"); err != nil {
		t.Fatal(err)
	}
	if err := l.order(t.Context(), "a.test", ""); err != nil {
		t.Errorf("after one that worked: %v", err)
	}
	if got := backoff(time.Minute, time.Hour, 1000); got != time.Hour {
		t.Errorf("got %v at most, want %v", got, time.Hour)
	}
}

func TestCertmagicIsTold(t *testing.T) {
	r := parts.StartRedis(t)
	ctx, pw := provision(t, &podway.App{Redis: "redis://" + r.Addr, Certificates: []string{"*.pods.test"}})
	a, err := appOf(ctx)
	if err != nil {
		t.Fatal(err)
	}
	a.limiter.limits.PerTenant = 1
	snitest.Set(t, pw.Table(), snitest.Route("one.example.test", routes.HTTP, "10.0.0.1:1"), snitest.Route("two.example.test", routes.HTTP, "10.0.0.1:1"))
	emit := func(name string, data map[string]any) error {
		e, err := caddy.NewEvent(ctx, name, data)
		if err != nil {
			t.Fatal(err)
		}
		return a.Handle(t.Context(), e)
	}
	if err := emit(obtaining, map[string]any{"identifier": "one.example.test"}); err != nil {
		t.Errorf("the first: %v", err)
	}
	err = emit(obtaining, map[string]any{"identifier": "two.example.test"})
	if _, final := errors.AsType[certmagic.ErrNoRetry](err); !errors.Is(err, caddy.ErrEventAborted) || !final {
		t.Errorf("got %v, want an end that is not tried again", err)
	}
	for _, allowed := range []map[string]any{
		{"identifier": "one.example.test", "renewal": true}, {"identifier": "*.pods.test"},
	} {
		if err := emit(obtaining, allowed); err != nil {
			t.Errorf("%v: %v", allowed, err)
		}
	}
	if err := emit(failed, map[string]any{"identifier": "one.example.test", "error": errors.New("no such host")}); err != nil {
		t.Fatal(err)
	}
	if got := a.states.list(); len(got) != 1 || got[0].Status != Failed || got[0].Error != "no such host" || got[0].Tenant != "dev" {
		t.Errorf("got %+v", got)
	}
	if err := emit(obtaining, map[string]any{"identifier": "one.example.test", "renewal": true}); !errors.Is(err, errLimit) {
		t.Errorf("right after a failure: got %v, want %v", err, errLimit)
	}
}
