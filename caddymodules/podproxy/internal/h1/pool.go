package h1

import (
	"sync"
	"time"
)

// Pool keeps idle connections by a key, which says which of them may be used for
// one another. Set its fields before its first use; it is safe for concurrent use.
type Pool[K comparable] struct {
	// How long a connection may be idle. Zero keeps none.
	IdleTimeout time.Duration

	// Idle connections kept at most: with one key, and in all.
	MaxPerKey, Max int

	mu     sync.Mutex
	idle   map[K][]*Conn // longest idle first
	n      int
	sweep  *time.Timer
	closed bool
}

// Get takes the connection that was idle shortest, or nil. One that was idle for
// longer than maxIdle is not taken, nor one that the server has closed.
func (p *Pool[K]) Get(key K, maxIdle time.Duration) *Conn {
	for {
		c := p.pop(key, maxIdle)
		if c == nil {
			return nil
		}
		if c.idle() {
			c.reused = true
			return c
		}
		c.Close()
	}
}

func (p *Pool[K]) pop(key K, maxIdle time.Duration) *Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	cs := p.idle[key]
	if len(cs) == 0 {
		return nil
	}
	c := cs[len(cs)-1]
	if time.Since(c.since) > maxIdle {
		return nil
	}
	p.cut(key, cs, cs[:len(cs)-1])
	cs[len(cs)-1] = nil
	return c
}

// cut makes kept, a part of cs, the idle connections of a key.
func (p *Pool[K]) cut(key K, cs, kept []*Conn) {
	p.n -= len(cs) - len(kept)
	if len(kept) == 0 {
		delete(p.idle, key)
		return
	}
	p.idle[key] = kept
}

// Put takes a connection whose response was read to its end, and closes it if it
// can't be used again.
func (p *Pool[K]) Put(key K, c *Conn) {
	c.waiter = nil
	if cap(c.head) > maxScratch {
		c.head = nil
	}
	clear(c.fields) // they keep the head alive
	if c.closes || c.ended.Load() || !c.body.done || c.br.Buffered() > 0 || !p.keep(key, c) {
		c.Close()
	}
}

func (p *Pool[K]) keep(key K, c *Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	cs := p.idle[key]
	if p.closed || p.IdleTimeout <= 0 || p.n >= p.Max || len(cs) >= p.MaxPerKey {
		return false
	}
	if p.idle == nil {
		p.idle = map[K][]*Conn{}
	}
	c.since = time.Now()
	p.idle[key] = append(cs, c)
	p.n++
	if p.sweep == nil {
		p.sweep = time.AfterFunc(p.IdleTimeout/2, p.expire)
	}
	return true
}

// expire closes what was idle for too long, and comes again while there is
// something.
func (p *Pool[K]) expire() {
	p.mu.Lock()
	var old []*Conn
	limit := time.Now().Add(-p.IdleTimeout)
	for key, cs := range p.idle {
		n := 0
		for n < len(cs) && !cs[n].since.After(limit) {
			n++
		}
		old = append(old, cs[:n]...)
		p.cut(key, cs, append([]*Conn(nil), cs[n:]...))
	}
	p.sweep = nil
	if p.n > 0 && !p.closed {
		p.sweep = time.AfterFunc(p.IdleTimeout/2, p.expire)
	}
	p.mu.Unlock()
	for _, c := range old {
		c.Close()
	}
}

// Len returns how many connections are idle.
func (p *Pool[K]) Len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n
}

// Close closes the idle connections, and keeps none from then on.
func (p *Pool[K]) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.sweep != nil {
		p.sweep.Stop()
	}
	for _, cs := range p.idle {
		for _, c := range cs {
			c.Close()
		}
	}
	p.idle, p.n = nil, 0
}
