package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	// settle is the time from the last pod's start to the begin of the idle time.
	settle = 15 * time.Second
	// stuckAfter is how long as much may be left of deleted pods until it is taken
	// to stay. The control plane looks for leftovers every 30 s.
	stuckAfter = 90 * time.Second
)

// moment is what was used and asked for up to a point in time.
type moment struct {
	at    time.Time
	usage usage
	calls calls
}

// bench is one run.
type bench struct {
	options

	kube   *kubernetes
	podway *podway
}

// measure starts everything, runs the load and returns the figures.
func measure(ctx context.Context, o options, dir string) (f figures, err error) {
	tell("Building the control plane …")
	repo, err := moduleRoot(ctx)
	if err != nil {
		return f, err
	}
	bin, err := buildPodway(ctx, dir, repo)
	if err != nil {
		return f, err
	}
	tell("Starting an API server and fake nodes …")
	b := bench{options: o}
	if b.kube, err = startKubernetes(ctx, o, dir); err != nil {
		return f, err
	}
	defer b.kube.close()
	tell("Starting the control plane …")
	if b.podway, err = startPodway(ctx, bin, dir, b.kube.kubeconfig); err != nil {
		return f, err
	}
	defer b.podway.stop()
	if err := b.podway.login(ctx); err != nil {
		return f, err
	}
	if f, err = b.run(ctx); err != nil {
		return f, fmt.Errorf("%w; the control plane's log ends:\n%s", err, tail(filepath.Join(dir, "podway.log")))
	}
	return f, nil
}

func (b *bench) run(ctx context.Context) (f figures, err error) {
	l := newLoad(b.podway.client, b.options, os.Stdout)
	tell("Creating %d pods, %g a second …", b.pods, b.rate)
	created, err := b.during(func() error { return l.run(ctx) })
	if err != nil {
		return f, err
	}
	available := summarise(l.available)
	tell("  create → AVAILABLE: median %s, p99 %s", seconds(available.P50), seconds(available.P99))
	if err := b.expect(ctx, b.pods); err != nil {
		return f, err
	}
	tell("Waiting for %v, then counting requests for %v …", settle, b.idle)
	if err := rest(ctx, settle); err != nil {
		return f, err
	}
	idled, err := b.during(func() error { return rest(ctx, b.idle) })
	if err != nil {
		return f, err
	}
	tell("Deleting all pods …")
	deleted, err := b.during(func() error {
		if err := l.deleteAll(ctx); err != nil {
			return err
		}
		return b.waitEmpty(ctx)
	})
	if err != nil {
		return f, err
	}
	return figures{
		options: b.options, Answered: summarise(l.answered), Available: available,
		CreatedIn: l.lasted(l.answered), AvailableIn: l.lasted(l.available),
		Created: created, Idled: idled, Deleted: deleted,
	}, nil
}

// lasted is the time from the first create to the last of what was noted.
func (l *load) lasted(noted []time.Duration) time.Duration {
	var last time.Duration
	for i, d := range noted {
		last = max(last, l.due(i).Add(d).Sub(l.begun))
	}
	return last
}

// span is what was used and asked for in a part of the run.
type span struct {
	Took  time.Duration
	CPU   time.Duration
	RSS   int // KiB, at its end
	Peak  int // KiB, since the program's start
	Calls calls
}

func (b *bench) during(f func() error) (s span, err error) {
	from, err := b.now()
	if err != nil {
		return s, err
	}
	if err := f(); err != nil {
		return s, err
	}
	to, err := b.now()
	if err != nil {
		return s, err
	}
	return span{
		Took: to.at.Sub(from.at), CPU: to.usage.CPU - from.usage.CPU, RSS: to.usage.RSS, Peak: to.usage.Peak,
		Calls: to.calls.since(from.calls),
	}, nil
}

func (b *bench) now() (m moment, err error) {
	m.at = time.Now()
	m.usage, err = readUsage(b.podway.process.Pid)
	if err != nil {
		return m, err
	}
	m.calls, err = countCalls(b.kube.audit)
	return m, err
}

// rest leaves everything alone.
func rest(ctx context.Context, d time.Duration) error {
	if !sleepUntil(ctx, time.Now().Add(d)) {
		return context.Cause(ctx)
	}
	return nil
}

// kinds are what there is one of for each pod.
var kinds = []string{"pods", "services", "secrets", "endpointslices", "routes"}

// count counts objects and routes.
func (b *bench) count(ctx context.Context) (map[string]int, error) {
	counts, err := b.kube.objects(ctx)
	if err != nil {
		return nil, err
	}
	counts["routes"], err = b.podway.published(ctx)
	return counts, err
}

// expect returns an error unless there are the objects and routes of n pods,
// neither more nor less.
func (b *bench) expect(ctx context.Context, n int) error {
	counts, err := b.count(ctx)
	if err != nil {
		return err
	}
	return compare(counts, n)
}

func compare(counts map[string]int, n int) error {
	var errs []error
	for _, what := range kinds {
		if counts[what] != n {
			errs = append(errs, fmt.Errorf("there are %d %s, want %d", counts[what], what, n))
		}
	}
	if claims := counts["persistentvolumeclaims"]; claims != 0 {
		errs = append(errs, fmt.Errorf("there are %d volume claims, want none", claims))
	}
	return errors.Join(errs...)
}

// waitEmpty waits until nothing is left of any pod, as long as it becomes less:
// the control plane takes objects away after the API has forgotten their pod.
func (b *bench) waitEmpty(ctx context.Context) error {
	least, since := math.MaxInt, time.Now()
	return poll(ctx, 2*time.Second, func() (bool, error) {
		counts, err := b.count(ctx)
		if err != nil {
			return false, err
		}
		left := 0
		for _, n := range counts {
			left += n
		}
		if left < least {
			least, since = left, time.Now()
			tell("  %d objects and routes left", left)
		}
		if left > 0 && time.Since(since) > stuckAfter {
			return false, fmt.Errorf("something is left of deleted pods: %w", compare(counts, 0))
		}
		return left == 0, nil
	})
}

func tell(format string, args ...any) { fmt.Printf(format+"\n", args...) }

// quantiles of a number of durations.
type quantiles struct{ P50, P90, P99, Max time.Duration }

func summarise(all []time.Duration) quantiles {
	sorted := slices.Sorted(slices.Values(all))
	at := func(percent int) time.Duration {
		if len(sorted) == 0 {
			return 0
		}
		// The nearest rank: the least value that so many percent do not exceed.
		return sorted[max(0, (len(sorted)*percent+99)/100-1)]
	}
	return quantiles{P50: at(50), P90: at(90), P99: at(99), Max: at(100)}
}
