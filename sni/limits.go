package sni

import (
	"errors"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// Causes with which the context of a session ends before it began, and reasons
// why a connection is refused.
var (
	ErrPodLimit    = errors.New("the pod has as many connections as it may have")
	ErrTenantLimit = errors.New("the tenant's pods have as many connections as they may have")
	ErrClientLimit = errors.New("the client has as many connections as it may have")
	ErrClientRate  = errors.New("the client connects too often")
)

// counts says how many there are of each key, and keeps nothing of those with
// none. It is safe for concurrent use.
type counts[K comparable] struct {
	seed   maphash.Seed
	shards [16]countShard[K]
}

type countShard[K comparable] struct {
	mu sync.Mutex
	m  map[K]int
}

func newCounts[K comparable]() *counts[K] {
	c := &counts[K]{seed: maphash.MakeSeed()}
	for i := range c.shards {
		c.shards[i].m = map[K]int{}
	}
	return c
}

func (c *counts[K]) shard(k K) *countShard[K] {
	return &c.shards[maphash.Comparable(c.seed, k)%uint64(len(c.shards))]
}

// enter counts one more unless there are most of them.
func (c *counts[K]) enter(k K, most int) bool {
	s := c.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m[k] >= most {
		return false
	}
	s.m[k]++
	return true
}

// leave counts one less. It is for those that entered.
func (c *counts[K]) leave(k K) {
	s := c.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m[k]--; s.m[k] <= 0 {
		delete(s.m, k)
	}
}

// size returns how many keys have any.
func (c *counts[K]) size() int {
	n := 0
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		n += len(s.m)
		s.mu.Unlock()
	}
	return n
}

// Throttle lets one log record pass per second, so that whoever floods the edge
// does not flood its log. The zero value is ready; it is safe for concurrent use.
type Throttle struct {
	last atomic.Int64 // unix nanoseconds
	kept atomic.Uint64
}

// Allow reports whether to log now, and how many records were kept back since
// the last one.
func (t *Throttle) Allow(now time.Time) (kept uint64, ok bool) {
	last := t.last.Load()
	if now.UnixNano()-last < int64(time.Second) || !t.last.CompareAndSwap(last, now.UnixNano()) {
		t.kept.Add(1)
		return 0, false
	}
	return t.kept.Swap(0), true
}
