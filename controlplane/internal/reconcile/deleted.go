package reconcile

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// removeDeleted removes what is left of a pod the store does not have: routes
// first, then everything in the cluster. a is what was known of its absence
// before the store was asked.
func (r *Reconciler) removeDeleted(ctx context.Context, t task, a *absence) (outcome, error) {
	out := outcome{}
	if err := r.Routes.SetPod(ctx, t.Tenant, string(t.ID), nil); err != nil {
		out.publish = fmt.Errorf("withdrawing routes: %w", err)
		if !r.overdue(t) {
			return out, errWithdrawFirst
		}
	}
	o, err := r.Cluster.Observe(ctx, t.Key)
	if err != nil {
		return out, fmt.Errorf("observing deleted pod: %w", err)
	}
	if o.Foreign != "" || !exists(o) && !o.Retained {
		r.absences.end(t.Key, a)
		return out, nil
	}
	if a == nil {
		a = r.absences.found(t.Key, r.Now().Add(r.Settings.OrphanGrace))
	}
	e, after := r.Settings.removal(o, a.keepUntil, r.Now())
	if e != noEffect && !o.Terminating {
		r.log(t.Key).Info("removing pod that is not in the store", "storage", e == purge)
	}
	out.after = after
	return out, r.remove(ctx, t.Key, e)
}

// removal says what to remove of a pod that is not in the store, and when to
// look again.
func (c Settings) removal(o pods.Observation, keepUntil, now time.Time) (effect, time.Duration) {
	left := keepUntil.Sub(now)
	switch {
	case left <= 0:
		return purge, c.Recheck
	case exists(o):
		return remove, c.Recheck
	default:
		return noEffect, left
	}
}

// absences remembers which pods may have left the store. If we were told of it,
// everything of theirs may go at once. Otherwise the store may be what is wrong,
// for instance because it is another one than yesterday; then their storage is
// kept for a while. It is safe for concurrent use.
type absences struct {
	mu   sync.Mutex
	pods map[pods.Key]*absence
}

// absence is what is known of a pod that may not be in the store.
type absence struct {
	keepUntil time.Time // zero if we were told
}

// told notes that a pod was written or deleted on purpose.
func (s *absences) told(k pods.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pods[k] = new(absence)
}

// found notes a pod of the cluster that is not in the store. It returns what was
// known of it before, if anything was.
func (s *absences) found(k pods.Key, keepUntil time.Time) *absence {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pods[k] == nil {
		s.pods[k] = &absence{keepUntil: keepUntil}
	}
	return s.pods[k]
}

// get returns what is known of a pod's absence, nil if nothing is.
func (s *absences) get(k pods.Key) *absence {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pods[k]
}

// end forgets an absence that is over, unless there was news since get.
func (s *absences) end(k pods.Key, a *absence) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pods[k] == a {
		delete(s.pods, k)
	}
}

// errWithdrawFirst says that a removal was put off; see [Settings.WithdrawFor].
var errWithdrawFirst = errors.New("removal waits until the pod's routes are withdrawn")
