package upgrade

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tapis-project/podway/tests/parts"
)

// visitEvery is how often a client of each kind comes.
const visitEvery = 25 * time.Millisecond

// load is a crowd of clients of each kind: some come and go, some stay.
type load struct {
	t      *testing.T
	cancel context.CancelFunc
	all    sync.WaitGroup

	kinds []string // of visits

	mu     sync.Mutex
	step   *step
	steps  []*step
	opened int // sessions, in all
}

// step is what happened while one part was replaced.
type step struct {
	name   string
	begun  time.Time
	took   time.Duration
	visits map[string]int // that succeeded, by kind
	slow   time.Duration  // the slowest of them
	cut    map[string]int // sessions that ended with a goodbye, by kind
	failed []string
}

// load starts the clients. They end with end.
func (i *installation) load() *load {
	ctx, cancel := context.WithCancel(context.Background())
	visits, sessions := i.visits(), i.sessions()
	l := &load{t: i.t, cancel: cancel, kinds: slices.Sorted(maps.Keys(visits))}
	l.begin("before")
	for kind, v := range visits {
		l.all.Go(func() { l.visit(ctx, kind, v) })
	}
	const each = 3
	for kind, s := range sessions {
		for range each {
			l.all.Go(func() { l.stay(ctx, kind, s) })
		}
	}
	i.t.Cleanup(func() {
		cancel()
		l.all.Wait()
	})
	parts.Eventually(i.t, limit, func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		if want := each * len(sessions); l.opened < want {
			return fmt.Errorf("got %d sessions, want %d; %.300q", l.opened, want, l.step.failed)
		}
		return nil
	})
	l.settle()
	return l
}

func (l *load) visit(ctx context.Context, kind string, v visit) {
	tick := time.NewTicker(visitEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		begun := time.Now()
		err := v(context.WithoutCancel(ctx))
		l.mu.Lock()
		if err != nil {
			l.step.failed = append(l.step.failed, fmt.Sprintf("%s after %v: %v", kind, time.Since(begun).Round(time.Millisecond), err))
		} else {
			l.step.visits[kind]++
			l.step.slow = max(l.step.slow, time.Since(begun))
		}
		l.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// stay opens a session again when it has ended.
func (l *load) stay(ctx context.Context, kind string, s session) {
	opened := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.opened++
	}
	for ctx.Err() == nil {
		err := s(ctx, opened)
		if err == nil || ctx.Err() != nil {
			continue
		}
		l.mu.Lock()
		if errors.Is(err, errCut) {
			l.step.cut[kind]++
		} else {
			l.step.failed = append(l.step.failed, fmt.Sprintf("a session of %s: %v", kind, err))
		}
		l.mu.Unlock()
	}
}

// begin notes what happens from now on under another name.
func (l *load) begin(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.finish()
	l.step = &step{name: name, begun: time.Now(), visits: map[string]int{}, cut: map[string]int{}}
	l.steps = append(l.steps, l.step)
}

func (l *load) finish() {
	if l.step != nil {
		l.step.took = time.Since(l.step.begun)
	}
}

// settle waits until each kind of client came ten times more.
func (l *load) settle() {
	l.t.Helper()
	l.mu.Lock()
	before, at := maps.Clone(l.step.visits), l.step
	l.mu.Unlock()
	parts.Eventually(l.t, limit, func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, kind := range l.kinds {
			if got := at.visits[kind] - before[kind]; got < 10 && len(at.failed) == 0 {
				return fmt.Errorf("got %d visits of %s, want 10", got, kind)
			}
		}
		return nil
	})
}

// sessionsCut returns how many sessions ended in the present step.
func (l *load) sessionsCut() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return sum(l.step.cut)
}

// end ends all clients, fails the test if anything failed to one of them, and tells what
// happened.
func (l *load) end() []*step {
	l.t.Helper()
	l.cancel()
	l.all.Wait()
	l.finish()
	var b strings.Builder
	fmt.Fprintln(&b, "| step | took | new connections | failed | slowest | sessions ended with a goodbye |\n|---|---|---|---|---|---|")
	for _, s := range l.steps {
		fmt.Fprintf(&b, "| %s | %.1f s | %d | %d | %d ms | %s |\n", s.name, s.took.Seconds(), sum(s.visits), len(s.failed), s.slow.Milliseconds(), list(s.cut))
		for _, f := range s.failed[:min(len(s.failed), 10)] {
			l.t.Errorf("while %s: %s", s.name, f)
		}
	}
	l.t.Log("\n" + b.String())
	return l.steps
}

func sum(counts map[string]int) int {
	n := 0
	for _, c := range counts {
		n += c
	}
	return n
}

func list(counts map[string]int) string {
	var all []string
	for _, kind := range slices.Sorted(maps.Keys(counts)) {
		all = append(all, fmt.Sprintf("%d %s", counts[kind], kind))
	}
	if len(all) == 0 {
		return "none"
	}
	return strings.Join(all, ", ")
}
