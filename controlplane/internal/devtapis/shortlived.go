package devtapis

import (
	"crypto/rand"
	"sync"
	"time"
)

const (
	codeTTL    = 10 * time.Minute
	sessionTTL = 8 * time.Hour

	// maxShortLived bounds what a map holds: when it is full it is emptied.
	maxShortLived = 10_000
)

// code is an authorization code that was given out.
type code struct {
	tenant, user, client, redirectURI string
	challenge                         string // PKCE, "" for none
}

// session is a browser that has logged in.
type session struct{ tenant, user string }

// shortLived keeps values for a while, by names that can't be guessed. It is safe
// for concurrent use.
type shortLived[V any] struct {
	ttl  time.Duration
	name func() string
	now  func() time.Time

	mu  sync.Mutex
	all map[string]kept[V]
}

type kept[V any] struct {
	value V
	until time.Time
}

func newCodes(now func() time.Time) *shortLived[code] {
	return &shortLived[code]{ttl: codeTTL, name: newCode, now: now, all: map[string]kept[code]{}}
}

func newSessions(now func() time.Time) *shortLived[session] {
	return &shortLived[session]{ttl: sessionTTL, name: rand.Text, now: now, all: map[string]kept[session]{}}
}

// add keeps a value and returns its name.
func (s *shortLived[V]) add(v V) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.all) >= maxShortLived {
		clear(s.all)
	}
	name := s.name()
	s.all[name] = kept[V]{v, s.now().Add(s.ttl)}
	return name
}

func (s *shortLived[V]) get(name string) (V, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, ok := s.all[name]
	if !ok || !s.now().Before(k.until) {
		var none V
		return none, false
	}
	return k.value, true
}

// take returns a value and removes it.
func (s *shortLived[V]) take(name string) (V, bool) {
	v, ok := s.get(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, there := s.all[name]; !there {
		var none V
		return none, false // somebody else was faster
	}
	delete(s.all, name)
	return v, ok
}
