package reconcile

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/routes"
)

// TestEverythingConverges lets users, the cluster and faults do what they like
// to a few pods, then repairs what was broken, but goes on losing events. After
// a while every pod has to be where its user wants it, or to say why not; the
// routes have to agree; nothing may be left of what is gone; and the reconciler
// has to be at rest.
func TestEverythingConverges(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		plan := drawPlan(rt)
		var problems []string
		synctest.Test(t, func(t *testing.T) { problems = plan.run(t) })
		if len(problems) > 0 {
			rt.Fatalf("%s", strings.Join(problems, "\n"))
		}
	})
}

// plan is one drawn course of events.
type plan struct {
	start, ready, stop  time.Duration
	loss, repeat, delay int // percent of the cluster's events
	seed                uint64
	acts                []act
}

// act is something that happens to a pod, or to everything.
type act struct {
	name string
	key  pods.Key
	n    int
	told bool // the reconciler is woken, as the API does
	then time.Duration
}

var propertyKeys = []pods.Key{
	{Tenant: "dev", ID: "aaa"}, {Tenant: "dev", ID: "bbb"}, {Tenant: "dev", ID: "ccc"},
}

func drawPlan(rt *rapid.T) plan {
	short := rapid.SampledFrom([]time.Duration{0, time.Millisecond, 700 * time.Millisecond, 20 * time.Second})
	percent := rapid.SampledFrom([]int{0, 10, 50, 100})
	names := make([]string, 0, len(acts))
	for name := range acts {
		names = append(names, name)
	}
	slices.Sort(names)
	one := rapid.Custom(func(rt *rapid.T) act {
		return act{
			name: rapid.SampledFrom(names).Draw(rt, "name"),
			key:  rapid.SampledFrom(propertyKeys).Draw(rt, "key"),
			n:    rapid.IntRange(1, 8).Draw(rt, "n"),
			told: rapid.Bool().Draw(rt, "told"),
			then: rapid.SampledFrom([]time.Duration{0, 0, time.Millisecond, time.Second, 40 * time.Second, 4 * time.Minute}).Draw(rt, "then"),
		}
	})
	return plan{
		start: short.Draw(rt, "start"), ready: short.Draw(rt, "ready"), stop: short.Draw(rt, "stop"),
		loss: percent.Draw(rt, "loss"), repeat: percent.Draw(rt, "repeat"), delay: percent.Draw(rt, "delay"),
		seed: rapid.Uint64().Draw(rt, "seed"),
		acts: rapid.SliceOfN(one, 1, 40).Draw(rt, "acts"),
	}
}

