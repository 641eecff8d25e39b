package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/tests/parts"
)

var errBroken = errors.New("broken")

// world is a reconciler with everything around it. Its time is that of a
// synctest bubble.
type world struct {
	t       *testing.T
	store   *fakeStore
	cluster *fakeCluster
	routes  *fakeRoutes
	tenants *fakeTenants
	deps    Deps
	r       *Reconciler
	stop    func()
	full    atomic.Int32 // full passes that ended
	log     *parts.Output
}

func newWorld(t *testing.T) *world {
	w := &world{
		t: t, store: newFakeStore(), cluster: newFakeCluster(), routes: newFakeRoutes(),
		tenants: new(fakeTenants), log: new(parts.Output), stop: func() {},
	}
	settings := pods.DefaultSettings()
	w.deps = Deps{
		Store: w.store, Cluster: w.cluster, Routes: w.routes, Tenants: w.tenants, Pods: settings,
		AfterFullPass: func(context.Context) error { w.full.Add(1); return nil },
		Logger:        slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	return w
}

// start starts a reconciler, which stands for the start of a control plane.
func (w *world) start() {
	w.r = New(w.deps)
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- w.r.Run(ctx) }()
	w.stop = func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("running: got %v, want nil", err)
		}
		w.stop = func() {}
	}
	w.pass(0)
}

// pass lets time pass, and everything come to rest.
func (w *world) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// inWorld runs a test against a started reconciler.
func inWorld(t *testing.T, test func(w *world), prepare ...func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for _, f := range prepare {
			f(w)
		}
		w.start()
		test(w)
		w.stop()
	})
}

// put stores a pod as the API does, without telling the reconciler.
func (w *world) put(k pods.Key, want pods.Requested, change ...func(*pods.Definition)) {
	w.t.Helper()
	d := pods.Definition{
		Image:                pods.Set("podway/hello"),
		EnvironmentVariables: pods.Set(map[string]string{"TOKEN": "secret-canary", "PASSWORD": "<<TAPIS_user_password>>"}),
	}
	for _, f := range change {
		f(&d)
	}
	p := pods.Pod{Key: k, UID: pods.NewUID(), Site: "dev", Owner: "testuser", Definition: d, Requested: want}
	p.State = pods.State{Status: pods.StatusRequested, Since: time.Now()}
	if want == pods.Off {
		p.State.Status = pods.StatusStopped
	}
	first := pods.Event{At: time.Now(), Text: "Pod object created by 'testuser'"}
	if err := w.store.CreatePod(w.t.Context(), p, pods.Credentials{}, first); err != nil {
		w.t.Fatal(err)
	}
}

// create stores a pod and lets the reconciler do what it can at once.
func (w *world) create(k pods.Key, change ...func(*pods.Definition)) {
	w.t.Helper()
	w.put(k, pods.On, change...)
	w.r.Enqueue(k)
	w.pass(0)
}

// ask is a request of the pod's user.
func (w *world) ask(k pods.Key, want pods.Requested) {
	w.store.request(k, want)
	w.r.Enqueue(k)
	w.pass(0)
}

// del deletes a pod as the API does.
func (w *world) del(k pods.Key) {
	w.t.Helper()
	if err := w.store.DeletePod(w.t.Context(), k); err != nil {
		w.t.Fatal(err)
	}
	w.r.Enqueue(k)
	w.pass(0)
}

func (w *world) wantStatus(k pods.Key, want pods.Status) {
	w.t.Helper()
	p, ok := w.store.get(k)
	if !ok || p.State.Status != want {
		w.t.Errorf("status of %v: got %q (%q), want %q", k, p.State.Status, p.State.Container.Message, want)
	}
}

func (w *world) wantRoute(k pods.Key, want routes.State) {
	w.t.Helper()
	if got := w.routes.state(k); got != want {
		w.t.Errorf("route of %v: got %q, want %q", k, got, want)
	}
}

func (w *world) wantNothingLeft(k pods.Key) {
	w.t.Helper()
	if o := w.cluster.see(k); o.Present || o.Retained || o.Terminating {
		w.t.Errorf("cluster: got %+v, want nothing", o)
	}
	if rs := w.routes.of(k); len(rs) != 0 {
		w.t.Errorf("routes: got %v, want none", rs)
	}
}

func wantList[T comparable](t *testing.T, what string, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got\n%v, want\n%v", what, got, want)
	}
}

func TestACreatedPodIsAvailableAtOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		w.create(web)
		w.wantStatus(web, pods.StatusAvailable)
		w.wantRoute(web, routes.Live)
		wantList(w.t, "statuses", w.store.takeStatuses(web), []pods.Status{
			pods.StatusSpawnerSetup, pods.StatusCreating, pods.StatusAvailable,
		})
		wantList(w.t, "action log", w.store.texts(web), []string{
			"Pod object created by 'testuser'",
			"spawner set status to CREATING",
			"health set status to AVAILABLE",
		})
		p, _ := w.store.get(web)
		if got, want := p.State.Container.Message, "Pod is running."; got != want {
			w.t.Errorf("message: got %q, want %q", got, want)
		}
		if want := time.Now().Add(12 * time.Hour).UTC(); p.State.StopAt == nil || !p.State.StopAt.Equal(want) {
			w.t.Errorf("time to stop: got %v, want %v", p.State.StopAt, want)
		}
		if got := w.cluster.counts().applied[0]; got.Env["PASSWORD"] != "secret-canary" || got.UID != p.UID {
			w.t.Errorf("workload: got %+v", got)
		}
	})
}

