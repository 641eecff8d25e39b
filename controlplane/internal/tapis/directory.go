package tapis

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// firstWindow is the shortest time between two reads while there is nothing to
// serve: shorter than the usual window, because nobody can be authenticated.
const firstWindow = 2 * time.Second

// directory keeps the newest snapshot of the tenants. It is safe for concurrent
// use.
type directory struct {
	client *client
	base   string
	window time.Duration // between two reads
	maxAge time.Duration // of a snapshot before it is read again
	now    func() time.Time
	log    *slog.Logger

	current atomic.Pointer[snapshot]

	mu      sync.Mutex
	reading chan struct{} // closed when the read under way ends; nil without one
	last    time.Time     // when the last read started
}

// get returns the newest snapshot. It waits for Tapis only if there is none; an
// old one is served while it is read again. Unavailable if there is none.
func (d *directory) get(ctx context.Context) (*snapshot, error) {
	s := d.current.Load()
	if s == nil {
		s = d.refresh(ctx)
	} else if d.now().Sub(s.readAt) > d.maxAge {
		d.start(ctx)
	}
	if s == nil {
		return nil, pods.Errorf(pods.Unavailable, "The list of Tapis tenants is not available. Please try again.")
	}
	return s, nil
}

// tenant returns a tenant and the snapshot it is from, reading the tenants again
// if it is not there. Nil if there is no such tenant.
func (d *directory) tenant(ctx context.Context, id string) (*tenant, *snapshot, error) {
	return d.find(ctx, func(s *snapshot) *tenant { return s.tenants[id] })
}

// atHost returns the tenant that a host belongs to, reading the tenants again if
// there is none. Nil if it belongs to none.
func (d *directory) atHost(ctx context.Context, host string) (*tenant, error) {
	host = hostName(host)
	t, _, err := d.find(ctx, func(s *snapshot) *tenant { return s.hosts[host] })
	return t, err
}

func (d *directory) find(ctx context.Context, in func(*snapshot) *tenant) (*tenant, *snapshot, error) {
	s, err := d.get(ctx)
	if err != nil {
		return nil, nil, err
	}
	t := in(s)
	if t == nil {
		s = d.refresh(ctx)
		t = in(s)
	}
	return t, s, nil
}

// refresh reads the tenants, unless that was tried within the window, and
// returns the newest snapshot: the old one if reading failed or ctx ended, nil
// if there is none.
func (d *directory) refresh(ctx context.Context) *snapshot {
	if done := d.start(ctx); done != nil {
		select {
		case <-done:
		case <-ctx.Done():
		}
	}
	return d.current.Load()
}

// start starts a read, or joins the one under way, and returns a channel that is
// closed when it ends. Nil if the last one is too recent.
func (d *directory) start(ctx context.Context) <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.reading != nil {
		return d.reading
	}
	now := d.now()
	if !d.last.IsZero() && now.Sub(d.last) < d.minInterval() {
		return nil
	}
	done := make(chan struct{})
	d.reading, d.last = done, now
	// The read outlives the request that caused it: the next one wants its result.
	go d.run(context.WithoutCancel(ctx), done)
	return done
}

func (d *directory) minInterval() time.Duration {
	if d.current.Load() == nil {
		return min(d.window, firstWindow)
	}
	return d.window
}

func (d *directory) run(ctx context.Context, done chan<- struct{}) {
	if err := d.read(ctx); err != nil {
		d.log.Warn("reading tenants failed, the last ones serve", "error", err)
	}
	d.mu.Lock()
	d.reading = nil
	d.mu.Unlock()
	close(done)
}

// read loads sites and tenants and makes them the current snapshot.
func (d *directory) read(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var tenants, sites []json.RawMessage
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return d.client.get(ctx, d.base+"/v3/tenants", &tenants) })
	g.Go(func() error { return d.client.get(ctx, d.base+"/v3/sites", &sites) })
	if err := g.Wait(); err != nil {
		return err
	}
	s := newSnapshot(tenants, sites, d.now(), d.log)
	if len(s.tenants) == 0 {
		return errors.New("the list of tenants is empty") // an answer in error, not a wish to lock everyone out
	}
	d.current.Store(s)
	d.log.Debug("tenants read", "tenants", len(s.tenants), "sites", len(s.sites))
	return nil
}
