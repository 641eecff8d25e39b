package podway

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/tapis-project/podway/routes/redisroutes"
	"github.com/tapis-project/podway/sni"
)

const (
	// maxCancelChanges bounds the changes that wait for Redis. Those beyond are
	// dropped: a lost key can be cancelled at its own edge only.
	maxCancelChanges = 8192

	// cancelTimeout bounds one exchange with Redis.
	cancelTimeout = 2 * time.Second
)

// sharedCancels is a [sni.CancelStore] in Redis. Changes are written by one
// goroutine, in their order, so that no session waits for Redis.
type sharedCancels struct {
	keys    *redisroutes.CancelKeys
	log     *currentLog
	changes chan cancelChange
	end     context.CancelFunc
	done    sync.WaitGroup
}

// cancelChange is one entry to put or to remove.
type cancelChange struct {
	id, value string
	remove    bool
}

func newSharedCancels(keys *redisroutes.CancelKeys, log *currentLog) *sharedCancels {
	return &sharedCancels{keys: keys, log: log, changes: make(chan cancelChange, maxCancelChanges), end: func() {}}
}

// run writes changes until close is called.
func (s *sharedCancels) run() {
	ctx, end := context.WithCancel(context.Background())
	s.end = end
	s.done.Go(func() {
		refresh := time.NewTicker(redisroutes.CancelKeyTTL / 3)
		defer refresh.Stop()
		for {
			select {
			case c := <-s.changes:
				s.write(ctx, c)
			case <-refresh.C:
				s.refresh(ctx)
			case <-ctx.Done():
				return
			}
		}
	})
}

// close ends run. What it has not written ends with its time to live.
func (s *sharedCancels) close() {
	s.end()
	s.done.Wait()
	_ = s.keys.Close() // nothing is written any more
}

// write writes one change.
func (s *sharedCancels) write(ctx context.Context, c cancelChange) {
	ctx, stop := context.WithTimeout(ctx, cancelTimeout)
	defer stop()
	var err error
	if c.remove {
		err = s.keys.Remove(ctx, c.id, c.value)
	} else {
		err = s.keys.Put(ctx, map[string]string{c.id: c.value})
	}
	if err != nil {
		s.debug(ctx, err)
	}
}

// refresh keeps the keys of all sessions of this edge, also in a Redis that lost
// them.
func (s *sharedCancels) refresh(ctx context.Context) {
	const batch = 500
	values := make(map[string]string, batch)
	put := func() {
		ctx, stop := context.WithTimeout(ctx, cancelTimeout)
		defer stop()
		if err := s.keys.Put(ctx, values); err != nil {
			s.debug(ctx, err)
		}
		clear(values)
	}
	for id, t := range cancels.All() {
		if values[id] = encodeTarget(t); len(values) == batch {
			put()
		}
	}
	if len(values) > 0 {
		put()
	}
}

// debug logs what the watcher of routes complains about already.
func (s *sharedCancels) debug(ctx context.Context, err error) {
	s.log.now.Load().DebugContext(ctx, "sharing cancel keys failed", "error", err)
}

// Put implements [sni.CancelStore].
func (s *sharedCancels) Put(id string, t sni.CancelTarget) {
	s.change(cancelChange{id: id, value: encodeTarget(t)})
}

// Remove implements [sni.CancelStore].
func (s *sharedCancels) Remove(id string, t sni.CancelTarget) {
	s.change(cancelChange{id: id, value: encodeTarget(t), remove: true})
}

func (s *sharedCancels) change(c cancelChange) {
	select {
	case s.changes <- c:
	default:
		stats.CancelsDropped.Add(1)
	}
}

// Get implements [sni.CancelStore].
func (s *sharedCancels) Get(ctx context.Context, id string) (sni.CancelTarget, bool, error) {
	var t sni.CancelTarget
	ctx, stop := context.WithTimeout(ctx, cancelTimeout)
	defer stop()
	v, ok, err := s.keys.Get(ctx, id)
	if err != nil || !ok {
		return t, false, err
	}
	if err := json.Unmarshal([]byte(v), &t); err != nil {
		return t, false, err
	}
	return t, true, nil
}

// encodeTarget returns the value of an entry.
func encodeTarget(t sni.CancelTarget) string {
	b, _ := json.Marshal(t) // strings only: it can't fail
	return string(b)
}

// Interface guards
var _ sni.CancelStore = (*sharedCancels)(nil)
