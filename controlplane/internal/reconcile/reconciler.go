package reconcile

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// Deps are what a Reconciler works with. Store, Cluster, Routes, Tenants and
// Pods are required.
type Deps struct {
	Store   pods.Store
	Cluster pods.Cluster
	Routes  pods.Routes

	// Tenants knows the domain below which a tenant's pods live; a
	// [pods.Identity] does.
	Tenants Tenants

	// Pods are the settings that definitions are resolved with.
	Pods pods.Settings

	// Settings of the reconciler itself. The zero value means the defaults.
	Settings Settings

	// Templates returns the definitions of the templates a pod builds on, the
	// closest first. An error with code Invalid or NotFound says that there will
	// be none. Nil: pods build on none.
	Templates func(ctx context.Context, p pods.Pod) ([]pods.Definition, error)

	// Bind fills in what a pod uses from outside of its definition, before the
	// cluster is asked to run it; a [pods.Binder] does. An error with code Invalid
	// says that the definition has to change. Nil: pods use nothing.
	Bind func(ctx context.Context, p pods.Pod, e pods.Effective, w *pods.Workload) error

	// Shares publishes the access tokens of a pod for the hosts of its entries with
	// an access gate, by networking key, before their routes. Nil: there are none.
	Shares func(ctx context.Context, k pods.Key, hosts map[string]string) error

	// Domains returns the claims to custom domains that a query selects, as a
	// [pods.DomainStore] does. Nil: no pod has any.
	Domains func(ctx context.Context, q pods.DomainQuery) ([]pods.DomainClaim, error)

	// AfterFullPass is called after each full pass, once the routes of every pod
	// in the store were published since its begin. Nil: nothing is called.
	AfterFullPass func(ctx context.Context) error

	// Now returns the time. Nil: time.Now.
	Now func() time.Time

	// Logger gets what the reconciler has to say. Nil: slog.Default.
	Logger *slog.Logger
}

// Tenants is the part of [pods.Identity] the reconciler needs.
type Tenants interface {
	// Tenant returns a tenant by id. NotFound if there is none.
	Tenant(ctx context.Context, id string) (pods.Tenant, error)
}

// Reconciler drives pods to their desired state; see the package comment. Make
// one with [New]. It is safe for concurrent use.
type Reconciler struct {
	Deps

	queue    *queue
	full     fullPasses
	absences absences
	resync   chan struct{} // asks for a full pass; holds one token
}

// New returns a Reconciler that does nothing until Run.
func New(d Deps) *Reconciler {
	d.Settings = d.Settings.withDefaults()
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Logger == nil {
		d.Logger = slog.Default()
	}
	return &Reconciler{
		Deps:     d,
		queue:    newQueue(d.Settings.MinBackoff, d.Settings.MaxBackoff),
		full:     fullPasses{ended: make(chan struct{}, 1)},
		absences: absences{pods: map[pods.Key]*absence{}},
		resync:   make(chan struct{}, 1),
	}
}

// Enqueue asks for a look at a pod that was written or deleted. It does not
// block, and may be called before Run.
func (r *Reconciler) Enqueue(k pods.Key) {
	r.absences.told(k)
	r.queue.add(k)
}

// EnqueueAll asks for a full pass that publishes every route again, whatever
// was published before. It does not block.
func (r *Reconciler) EnqueueAll() {
	r.full.drop()
	r.askResync()
}

// Run reconciles until ctx ends, then waits for the passes under way and
// returns nil. It may be called again after it has returned, but not twice at a
// time.
func (r *Reconciler) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for range r.Settings.Workers {
		wg.Go(func() { r.work(ctx) })
	}
	wg.Go(func() { r.watch(ctx) })
	r.askResync()
	r.runFullPasses(ctx)
	wg.Wait()
	r.queue.clear()
	r.full.drop()
	return nil
}

// work reconciles one key after the other.
func (r *Reconciler) work(ctx context.Context) {
	for {
		t, ok := r.queue.get(ctx)
		if !ok {
			return
		}
		r.workOn(ctx, t)
	}
}

func (r *Reconciler) workOn(ctx context.Context, t task) {
	full := r.full.current()
	res, err := r.safely(ctx, t)
	if res.published {
		r.full.done(full, t.Key)
	}
	if err != nil && ctx.Err() == nil {
		r.logFailure(ctx, t, err)
	}
	r.queue.done(t.Key, err != nil, res.after)
}

// safely is reconcile with a deadline, and with a panic as an error: a pod that
// trips over a fault of ours must not take the others with it.
func (r *Reconciler) safely(ctx context.Context, t task) (res result, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.Settings.PassTimeout)
	defer cancel()
	defer func() {
		if v := recover(); v != nil {
			res, err = result{}, fmt.Errorf("reconciling panicked: %v\n%s", v, debug.Stack())
		}
	}()
	return r.reconcile(ctx, t)
}

// logFailure tells of a failing pod less and less often.
func (r *Reconciler) logFailure(ctx context.Context, t task, err error) {
	n := t.failures + 1
	r.Logger.Log(ctx, failureLevel(n), "reconciling pod failed",
		"tenant", t.Tenant, "pod_id", t.ID, "failures", n, "error", err)
}

// failureLevel is the level of the n-th failure in a row: a warning for the
// first, second, fourth, eighth and so on.
func failureLevel(n int) slog.Level {
	if n&(n-1) == 0 {
		return slog.LevelWarn
	}
	return slog.LevelDebug
}

// watch passes the cluster's events on. When it had to begin again, events were
// lost, so everything is looked at.
func (r *Reconciler) watch(ctx context.Context) {
	for n := 1; ; n++ {
		begun := time.Now()
		err := r.Cluster.Watch(ctx, r.queue.hint)
		if ctx.Err() != nil {
			return
		}
		if time.Since(begun) > r.Settings.MaxBackoff {
			n = 1
		}
		r.Logger.Warn("watching the cluster ended; beginning again", "error", err)
		if !wait(ctx, backoff(n, r.Settings.MinBackoff, r.Settings.MaxBackoff)) {
			return
		}
		r.askResync()
	}
}

// wait reports whether d passed before ctx ended.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// now returns the time as the store keeps it.
func (r *Reconciler) now() time.Time { return r.Now().UTC().Truncate(time.Microsecond) }

// log returns a logger that names the pod.
func (r *Reconciler) log(k pods.Key) *slog.Logger {
	return r.Logger.With("tenant", k.Tenant, "pod_id", k.ID)
}