func TestARouteIsLiveWhenThePodIsReady(t *testing.T) {
	inWorld(t, func(w *world) {
		w.create(web)
		w.wantStatus(web, pods.StatusCreating)
		w.wantRoute(web, routes.Starting)
		w.pass(time.Second)
		w.wantStatus(web, pods.StatusAvailable)
		w.wantRoute(web, routes.Starting)
		w.pass(time.Second)
		w.wantRoute(web, routes.Live)
		if p, _ := w.store.get(web); !p.State.Ready {
			w.t.Error("the pod is not ready")
		}
		w.cluster.change(web, func(o *object) { o.Ready = false })
		w.pass(0)
		w.wantStatus(web, pods.StatusAvailable)
		w.wantRoute(web, routes.Starting)
	}, func(w *world) { w.cluster.startDelay, w.cluster.readyDelay = time.Second, time.Second })
}

func TestStopAndStart(t *testing.T) {
	inWorld(t, func(w *world) {
		w.create(web, func(d *pods.Definition) { d.TimeToStopInstance = pods.Set(600) })
		w.store.takeTexts(web)
		w.store.takeStatuses(web)
		var atRemoval routes.State
		w.cluster.whenRemoving(func(k pods.Key) { atRemoval = w.routes.state(k) })

		w.ask(web, pods.Off)
		if atRemoval != routes.Deleting {
			w.t.Errorf("route when the cluster was called: got %q, want %q", atRemoval, routes.Deleting)
		}
		w.wantStatus(web, pods.StatusDeleting)
		w.pass(10 * time.Second)
		w.wantStatus(web, pods.StatusStopped)
		w.wantRoute(web, routes.Stopped)
		wantList(w.t, "statuses", w.store.takeStatuses(web), []pods.Status{pods.StatusDeleting, pods.StatusStopped})
		wantList(w.t, "action log", w.store.takeTexts(web), []string{
			"health found running OFF pod, set status to DELETING", "health set status to STOPPED",
		})
		p, _ := w.store.get(web)
		if p.State.StartedAt != nil || p.State.StopAt != nil || p.State.Container != (pods.ContainerStatus{}) {
			w.t.Errorf("state: got %+v", p.State)
		}
		if p.Definition.TimeToStopInstance.IsSet() {
			w.t.Error("time_to_stop_instance outlived its run")
		}
		if o := w.cluster.see(web); !o.Retained {
			w.t.Error("the storage is gone")
		}
		if logs, _ := w.store.Logs(w.t.Context(), web); !strings.Contains(string(logs), "hello from run 1") {
			w.t.Errorf("logs: got %q", logs)
		}

		w.ask(web, pods.On)
		w.wantStatus(web, pods.StatusAvailable)
		w.wantRoute(web, routes.Live)
		wantList(w.t, "action log", w.store.takeTexts(web), []string{
			"health found ON pod set to STOPPED, set status to REQUESTED",
			"spawner set status to CREATING", "health set status to AVAILABLE",
		})
	}, func(w *world) { w.cluster.stopDelay = 10 * time.Second })
}

func TestRestart(t *testing.T) {
	inWorld(t, func(w *world) {
		w.create(web)
		w.store.takeTexts(web)
		first := w.routes.of(web)["default"].Instance
		w.ask(web, pods.Restart)
		w.wantRoute(web, routes.Starting)
		w.pass(time.Second)
		w.wantStatus(web, pods.StatusAvailable)
		w.wantRoute(web, routes.Live)
		if second := w.routes.of(web)["default"].Instance; second == first {
			w.t.Errorf("instance: got %q twice", second)
		}
		if p, _ := w.store.get(web); p.Requested != pods.On {
			w.t.Errorf("requested: got %s, want ON", p.Requested)
		}
		wantList(w.t, "action log", w.store.takeTexts(web), []string{
			"health found running RESTART pod, set status to DELETING",
			"health set status to STOPPED, set to ON",
			"health found ON pod set to STOPPED, set status to REQUESTED",
			"spawner set status to CREATING", "health set status to AVAILABLE",
		})

		// The same for a stopped pod.
		w.ask(web, pods.Off)
		w.pass(time.Second)
		w.ask(web, pods.Restart)
		w.wantStatus(web, pods.StatusAvailable)
	}, func(w *world) { w.cluster.stopDelay = time.Second })
}

func TestDelete(t *testing.T) {
	inWorld(t, func(w *world) {
		w.create(web)
		published := 0
		w.cluster.whenRemoving(func(k pods.Key) { published += len(w.routes.of(k)) })
		w.del(web)
		if published != 0 {
			w.t.Errorf("routes when the cluster was called: got %d, want none", published)
		}
		w.pass(time.Second)
		w.wantNothingLeft(web)
		if len(w.r.queue.items) != 0 {
			w.t.Errorf("queue: got %d items, want none", len(w.r.queue.items))
		}
	}, func(w *world) { w.cluster.stopDelay = time.Second })
}

