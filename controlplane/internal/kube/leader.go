package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// Leadership says who contends with whom. REST, Namespace and Identity are
// required; a zero field else means its default.
type Leadership struct {
	REST *rest.Config

	// Namespace and Name of the Lease. Default name: "podway".
	Namespace, Name string

	// Identity names this contender; it must differ from all others.
	Identity string

	// Lease is how long a leader that is not heard of keeps the lead. Another takes
	// over a little later. Default: 12s.
	Lease time.Duration

	// Renew is how long the leader tries to renew its lease before it gives up the
	// lead. Less than Lease. Default: 8s.
	Renew time.Duration

	// Retry is the time between two tries. Default: 2s.
	Retry time.Duration

	Logger *slog.Logger // Default: slog.Default().
}

// RunAsLeader calls run whenever this process leads, until ctx ends. The context
// of run ends when the lead is lost; run has to return then, and is called again
// with the next lead. An error of run ends everything.
//
// At the end of ctx the lead is given up, so that another takes over at once. A
// leader that is killed is followed after at most Lease plus 2.4 times Retry.
func RunAsLeader(ctx context.Context, l Leadership, run func(context.Context) error) error {
	l.Name = cmp.Or(l.Name, "podway")
	l.Lease, l.Renew, l.Retry = cmp.Or(l.Lease, 12*time.Second), cmp.Or(l.Renew, 8*time.Second), cmp.Or(l.Retry, 2*time.Second)
	l.Logger = cmp.Or(l.Logger, slog.Default())
	lock, err := l.lock()
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		if err := l.contend(ctx, lock, run); err != nil {
			return err
		}
	}
	return nil
}

// lock returns the Lease. It has a client of its own, so that a burst of other
// requests can't cost the lead.
func (l Leadership) lock() (resourcelock.Interface, error) {
	config := rest.CopyConfig(l.REST)
	config.UserAgent, config.Timeout = userAgent+"-leader", max(l.Renew/2, time.Second)
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client for the lease: %w", err)
	}
	return releasableLock{&resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Namespace: l.Namespace, Name: l.Name},
		Client:     client.CoordinationV1(),
		LockConfig: resourcelock.ResourceLockConfig{Identity: l.Identity},
	}}, nil
}

// releasableLock is a Lease that can also be given up when the renewal that was
// under way at the end came through, and its answer did not: then the Lease is
// newer than its holder knows, and others would wait until it runs out.
type releasableLock struct{ *resourcelock.LeaseLock }

// Update implements [resourcelock.Interface].
func (l releasableLock) Update(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	err := l.LeaseLock.Update(ctx, r)
	if r.HolderIdentity != "" || !apierrors.IsConflict(err) {
		return err
	}
	if now, _, getErr := l.Get(ctx); getErr != nil || now.HolderIdentity != l.Identity() {
		return err
	}
	return l.LeaseLock.Update(ctx, r)
}

// contend waits for the lead, runs while it has it, and returns when both have
// ended. The lease is given up only after run has returned: two must never run.
func (l Leadership) contend(ctx context.Context, lock resourcelock.Interface, run func(context.Context) error) error {
	// The lease is renewed until run has returned, also when ctx ends.
	electing, stopElecting := context.WithCancel(context.WithoutCancel(ctx))
	defer stopElecting()
	started := make(chan context.Context, 1)
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: lock, Name: l.Name, ReleaseOnCancel: true,
		LeaseDuration: l.Lease, RenewDeadline: l.Renew, RetryPeriod: l.Retry,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(leading context.Context) { started <- leading },
			OnStoppedLeading: func() {},
			OnNewLeader: func(identity string) {
				l.Logger.Info("leader changed", "leader", identity, "self", identity == l.Identity)
			},
		},
	})
	if err != nil {
		return fmt.Errorf("contending for the lead: %w", err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		elector.Run(electing)
	}()
	err = l.lead(ctx, started, ended, run)
	stopElecting()
	<-ended
	return err
}

// lead calls run once the lead is there, and ends it with the lead or with ctx.
func (l Leadership) lead(ctx context.Context, started <-chan context.Context, ended <-chan struct{}, run func(context.Context) error) error {
	select {
	case <-ctx.Done():
		return nil
	case <-ended:
		return nil
	case leading := <-started:
		both, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(leading, cancel)()
		err := run(both)
		if both.Err() != nil && (err == nil || errors.Is(err, context.Canceled)) {
			if ctx.Err() == nil {
				l.Logger.Warn("the lead was lost")
			}
			return nil
		}
		if err == nil {
			return errors.New("what the leader runs ended by itself")
		}
		return err
	}
}
