package gate

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tapis-project/podway/routes"
)

// fakeRevoker counts how often it was ended.
type fakeRevoker struct{ times atomic.Int64 }

func (f *fakeRevoker) Revoke() { f.times.Add(1) }

func requestAt(name string) *request {
	return &request{entry: &routes.Entry{Route: routes.Route{Host: name}}}
}

func TestRequestsEndWhateverComesFirst(t *testing.T) {
	for name, first := range map[string]func(x *request, r Revoker){
		"it is known what to end":  func(x *request, r Revoker) { x.onRevoke(r); x.revoke() },
		"the visitor has to leave": func(x *request, r Revoker) { x.revoke(); x.onRevoke(r) },
	} {
		r := new(fakeRevoker)
		first(requestAt("a"), r)
		if got := r.times.Load(); got != 1 {
			t.Errorf("%s: got %d ends, want 1", name, got)
		}
	}
	r := new(fakeRevoker)
	requestAt("a").onRevoke(r)
	if got := r.times.Load(); got != 0 {
		t.Errorf("got %d ends of a request that may go on", got)
	}
}

// TestRegistryHoldsWhatGoesOn compares the registry with a map over random comings
// and goings.
func TestRegistryHoldsWhatGoesOn(t *testing.T) {
	l := newRegistry()
	want := map[*request]bool{}
	for i := range 5000 {
		x := requestAt(strconv.Itoa(rand.IntN(600))) // more hosts than there are shards
		l.enter(x)
		want[x] = true
		for x := range want { // any
			if rand.IntN(2) == 0 {
				l.leave(x)
				l.leave(x)
				delete(want, x)
			}
			break
		}
		if i%500 != 0 {
			continue
		}
		got := map[*request]bool{}
		for j := range l.shards {
			for _, x := range l.shards[j].pick(nil, func(*request) bool { return true }) {
				if got[x] || !want[x] {
					t.Fatalf("got a request that left, or one twice")
				}
				got[x] = true
			}
		}
		if len(got) != len(want) {
			t.Fatalf("got %d requests, want %d", len(got), len(want))
		}
	}
}

func TestOnlyRequestsOfTheirHostEnd(t *testing.T) {
	l := newRegistry()
	var all []*fakeRevoker
	for i := range 1000 {
		x, r := requestAt(strconv.Itoa(i)), new(fakeRevoker)
		x.onRevoke(r)
		l.enter(x)
		all = append(all, r)
	}
	l.endIf("7", func(*request) bool { return true })
	for i, r := range all {
		if got, want := r.times.Load() == 1, i == 7; got != want {
			t.Errorf("host %d: got ended %v, want %v", i, got, want)
		}
	}
	l.endIf("", func(x *request) bool { return slices.Contains([]string{"8", "9"}, x.entry.Host) })
	if all[8].times.Load() != 1 || all[9].times.Load() != 1 || all[10].times.Load() != 0 {
		t.Error("got others than those that were meant")
	}
}

// TestRequestsComeAndGoAtOnce is for the race detector.
func TestRequestsComeAndGoAtOnce(t *testing.T) {
	l := newRegistry()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 2000 {
				x, r := requestAt("a"), new(fakeRevoker)
				l.enter(x)
				x.onRevoke(r)
				l.leave(x)
			}
		})
	}
	for range 200 {
		l.endIf("a", func(*request) bool { return true })
	}
	wg.Wait()
	if left := l.shard("a").pick(nil, func(*request) bool { return true }); len(left) != 0 {
		t.Errorf("got %d requests, want none", len(left))
	}
}