// acts is everything that can happen. A word before the dash says to whom.
var acts = map[string]func(w *world, a act){
	"user-create":  func(w *world, a act) { w.tryCreate(a.key, pods.On) },
	"user-create2": func(w *world, a act) { w.tryCreate(a.key, pods.On) }, // to have more pods to play with
	"user-prepare": func(w *world, a act) { w.tryCreate(a.key, pods.Off) },
	"user-delete":  func(w *world, a act) { _ = w.store.DeletePod(w.t.Context(), a.key) },
	"user-stop":    func(w *world, a act) { w.store.request(a.key, pods.Off) },
	"user-start":   func(w *world, a act) { w.store.request(a.key, pods.On) },
	"user-restart": func(w *world, a act) { w.store.request(a.key, pods.Restart) },
	"user-limit": func(w *world, a act) {
		w.store.change(a.key, func(p *pods.Pod) { p.Definition.TimeToStopInstance = pods.Set(300) })
	},

	"container-succeeds": func(w *world, a act) { w.cluster.exit(a.key, "Completed", 0) },
	"container-fails":    func(w *world, a act) { w.cluster.exit(a.key, "Error", a.n) },
	"container-vanishes": func(w *world, a act) { w.cluster.vanish(a.key) },
	"container-ends": func(w *world, a act) {
		w.cluster.change(a.key, func(o *object) {
			if o.Present && !o.Terminating {
				o.Terminating, o.Ready, o.Addresses = true, false, nil
				w.cluster.later(time.Duration(a.n)*time.Second, o, func() { w.cluster.forget(o) })
			}
		})
	},
	"container-waits": func(w *world, a act) {
		w.cluster.change(a.key, func(o *object) {
			if o.Present && o.Terminated == "" {
				o.Phase, o.Waiting, o.Ready, o.Addresses = pods.PhasePending, "ImagePullBackOff", false, nil
			}
		})
	},
	"container-not-ready": func(w *world, a act) {
		w.cluster.change(a.key, func(o *object) { o.Ready, o.Addresses = false, nil })
	},

	"cluster-fails":   func(w *world, a act) { w.cluster.faults.next(slices.Repeat([]error{errBroken}, a.n)...) },
	"cluster-away":    func(w *world, a act) { w.cluster.faults.next(slices.Repeat([]error{errAway}, a.n)...) },
	"cluster-refuses": func(w *world, _ act) { w.cluster.faults.next(pods.Errorf(pods.Invalid, "no such image")) },
	"cluster-blind":   func(w *world, a act) { w.cluster.views.next(slices.Repeat([]error{errBroken}, a.n)...) },
	"cluster-forgets": func(w *world, a act) { w.cluster.lostAnswers.Store(a.told) },
	"store-fails":     func(w *world, a act) { w.store.faults.next(slices.Repeat([]error{errBroken}, a.n)...) },
	"store-read-only": func(w *world, a act) { w.store.writes.next(slices.Repeat([]error{errBroken}, a.n)...) },
	"redis-fails":     func(w *world, a act) { w.routes.faults.next(slices.Repeat([]error{errBroken}, a.n)...) },
	"redis-down":      func(w *world, _ act) { w.routes.faults.always(errBroken) },
	"redis-up":        func(w *world, _ act) { w.routes.faults.always(nil) },
	"redis-emptied":   func(w *world, _ act) { w.routes.wipe(); w.r.EnqueueAll() },
	"tapis-away":      func(w *world, a act) { w.tenants.faults.next(slices.Repeat([]error{errAway}, a.n)...) },
	"control-plane-restarts": func(w *world, _ act) {
		w.stop()
		w.start()
	},
	"orphan-appears": func(w *world, a act) {
		if o := w.cluster.see(a.key); !exists(o) && !o.Retained {
			w.cluster.appear(seen(pods.PhaseRunning, func(o *pods.Observation) { o.Key, o.UID = a.key, "uid-of-nobody" }))
		}
	},
}

var errAway = pods.Errorf(pods.Unavailable, "away")

func (w *world) tryCreate(k pods.Key, want pods.Requested) {
	if _, ok := w.store.get(k); !ok {
		w.put(k, want)
	}
}

// run plays the plan and returns what is wrong at its end.
func (p plan) run(t *testing.T) []string {
	w := newWorld(t)
	w.deps.Settings.OrphanGrace = time.Minute
	w.cluster.startDelay, w.cluster.readyDelay, w.cluster.stopDelay = p.start, p.ready, p.stop
	w.cluster.eventDelays = p.eventDelays()
	var wild atomic.Int32 // removals of what edges still lead to
	w.cluster.whenRemoving(func(k pods.Key) {
		if w.routes.state(k) == routes.Live {
			wild.Add(1)
		}
	})
	w.start()
	for _, a := range p.acts {
		acts[a.name](w, a)
		if a.told && strings.HasPrefix(a.name, "user-") {
			w.r.Enqueue(a.key)
		}
		time.Sleep(a.then)
	}

	for _, f := range []*faults{
		&w.cluster.faults, &w.cluster.views, &w.store.faults, &w.store.writes, &w.routes.faults, &w.tenants.faults,
	} {
		f.always(nil)
	}
	w.cluster.lostAnswers.Store(false)
	before := w.cluster.calls()
	w.pass(30 * time.Minute)
	problems := w.check()
	redis := slices.ContainsFunc(p.acts, func(a act) bool { return strings.HasPrefix(a.name, "redis-") })
	if n := wild.Load(); n > 0 && !redis {
		problems = append(problems, fmt.Sprintf("%d removals while the route was live", n))
	}
	if n := w.cluster.calls() - before; n > 40*len(propertyKeys) {
		problems = append(problems, fmt.Sprintf("hot loop: %d calls of the cluster in 30 minutes", n))
	}
	calls, writes := w.cluster.calls(), w.store.writes.count()
	w.pass(5 * time.Minute)
	if w.cluster.calls() != calls || w.store.writes.count() != writes {
		problems = append(problems, "the reconciler does not come to rest")
	}
	w.stop()
	return problems
}

