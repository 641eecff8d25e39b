package certs

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
)

// The events of certmagic that the app handles.
const (
	obtaining = "cert_obtaining"
	obtained  = "cert_obtained"
	failed    = "cert_failed"
)

// redisTimeout bounds one exchange with Redis.
const redisTimeout = 3 * time.Second

// What became of orders, since the process began.
var ordered, renewed, issued, failures, refused atomic.Uint64

// Handle implements [caddyevents.Handler]. It keeps certmagic from an order that
// the limits forbid, and notes what became of the others.
func (a *App) Handle(_ context.Context, e caddy.Event) error {
	subject, _ := e.Data["identifier"].(string)
	renewal, _ := e.Data["renewal"].(bool)
	// The context of a handshake may end; counting goes on.
	ctx, cancel := context.WithTimeout(context.Background(), redisTimeout)
	defer cancel()
	switch e.Name() {
	case obtaining:
		return a.admit(ctx, subject, renewal)
	case obtained:
		a.noteObtained(ctx, subject, renewal)
	case failed:
		err, _ := e.Data["error"].(error)
		a.noteFailed(ctx, subject, err)
	}
	return nil
}

// admit returns an error that ends certmagic's work if no order may be made. It is
// not to try again by itself: the app does, as the limits have it.
func (a *App) admit(ctx context.Context, subject string, renewal bool) error {
	if a.zones.zoneOf(subject) == "" && a.learnZone(ctx, subject) != "" {
		return fmt.Errorf("%w: %w", caddy.ErrEventAborted, certmagic.ErrNoRetry{Err: fmt.Errorf("%w: its zone has become known", errLimit)})
	}
	tenant := ""
	if !renewal && subject[0] != '*' {
		tenant = a.tenantOf(subject)
	}
	err := a.limiter.order(ctx, subject, tenant)
	if err != nil {
		refused.Add(1)
		if errors.Is(err, errLimit) {
			a.log.Warn("certificate not ordered", "subject", subject, "renewal", renewal, "error", err)
		}
		return fmt.Errorf("%w: %w", caddy.ErrEventAborted, certmagic.ErrNoRetry{Err: err})
	}
	ordered.Add(1)
	return nil
}

func (a *App) noteObtained(ctx context.Context, subject string, renewal bool) {
	issued.Add(1)
	if renewal {
		renewed.Add(1)
	}
	a.log.Info("certificate obtained", "subject", subject, "renewal", renewal, "tenant", a.tenantOf(hostOf(subject)))
	if err := a.limiter.obtained(ctx, subject); err != nil {
		a.log.Warn("noting a certificate failed", "subject", subject, "error", err)
	}
	a.tryAgain(subject, 0) // reads its new state, once it is loaded
}

func (a *App) noteFailed(ctx context.Context, subject string, cause error) {
	failures.Add(1)
	wait, err := a.limiter.failed(ctx, subject)
	if err != nil {
		a.log.Warn("noting a failed order failed", "subject", subject, "error", err)
	}
	a.log.Error("certificate not obtained", "subject", subject, "tenant", a.tenantOf(hostOf(subject)), "again_in", wait, "error", cause)
	a.states.orderFailed(subject, a.tenantOf(hostOf(subject)), cause)
	a.tryAgain(subject, wait)
}

// tryAgain queues a subject a second after its wait is over.
func (a *App) tryAgain(subject string, wait time.Duration) {
	time.AfterFunc(wait+time.Second, func() { a.queue.add(hostOf(subject)) })
}

// hostOf returns a host that a subject is the certificate of.
func hostOf(subject string) string {
	if subject != "" && subject[0] == '*' {
		return warmLabel + subject[1:]
	}
	return subject
}