func TestADeletionThatComesWhileThePodIsReadCounts(t *testing.T) {
	inWorld(t, func(w *world) {
		w.create(web)
		w.store.whenReading(func() { // the reconciler sees the pod for the last time
			if err := w.store.DeletePod(w.t.Context(), web); err != nil {
				w.t.Error(err)
			}
			w.r.Enqueue(web)
		})
		w.r.queue.hint(web)
		w.pass(time.Second)
		w.wantNothingLeft(web)
	})
}

func TestANewPodWaitsUntilAnEarlierOneWithItsIDIsGone(t *testing.T) {
	inWorld(t, func(w *world) {
		w.create(web)
		first, _ := w.store.get(web)
		// Deleted and made again before the reconciler got to look.
		if err := w.store.DeletePod(w.t.Context(), web); err != nil {
			w.t.Fatal(err)
		}
		w.create(web)
		w.wantStatus(web, pods.StatusRequested)
		w.wantRoute(web, routes.Starting)
		if p, _ := w.store.get(web); p.State.Container.Message != messageLeftover {
			w.t.Errorf("message: got %q", p.State.Container.Message)
		}
		w.pass(time.Minute)
		w.wantStatus(web, pods.StatusAvailable)
		w.wantRoute(web, routes.Live)
		if o := w.cluster.see(web); o.UID == first.UID {
			w.t.Error("the earlier pod's container was taken for the new one's")
		}
	}, func(w *world) { w.cluster.stopDelay = time.Minute })
}

func TestAPodThatVanishedStartsAgain(t *testing.T) {
	inWorld(t, func(w *world) {
		w.create(web)
		w.store.takeTexts(web)
		w.pass(time.Hour)
		w.cluster.vanish(web)
		w.pass(0)
		w.wantStatus(web, pods.StatusAvailable)
		w.wantRoute(web, routes.Live)
		wantList(w.t, "action log", w.store.takeTexts(web), []string{
			"health found no running pod, set status to STOPPED",
			"health found ON pod set to STOPPED, set status to REQUESTED",
			"spawner set status to CREATING", "health set status to AVAILABLE",
		})
	})
}

func TestAPodThatVanishesAgainAndAgainFails(t *testing.T) {
	inWorld(t, func(w *world) {
		w.create(web)
		for range 100 {
			w.cluster.vanish(web)
			w.pass(time.Second)
		}
		w.pass(time.Hour)
		w.wantStatus(web, pods.StatusError)
		w.wantRoute(web, routes.Error)
		if got := len(w.cluster.counts().applied); got != std.MaxAttempts {
			w.t.Errorf("starts: got %d, want %d", got, std.MaxAttempts)
		}
		w.ask(web, pods.Restart)
		w.wantStatus(web, pods.StatusAvailable)
	})
}

func TestAContainerThatEndedIsNotStartedAgain(t *testing.T) {
	for _, tt := range []struct {
		name   string
		reason string
		code   int
		status pods.Status
		route  routes.State
		text   string
	}{
		{"with success", "Completed", 0, pods.StatusComplete, routes.Finished, "health found pod in succeeded, set status to COMPLETE"},
		{"with a failure", "Error", 1, pods.StatusError, routes.Error, "health found pod in terminated state, set status to ERROR"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.create(web)
				w.store.takeTexts(web)
				w.cluster.exit(web, tt.reason, tt.code)
				w.pass(0)
				w.wantStatus(web, tt.status)
				w.wantRoute(web, tt.route)
				wantList(w.t, "action log", w.store.takeTexts(web), []string{tt.text})
				if logs, _ := w.store.Logs(w.t.Context(), web); string(logs) != "hello from run 1\n" {
					w.t.Errorf("logs: got %q", logs)
				}
				w.pass(24 * time.Hour)
				w.wantStatus(web, tt.status)
				if got := w.cluster.calls(); got != 1 {
					w.t.Errorf("calls of the cluster: got %d, want 1", got)
				}
				w.ask(web, pods.Restart)
				w.wantStatus(web, pods.StatusAvailable)
			})
		})
	}
}

