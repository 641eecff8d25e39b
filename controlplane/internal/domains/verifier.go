package domains

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/routes"
)

// Deps are what a Verifier works with. Store, Tenants and DNS are required.
type Deps struct {
	Store   pods.DomainStore
	Tenants Tenants
	DNS     DNS

	// Changed is called for each pod that has won or lost a custom domain. It must
	// not block. Nil: the reconciler finds out by itself.
	Changed func(pods.Key)

	Settings Settings
	Now      func() time.Time // Default: time.Now.
	Logger   *slog.Logger     // Default: slog.Default().
}

// Tenants is the part of [pods.Identity] that a Verifier needs.
type Tenants interface {
	// Tenant returns a tenant by id. NotFound if there is none.
	Tenant(ctx context.Context, id string) (pods.Tenant, error)
}

// Verifier checks custom domains; see the package comment. Make one with [New].
type Verifier struct{ Deps }

// New returns a Verifier that does nothing until Run.
func New(d Deps) *Verifier {
	d.Settings = d.Settings.withDefaults()
	if d.Changed == nil {
		d.Changed = func(pods.Key) {}
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Logger == nil {
		d.Logger = slog.Default()
	}
	return &Verifier{Deps: d}
}

// Run checks what is due until ctx ends, waits for the checks under way and
// returns nil.
func (v *Verifier) Run(ctx context.Context) error {
	tick := time.NewTicker(v.Settings.Poll)
	defer tick.Stop()
	failed := false
	for {
		err := v.checkDue(ctx)
		if err != nil && ctx.Err() == nil && !failed {
			v.Logger.Warn("checking custom domains failed", "error", err)
		}
		failed = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// checkDue checks claims until none is due.
func (v *Verifier) checkDue(ctx context.Context) error {
	for ctx.Err() == nil {
		now := v.now()
		// Whoever is killed in the middle leaves its claims to others after the lease.
		claims, err := v.Store.TakeDueDomains(ctx, now, now.Add(2*v.Settings.Timeout), v.Settings.Workers)
		if err != nil {
			return err
		}
		var wg sync.WaitGroup
		for _, c := range claims {
			wg.Go(func() { v.checkOne(ctx, c) })
		}
		wg.Wait()
		if len(claims) < v.Settings.Workers {
			return nil
		}
	}
	return nil
}

// checkOne checks a claim and stores what came of it.
func (v *Verifier) checkOne(ctx context.Context, c pods.DomainClaim) {
	log := v.Logger.With("tenant", c.Pod.Tenant, "pod_id", c.Pod.ID, "domain", c.Domain)
	changed, err := v.judge(ctx, c)
	if err != nil {
		if ctx.Err() == nil && pods.ErrorCode(err) != pods.Conflict {
			log.Warn("checking custom domain failed", "error", err)
		}
		return // it is due again when the lease ends
	}
	if len(changed) > 0 {
		log.Info("custom domain changed hands", "pods", len(changed))
	}
	for _, k := range changed {
		v.Changed(k)
	}
}

func (v *Verifier) judge(ctx context.Context, c pods.DomainClaim) ([]pods.Key, error) {
	tenant, err := v.Tenants.Tenant(ctx, c.Pod.Tenant)
	if err != nil {
		return nil, fmt.Errorf("looking up tenant: %w", err)
	}
	checking, cancel := context.WithTimeout(ctx, v.Settings.Timeout)
	defer cancel()
	result := check(checking, v.DNS, c, routes.PodHost(tenant.Domain(), string(c.Pod.ID), c.Net))
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	now := v.now()
	c, lines := v.Settings.next(c, result, now)
	var events []pods.Event
	for _, line := range lines {
		events = append(events, pods.Event{At: now, Text: line})
	}
	return v.Store.SaveDomainCheck(ctx, c, events...)
}

// now returns the time as the store keeps it.
func (v *Verifier) now() time.Time { return v.Now().UTC().Truncate(time.Microsecond) }
