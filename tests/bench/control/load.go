package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// inFlight is the number of requests that are under way at the same time.
	inFlight = 64
	// pageSize is how many pods the watcher asks for at a time.
	pageSize = 200
)

// podID names the i-th pod; the order of ids is that of the pods.
func podID(i int) string { return fmt.Sprintf("bench%05d", i) }

// load creates pods at a fixed rate and follows them.
type load struct {
	client
	options

	out   io.Writer // progress
	begun time.Time // when the first create was due

	answered  []time.Duration // from when a create was due to its answer, by pod
	available []time.Duration // from when a create was due to AVAILABLE, by pod
}

func newLoad(c client, o options, out io.Writer) *load {
	return &load{
		client: c, options: o, out: out,
		answered: make([]time.Duration, o.pods), available: make([]time.Duration, o.pods),
	}
}

// due is when the i-th create is to be sent.
func (l *load) due(i int) time.Time {
	return l.begun.Add(time.Duration(float64(i) / l.rate * float64(time.Second)))
}

// run creates all pods and returns when they are AVAILABLE, or one can't be.
func (l *load) run(ctx context.Context) error {
	l.begun = time.Now()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return l.createAll(ctx) })
	group.Go(func() error { return l.watch(ctx) })
	return group.Wait()
}

// createAll sends each create when it is due, whatever became of those before. If
// too many are under way it waits, and the wait counts.
func (l *load) createAll(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(inFlight)
	for i := range l.pods {
		if !sleepUntil(ctx, l.due(i)) {
			break
		}
		group.Go(func() error {
			if err := l.create(ctx, podID(i)); err != nil {
				return err
			}
			l.answered[i] = time.Since(l.due(i))
			return nil
		})
	}
	return group.Wait()
}

// sleepUntil reports whether it is t before ctx ends.
func sleepUntil(ctx context.Context, t time.Time) bool {
	timer := time.NewTimer(time.Until(t))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// watch notes when each pod became AVAILABLE, which the pod itself tells. It asks
// for those only that follow the first that is not, so that watching is cheap.
func (l *load) watch(ctx context.Context) error {
	next, told := 0, time.Time{}
	for {
		list, err := l.page(ctx, next, min(pageSize, l.pods-next))
		if err != nil {
			return err
		}
		n, err := l.note(next, list)
		if err != nil {
			return err
		}
		next += n
		if next == l.pods || time.Since(told) > 5*time.Second {
			fmt.Fprintf(l.out, "  %4.0f s  %d of %d pods AVAILABLE\n", time.Since(l.begun).Seconds(), next, l.pods)
			told = time.Now()
		}
		if next == l.pods {
			return nil
		}
		if n < pageSize && !sleepUntil(ctx, time.Now().Add(time.Second)) {
			return fmt.Errorf("waiting for pod %s: %w", podID(next), context.Cause(ctx))
		}
	}
}

// note takes the pods of a page, which begins with the i-th, up to the first that
// is not AVAILABLE, and returns how many those are.
func (l *load) note(i int, page []pod) (n int, err error) {
	for _, p := range page {
		switch {
		case p.Status == "ERROR":
			return n, fmt.Errorf("pod %s is in ERROR: %s", p.ID, p.StatusContainer.Message)
		case p.ID != podID(i+n), p.Status != "AVAILABLE", p.StartInstanceTS.IsZero():
			return n, nil // the one before it may still be on its way
		}
		l.available[i+n] = p.StartInstanceTS.Sub(l.due(i + n))
		n++
	}
	return n, nil
}

// deleteAll deletes all pods and returns when the API does not know any.
func (l *load) deleteAll(ctx context.Context) error {
	group, deleting := errgroup.WithContext(ctx)
	group.SetLimit(inFlight / 4)
	for i := range l.pods {
		if deleting.Err() != nil {
			break
		}
		if i%500 == 0 {
			fmt.Fprintf(l.out, "  %d of %d deletes sent\n", i, l.pods)
		}
		group.Go(func() error { return l.delete(deleting, podID(i)) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return poll(ctx, 500*time.Millisecond, func() (bool, error) {
		list, err := l.page(ctx, 0, 1)
		return len(list) == 0, err
	})
}