func TestAStartThatFailsIsTriedABoundedNumberOfTimes(t *testing.T) {
	inWorld(t, func(w *world) {
		w.cluster.faults.always(pods.Errorf(pods.TooMany, "The quota is used up."))
		w.create(web, func(d *pods.Definition) { d.TimeToStopInstance = pods.Set(600) })
		w.wantStatus(web, pods.StatusRequested)
		w.wantRoute(web, routes.Starting)
		p, _ := w.store.get(web)
		if got, want := p.State.Container.Message, "Pod could not be created: The quota is used up. Trying again (attempt 2 of 6)."; got != want {
			w.t.Errorf("message: got %q, want %q", got, want)
		}
		wantList(w.t, "action log", w.store.takeTexts(web), []string{
			"Pod object created by 'testuser'",
			"spawner got error when creating pod, set status to DELETING",
			"health found no running pod, set status to STOPPED",
			"health found ON pod set to STOPPED, set status to REQUESTED",
		})
		w.pass(31*time.Second - time.Millisecond)
		w.wantStatus(web, pods.StatusRequested)
		w.pass(time.Millisecond)
		w.wantStatus(web, pods.StatusError)
		w.wantRoute(web, routes.Error)
		p, _ = w.store.get(web)
		if got, want := p.State.Container.Message, "Pod could not be created: The quota is used up."; got != want {
			w.t.Errorf("message: got %q, want %q", got, want)
		}
		if got := p.Definition.TimeToStopInstance.Or(0); got != 600 {
			w.t.Errorf("time_to_stop_instance: got %d, want what the user set", got)
		}
		calls := w.cluster.faults.count()
		w.pass(24 * time.Hour)
		if got := w.cluster.faults.count(); calls != std.MaxAttempts || got != calls {
			w.t.Errorf("calls: got %d, later %d, want %d", calls, got, std.MaxAttempts)
		}
		w.cluster.faults.always(nil)
		w.ask(web, pods.Restart)
		w.wantStatus(web, pods.StatusAvailable)
	})
}

func TestAStartThatSucceedsAtTheSecondAttempt(t *testing.T) {
	inWorld(t, func(w *world) {
		w.cluster.faults.next(errBroken)
		w.create(web)
		w.wantStatus(web, pods.StatusRequested)
		w.pass(time.Second)
		w.wantStatus(web, pods.StatusAvailable)
	})
}

func TestAPodTheClusterCallsInvalidFailsAtOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		w.cluster.faults.always(pods.Errorf(pods.Invalid, "Image x is not in the catalogue."))
		w.create(web)
		w.wantStatus(web, pods.StatusError)
		p, _ := w.store.get(web)
		if got, want := p.State.Container.Message, "Pod could not be created: Image x is not in the catalogue."; got != want {
			w.t.Errorf("message: got %q, want %q", got, want)
		}
		w.pass(time.Hour)
		if got := w.cluster.faults.count(); got != 1 {
			w.t.Errorf("calls: got %d, want 1", got)
		}
	})
}

func TestTheClusterDoesNotAnswerForTenMinutes(t *testing.T) {
	for _, lost := range []bool{false, true} {
		t.Run(fmt.Sprintf("calls have an effect all the same: %v", lost), func(t *testing.T) {
			inWorld(t, func(w *world) {
				running, stopping := pods.Key{Tenant: "dev", ID: "running"}, pods.Key{Tenant: "dev", ID: "stopping"}
				deleted := pods.Key{Tenant: "dev", ID: "deleted"}
				for _, k := range []pods.Key{running, stopping, deleted} {
					w.create(k)
				}
				w.cluster.lostAnswers.Store(lost)
				w.cluster.faults.always(pods.Errorf(pods.Unavailable, "the API server is away"))
				before := w.cluster.faults.count()
				w.create(web, func(d *pods.Definition) { d.TimeToStopInstance = pods.Set(3600) })
				w.ask(stopping, pods.Off)
				w.del(deleted)
				if got := w.routes.state(stopping); got == routes.Live {
					w.t.Errorf("route of a pod that shall be OFF: got %q", got)
				}
				w.pass(10 * time.Minute)
				w.wantStatus(running, pods.StatusAvailable)
				w.wantRoute(running, routes.Live)
				if got := w.cluster.faults.count() - before; got > 3*60 {
					w.t.Errorf("calls: got %d in 10 minutes for 3 pods", got)
				}
				w.cluster.faults.always(nil)
				w.pass(std.MaxBackoff)
				w.wantStatus(web, pods.StatusAvailable)
				w.wantStatus(stopping, pods.StatusStopped)
				w.wantNothingLeft(deleted)
				if p, _ := w.store.get(web); p.Definition.TimeToStopInstance.Or(0) != 3600 {
					w.t.Error("what the user set for this run is lost")
				}
			})
		})
	}
}

func TestTheClusterCantBeSeen(t *testing.T) {
	inWorld(t, func(w *world) {
		w.create(keyA)
		w.create(keyB)
		w.cluster.views.always(errBroken)
		w.ask(keyA, pods.Off)
		w.wantRoute(keyA, routes.Deleting) // what the user does not want is withdrawn
		w.pass(time.Minute)
		w.wantStatus(keyB, pods.StatusAvailable)
		w.wantRoute(keyB, routes.Live)
		w.cluster.views.always(nil)
		w.pass(std.MaxBackoff)
		w.wantStatus(keyA, pods.StatusStopped)
		w.wantRoute(keyA, routes.Stopped)
	})
}

func TestTheStoreIsDown(t *testing.T) {
	inWorld(t, func(w *world) {
		w.create(web)
		calls, writes := w.cluster.calls(), w.routes.count()
		w.store.faults.always(errBroken)
		w.cluster.exit(web, "Error", 1)
		w.pass(10 * time.Minute)
		if got := w.cluster.calls(); got != calls {
			w.t.Errorf("calls of the cluster: got %d, want %d", got, calls)
		}
		if w.routes.count() != writes {
			w.t.Error("routes were written")
		}
		w.store.faults.always(nil)
		w.pass(std.MaxBackoff)
		w.wantStatus(web, pods.StatusError)
		w.wantRoute(web, routes.Error)
	})
}

