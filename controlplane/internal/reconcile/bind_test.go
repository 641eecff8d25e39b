package reconcile

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

func TestAPodIsBoundBeforeItRuns(t *testing.T) {
	inWorld(t, func(w *world) {
		w.create(web)
		w.wantStatus(web, pods.StatusAvailable)
		if got := w.cluster.counts().applied[0].Env["TOKEN"]; got != "bound" {
			w.t.Errorf("environment: got %q, want what was bound", got)
		}
	}, func(w *world) {
		w.deps.Bind = func(_ context.Context, p pods.Pod, e pods.Effective, wl *pods.Workload) error {
			if p.Key != web || e.Image != "podway/hello" {
				return errors.New("another pod")
			}
			wl.Env["TOKEN"] = "bound"
			return nil
		}
	})
}

func TestAPodThatCantHaveWhatItRefersToIsAnError(t *testing.T) {
	inWorld(t, func(w *world) {
		w.create(web)
		w.pass(time.Minute)
		w.wantStatus(web, pods.StatusError)
		p, _ := w.store.get(web)
		if got := p.State.Container.Message; !strings.Contains(got, "secret_map, PW: user 'ann' has no secret 'pw'") {
			w.t.Errorf("message: got %q, want the reason", got)
		}
		if got := len(w.cluster.counts().applied); got != 0 {
			w.t.Errorf("the cluster was called %d times", got)
		}
	}, func(w *world) {
		w.deps.Bind = func(context.Context, pods.Pod, pods.Effective, *pods.Workload) error {
			return pods.Errorf(pods.Invalid, "secret_map, PW: user 'ann' has no secret 'pw'.")
		}
	})
}

func TestAFaultOfTheStoreIsNoFailedStart(t *testing.T) {
	var store faults
	inWorld(t, func(w *world) {
		w.create(web)
		w.pass(10 * time.Second)
		w.wantStatus(web, pods.StatusSpawnerSetup)
		if p, _ := w.store.get(web); p.State.Attempts != 0 {
			w.t.Errorf("attempts: got %d, want none", p.State.Attempts)
		}
		store.always(nil)
		w.pass(time.Minute)
		w.wantStatus(web, pods.StatusAvailable)
	}, func(w *world) {
		store.always(errBroken)
		w.deps.Bind = func(context.Context, pods.Pod, pods.Effective, *pods.Workload) error { return store.err() }
	})
}
