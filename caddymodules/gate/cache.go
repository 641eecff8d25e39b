package gate

import "sync"

// cache is a bounded map. When it is full it forgets any entry: what was forgotten
// is only looked up once more. It is safe for concurrent use.
type cache[V any] struct {
	mu  sync.RWMutex
	max int
	m   map[string]V
}

func newCache[V any](most int) *cache[V] { return &cache[V]{max: most, m: map[string]V{}} }

func (c *cache[V]) get(k string) (V, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	v, ok := c.m[k]
	return v, ok
}

// add sets an entry, unless stale says that it is out of date already. Whoever
// removes entries makes stale true first, so that none comes back.
func (c *cache[V]) add(k string, v V, stale func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if stale != nil && stale() {
		return
	}
	if _, known := c.m[k]; !known && len(c.m) >= c.max {
		for old := range c.m {
			delete(c.m, old)
			break
		}
	}
	c.m[k] = v
}

func (c *cache[V]) remove(k string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.m, k)
}

func (c *cache[V]) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.m)
}