// eventDelays loses, repeats and delays events.
func (p plan) eventDelays() func() []time.Duration {
	var mu sync.Mutex
	rnd := rand.New(rand.NewPCG(p.seed, 1))
	return func() []time.Duration {
		mu.Lock()
		defer mu.Unlock()
		hits := func(percent int) bool { return rnd.IntN(100) < percent }
		var out []time.Duration
		for more := !hits(p.loss); more; more = len(out) < 3 && hits(p.repeat) {
			d := time.Duration(0)
			if hits(p.delay) {
				d = time.Duration(rnd.IntN(5000)) * time.Millisecond
			}
			out = append(out, d)
		}
		return out
	}
}

// check returns what is not as it has to be in a world at rest.
func (w *world) check() []string {
	var problems []string
	bad := func(k pods.Key, format string, args ...any) {
		p, _ := w.store.get(k)
		problems = append(problems, fmt.Sprintf("%v: %s\n\tpod %s %+v\n\tcluster %+v\n\troutes %v\n\tlog %q",
			k, fmt.Sprintf(format, args...), p.Requested, p.State, w.cluster.see(k), w.routes.of(k), w.store.texts(k)))
	}
	for _, k := range propertyKeys {
		p, stored := w.store.get(k)
		o := w.cluster.see(k)
		if !stored {
			if exists(o) || o.Retained || len(w.routes.of(k)) > 0 {
				bad(k, "something is left of a deleted pod")
			}
			continue
		}
		if leftover(p, o) {
			bad(k, "an earlier pod's objects are there")
		}
		if why := wrongStatus(p, o); why != "" {
			bad(k, "%s", why)
		}
		if got, want := w.routes.state(k), wantedRoute(p, o); got != want {
			bad(k, "route: got %q, want %q", got, want)
		}
		if route := w.routes.of(k)["default"]; route.State == routes.Live &&
			(route.Instance != o.Instance || !slices.Equal(route.Upstreams, o.Addresses["default"])) {
			bad(k, "the route leads elsewhere")
		}
		for i, s := range w.store.takeStatuses(k) {
			if i > 0 && s == "" {
				bad(k, "an empty status was written")
			}
		}
		if why := strangeText(w.store.texts(k)); why != "" {
			bad(k, "action log: %s", why)
		}
	}
	return problems
}

// wrongStatus says what is wrong with a pod's status at rest.
func wrongStatus(p pods.Pod, o pods.Observation) string {
	st := p.State
	switch p.Requested {
	case pods.Off:
		if st.Status != pods.StatusStopped || exists(o) || st.StartedAt != nil || st.Container != (pods.ContainerStatus{}) {
			return "an OFF pod is not at rest"
		}
	case pods.On:
		switch st.Status {
		case pods.StatusAvailable:
			if !runs(p, o) || st.Ready != o.Ready || st.Instance != o.Instance || st.StopAt == nil {
				return "an AVAILABLE pod is not as the cluster shows it"
			}
		case pods.StatusError, pods.StatusComplete:
			if runs(p, o) && o.Waiting == "" {
				return "a running pod is said to have ended"
			}
			if st.Container.Message == "" {
				return "nothing says why"
			}
		default:
			return "an ON pod is not at rest"
		}
	default:
		return "a RESTART does not end"
	}
	return ""
}

// wantedRoute is the route state that agrees with a pod at rest.
func wantedRoute(p pods.Pod, o pods.Observation) routes.State {
	switch {
	case p.Requested == pods.Off:
		return routes.Stopped
	case p.State.Status == pods.StatusError:
		return routes.Error
	case p.State.Status == pods.StatusComplete:
		return routes.Finished
	case o.Ready:
		return routes.Live
	default:
		return routes.Starting
	}
}

// strangeText returns a line of an action log that nobody should have written.
func strangeText(texts []string) string {
	known := []string{
		textApplied, textApplyFailed, textAvailable, textSucceeded, textWaiting, textTerminated, textStopped,
		textRestarted, textVanished, textRequested, textTimeToStop, textGaveUp,
		fmt.Sprintf(textRemoving, pods.Off), fmt.Sprintf(textRemoving, pods.Restart),
		std.stalledText(pods.StatusCreating), std.stalledText(pods.StatusSpawnerSetup),
	}
	for _, text := range texts {
		if !slices.Contains(known, text) && !strings.HasPrefix(text, "Pod object created by") {
			return text
		}
	}
	return ""
}

