package storetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// Run checks that a store keeps every promise of pods.Store. open returns an
// empty store that is ready for use and closes it at the end of the test it is
// given.
func Run(t *testing.T, open func(t *testing.T) pods.Store) {
	for _, group := range []struct {
		name  string
		tests []test
	}{
		{"CreatePod", createTests},
		{"Pod", podTests},
		{"Pods", queryTests},
		{"UpdatePod", updateTests},
		{"SetRequested", requestedTests},
		{"SaveState", stateTests},
		{"DeletePod", deleteTests},
		{"Credentials", credentialsTests},
		{"Events", eventTests},
		{"Logs", logTests},
		{"every method", everyMethodTests},
		{"concurrent writers", concurrentTests},
	} {
		t.Run(group.name, func(t *testing.T) {
			for _, tt := range group.tests {
				t.Run(tt.name, func(t *testing.T) { tt.run(&suite{T: t, Store: open(t)}) })
			}
		})
	}
	t.Run("any sequence of calls leaves what the model says", func(t *testing.T) { checkModel(t, open(t)) })
}

// test is one promise, named as a sentence.
type test struct {
	name string
	run  func(s *suite)
}

// suite is a test with the store it runs on.
type suite struct {
	*testing.T
	pods.Store
}

// t0 has all the digits a store keeps: microseconds.
var t0 = time.Date(2026, 3, 4, 5, 6, 7, 891234000, time.UTC)

const tenant = "dev"

func key(id pods.ID) pods.Key { return pods.Key{Tenant: tenant, ID: id} }

// newPod returns a pod as the API makes it.
func newPod(id pods.ID) pods.Pod {
	return pods.Pod{
		Key:         key(id),
		UID:         "uid-of-" + string(id),
		Site:        "site",
		Owner:       "ann",
		Definition:  pods.Definition{Image: pods.Set("podway/hello"), Description: pods.Set("first")},
		Requested:   pods.On,
		Permissions: pods.Permissions{"ann": pods.LevelAdmin},
		CreatedAt:   t0,
		UpdatedAt:   t0,
		State:       pods.State{Status: pods.StatusRequested, Since: t0},
	}
}

func newCredentials(id pods.ID) pods.Credentials {
	return pods.Credentials{
		AdminUsername: "podsservice", AdminPassword: "admin-password-of-" + string(id),
		UserUsername: string(id), UserPassword: "user-password-of-" + string(id),
	}
}

func event(text string) pods.Event { return pods.Event{At: t0, Text: text} }

// create stores newPod(id), changed by the functions, and returns it as stored.
func (s *suite) create(id pods.ID, change ...func(*pods.Pod)) pods.Pod {
	s.Helper()
	p := newPod(id)
	for _, f := range change {
		f(&p)
	}
	if err := s.CreatePod(s.Context(), p, newCredentials(id), event("created")); err != nil {
		s.Fatalf("creating %s: %v", p.Key, err)
	}
	return s.read(p.Key)
}

func (s *suite) read(k pods.Key) pods.Pod {
	s.Helper()
	p, err := s.Pod(s.Context(), k)
	if err != nil {
		s.Fatalf("reading %s: %v", k, err)
	}
	return p
}

func (s *suite) update(p pods.Pod, events ...pods.Event) pods.Pod {
	s.Helper()
	stored, err := s.UpdatePod(s.Context(), p, events...)
	if err != nil {
		s.Fatalf("updating %s: %v", p.Key, err)
	}
	return stored
}

func (s *suite) saveState(p pods.Pod, clearInstance bool, events ...pods.Event) pods.Pod {
	s.Helper()
	if err := s.SaveState(s.Context(), p, clearInstance, events...); err != nil {
		s.Fatalf("saving state of %s: %v", p.Key, err)
	}
	return s.read(p.Key)
}

func (s *suite) delete(k pods.Key) {
	s.Helper()
	if err := s.DeletePod(s.Context(), k); err != nil {
		s.Fatalf("deleting %s: %v", k, err)
	}
}

