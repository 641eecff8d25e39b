package certs

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Status says what is with a certificate.
type Status string

// The states of a certificate.
const (
	Pending Status = "pending" // being loaded or ordered for the first time
	Valid   Status = "valid"
	Failed  Status = "failed" // there is none; the last order failed or was not allowed
)

// maxError bounds the text of an error that is noted.
const maxError = 500

// State is what is known of one certificate. It is the answer of the admin API, and
// what the control plane finds in Redis.
type State struct {
	Subject  string    `json:"subject"` // "*.pods.tacc.tapis.io", "data.example.org"
	Tenant   string    `json:"tenant,omitempty"`
	Status   Status    `json:"status"`
	Issuer   string    `json:"issuer,omitempty"`
	NotAfter time.Time `json:"not_after,omitzero"`
	// Error of the last order, "" after one that worked. With the status valid it is
	// that of a renewal.
	Error string `json:"error,omitempty"`
	// Changed is when one of the others changed last.
	Changed time.Time `json:"changed"`
}

// states remembers what is with each certificate, and notes it in Redis. It is safe
// for concurrent use.
type states struct {
	client redis.UniversalClient
	key    string
	log    *slog.Logger

	mu    sync.Mutex
	by    map[string]State
	dirty map[string]bool // to be written to Redis
	some  chan struct{}
}

func newStates(client redis.UniversalClient, k keys, log *slog.Logger) *states {
	return &states{client: client, key: k.state, log: log, by: map[string]State{}, dirty: map[string]bool{}, some: make(chan struct{}, 1)}
}

// change applies f to the state of a subject.
func (s *states) change(subject, tenant string, f func(*State)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.by[subject]
	now := old
	now.Subject, now.Tenant = subject, tenant
	f(&now)
	if now == old {
		return
	}
	now.Changed = time.Now().UTC()
	s.by[subject] = now
	s.mark(subject)
}

// mark has a subject written. The lock is held.
func (s *states) mark(subject string) {
	s.dirty[subject] = true
	select {
	case s.some <- struct{}{}:
	default:
	}
}

func (s *states) pending(subject, tenant string) {
	s.change(subject, tenant, func(x *State) { x.Status = cmp.Or(x.Status, Pending) })
}

func (s *states) ok(subject, tenant string, leaf *x509.Certificate) {
	s.change(subject, tenant, func(x *State) {
		if !leaf.NotAfter.Equal(x.NotAfter) {
			x.Error = "" // what failed before has worked
		}
		x.Status, x.NotAfter, x.Issuer = Valid, leaf.NotAfter.UTC(), leaf.Issuer.CommonName
	})
}

func (s *states) failed(subject, tenant string, err error) {
	s.change(subject, tenant, func(x *State) {
		if x.Error == "" || !errors.Is(err, errLimit) { // why the last order failed says more
			x.Error = brief(err)
		}
		x.Status, x.NotAfter = Failed, time.Time{}
	})
}

// orderFailed notes why an order failed. An old certificate may still serve.
func (s *states) orderFailed(subject, tenant string, err error) {
	s.change(subject, tenant, func(x *State) {
		x.Error = brief(err)
		if x.Status != Valid {
			x.Status = Failed
		}
	})
}

func brief(err error) string {
	if err == nil {
		return "unknown"
	}
	text := err.Error()
	return text[:min(len(text), maxError)]
}

// forgetExcept removes the states that keep does not want.
func (s *states) forgetExcept(keep func(subject string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for subject := range s.by {
		if !keep(subject) {
			delete(s.by, subject)
			s.mark(subject)
		}
	}
}

// list returns all states by subject.
func (s *states) list() []State {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]State, 0, len(s.by))
	for _, subject := range slices.Sorted(maps.Keys(s.by)) {
		all = append(all, s.by[subject])
	}
	return all
}

// write notes changes in Redis until ctx ends. What can't be written is tried again
// with the next change, or after some time.
func (s *states) write(ctx context.Context) {
	again := time.NewTicker(30 * time.Second)
	defer again.Stop()
	for {
		select {
		case <-s.some:
		case <-again.C:
		case <-ctx.Done():
			return
		}
		if err := s.flush(ctx); err != nil && ctx.Err() == nil {
			s.log.Debug("noting states of certificates failed", "error", err)
		}
	}
}

func (s *states) flush(ctx context.Context) error {
	todo := s.takeDirty()
	if len(todo) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, redisTimeout)
	defer cancel()
	_, err := s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for subject, state := range todo {
			if state == nil {
				p.HDel(ctx, s.key, subject)
				continue
			}
			b, err := json.Marshal(state)
			if err != nil {
				return err
			}
			p.HSet(ctx, s.key, subject, b)
		}
		return nil
	})
	if err != nil {
		s.mu.Lock()
		for subject := range todo {
			s.dirty[subject] = true
		}
		s.mu.Unlock()
	}
	return err
}

// takeDirty returns the states that are to be written, nil for those that are gone.
func (s *states) takeDirty() map[string]*State {
	s.mu.Lock()
	defer s.mu.Unlock()
	todo := make(map[string]*State, len(s.dirty))
	for subject := range s.dirty {
		todo[subject] = nil
		if state, ok := s.by[subject]; ok {
			todo[subject] = &state
		}
	}
	clear(s.dirty)
	return todo
}
