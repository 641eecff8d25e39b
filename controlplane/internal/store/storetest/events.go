package storetest

import (
	"testing"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// EventStore is what [RunEvents] needs: events belong to pods.
type EventStore interface {
	pods.Store
	pods.EventStore
}

// RunEvents checks that a store keeps the promise of pods.EventStore. open is as
// that of [Run].
func RunEvents(t *testing.T, open func(t *testing.T) EventStore) {
	for _, tt := range []struct {
		name string
		run  func(s *suite, events pods.EventStore)
	}{
		{"events are added to those of changes, and the pod stays as it is", func(s *suite, events pods.EventStore) {
			p := s.create("web")
			if err := events.AddEvents(s.Context(), p.Key, p.UID, event("a"), event("a"), event("b")); err != nil {
				s.Fatal(err)
			}
			s.wantTexts(p.Key, "created", "a", "b")
			wantEqual(s, "pod", s.read(p.Key), p)
		}},
		{"no events are none", func(s *suite, events pods.EventStore) {
			p := s.create("web")
			if err := events.AddEvents(s.Context(), p.Key, p.UID); err != nil {
				s.Fatal(err)
			}
			s.wantTexts(p.Key, "created")
		}},
		{"a pod that is gone, or another one, is NotFound", func(s *suite, events pods.EventStore) {
			p := s.create("web")
			for k, uid := range map[pods.Key]string{key("gone"): p.UID, p.Key: "uid of the pod before"} {
				if err := events.AddEvents(s.Context(), k, uid, event("a")); pods.ErrorCode(err) != pods.NotFound {
					s.Errorf("%s: got %v, want not found", k, err)
				}
			}
			s.wantTexts(p.Key, "created")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store := open(t)
			tt.run(&suite{T: t, Store: store}, store)
		})
	}
}
