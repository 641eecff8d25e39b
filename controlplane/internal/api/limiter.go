package api

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// Limiter decides whether a user may change something now. Implementations are
// safe for concurrent use.
type Limiter interface {
	// Allow counts one change of a user. If it is one too many, ok is false and
	// retryAfter says when the next one is allowed.
	Allow(ctx context.Context, tenant, user string) (retryAfter time.Duration, ok bool)
}

// limit counts one change of the caller.
func (s *server) limit(ctx context.Context, who pods.Principal) error {
	wait, ok := s.Limiter.Allow(ctx, who.Tenant.ID, who.User)
	if ok {
		return nil
	}
	seconds := int(math.Ceil(wait.Seconds()))
	return &httpError{
		status:  http.StatusTooManyRequests,
		message: fmt.Sprintf("Too many changes in a short time. Please try again in %d seconds.", seconds),
		header:  retryAfter(strconv.Itoa(seconds)),
	}
}

// memoryLimiter is a token bucket per user, in the memory of this process.
type memoryLimiter struct {
	perMinute int
	now       func() time.Time

	mu      sync.Mutex
	buckets map[principalName]*rate.Limiter
	swept   time.Time // when full buckets were last dropped
}

type principalName struct{ tenant, user string }

// NewMemoryLimiter returns a Limiter that lets each user make perMinute changes
// at once and refills evenly. It counts in memory, so every replica of the API
// counts for itself. Zero perMinute disables the limit.
func NewMemoryLimiter(perMinute int, now func() time.Time) Limiter {
	return &memoryLimiter{perMinute: perMinute, now: now, buckets: map[principalName]*rate.Limiter{}}
}

func (l *memoryLimiter) Allow(_ context.Context, tenant, user string) (time.Duration, bool) {
	if l.perMinute <= 0 {
		return 0, true
	}
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sweep(now)
	name := principalName{tenant, user}
	b := l.buckets[name]
	if b == nil {
		b = rate.NewLimiter(rate.Every(time.Minute/time.Duration(l.perMinute)), l.perMinute)
		l.buckets[name] = b
	}
	if b.AllowN(now, 1) {
		return 0, true
	}
	missing := 1 - b.TokensAt(now)
	return time.Duration(missing / float64(b.Limit()) * float64(time.Second)), false
}

// sweep drops, once a minute, the buckets that are full again: a new one would
// be the same.
func (l *memoryLimiter) sweep(now time.Time) {
	if now.Sub(l.swept) < time.Minute {
		return
	}
	l.swept = now
	for name, b := range l.buckets {
		if b.TokensAt(now) >= float64(l.perMinute) {
			delete(l.buckets, name)
		}
	}
}