func TestRedisIsDown(t *testing.T) {
	inWorld(t, func(w *world) {
		w.create(keyA)
		w.create(keyB)
		w.routes.faults.always(errBroken)

		w.create(web)
		w.wantStatus(web, pods.StatusAvailable) // starts do not wait
		w.ask(keyA, pods.Off)
		w.del(keyB)
		w.pass(std.WithdrawFor - time.Second)
		w.wantStatus(keyA, pods.StatusDeleting) // removals wait, for edges may still lead there
		if c := w.cluster.counts(); len(c.removed)+len(c.purged) != 0 {
			w.t.Errorf("removals: got %v and %v, want none yet", c.removed, c.purged)
		}
		w.pass(2 * std.MaxBackoff)
		w.wantStatus(keyA, pods.StatusStopped) // but not for ever
		if o := w.cluster.see(keyB); o.Present {
			w.t.Error("the deleted pod runs on")
		}

		w.routes.faults.always(nil)
		w.pass(std.MaxBackoff)
		w.wantRoute(web, routes.Live)
		w.wantRoute(keyA, routes.Stopped)
		w.wantNothingLeft(keyB)
	})
}

func TestTimeToStop(t *testing.T) {
	inWorld(t, func(w *world) {
		w.create(web, func(d *pods.Definition) { d.TimeToStopDefault = pods.Set(300) })
		w.store.takeTexts(web)
		w.pass(5*time.Minute - time.Millisecond)
		w.wantStatus(web, pods.StatusAvailable)
		w.pass(time.Millisecond)
		w.wantStatus(web, pods.StatusStopped)
		w.wantRoute(web, routes.Stopped)
		if p, _ := w.store.get(web); p.Requested != pods.Off {
			w.t.Errorf("requested: got %s, want OFF", p.Requested)
		}
		wantList(w.t, "action log", w.store.takeTexts(web), []string{
			"health set pod to OFF due to time_to_stop trigger",
			"health found running OFF pod, set status to DELETING",
			"health set status to STOPPED",
		})
	})
}

func TestTimeToStopMovesWithTheSetting(t *testing.T) {
	set := func(w *world, seconds int) {
		w.store.change(web, func(p *pods.Pod) { p.Definition.TimeToStopInstance = pods.Set(seconds) })
		w.r.Enqueue(web)
		w.pass(0)
	}
	inWorld(t, func(w *world) {
		w.create(web, func(d *pods.Definition) { d.TimeToStopDefault = pods.Set(300) })
		w.pass(time.Minute)
		set(w, 600)
		w.pass(8 * time.Minute)
		w.wantStatus(web, pods.StatusAvailable)
		set(w, -1)
		if p, _ := w.store.get(web); p.State.StopAt != nil {
			w.t.Errorf("deadline: got %v, want none", p.State.StopAt)
		}
		w.pass(time.Hour)
		w.wantStatus(web, pods.StatusAvailable)
		set(w, 300) // over long ago
		w.wantStatus(web, pods.StatusStopped)
	})
}

func TestAUsersWriteBetweenReadAndSaveCounts(t *testing.T) {
	inWorld(t, func(w *world) {
		w.create(web, func(d *pods.Definition) { d.TimeToStopDefault = pods.Set(300) })
		// The user restarts the pod while the reconciler is about to turn it OFF.
		w.pass(5*time.Minute - time.Second)
		w.store.onSave(func() { w.store.request(web, pods.Restart) })
		w.pass(time.Second)
		w.wantStatus(web, pods.StatusAvailable)
		if p, _ := w.store.get(web); p.Requested != pods.On {
			w.t.Errorf("requested: got %s, want ON", p.Requested)
		}

		// Even a deletion counts.
		w.store.onSave(func() {
			if err := w.store.DeletePod(w.t.Context(), web); err != nil {
				w.t.Error(err)
			}
			w.r.Enqueue(web)
		})
		w.cluster.exit(web, "Error", 1)
		w.pass(0)
		w.wantNothingLeft(web)
	})
}

func TestAPodWithoutAUsableDefinitionBlocksNobody(t *testing.T) {
	bad := func(d *pods.Definition) { d.Resources = pods.Set(pods.ResourcesDef{MemLimit: pods.Set(-5)}) }
	inWorld(t, func(w *world) {
		w.create(keyA, bad)
		w.create(keyB)
		w.wantStatus(keyA, pods.StatusError)
		w.wantRoute(keyA, routes.Error)
		w.wantStatus(keyB, pods.StatusAvailable)
		w.ask(keyA, pods.Off)
		w.wantStatus(keyA, pods.StatusStopped)
		w.wantRoute(keyA, routes.Stopped)
		w.del(keyA)
		w.wantNothingLeft(keyA)

		// A running pod whose definition became unusable runs on.
		before := w.routes.of(keyB)["default"]
		w.store.change(keyB, func(p *pods.Pod) { bad(&p.Definition) })
		w.r.Enqueue(keyB)
		w.pass(time.Hour)
		w.wantStatus(keyB, pods.StatusAvailable)
		if got := w.routes.of(keyB)["default"]; fmt.Sprint(got) != fmt.Sprint(before) {
			w.t.Errorf("route: got %v, want %v", got, before)
		}
		w.ask(keyB, pods.Off)
		w.wantStatus(keyB, pods.StatusStopped)
		w.wantRoute(keyB, routes.Stopped)
	})
}

