package certs

import (
	"sync"
	"time"
)

// budget remembers how much of the orders of an hour were made, by all edges, when
// this one made its last. It is safe for concurrent use.
type budget struct {
	mu    sync.Mutex
	share float64
	until time.Time // the end of the hour
}

func (b *budget) note(share float64, left time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.share, b.until = share, time.Now().Add(left)
}

// used returns the share of the orders of this hour that were made, 0 to 1.
func (b *budget) used() float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if time.Now().After(b.until) {
		return 0
	}
	return b.share
}
