package reconcile

import (
	"cmp"
	"time"
)

// Settings are the reconciler's patience. A zero field means its default.
type Settings struct {
	// Workers reconcile this many pods at a time. Most of a pass is waiting for
	// the cluster, whose API takes some tens of milliseconds a call under load.
	// Default: 32.
	Workers int

	// Resync is the time between two full passes. Default: 30s.
	Resync time.Duration

	// Recheck is how long to wait for the cluster's word that a removal came to
	// its end before looking again. Default: 5s.
	Recheck time.Duration

	// PassTimeout bounds one pass over one pod, so that a call that hangs does
	// not keep a worker for ever. Default: 1m.
	PassTimeout time.Duration

	// MinBackoff and MaxBackoff bound the wait after an error that is not the
	// pod's: it doubles with each error in a row. Default: 250ms and 15s.
	MinBackoff, MaxBackoff time.Duration

	// MaxAttempts is how often a start is tried before the pod is in ERROR.
	// Default: 6.
	MaxAttempts int

	// AttemptBackoff is the wait before the second attempt to start a pod; it
	// doubles for each one after that. Default: 1s.
	AttemptBackoff time.Duration

	// SteadyAfter is how long a run has to last to count as a good start.
	// Default: 1m.
	SteadyAfter time.Duration

	// StallAfter is how long a pod may be in SPAWNER SETUP or CREATING with
	// nothing in the cluster. Default: 3m.
	StallAfter time.Duration

	// WithdrawFor is how long the removal of a pod is put off while its routes
	// can't be withdrawn. Default: 30s.
	WithdrawFor time.Duration

	// OrphanGrace is how long the storage of a pod is kept that the store does
	// not know and that nobody told us was deleted, so that a control plane that
	// was started on the wrong database destroys nothing. Default: 10m.
	OrphanGrace time.Duration
}

// withDefaults returns s with its zero fields filled in.
func (s Settings) withDefaults() Settings {
	s.Workers = cmp.Or(s.Workers, 32)
	s.Resync = cmp.Or(s.Resync, 30*time.Second)
	s.Recheck = cmp.Or(s.Recheck, 5*time.Second)
	s.PassTimeout = cmp.Or(s.PassTimeout, time.Minute)
	s.MinBackoff = cmp.Or(s.MinBackoff, 250*time.Millisecond)
	s.MaxBackoff = cmp.Or(s.MaxBackoff, 15*time.Second)
	s.MaxAttempts = cmp.Or(s.MaxAttempts, 6)
	s.AttemptBackoff = cmp.Or(s.AttemptBackoff, time.Second)
	s.SteadyAfter = cmp.Or(s.SteadyAfter, time.Minute)
	s.StallAfter = cmp.Or(s.StallAfter, 3*time.Minute)
	s.WithdrawFor = cmp.Or(s.WithdrawFor, 30*time.Second)
	s.OrphanGrace = cmp.Or(s.OrphanGrace, 10*time.Minute)
	return s
}

// backoff returns the wait after the n-th failure in a row: first, doubled n-1
// times, at most limit.
func backoff(n int, first, limit time.Duration) time.Duration {
	d := first
	for range n - 1 {
		if d >= limit {
			break
		}
		d *= 2
	}
	return min(d, limit)
}