// texts returns the texts of a pod's events.
func (s *suite) texts(k pods.Key) []string {
	s.Helper()
	es, err := s.Events(s.Context(), k)
	if err != nil {
		s.Fatalf("reading events of %s: %v", k, err)
	}
	var texts []string
	for _, e := range es {
		texts = append(texts, e.Text)
	}
	return texts
}

func (s *suite) wantTexts(k pods.Key, want ...string) {
	s.Helper()
	wantEqual(s, "events", s.texts(k), want)
}

func (s *suite) wantCode(err error, want pods.Code) {
	s.Helper()
	if got := pods.ErrorCode(err); got != want {
		s.Fatalf("got code %q (%v), want %q", got, err, want)
	}
}

// unchanged fails the test if f changed anything that can be read of a pod.
func (s *suite) unchanged(k pods.Key, f func()) {
	s.Helper()
	before := s.everything(k)
	f()
	wantEqual(s, "what is stored", s.everything(k), before)
}

// everything returns all that can be read of a pod.
func (s *suite) everything(k pods.Key) []any {
	s.Helper()
	events, err1 := s.Events(s.Context(), k)
	logs, err2 := s.Logs(s.Context(), k)
	creds, err3 := s.Credentials(s.Context(), k)
	if err := errors.Join(err1, err2, err3); err != nil {
		s.Fatalf("reading all of %s: %v", k, err)
	}
	return []any{s.read(k), events, string(logs), creds}
}

func wantEqual(t rapid.TB, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s: got %+v, want %+v", what, show(got), show(want))
	}
}

// show follows the pointers of a pod's state, which fmt prints as addresses.
func show(v any) any {
	p, ok := v.(pods.Pod)
	if !ok {
		return v
	}
	st := p.State
	return fmt.Sprintf("%+v; started %v, stop %v, next attempt %v, container started %v",
		p, st.StartedAt, st.StopAt, st.NextAttempt, st.Container.StartTime)
}

// call is a method with arguments for the pod p.
type call struct {
	name string
	do   func(ctx context.Context, s pods.Store, p pods.Pod) error
}

// podCalls are the methods on one pod that is there already. Those that take a
// whole pod or a uid write.
func podCalls() []call {
	return append(writeCalls(),
		call{"Pod", func(ctx context.Context, s pods.Store, p pods.Pod) error {
			_, err := s.Pod(ctx, p.Key)
			return err
		}},
		call{"DeletePod", func(ctx context.Context, s pods.Store, p pods.Pod) error { return s.DeletePod(ctx, p.Key) }},
		call{"Credentials", func(ctx context.Context, s pods.Store, p pods.Pod) error {
			_, err := s.Credentials(ctx, p.Key)
			return err
		}},
		call{"Events", func(ctx context.Context, s pods.Store, p pods.Pod) error {
			_, err := s.Events(ctx, p.Key)
			return err
		}},
		call{"Logs", func(ctx context.Context, s pods.Store, p pods.Pod) error {
			_, err := s.Logs(ctx, p.Key)
			return err
		}},
	)
}

// writeCalls are the methods that check the uid of the pod they write.
func writeCalls() []call {
	return []call{
		{"UpdatePod", func(ctx context.Context, s pods.Store, p pods.Pod) error {
			_, err := s.UpdatePod(ctx, p, event("update"))
			return err
		}},
		{"SetRequested", func(ctx context.Context, s pods.Store, p pods.Pod) error {
			return s.SetRequested(ctx, p.Key, p.UID, p.Requested, pods.Restart, event("requested"))
		}},
		{"SaveState", func(ctx context.Context, s pods.Store, p pods.Pod) error {
			return s.SaveState(ctx, p, true, event("state"))
		}},
		{"SaveLogs", func(ctx context.Context, s pods.Store, p pods.Pod) error {
			return s.SaveLogs(ctx, p.Key, p.UID, []byte("logs"))
		}},
	}
}