func TestTemplatesTakePart(t *testing.T) {
	inWorld(t, func(w *world) {
		w.create(web, func(d *pods.Definition) { d.Template = pods.Set("base:latest@2026-01-01-00:00:00") })
		w.wantStatus(web, pods.StatusAvailable)
		rs := w.routes.of(web)
		if up := rs["console"].Upstreams; len(rs) != 1 || len(up) != 1 || !strings.HasSuffix(up[0], ":7000") {
			w.t.Errorf("routes: got %v, want the template's entry", rs)
		}
	}, func(w *world) {
		w.deps.Templates = func(context.Context, pods.Pod) ([]pods.Definition, error) {
			return []pods.Definition{{Networking: pods.Set(map[string]pods.NetDef{"console": {Port: pods.Set(7000)}})}}, nil
		}
	})
}

func TestATenantThatCantBeLookedUp(t *testing.T) {
	inWorld(t, func(w *world) {
		w.create(keyA)
		w.create(keyB)
		w.tenants.faults.always(pods.Errorf(pods.Unavailable, "Tapis is away"))
		w.create(web)
		w.wantStatus(web, pods.StatusRequested) // waits
		w.ask(keyA, pods.Off)
		w.wantStatus(keyA, pods.StatusStopped) // does not
		if s := w.routes.state(keyA); s == routes.Live {
			w.t.Errorf("route of a stopped pod: got %q", s)
		}
		w.pass(10 * time.Minute)
		w.wantStatus(keyB, pods.StatusAvailable)
		w.wantRoute(keyB, routes.Live)
		w.tenants.faults.always(nil)
		w.pass(std.MaxBackoff)
		w.wantStatus(web, pods.StatusAvailable)
		w.wantRoute(keyA, routes.Stopped)
	})
}

func TestAForeignObjectIsLeftAlone(t *testing.T) {
	inWorld(t, func(w *world) {
		w.create(web)
		w.wantStatus(web, pods.StatusError)
		w.wantRoute(web, routes.Error)
		w.ask(web, pods.Off)
		w.wantStatus(web, pods.StatusStopped)
		w.del(web)
		if got := w.cluster.calls(); got != 0 {
			w.t.Errorf("calls of the cluster: got %d, want none", got)
		}
	}, func(w *world) {
		w.cluster.objects[web] = &object{Observation: pods.Observation{Key: web, Foreign: "pod x/pods-dev-dev-web"}}
	})
}

func TestOrphans(t *testing.T) {
	orphan := func(w *world) {
		w.cluster.objects[web] = &object{Observation: seen(pods.PhaseRunning)}
		w.routes.pods[routes.PodRef{Tenant: "dev", Pod: "web"}] = []routes.Route{{Host: "web.pods.dev.localhost"}}
		w.routes.pods[routes.PodRef{Tenant: "dev", Pod: "old"}] = []routes.Route{{Host: "old.pods.dev.localhost"}}
	}
	t.Run("stop at once and lose their storage after a while", func(t *testing.T) {
		inWorld(t, func(w *world) {
			if o := w.cluster.see(web); o.Present || !o.Retained {
				w.t.Errorf("got %+v, want storage only", o)
			}
			if len(w.routes.all()) != 0 {
				w.t.Errorf("routes: got %v, want none", w.routes.all())
			}
			w.pass(std.OrphanGrace + std.Resync)
			w.wantNothingLeft(web)
		}, orphan)
	})
	t.Run("that the cluster tells of lose their storage no sooner", func(t *testing.T) {
		inWorld(t, func(w *world) {
			w.cluster.appear(seen(pods.PhaseRunning))
			w.pass(std.Recheck)
			if o := w.cluster.see(web); o.Present || !o.Retained {
				w.t.Errorf("got %+v, want storage only", o)
			}
			w.pass(std.OrphanGrace + std.Resync)
			w.wantNothingLeft(web)
		})
	})
	t.Run("are those of a wrong database, and run again with the right one", func(t *testing.T) {
		inWorld(t, func(w *world) {
			w.create(web)
			right, _ := w.store.get(web)
			w.stop()
			if err := w.store.DeletePod(w.t.Context(), web); err != nil {
				w.t.Fatal(err)
			}
			w.start()
			w.pass(5 * time.Minute)
			w.stop()
			if err := w.store.CreatePod(w.t.Context(), right, pods.Credentials{}, pods.Event{}); err != nil {
				w.t.Fatal(err)
			}
			w.start()
			w.wantStatus(web, pods.StatusAvailable)
			w.wantRoute(web, routes.Live)
			if n := len(w.cluster.counts().purged); n != 0 {
				w.t.Error("its storage was purged")
			}
		})
	})
	t.Run("are left alone while the store can't be read", func(t *testing.T) {
		inWorld(t, func(w *world) {
			w.pass(time.Hour)
			if o := w.cluster.see(web); !o.Present {
				w.t.Errorf("got %+v, want it to run on", o)
			}
			if len(w.routes.all()) != 2 {
				w.t.Errorf("routes: got %v, want both", w.routes.all())
			}
		}, orphan, func(w *world) { w.store.faults.always(errBroken) })
	})
	t.Run("are not the storage of a pod that comes back to the store", func(t *testing.T) {
		inWorld(t, func(w *world) {
			w.put(web, pods.On)
			w.store.change(web, func(p *pods.Pod) { p.UID = "uid1" })
			w.pass(std.OrphanGrace + std.Resync)
			w.wantStatus(web, pods.StatusAvailable)
			if len(w.cluster.counts().purged) != 0 {
				w.t.Error("its storage was purged")
			}
		}, orphan)
	})
	t.Run("are purged at once when somebody says that they were deleted", func(t *testing.T) {
		inWorld(t, func(w *world) {
			w.r.Enqueue(web)
			w.pass(std.Recheck)
			w.wantNothingLeft(web)
		}, orphan)
	})
}

