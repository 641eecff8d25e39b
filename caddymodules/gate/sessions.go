package gate

import (
	"crypto/subtle"
	"hash/maphash"
	"sync"
)

// sessions are the visitors whose sessions are known. They are found by the id that
// the browser sends, with each request, and by the key that Redis knows, when
// something happens to them. When there are too many, any is forgotten: it is only
// looked up once more. It is safe for concurrent use.
type sessions struct {
	max  int
	seed maphash.Seed

	mu    sync.RWMutex
	byID  map[uint64]*visitor // by a hash with a seed that nobody knows
	byKey map[string]*visitor
}

func newSessions(most int) *sessions {
	return &sessions{max: most, seed: maphash.MakeSeed(), byID: map[uint64]*visitor{}, byKey: map[string]*visitor{}}
}

// find returns the visitor whose session has this id at a host, for a pod, or nil.
// How long it takes tells nothing of ids that are known.
func (s *sessions) find(id, host, pod string) *visitor {
	h := maphash.String(s.seed, id)
	s.mu.RLock()
	v := s.byID[h]
	s.mu.RUnlock()
	if v == nil || v.host != host || v.pod != pod || subtle.ConstantTimeCompare([]byte(v.id), []byte(id)) != 1 {
		return nil
	}
	return v
}

// add remembers a visitor, unless stale says that it is out of date already. Whoever
// removes visitors makes stale true first, so that none comes back.
func (s *sessions) add(v *visitor, stale func() bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if stale() {
		return
	}
	if old := s.byKey[v.key]; old != nil {
		s.forget(old)
	}
	if len(s.byKey) >= s.max {
		for _, old := range s.byKey {
			s.forget(old)
			break
		}
	}
	s.byID[maphash.String(s.seed, v.id)] = v
	s.byKey[v.key] = v
}

// forget removes a visitor. The caller holds the lock.
func (s *sessions) forget(v *visitor) {
	delete(s.byKey, v.key)
	if h := maphash.String(s.seed, v.id); s.byID[h] == v {
		delete(s.byID, h)
	}
}

func (s *sessions) remove(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.byKey[key]; v != nil {
		s.forget(v)
	}
}

// removeFunc removes the visitors for whom f is true, and returns them.
func (s *sessions) removeFunc(f func(*visitor) bool) (removed []*visitor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.byKey {
		if f(v) {
			s.forget(v)
			removed = append(removed, v)
		}
	}
	return removed
}

// pick returns the visitors for whom f is true.
func (s *sessions) pick(f func(*visitor) bool) (picked []*visitor) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, v := range s.byKey {
		if f(v) {
			picked = append(picked, v)
		}
	}
	return picked
}

func (s *sessions) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.byID)
	clear(s.byKey)
}

func (s *sessions) len() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.byKey)
}
