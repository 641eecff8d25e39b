package reconcile

import (
	"context"
	"sync"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// queue hands out the keys of pods to look at. A key waits in it once, however
// often it is added, and is with one worker at a time: what is added meanwhile
// is handed out again afterwards. It is safe for concurrent use.
//
// A key that fails is handed out again after a wait that doubles with each
// failure in a row. [queue.add] cuts the wait short, for a person waits for the
// answer; [queue.hint] does so down to the shortest wait only, because a pass
// that fails may well be what causes the next event.
type queue struct {
	first, limit time.Duration // wait after the first failure, and the longest

	mu    sync.Mutex
	ready []pods.Key
	items map[pods.Key]*item
	wake  chan struct{} // holds a token while ready may not be empty
}

// item is what the queue knows of a key that waits, is worked on, or failed.
type item struct {
	queued bool // in ready
	active bool // with a worker
	again  bool // added while active
	hinted bool // hinted at while active

	timer *time.Timer // adds the key; nil if none
	due   time.Time   // when timer fires

	failures int       // in a row
	since    time.Time // of the first of them
}

// task is a key that was handed out.
type task struct {
	pods.Key

	// Failures in a row before this one, and when the first of them happened.
	failures int
	since    time.Time
}

func newQueue(first, limit time.Duration) *queue {
	return &queue{first: first, limit: limit, items: map[pods.Key]*item{}, wake: make(chan struct{}, 1)}
}

// add hands a key out as soon as a worker is free.
func (q *queue) add(k pods.Key) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.push(k, q.item(k))
}

// hint is add for a key that does not fail; one that does is handed out after
// the shortest wait, or when its own ends, if that is sooner.
func (q *queue) hint(k pods.Key) {
	q.mu.Lock()
	defer q.mu.Unlock()
	it := q.item(k)
	switch {
	case it.failures == 0:
		q.push(k, it)
	case it.active:
		it.hinted = true // settled by done, which knows how this one ends
	default:
		q.schedule(k, it, q.first)
	}
}

// get waits for a key and hands it out; done has to be called for it. ok is
// false when ctx ended.
func (q *queue) get(ctx context.Context) (t task, ok bool) {
	for {
		select {
		case <-ctx.Done():
			return task{}, false
		case <-q.wake:
			if t, ok := q.pop(); ok {
				return t, true
			}
		}
	}
}

// done ends the work on a key. After a failure it is handed out again after a
// wait; else after the given time, or not before the next add if that is zero.
func (q *queue) done(k pods.Key, failed bool, after time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	it := q.items[k]
	if it == nil {
		return // dropped by clear
	}
	again, hinted := it.again, it.hinted
	it.active, it.again, it.hinted = false, false, false
	if failed {
		if it.failures++; it.failures == 1 {
			it.since = time.Now()
		}
		after = backoff(it.failures, q.first, q.limit)
		if hinted {
			after = q.first
		}
	} else {
		it.failures, it.since = 0, time.Time{}
		again = again || hinted
	}
	switch {
	case again:
		q.push(k, it)
	case after > 0:
		q.schedule(k, it, after)
	default:
		delete(q.items, k)
	}
}

// clear drops everything that waits.
func (q *queue) clear() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, it := range q.items {
		it.stopTimer()
	}
	clear(q.items)
	q.ready = nil
}

func (q *queue) item(k pods.Key) *item {
	it := q.items[k]
	if it == nil {
		it = new(item)
		q.items[k] = it
	}
	return it
}

// push makes a key wait for a worker.
func (q *queue) push(k pods.Key, it *item) {
	it.stopTimer()
	switch {
	case it.active:
		it.again = true
	case !it.queued:
		it.queued = true
		q.ready = append(q.ready, k)
		q.signal()
	}
}

// pop hands out the key that has waited longest.
func (q *queue) pop() (task, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.ready) == 0 {
		return task{}, false
	}
	k := q.ready[0]
	q.ready = q.ready[1:]
	if len(q.ready) > 0 {
		q.signal() // one token wakes one worker, and there is work for another
	}
	it := q.items[k]
	it.queued, it.active = false, true
	return task{Key: k, failures: it.failures, since: it.since}, true
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default: // there is a token
	}
}

// schedule pushes a key after d, unless that happens sooner anyway.
func (q *queue) schedule(k pods.Key, it *item, d time.Duration) {
	due := time.Now().Add(d)
	if it.queued || it.timer != nil && !due.Before(it.due) {
		return
	}
	it.stopTimer()
	it.due = due
	var timer *time.Timer
	timer = time.AfterFunc(d, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if it.timer == timer { // not stopped in the last moment
			q.push(k, it)
		}
	})
	it.timer = timer
}

func (it *item) stopTimer() {
	if it.timer != nil {
		it.timer.Stop()
		it.timer = nil
	}
}
