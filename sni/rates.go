package sni

import (
	"net/netip"
	"sync"
	"time"
)

// clientPrefix returns what counts as one client: an IPv4 address, or the /64 of
// an IPv6 address, which is the least that a site gets.
func clientPrefix(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // fails for the zero address only, which is one client too
	return p
}

// rates bounds how often each client may do something: perSecond times a second
// for long, and burst times at once. It is safe for concurrent use.
type rates struct {
	perSecond, burst float64

	mu      sync.Mutex
	buckets map[netip.Prefix]bucket
	sweepAt int // size at which full buckets are dropped
}

// bucket holds what a client had left at a time.
type bucket struct {
	left float64
	at   time.Time
}

// leastSweep is the least number of buckets that are worth a look.
const leastSweep = 1024

func newRates(perSecond, burst int) *rates {
	return &rates{perSecond: float64(perSecond), burst: float64(burst), buckets: map[netip.Prefix]bucket{}, sweepAt: leastSweep}
}

// take reports whether a client may do it once more.
func (r *rates) take(client netip.Prefix, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, known := r.buckets[client]
	if !known {
		b = bucket{left: r.burst, at: now}
		r.sweep(now)
	}
	b.left, b.at = r.leftOf(b, now), now
	ok := b.left >= 1
	if ok {
		b.left--
	}
	r.buckets[client] = b
	return ok
}

func (r *rates) leftOf(b bucket, now time.Time) float64 {
	return min(r.burst, b.left+r.perSecond*now.Sub(b.at).Seconds())
}

// sweep drops full buckets, which say nothing, each time there are twice as many
// as the last time left. The memory is bounded by the clients of one moment.
func (r *rates) sweep(now time.Time) {
	if len(r.buckets) < r.sweepAt {
		return
	}
	for c, b := range r.buckets {
		if r.leftOf(b, now) >= r.burst {
			delete(r.buckets, c)
		}
	}
	r.sweepAt = max(leastSweep, 2*len(r.buckets))
}
