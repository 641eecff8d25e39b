package local

import (
	"context"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// subscription is one call of Watch. Its fields are guarded by Cluster.mu.
type subscription struct {
	pending map[pods.Key]struct{}
	wake    chan struct{} // holds a token while pending is not empty
}

// Watch implements [pods.Cluster]. It begins with the key of every pod there is,
// and returns nil when ctx ends.
func (c *Cluster) Watch(ctx context.Context, notify func(pods.Key)) error {
	s := &subscription{pending: map[pods.Key]struct{}{}, wake: make(chan struct{}, 1)}
	c.subscribe(s)
	defer c.unsubscribe(s)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.ctx.Done():
			return errClosed
		case <-s.wake:
		}
		for k := range c.take(s) {
			notify(k)
		}
	}
}

func (c *Cluster) subscribe(s *subscription) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.subscriptions[s] = struct{}{}
	for k := range c.known {
		c.touch(k)
	}
}

func (c *Cluster) unsubscribe(s *subscription) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.subscriptions, s)
}

// take returns the keys to notify and forgets them.
func (c *Cluster) take(s *subscription) map[pods.Key]struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	keys := s.pending
	s.pending = map[pods.Key]struct{}{}
	return keys
}

// touch tells the watchers that a pod may have changed. mu is held.
func (c *Cluster) touch(k pods.Key) {
	for s := range c.subscriptions {
		s.pending[k] = struct{}{}
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}