func TestEventsThatAreLostCostAFullPassAtMost(t *testing.T) {
	inWorld(t, func(w *world) {
		w.put(web, pods.On) // nobody tells
		w.pass(std.Resync)
		w.pass(std.Resync)
		w.wantStatus(web, pods.StatusAvailable)
		w.wantRoute(web, routes.Live)
		w.store.request(web, pods.Off)
		w.pass(std.Resync + std.Recheck)
		w.wantStatus(web, pods.StatusStopped)
		if err := w.store.DeletePod(w.t.Context(), web); err != nil {
			w.t.Fatal(err)
		}
		w.pass(std.Resync + std.OrphanGrace + std.Resync)
		w.wantNothingLeft(web)
	}, func(w *world) {
		w.cluster.startDelay, w.cluster.readyDelay, w.cluster.stopDelay = time.Second, time.Second, time.Second
		w.cluster.eventDelays = func() []time.Duration { return nil }
	})
}

func TestAWatchThatEndsBeginsAgain(t *testing.T) {
	inWorld(t, func(w *world) {
		w.create(web)
		w.pass(time.Minute)
		if got := w.cluster.stops.count(); got != 4 {
			w.t.Errorf("watches: got %d, want 4", got)
		}
		w.cluster.exit(web, "Error", 1)
		w.pass(0)
		w.wantStatus(web, pods.StatusError)
	}, func(w *world) { w.cluster.stops.next(errBroken, errBroken, errBroken) })
}

func TestAfterFullPass(t *testing.T) {
	t.Run("comes when every pod's routes were published", func(t *testing.T) {
		inWorld(t, func(w *world) {
			if got := w.full.Load(); got != 1 {
				w.t.Errorf("full passes of an empty store: got %d, want 1", got)
			}
			w.create(keyA)
			w.create(keyB)
			w.pass(std.Resync)
			if got := w.full.Load(); got != 2 {
				w.t.Errorf("full passes: got %d, want 2", got)
			}
		})
	})
	t.Run("does not come while one could not be published", func(t *testing.T) {
		inWorld(t, func(w *world) {
			if got := w.full.Load(); got != 0 {
				w.t.Errorf("full passes: got %d, want none", got)
			}
			w.pass(time.Minute)
			if got := w.full.Load(); got != 0 {
				w.t.Errorf("full passes: got %d, want none", got)
			}
			w.routes.faults.always(nil)
			w.pass(std.MaxBackoff)
			if got := w.full.Load(); got == 0 {
				w.t.Error("got no full pass after the fault")
			}
			w.wantRoute(keyA, routes.Starting)
		}, func(w *world) {
			w.put(keyA, pods.On)
			w.cluster.startDelay = time.Hour
			w.routes.faults.always(errBroken)
		})
	})
	t.Run("does not come while the store can't be read, and what is published stays", func(t *testing.T) {
		inWorld(t, func(w *world) {
			w.pass(10 * time.Minute)
			if got := w.full.Load(); got != 0 {
				w.t.Errorf("full passes: got %d, want none", got)
			}
		}, func(w *world) { w.store.faults.always(errBroken) })
	})
	t.Run("comes again after everything was published again", func(t *testing.T) {
		inWorld(t, func(w *world) {
			w.pass(time.Second)
			before := w.full.Load()
			w.routes.wipe()
			w.r.EnqueueAll()
			w.pass(0)
			w.wantRoute(keyA, routes.Live)
			w.wantRoute(keyB, routes.Live)
			if got := w.full.Load(); got != before+1 {
				w.t.Errorf("full passes: got %d, want %d", got, before+1)
			}
		}, func(w *world) { w.put(keyA, pods.On); w.put(keyB, pods.On) })
	})
	t.Run("does not come for a pass whose routes were lost", func(t *testing.T) {
		inWorld(t, func(w *world) {
			before := w.full.Load()
			w.routes.faults.always(errBroken)
			w.r.EnqueueAll()
			w.pass(time.Minute)
			if got := w.full.Load(); got != before {
				w.t.Errorf("full passes: got %d, want %d", got, before)
			}
		}, func(w *world) { w.put(keyA, pods.On) })
	})
}

