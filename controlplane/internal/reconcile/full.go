package reconcile

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// fullPasses follows full passes to their end. It is safe for concurrent use.
type fullPasses struct {
	ended chan struct{} // holds a token when the current pass may have ended

	mu  sync.Mutex
	now *fullPass
}

// fullPass is a look at every pod there was at its begin.
type fullPass struct {
	pending map[pods.Key]struct{} // routes not published yet since then
}

// begin starts a full pass over keys, unless the one before has not ended.
func (f *fullPasses) begin(keys []pods.Key) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.now != nil && len(f.now.pending) > 0 {
		return
	}
	f.now = &fullPass{pending: make(map[pods.Key]struct{}, len(keys))}
	for _, k := range keys {
		f.now.pending[k] = struct{}{}
	}
	f.signalEnd()
}

// current returns the pass that work which starts now counts for; nil if none.
func (f *fullPasses) current() *fullPass {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

// done notes that the routes of a pod were published by work that counts for p.
func (f *fullPasses) done(p *fullPass, k pods.Key) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p == nil || p != f.now {
		return
	}
	if _, ok := p.pending[k]; ok {
		delete(p.pending, k)
		f.signalEnd()
	}
}

// drop forgets the current pass: what it has published may be lost.
func (f *fullPasses) drop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = nil
}

// complete reports whether there is a current pass and it has ended.
func (f *fullPasses) complete() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now != nil && len(f.now.pending) == 0
}

func (f *fullPasses) signalEnd() {
	if len(f.now.pending) > 0 {
		return
	}
	select {
	case f.ended <- struct{}{}:
	default:
	}
}

// runFullPasses begins a full pass when it is time or somebody asks, until ctx
// ends.
func (r *Reconciler) runFullPasses(ctx context.Context) {
	tick := time.NewTicker(r.Settings.Resync)
	defer tick.Stop()
	failures := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.full.ended:
			r.afterFullPass(ctx)
			continue
		case <-tick.C:
		case <-r.resync:
		}
		err := r.beginFullPass(ctx)
		if err == nil {
			failures = 0
			continue
		}
		if ctx.Err() == nil {
			failures++
			r.Logger.Log(ctx, failureLevel(failures), "full pass failed", "failures", failures, "error", err)
			time.AfterFunc(backoff(failures, r.Settings.MinBackoff, r.Settings.MaxBackoff), r.askResync)
		}
	}
}

func (r *Reconciler) askResync() {
	select {
	case r.resync <- struct{}{}:
	default:
	}
}

// beginFullPass has a look at every pod that the store, the cluster or the
// published routes know of. Those the store does not know are looked for in the
// store once more before anything of theirs is removed.
func (r *Reconciler) beginFullPass(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.Settings.PassTimeout)
	defer cancel()
	stored, err := r.Store.Pods(ctx, pods.PodQuery{})
	if err != nil {
		return fmt.Errorf("listing pods: %w", err)
	}
	known := make(map[pods.Key]struct{}, len(stored))
	keys := make([]pods.Key, 0, len(stored))
	for _, p := range stored {
		known[p.Key] = struct{}{}
		keys = append(keys, p.Key)
	}
	r.full.begin(keys)
	for _, k := range keys {
		r.queue.hint(k)
	}
	r.findOrphans(ctx, known)
	return nil
}

// findOrphans has a look at the pods of the cluster and of the published routes
// that the store does not know.
func (r *Reconciler) findOrphans(ctx context.Context, known map[pods.Key]struct{}) {
	observed, err := r.Cluster.List(ctx)
	if err != nil {
		r.Logger.Warn("listing the cluster's pods failed", "error", err)
	}
	for _, o := range observed {
		if _, ok := known[o.Key]; !ok {
			r.absences.found(o.Key, r.Now().Add(r.Settings.OrphanGrace))
			r.queue.hint(o.Key)
		}
	}
	published, err := r.Routes.Pods(ctx)
	if err != nil {
		r.Logger.Warn("listing published pods failed", "error", err)
	}
	for _, ref := range published {
		k := pods.Key{Tenant: ref.Tenant, ID: pods.ID(ref.Pod)}
		if _, ok := known[k]; !ok {
			r.queue.hint(k)
		}
	}
}

// afterFullPass tells that every route was published, unless that is no longer
// so.
func (r *Reconciler) afterFullPass(ctx context.Context) {
	if r.AfterFullPass == nil || !r.full.complete() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, r.Settings.PassTimeout)
	defer cancel()
	if err := r.AfterFullPass(ctx); err != nil && ctx.Err() == nil {
		r.Logger.Warn("ending a full pass failed", "error", err)
	}
}
