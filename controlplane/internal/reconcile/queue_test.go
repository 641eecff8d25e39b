package reconcile

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

var (
	keyA = pods.Key{Tenant: "dev", ID: "aaa"}
	keyB = pods.Key{Tenant: "dev", ID: "bbb"}
)

// take gets a key and says after which time, and fails if there is none for an hour.
func take(t *testing.T, q *queue) (task, time.Duration) {
	t.Helper()
	begun := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	got, ok := q.get(ctx)
	if !ok {
		t.Fatal("nothing in the queue")
	}
	return got, time.Since(begun)
}

// idle fails if the queue hands anything out within an hour.
func idle(t *testing.T, q *queue) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	if got, ok := q.get(ctx); ok {
		t.Fatalf("got %v, want nothing", got.Key)
	}
}

func TestQueue(t *testing.T) {
	for _, tt := range []struct {
		name string
		test func(t *testing.T, q *queue)
	}{
		{"keys come in their order, each once", func(t *testing.T, q *queue) {
			q.add(keyB)
			q.add(keyA)
			q.add(keyB)
			for _, want := range []pods.Key{keyB, keyA} {
				got, after := take(t, q)
				if got.Key != want || after != 0 {
					t.Errorf("got %v after %v, want %v at once", got.Key, after, want)
				}
				q.done(got.Key, false, 0)
			}
			idle(t, q)
		}},
		{"a key that is worked on is not handed out, but again afterwards", func(t *testing.T, q *queue) {
			q.add(keyA)
			take(t, q)
			q.add(keyA)
			q.hint(keyA)
			idle(t, q)
			q.done(keyA, false, 0)
			if _, after := take(t, q); after != 0 {
				t.Errorf("got it after %v, want at once", after)
			}
			q.done(keyA, false, 0)
			idle(t, q)
		}},
		{"a key comes again after the time it asked for", func(t *testing.T, q *queue) {
			q.add(keyA)
			take(t, q)
			q.done(keyA, false, time.Minute)
			if _, after := take(t, q); after != time.Minute {
				t.Errorf("got it after %v, want a minute", after)
			}
		}},
		{"an event comes before the time a key asked for, which is then forgotten", func(t *testing.T, q *queue) {
			q.add(keyA)
			take(t, q)
			q.done(keyA, false, time.Minute)
			q.hint(keyA)
			if _, after := take(t, q); after != 0 {
				t.Errorf("got it after %v, want at once", after)
			}
			q.done(keyA, false, 0)
			idle(t, q)
		}},
		{"failures wait longer and longer, up to the limit, until one pass succeeds", func(t *testing.T, q *queue) {
			q.add(keyA)
			begun := time.Now()
			for i, want := range []string{"0s", "1s", "2s", "4s", "8s", "10s", "10s"} {
				got, after := take(t, q)
				if after.String() != want || got.failures != i {
					t.Errorf("failure %d: got it after %v, want %v", got.failures, after, want)
				}
				if i > 0 && !got.since.Equal(begun) {
					t.Errorf("first failure: got %v, want %v", got.since, begun)
				}
				q.done(keyA, true, 0)
			}
			take(t, q)
			q.done(keyA, false, 0)
			q.add(keyA)
			if got, _ := take(t, q); got.failures != 0 || !got.since.IsZero() {
				t.Errorf("got %d failures since %v after a success", got.failures, got.since)
			}
		}},
		{"a user does not wait for the end of a back-off", func(t *testing.T, q *queue) {
			fail(t, q, keyA, 5)
			q.add(keyA)
			got, after := take(t, q)
			if after != 0 || got.failures != 5 {
				t.Errorf("got it after %v with %d failures", after, got.failures)
			}
			q.add(keyA)
			q.done(keyA, true, 0)
			if _, after := take(t, q); after != 0 {
				t.Errorf("added while it failed: got it after %v, want at once", after)
			}
		}},
		{"an event shortens a back-off to the shortest wait", func(t *testing.T, q *queue) {
			fail(t, q, keyA, 5)
			q.hint(keyA)
			q.hint(keyA)
			if _, after := take(t, q); after != time.Second {
				t.Errorf("got it after %v, want a second", after)
			}
			q.hint(keyA)
			q.done(keyA, true, 0)
			if _, after := take(t, q); after != time.Second {
				t.Errorf("hinted while it failed: got it after %v, want a second", after)
			}
		}},
		{"an event does not make a back-off longer", func(t *testing.T, q *queue) {
			fail(t, q, keyA, 1)
			time.Sleep(900 * time.Millisecond)
			q.hint(keyA)
			if _, after := take(t, q); after != 100*time.Millisecond {
				t.Errorf("got it after %v, want the rest of a second", after)
			}
		}},
		{"one key's back-off is not another's", func(t *testing.T, q *queue) {
			fail(t, q, keyA, 5)
			q.add(keyB)
			if got, after := take(t, q); got.Key != keyB || after != 0 {
				t.Errorf("got %v after %v, want %v at once", got.Key, after, keyB)
			}
		}},
		{"nothing is kept of a key that is done", func(t *testing.T, q *queue) {
			q.add(keyA)
			take(t, q)
			q.done(keyA, false, 0)
			if len(q.items) != 0 {
				t.Errorf("got %d items, want none", len(q.items))
			}
		}},
		{"clear forgets what waits, timers included", func(t *testing.T, q *queue) {
			fail(t, q, keyA, 1)
			q.add(keyB)
			take(t, q)
			q.add(pods.Key{Tenant: "dev", ID: "ccc"})
			q.clear()
			q.done(keyB, true, 0)
			idle(t, q)
		}},
		{"get ends with its context", func(t *testing.T, q *queue) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if _, ok := q.get(ctx); ok {
				t.Error("got a key, want none")
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { tt.test(t, newQueue(time.Second, 10*time.Second)) })
		})
	}
}

// fail lets a key fail n times in a row.
func fail(t *testing.T, q *queue, k pods.Key, n int) {
	t.Helper()
	q.add(k)
	for range n {
		take(t, q)
		q.done(k, true, 0)
	}
}

func TestQueueNeverHandsAKeyToTwoWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(time.Millisecond, 10*time.Millisecond)
		keys := make([]pods.Key, 5)
		for i := range keys {
			keys[i] = pods.Key{Tenant: "dev", ID: pods.ID(rune('a' + i))}
		}
		ctx, cancel := context.WithCancel(t.Context())
		var (
			wg   sync.WaitGroup
			mu   sync.Mutex
			busy = map[pods.Key]bool{}
			seen = map[pods.Key]int{}
		)
		for range 4 {
			wg.Go(func() {
				for {
					got, ok := q.get(ctx)
					if !ok {
						return
					}
					mu.Lock()
					if busy[got.Key] {
						t.Errorf("%v is with two workers", got.Key)
					}
					busy[got.Key] = true
					mu.Unlock()
					time.Sleep(time.Duration(rand.IntN(3)) * time.Millisecond)
					mu.Lock()
					busy[got.Key] = false
					seen[got.Key]++
					mu.Unlock()
					q.done(got.Key, rand.IntN(2) == 0, 0)
				}
			})
		}
		for range 500 {
			k := keys[rand.IntN(len(keys))]
			if rand.IntN(2) == 0 {
				q.add(k)
			} else {
				q.hint(k)
			}
			time.Sleep(time.Duration(rand.IntN(2)) * time.Millisecond)
		}
		time.Sleep(time.Second)
		cancel()
		wg.Wait()
		if len(seen) != len(keys) {
			t.Errorf("got %d keys, want %d", len(seen), len(keys))
		}
	})
}
