package redisroutes

import (
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/routes"
)

func TestOptionsAreChecked(t *testing.T) {
	if _, err := NewPublisher(PublisherOptions{}); err == nil {
		t.Error("a publisher without client: got accepted")
	}
	if _, err := NewWatcher(WatcherOptions{}, routes.NewTable()); err == nil {
		t.Error("a watcher without redis: got accepted")
	}
	client := redis.NewClient(&redis.Options{})
	t.Cleanup(func() { _ = client.Close() })
	for _, ns := range []string{"a b", "{a}", "a}", "ä", strings.Repeat("a", 65)} {
		if _, err := NewPublisher(PublisherOptions{Client: client, Namespace: ns}); err == nil {
			t.Errorf("a publisher in namespace %q: got accepted", ns)
		}
		if _, err := NewWatcher(WatcherOptions{Redis: &redis.UniversalOptions{}, Namespace: ns}, routes.NewTable()); err == nil {
			t.Errorf("a watcher in namespace %q: got accepted", ns)
		}
	}
}

func TestHolds(t *testing.T) {
	for _, tc := range []struct {
		name     string
		from, to string // epochs
		size     int
		held     int
		gone     int
		complete bool
		want     bool
		lost     uint64 // version of the table when writes were lost, of a hold too
	}{
		{"a few changes were missed", "e", "e", 10, 0, 5, true, false, 0},
		{"writes of a complete epoch are lost", "e", "e", 10, 0, 1, true, true, 7},
		{"what was lost is still missing, in part", "e", "e", 10, 3, 3, true, true, 7},
		{"what was lost is complete in a new epoch", "e", "f", 10, 3, 3, true, false, 7},
		{"more than half is missing", "e", "e", 10, 0, 6, true, true, 0},
		{"more than half is missing, nothing is complete", "e", "e", 10, 0, 6, false, true, 0},
		{"some are held already", "e", "e", 10, 3, 3, false, true, 0},
		{"those that are held are confirmed", "e", "e", 10, 3, 3, true, false, 0},
		{"a new epoch has just begun", "e", "f", 10, 0, 1, false, true, 0},
		{"a new epoch is complete", "e", "f", 10, 0, 10, true, false, 0},
		{"redis is empty", "e", "", 10, 0, 10, false, true, 0},
		{"redis is still empty", "", "", 10, 10, 10, false, true, 0},
		{"the first publisher begins", "", "f", 10, 10, 9, false, true, 0},
		{"the first publisher is done", "", "f", 10, 3, 3, true, false, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := newEdge(t, WatcherOptions{Redis: &redis.UniversalOptions{}})
			e.pos.epoch = tc.from
			e.heldFrom.version = tc.lost
			for i := range tc.size {
				r, err := routes.Compile(route("db", "n"+strings.Repeat("x", i), "1"))
				if err != nil {
					t.Fatal(err)
				}
				e.table.Put(r)
				if i < tc.held {
					e.held[r.Host] = struct{}{}
				}
			}
			if got := e.holds(tc.gone, tc.to, tc.complete, tc.lost > 0); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

func TestBackoff(t *testing.T) {
	for failures := range 100 {
		full := min(minBackoff<<min(failures, 10), maxBackoff)
		for range 20 {
			if got := backoff(failures); got < full/2 || got >= full {
				t.Fatalf("after %d failures: got %v, want %v to %v", failures, got, full/2, full)
			}
		}
	}
}

func TestBlockIsNeverEndless(t *testing.T) {
	e := newEdge(t, WatcherOptions{Redis: &redis.UniversalOptions{}, HoldTime: time.Nanosecond})
	e.pos.epoch = "e"
	if got := e.block(); got != e.opts.CheckInterval {
		t.Errorf("got %v, want %v", got, e.opts.CheckInterval)
	}
	e.held["a.b"] = struct{}{}
	if got := e.block(); got != time.Millisecond {
		t.Errorf("with a hold that is over: got %v, want 1ms", got)
	}
}