// panicCluster panics for one pod.
type panicCluster struct{ *fakeCluster }

func (c panicCluster) Apply(ctx context.Context, w pods.Workload) error {
	if w.Key == keyA {
		panic("a fault of ours")
	}
	return c.fakeCluster.Apply(ctx, w)
}

func TestAPanicStaysWithItsPod(t *testing.T) {
	inWorld(t, func(w *world) {
		w.create(keyA)
		w.create(keyB)
		w.wantStatus(keyB, pods.StatusAvailable)
		if !strings.Contains(w.log.String(), "a fault of ours") {
			w.t.Error("the panic is not in the log")
		}
		w.ask(keyA, pods.Off)
		w.wantStatus(keyA, pods.StatusStopped)
	}, func(w *world) { w.deps.Cluster = panicCluster{w.cluster} })
}

// slowCluster does not answer until the caller gives up.
type slowCluster struct{ *fakeCluster }

func (c slowCluster) Apply(ctx context.Context, w pods.Workload) error {
	if w.Key == keyA {
		<-ctx.Done()
		return ctx.Err()
	}
	return c.fakeCluster.Apply(ctx, w)
}

func TestACallThatHangsStaysWithItsPod(t *testing.T) {
	inWorld(t, func(w *world) {
		w.create(keyA)
		w.create(keyB)
		w.wantStatus(keyB, pods.StatusAvailable)
		w.pass(10 * time.Minute)
		if p, _ := w.store.get(keyA); p.State.Status == pods.StatusError {
			w.t.Errorf("got %q, want it to go on waiting", p.State.Container.Message)
		}
	}, func(w *world) {
		w.deps.Cluster = slowCluster{w.cluster}
		w.deps.Settings.Workers = 2
	})
}

func TestARouteThatCantBePublishedHurtsItsOwnHostOnly(t *testing.T) {
	inWorld(t, func(w *world) {
		w.create(web, func(d *pods.Definition) {
			d.Networking = pods.Set(map[string]pods.NetDef{
				"default": {Port: pods.Set(5000)},
				"wide":    {Port: pods.Set(5001)},
			})
		})
		w.wantRoute(web, routes.Live)
		if got := w.routes.of(web)["wide"].State; got != routes.Error {
			w.t.Errorf("got %q, want an error", got)
		}
	}, func(w *world) {
		w.deps.Cluster = oddCluster{w.cluster}
	})
}

// oddCluster gives one entry an address no edge would take.
type oddCluster struct{ *fakeCluster }

func (c oddCluster) Observe(ctx context.Context, k pods.Key) (pods.Observation, error) {
	o, err := c.fakeCluster.Observe(ctx, k)
	if o.Addresses != nil {
		o.Addresses = map[string][]string{"default": o.Addresses["default"], "wide": {"not an address"}}
	}
	return o, err
}

func TestNothingSecretIsLogged(t *testing.T) {
	inWorld(t, func(w *world) {
		w.cluster.faults.next(errBroken, pods.Errorf(pods.Conflict, "busy"))
		w.create(web)
		w.pass(time.Minute)
		w.cluster.exit(web, "Error", 1)
		w.pass(time.Minute)
		w.ask(web, pods.Restart)
		w.pass(time.Minute)
		w.del(web)
		if strings.Contains(w.log.String(), "secret-canary") {
			w.t.Error("a secret is in the log")
		}
		if !strings.Contains(w.log.String(), "pod_id=web") {
			w.t.Error("the log says nothing of the pod")
		}
	})
}

func TestARestingWorldIsLeftAlone(t *testing.T) {
	inWorld(t, func(w *world) {
		for i := range 20 {
			w.create(pods.Key{Tenant: "dev", ID: pods.ID(fmt.Sprintf("pod%d", i))}, func(d *pods.Definition) { d.TimeToStopDefault = pods.Set(-1) })
		}
		calls, writes, published := w.cluster.calls(), w.store.writes.count(), w.routes.count()
		w.pass(time.Hour)
		if w.cluster.calls() != calls || w.store.writes.count() != writes || w.routes.count() != published {
			w.t.Errorf("got %d calls, %d writes, %d published, want %d, %d, %d",
				w.cluster.calls(), w.store.writes.count(), w.routes.count(), calls, writes, published)
		}
	})
}

func TestRunCanBeCalledAgain(t *testing.T) {
	inWorld(t, func(w *world) {
		w.create(web)
		w.stop()
		w.store.request(web, pods.Off)
		ctx, cancel := context.WithCancel(w.t.Context())
		done := make(chan error)
		go func() { done <- w.r.Run(ctx) }()
		w.pass(std.Recheck) // the event of the end may come before the watch begins
		w.wantStatus(web, pods.StatusStopped)
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("got %v, want nil", err)
		}
	})
}