// TestStatusesFollowTheDiagram checks the edges between statuses over the same
// courses of events.
func TestStatusesFollowTheDiagram(t *testing.T) {
	edges := map[pods.Status][]pods.Status{
		pods.StatusRequested:    {pods.StatusSpawnerSetup, pods.StatusError, pods.StatusDeleting},
		pods.StatusSpawnerSetup: {pods.StatusCreating, pods.StatusStopped, pods.StatusError, pods.StatusDeleting},
		pods.StatusCreating:     {pods.StatusAvailable, pods.StatusComplete, pods.StatusStopped, pods.StatusError, pods.StatusDeleting},
		pods.StatusAvailable:    {pods.StatusComplete, pods.StatusStopped, pods.StatusError, pods.StatusDeleting},
		pods.StatusComplete:     {pods.StatusAvailable, pods.StatusError, pods.StatusDeleting},
		pods.StatusError:        {pods.StatusAvailable, pods.StatusComplete, pods.StatusDeleting},
		pods.StatusDeleting:     {pods.StatusStopped, pods.StatusError},
		pods.StatusStopped:      {pods.StatusRequested, pods.StatusError, pods.StatusDeleting},
	}
	statuses := make([]pods.Status, 0, len(edges))
	for s := range edges {
		statuses = append(statuses, s)
	}
	slices.Sort(statuses)
	rapid.Check(t, func(rt *rapid.T) {
		want := rapid.SampledFrom([]pods.Requested{pods.On, pods.Off, pods.Restart}).Draw(rt, "requested")
		p := podIn(want, rapid.SampledFrom(statuses).Draw(rt, "status"), func(s *pods.State) {
			s.Since = *ago(time.Duration(rapid.IntRange(0, 600).Draw(rt, "since")) * time.Second)
			s.Attempts = rapid.IntRange(0, std.MaxAttempts).Draw(rt, "attempts")
		})
		o := drawObservation(rt)
		d := usable
		if rapid.Bool().Draw(rt, "unusable") {
			d.err = pods.Errorf(pods.Invalid, "no")
		}
		s := std.next(p, d, o, noon)
		if to := s.state.Status; to != p.State.Status && !slices.Contains(edges[p.State.Status], to) {
			rt.Fatalf("got %q after %q", to, p.State.Status)
		}
		if s.effect == apply && (p.Requested != pods.On || o.Terminating || o.Foreign != "") {
			rt.Fatalf("a pod is applied that must not be")
		}
		if s.effect != noEffect && o.Foreign != "" && !exists(o) {
			rt.Fatalf("a foreign object is touched")
		}
		if s.effect == purge && o.UID == p.UID {
			rt.Fatalf("a pod's own storage is purged")
		}
		if s.after < 0 {
			rt.Fatalf("wait: got %v", s.after)
		}
	})
}

func drawObservation(rt *rapid.T) pods.Observation {
	o := pods.Observation{
		Key:      web,
		UID:      rapid.SampledFrom([]string{"uid1", "uid1", "uid0", ""}).Draw(rt, "uid"),
		Present:  rapid.Bool().Draw(rt, "present"),
		Retained: rapid.Bool().Draw(rt, "retained"),
	}
	if !o.Present {
		o.Foreign = rapid.SampledFrom([]string{"", "", "x"}).Draw(rt, "foreign")
		return o
	}
	o.Terminating = rapid.Bool().Draw(rt, "terminating")
	o.Phase = rapid.SampledFrom([]pods.Phase{
		pods.PhaseNone, pods.PhasePending, pods.PhaseRunning, pods.PhaseSucceeded, pods.PhaseFailed,
	}).Draw(rt, "phase")
	o.Waiting = rapid.SampledFrom([]string{"", "ContainerCreating", "ErrImagePull"}).Draw(rt, "waiting")
	o.Terminated = rapid.SampledFrom([]string{"", "", "Error", "Completed"}).Draw(rt, "terminated")
	return o
}
