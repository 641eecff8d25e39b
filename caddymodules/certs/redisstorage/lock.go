package redisstorage

import (
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	weakrand "math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/redis/go-redis/v9"
)

// ErrLockLost is returned when another process took a lock that this one held: it
// could not extend it in time.
var ErrLockLost = errors.New("the lock was lost to another process")

const (
	// Who waits for a lock asks again after these times.
	minPoll = 50 * time.Millisecond
	maxPoll = time.Second

	// afterRelease is how long a released lock is remembered, so that a process that
	// stood still learns that it was taken since.
	afterRelease = 24 * time.Hour
)

//go:embed lock.lua
var lockSource string

var lockScript = redis.NewScript(lockSource)

// hold is a lock that this process has taken, or is about to take.
type hold struct {
	held string // "<fence>:<owner>" once it is taken
	lost atomic.Bool
	end  context.CancelFunc // of its extension
}

// Lock implements [certmagic.Locker].
func (s *Storage) Lock(ctx context.Context, name string) error {
	for wait := minPoll; ; wait = min(wait*2, maxPoll) {
		ok, err := s.TryLock(ctx, name)
		if ok || err != nil {
			return err
		}
		// Waiters that began together must not ask together for ever.
		pause := time.NewTimer(wait/2 + weakrand.N(wait)) //nolint:gosec // no secret
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return fmt.Errorf("waiting for lock %q: %w", name, ctx.Err())
		}
	}
}

// TryLock implements [certmagic.TryLocker].
func (s *Storage) TryLock(ctx context.Context, name string) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	h := s.reserve(name)
	if h == nil {
		return false, nil
	}
	held, err := s.lockRun(ctx, name, "take", rand.Text(), s.ttl)
	if err != nil || held == "" {
		s.forget(name)
		if err != nil {
			return false, fmt.Errorf("taking lock %q: %w", name, err)
		}
		return false, nil
	}
	// The lock lives on when the caller's context ends: Unlock releases it.
	extend, end := context.WithCancel(context.WithoutCancel(ctx))
	s.mu.Lock()
	h.held, h.end = held, end
	s.mu.Unlock()
	s.tasks.Go(func() { s.extend(extend, name, h) })
	return true, nil
}

// reserve makes sure that only one goroutine of this process has a lock.
func (s *Storage) reserve(name string) *hold {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.holds[name] != nil {
		return nil
	}
	h := &hold{end: func() {}}
	s.holds[name] = h
	return h
}

func (s *Storage) forget(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.holds, name)
}

// Unlock implements [certmagic.Locker]. It never releases a lock that another
// process has taken since.
func (s *Storage) Unlock(ctx context.Context, name string) error {
	s.mu.Lock()
	h := s.holds[name]
	delete(s.holds, name)
	s.mu.Unlock()
	if h == nil || h.held == "" {
		return fmt.Errorf("releasing lock %q: it is not held", name)
	}
	h.end()
	if _, err := s.lockRun(ctx, name, "release", h.held, afterRelease); err != nil {
		return fmt.Errorf("releasing lock %q: %w; it ends by itself within %v", name, err, s.ttl)
	}
	return nil
}

// RenewLockLease implements [certmagic.LockLeaseRenewer]. Locks are extended all
// the time they are held, so it only says whether that one still is: certmagic
// asks before each attempt to get a certificate.
func (s *Storage) RenewLockLease(ctx context.Context, name string, _ time.Duration) error {
	s.mu.Lock()
	h := s.holds[name]
	s.mu.Unlock()
	if h == nil || h.held == "" {
		return fmt.Errorf("extending lock %q: it is not held", name)
	}
	return s.extendOnce(ctx, name, h)
}

// extend extends a lock until ctx ends or the lock is lost.
func (s *Storage) extend(ctx context.Context, name string, h *hold) {
	tick := time.NewTicker(s.ttl / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		attempt, stop := context.WithTimeout(ctx, s.ttl/3)
		err := s.extendOnce(attempt, name, h)
		stop()
		if errors.Is(err, ErrLockLost) {
			s.log.Error("a lock was lost to another process while working under it", "lock", name)
			return
		}
		if err != nil && ctx.Err() == nil {
			s.log.Warn("extending a lock failed", "lock", name, "error", err)
		}
	}
}

func (s *Storage) extendOnce(ctx context.Context, name string, h *hold) error {
	held, err := s.lockRun(ctx, name, "extend", h.held, s.ttl)
	if err != nil {
		return fmt.Errorf("extending lock %q: %w", name, err)
	}
	if held == "" {
		h.lost.Store(true)
		return fmt.Errorf("extending lock %q: %w", name, ErrLockLost)
	}
	return nil
}

func (s *Storage) lockRun(ctx context.Context, name, what, owner string, ttl time.Duration) (string, error) {
	return lockScript.Run(ctx, s.client, []string{s.keys.lock + name, s.keys.fence}, what, owner, ttl.Milliseconds()).Text()
}

// certLock precedes the name of a certificate in the names of certmagic's locks.
const certLock = "issue_cert_"

// guard returns the lock under which this process works on a key, and what it has
// to hold for that. They are empty for keys that no lock is held for.
func (s *Storage) guard(key string) (lock, held string) {
	// certificates/<issuer>/<name>/<file>
	parts := strings.Split(key, "/")
	if len(parts) != 4 || parts[0] != "certificates" {
		return "", ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, h := range s.holds {
		subject, ok := strings.CutPrefix(name, certLock)
		if ok && h.held != "" && certmagic.StorageKeys.Safe(subject) == parts[2] {
			return name, h.held
		}
	}
	return "", ""
}
