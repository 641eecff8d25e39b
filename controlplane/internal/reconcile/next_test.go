package reconcile

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

var (
	noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	web  = pods.Key{Tenant: "dev", ID: "web"}
	std  = Settings{}.withDefaults()
)

// ago returns a time before noon.
func ago(d time.Duration) *time.Time { return new(noon.Add(-d)) }

// podIn returns a pod as it stands in the store: in a status, for a minute.
func podIn(want pods.Requested, status pods.Status, more ...func(*pods.State)) pods.Pod {
	p := pods.Pod{
		Key: web, UID: "uid1", Requested: want,
		State: pods.State{Status: status, Since: *ago(time.Minute), Version: 7},
	}
	switch status {
	case pods.StatusAvailable:
		p.State.StartedAt, p.State.StopAt = ago(time.Minute), new(noon.Add(11*time.Hour+59*time.Minute))
		p.State.Instance, p.State.Ready = "run-1", true
		p.State.Container = pods.ContainerStatus{Phase: "Running", Message: messageRunning, StartTime: ago(2 * time.Minute)}
	case pods.StatusError, pods.StatusComplete:
		p.State.Container = pods.ContainerStatus{Phase: "Failed", Message: "why it failed"}
	default:
	}
	for _, f := range more {
		f(&p.State)
	}
	return p
}

// seen returns an observation of the pod's own container.
func seen(phase pods.Phase, more ...func(*pods.Observation)) pods.Observation {
	o := pods.Observation{Key: web, UID: "uid1", Present: true, Retained: true, Phase: phase, Instance: "run-1"}
	if phase == pods.PhaseRunning {
		o.Ready, o.StartedAt = true, ago(2*time.Minute)
		o.Addresses = map[string][]string{"default": {"10.0.0.1:5000"}}
	}
	for _, f := range more {
		f(&o)
	}
	return o
}

func waiting(reason, message string) func(*pods.Observation) {
	return func(o *pods.Observation) { o.Waiting, o.Message = reason, message }
}

func terminated(reason string, code int, message string) func(*pods.Observation) {
	return func(o *pods.Observation) { o.Terminated, o.ExitCode, o.Message, o.Ready = reason, code, message, false }
}

func terminating(o *pods.Observation) { o.Terminating = true }

var (
	nothing = pods.Observation{Key: web}
	stored  = pods.Observation{Key: web, UID: "uid1", Retained: true}
	usable  = definition{domain: testDomain, Effective: pods.Effective{
		TimeToStopDefault: 43200, Resources: pods.Resources{MemLimit: 3072},
	}}
)

func timeToStop(standard int, instance *int) definition {
	d := usable
	d.TimeToStopDefault, d.TimeToStopInstance = standard, instance
	return d
}

// TestNext is the state machine. Each case is one row of the contract's table of
// transitions, or one of its better ways.
func TestNext(t *testing.T) {
	type want struct {
		status    pods.Status
		message   string // of status_container; "=" is unchanged
		events    []string
		requested pods.Requested
		effect    effect
		again     bool
		after     time.Duration
		keepLogs  bool
		clear     bool
		ready     bool
	}
	unusable := definition{domain: testDomain, err: pods.Errorf(pods.Invalid, "template not found: 'x'.")}
	unknown := definition{err: pods.Errorf(pods.Unavailable, "tenants can't be had")}

	for _, tt := range []struct {
		name string
		pod  pods.Pod
		def  *definition // nil: usable
		obs  pods.Observation
		want want
	}{
		// ON: on the way up.
		{
			"a new pod without a status is requested",
			podIn(pods.On, ""), nil, nothing,
			want{status: pods.StatusRequested, events: []string{textRequested}, again: true},
		},
		{
			"a stopped pod that shall be ON is requested",
			podIn(pods.On, pods.StatusStopped), nil, stored,
			want{status: pods.StatusRequested, events: []string{textRequested}, again: true},
		},
		{
			"a requested pod is set up",
			podIn(pods.On, pods.StatusRequested), nil, nothing,
			want{status: pods.StatusSpawnerSetup, again: true},
		},
		{
			"a requested pod waits for its next attempt, and its message stays",
			podIn(pods.On, pods.StatusRequested, func(s *pods.State) {
				s.Attempts, s.NextAttempt, s.Container.Message = 2, new(noon.Add(2*time.Second)), "refused"
			}), nil, nothing,
			want{status: pods.StatusRequested, message: "=", after: 2 * time.Second},
		},
		{
			"a requested pod is set up when its next attempt is due",
			podIn(pods.On, pods.StatusRequested, func(s *pods.State) { s.Attempts, s.NextAttempt = 2, &noon }), nil, nothing,
			want{status: pods.StatusSpawnerSetup, again: true},
		},
		{
			"a requested pod waits until its last run has ended",
			podIn(pods.On, pods.StatusRequested), nil, seen(pods.PhaseRunning, terminating),
			want{status: pods.StatusRequested, message: messageLastRun, after: std.Recheck},
		},
		{
			"a requested pod without a usable definition fails",
			podIn(pods.On, pods.StatusRequested), &unusable, nothing,
			want{
				status: pods.StatusError, events: []string{textUnresolved},
				message: "The pod's definition can't be used: template not found: 'x'. Change it, then restart the pod.",
			},
		},
		{
			"a requested pod whose tenant can't be looked up waits",
			podIn(pods.On, pods.StatusRequested), &unknown, nothing,
			want{status: pods.StatusRequested},
		},
		{
			"a pod in setup is applied",
			podIn(pods.On, pods.StatusSpawnerSetup), nil, nothing,
			want{status: pods.StatusSpawnerSetup, effect: apply},
		},
		{
			"a pod in setup is applied again although its objects are there: a crash may have come between",
			podIn(pods.On, pods.StatusSpawnerSetup), nil, seen(pods.PhasePending),
			want{status: pods.StatusSpawnerSetup, effect: apply},
		},
		{
			"a pod in setup without objects for 3 minutes starts over",
			podIn(pods.On, pods.StatusSpawnerSetup, func(s *pods.State) { s.Since = *ago(3 * time.Minute) }), nil, nothing,
			want{
				status: pods.StatusStopped, again: true, keepLogs: true,
				events: []string{"health found no running pod and status = SPAWNER SETUP for 3 minutes, stalled. Setting status = STOPPED"},
			},
		},
		{
			"a pod in setup waits until its last run has ended",
			podIn(pods.On, pods.StatusSpawnerSetup), nil, seen(pods.PhaseRunning, terminating),
			want{status: pods.StatusSpawnerSetup, after: std.Recheck},
		},
		{
			"a pod in setup whose definition became unusable fails",
			podIn(pods.On, pods.StatusSpawnerSetup), &unusable, nothing,
			want{status: pods.StatusError, message: unresolvedText(unusable.err), events: []string{textUnresolved}},
		},
		{
			"a pod in creation that the cluster does not show yet has time",
			podIn(pods.On, pods.StatusCreating), nil, nothing,
			want{status: pods.StatusCreating, after: 2 * time.Minute},
		},
		{
			"a pod in creation that the cluster does not show for 3 minutes starts over",
			podIn(pods.On, pods.StatusCreating, func(s *pods.State) { s.Since = *ago(4 * time.Minute) }), nil, nothing,
			want{
				status: pods.StatusStopped, again: true, keepLogs: true,
				events: []string{"health found no running pod and status = CREATING for 3 minutes, stalled. Setting status = STOPPED"},
			},
		},
		{
			"a pod in creation that stalled too often fails",
			podIn(pods.On, pods.StatusCreating, func(s *pods.State) { s.Since, s.Attempts = *ago(4 * time.Minute), std.MaxAttempts-1 }), nil, nothing,
			want{status: pods.StatusError, message: fmt.Sprintf(messageGaveUp, 6), events: []string{textGaveUp}},
		},
		{
			"a pod in creation that was seen and is gone starts over at once",
			podIn(pods.On, pods.StatusCreating, func(s *pods.State) { s.Container.Phase = "Pending" }), nil, stored,
			want{status: pods.StatusStopped, message: messageVanished, events: []string{textVanished}, again: true, keepLogs: true},
		},
		{
			"a pending container is initializing",
			podIn(pods.On, pods.StatusCreating), nil, seen(pods.PhasePending),
			want{status: pods.StatusCreating, message: "Pod is still initializing."},
		},
		{
			"ContainerCreating is initializing",
			podIn(pods.On, pods.StatusCreating), nil, seen(pods.PhasePending, waiting("ContainerCreating", "")),
			want{status: pods.StatusCreating, message: "Pod is still initializing."},
		},
		{
			"PodInitializing is initializing",
			podIn(pods.On, pods.StatusCreating), nil, seen(pods.PhasePending, waiting("PodInitializing", "")),
			want{status: pods.StatusCreating, message: "Pod is still initializing."},
		},
		{
			"a pod no machine has room for keeps saying so",
			podIn(pods.On, pods.StatusCreating), nil, seen(pods.PhasePending, waiting("Unschedulable", "0/3 nodes are available: 3 Insufficient cpu.")),
			want{
				status:  pods.StatusCreating,
				message: "Pod is still initializing. The cluster has no room for it yet: 0/3 nodes are available: 3 Insufficient cpu.",
			},
		},
		{
			"a running container makes the pod available, ready or not",
			podIn(pods.On, pods.StatusCreating), nil, seen(pods.PhaseRunning, func(o *pods.Observation) { o.Ready = false }),
			want{status: pods.StatusAvailable, message: "Pod is running.", events: []string{textAvailable}, after: 12 * time.Hour},
		},
		{
			"a running and ready container makes the pod available and ready",
			podIn(pods.On, pods.StatusCreating), nil, seen(pods.PhaseRunning),
			want{status: pods.StatusAvailable, message: "Pod is running.", events: []string{textAvailable}, after: 12 * time.Hour, ready: true},
		},

		// ON: running.
		{
			"an available pod that runs is left alone until its time to stop",
			podIn(pods.On, pods.StatusAvailable), nil, seen(pods.PhaseRunning),
			want{status: pods.StatusAvailable, message: "=", after: 11*time.Hour + 59*time.Minute, ready: true},
		},
		{
			"an available pod that is not ready any more stays available",
			podIn(pods.On, pods.StatusAvailable), nil, seen(pods.PhaseRunning, func(o *pods.Observation) { o.Ready = false }),
			want{status: pods.StatusAvailable, message: "=", after: 11*time.Hour + 59*time.Minute},
		},
		{
			"an available pod that runs is left alone although its definition became unusable",
			podIn(pods.On, pods.StatusAvailable), &unusable, seen(pods.PhaseRunning),
			want{status: pods.StatusAvailable, message: "=", after: 11*time.Hour + 59*time.Minute, ready: true},
		},
		{
			"an available pod that somebody else ends is watched to its end",
			podIn(pods.On, pods.StatusAvailable), nil, seen(pods.PhaseRunning, terminating),
			want{status: pods.StatusAvailable, message: "=", after: std.Recheck},
		},
		{
			"an available pod whose container vanished starts over",
			podIn(pods.On, pods.StatusAvailable), nil, stored,
			want{status: pods.StatusStopped, events: []string{textVanished}, again: true, keepLogs: true, clear: true},
		},
		{
			"an available pod of which only other objects are left starts over",
			podIn(pods.On, pods.StatusAvailable), nil, seen(pods.PhaseNone),
			want{status: pods.StatusStopped, events: []string{textVanished}, again: true, keepLogs: true, clear: true},
		},
		{
			"a run that vanished soon after its start counts as an attempt",
			podIn(pods.On, pods.StatusAvailable, func(s *pods.State) { s.StartedAt = ago(time.Second) }), nil, stored,
			want{status: pods.StatusStopped, message: messageVanished, events: []string{textVanished}, again: true, keepLogs: true, clear: true},
		},
		{
			"a pod that vanished too often fails",
			podIn(pods.On, pods.StatusAvailable, func(s *pods.State) { s.StartedAt, s.Attempts = ago(time.Second), std.MaxAttempts-1 }), nil, stored,
			want{status: pods.StatusError, message: fmt.Sprintf(messageGaveUp, 6), events: []string{textGaveUp}},
		},

		// ON: the end of a container.
		{
			"a container that succeeded completes the pod",
			podIn(pods.On, pods.StatusAvailable), nil, seen(pods.PhaseSucceeded, terminated("Completed", 0, "")),
			want{
				status: pods.StatusComplete, message: "Pod phase in Succeeded, putting in COMPLETE status.",
				events: []string{textSucceeded}, keepLogs: true,
			},
		},
		{
			"a container that succeeded completes the pod before its phase says so",
			podIn(pods.On, pods.StatusAvailable), nil, seen(pods.PhaseRunning, terminated("Completed", 0, "")),
			want{status: pods.StatusComplete, message: messageSucceeded, events: []string{textSucceeded}, keepLogs: true},
		},
		{
			"a container that succeeded at once completes a pod that was never available",
			podIn(pods.On, pods.StatusCreating), nil, seen(pods.PhaseSucceeded),
			want{status: pods.StatusComplete, message: messageSucceeded, events: []string{textSucceeded}, keepLogs: true},
		},
		{
			"a container that failed is an error with its exit code",
			podIn(pods.On, pods.StatusAvailable), nil, seen(pods.PhaseFailed, terminated("Error", 3, "")),
			want{
				status: pods.StatusError, events: []string{textTerminated}, keepLogs: true,
				message: "Pod in terminated state for reason: Error (exit code 3) (the program's output is in the pod's logs).",
			},
		},
		{
			"a container that ran out of memory is an error that names the limit",
			podIn(pods.On, pods.StatusAvailable), nil, seen(pods.PhaseFailed, terminated("OOMKilled", 137, "")),
			want{
				status: pods.StatusError, events: []string{textTerminated}, keepLogs: true,
				message: "Pod in terminated state for reason: OOMKilled (exit code 137) (it used more memory than resources.mem_limit allows, 3072 MiB).",
			},
		},
		{
			"an evicted pod is an error that says why",
			podIn(pods.On, pods.StatusAvailable), nil, seen(pods.PhaseFailed, terminated("Evicted", 0, "The node was low on resource: memory.")),
			want{
				status: pods.StatusError, events: []string{textTerminated}, keepLogs: true,
				message: "Pod in terminated state for reason: Evicted: The node was low on resource: memory " +
					"(the cluster took it off its machine to save resources; restart the pod).",
			},
		},
		{
			"a pod whose machine was lost is an error that says so",
			podIn(pods.On, pods.StatusAvailable), nil, seen(pods.PhaseFailed, terminated("NodeLost", 0, "")),
			want{
				status: pods.StatusError, events: []string{textTerminated}, keepLogs: true,
				message: "Pod in terminated state for reason: NodeLost (the machine it ran on was lost; restart the pod).",
			},
		},
		{
			"a failed phase without a reason is an error",
			podIn(pods.On, pods.StatusCreating), nil, seen(pods.PhaseFailed),
			want{status: pods.StatusError, message: "Pod in terminated state for reason: Failed.", events: []string{textTerminated}, keepLogs: true},
		},
		{
			"an image that can't be pulled is an error",
			podIn(pods.On, pods.StatusCreating), nil, seen(pods.PhasePending, waiting("ImagePullBackOff", `Back-off pulling image "x".`)),
			want{
				status: pods.StatusError, events: []string{textWaiting},
				message: `Pod in waiting state for reason: ImagePullBackOff: Back-off pulling image "x" ` +
					`(check the image's name and tag, and that it may be pulled).`,
			},
		},
		{
			"a container that crashes again and again is an error",
			podIn(pods.On, pods.StatusAvailable), nil, seen(pods.PhaseRunning, waiting("CrashLoopBackOff", "")),
			want{
				status: pods.StatusError, events: []string{textWaiting},
				message: "Pod in waiting state for reason: CrashLoopBackOff (the program ends soon after its start; its output is in the pod's logs).",
			},
		},
		{
			"a waiting reason nobody knows is an error with its message",
			podIn(pods.On, pods.StatusCreating), nil, seen(pods.PhasePending, waiting("SomethingNew", "it broke")),
			want{status: pods.StatusError, message: "Pod in waiting state for reason: SomethingNew: it broke.", events: []string{textWaiting}},
		},

		// ON: after the end.
		{
			"an error stays as it is when nothing is left in the cluster",
			podIn(pods.On, pods.StatusError), nil, stored,
			want{status: pods.StatusError, message: "="},
		},
		{
			"a completed pod stays as it is when nothing is left in the cluster",
			podIn(pods.On, pods.StatusComplete), nil, nothing,
			want{status: pods.StatusComplete, message: "="},
		},
		{
			"a completed pod stays as it is",
			podIn(pods.On, pods.StatusComplete), nil, seen(pods.PhaseSucceeded),
			want{status: pods.StatusComplete, message: messageSucceeded},
		},
		{
			"an error keeps its reason while the container is on its way after all",
			podIn(pods.On, pods.StatusError), nil, seen(pods.PhasePending, waiting("ContainerCreating", "")),
			want{status: pods.StatusError, message: "="},
		},
		{
			"an error tells the newest reason",
			podIn(pods.On, pods.StatusError), nil, seen(pods.PhasePending, waiting("SomethingNew", "it broke")),
			want{status: pods.StatusError, message: "Pod in waiting state for reason: SomethingNew: it broke."},
		},
		{
			"an error heals when the container runs after all",
			podIn(pods.On, pods.StatusError), nil, seen(pods.PhaseRunning),
			want{status: pods.StatusAvailable, message: messageRunning, events: []string{textAvailable}, after: 12 * time.Hour, ready: true},
		},

		// ON: time to stop.
		{
			"a pod whose time is over is turned OFF",
			podIn(pods.On, pods.StatusAvailable), new(timeToStop(60, nil)), seen(pods.PhaseRunning),
			want{
				status: pods.StatusAvailable, message: "=", requested: pods.Off, again: true, ready: true,
				events: []string{"health set pod to OFF due to time_to_stop trigger"},
			},
		},
		{
			"the time of this run counts before the default",
			podIn(pods.On, pods.StatusAvailable), new(timeToStop(43200, new(300))), seen(pods.PhaseRunning),
			want{status: pods.StatusAvailable, message: "=", after: 4 * time.Minute, ready: true},
		},
		{
			"never is never",
			podIn(pods.On, pods.StatusAvailable), new(timeToStop(300, new(-1))), seen(pods.PhaseRunning),
			want{status: pods.StatusAvailable, message: "=", ready: true},
		},

		// ON: while it is being removed.
		{
			"a failed start is cleaned up",
			podIn(pods.On, pods.StatusDeleting, func(s *pods.State) { s.Attempts, s.Container.Message = 1, "refused" }), nil, seen(pods.PhasePending),
			want{status: pods.StatusDeleting, message: "=", effect: remove, keepLogs: true, after: std.Recheck},
		},
		{
			"a failed start is tried again, and its reason stays",
			podIn(pods.On, pods.StatusDeleting, func(s *pods.State) { s.Attempts, s.Container.Message = 1, "refused" }), nil, stored,
			want{status: pods.StatusStopped, message: "=", events: []string{textVanished}, again: true, keepLogs: true},
		},
		{
			"a start that failed too often is an error with its reason",
			podIn(pods.On, pods.StatusDeleting, func(s *pods.State) { s.Attempts, s.Container.Message = 6, "refused" }), nil, stored,
			want{status: pods.StatusError, message: "=", events: []string{textGaveUp}},
		},
		{
			"a removal goes on although the pod shall be ON again",
			podIn(pods.On, pods.StatusDeleting), nil, seen(pods.PhaseRunning, terminating),
			want{status: pods.StatusDeleting, effect: remove, after: std.Recheck},
		},

		// OFF and RESTART.
		{
			"a stopped pod that shall be OFF is left alone",
			podIn(pods.Off, pods.StatusStopped), nil, stored,
			want{status: pods.StatusStopped},
		},
		{
			"a new pod that shall be OFF is stopped",
			podIn(pods.Off, ""), nil, nothing,
			want{status: pods.StatusStopped},
		},
		{
			"a running pod that shall be OFF is deleted",
			podIn(pods.Off, pods.StatusAvailable), nil, seen(pods.PhaseRunning),
			want{
				status: pods.StatusDeleting, message: "=", again: true,
				events: []string{"health found running OFF pod, set status to DELETING"},
			},
		},
		{
			"a running pod that shall RESTART is deleted",
			podIn(pods.Restart, pods.StatusAvailable), nil, seen(pods.PhaseRunning),
			want{
				status: pods.StatusDeleting, message: "=", again: true,
				events: []string{"health found running RESTART pod, set status to DELETING"},
			},
		},
		{
			"a requested pod that shall be OFF is deleted, too",
			podIn(pods.Off, pods.StatusRequested), nil, nothing,
			want{status: pods.StatusDeleting, again: true, events: []string{fmt.Sprintf(textRemoving, "OFF")}},
		},
		{
			"a failed pod that shall be OFF is deleted",
			podIn(pods.Off, pods.StatusError), nil, seen(pods.PhaseFailed),
			want{status: pods.StatusDeleting, message: "=", again: true, events: []string{fmt.Sprintf(textRemoving, "OFF")}},
		},
		{
			"a pod without a usable definition can be stopped",
			podIn(pods.Off, pods.StatusError), &unusable, nothing,
			want{status: pods.StatusDeleting, message: "=", again: true, events: []string{fmt.Sprintf(textRemoving, "OFF")}},
		},
		{
			"a completed pod that shall RESTART is deleted",
			podIn(pods.Restart, pods.StatusComplete), nil, seen(pods.PhaseSucceeded),
			want{status: pods.StatusDeleting, message: "=", again: true, events: []string{fmt.Sprintf(textRemoving, "RESTART")}},
		},
		{
			"a stopped pod that runs all the same is deleted",
			podIn(pods.Off, pods.StatusStopped), nil, seen(pods.PhaseRunning),
			want{status: pods.StatusDeleting, again: true, events: []string{fmt.Sprintf(textRemoving, "OFF")}},
		},
		{
			"a deleted pod is removed after its logs were kept",
			podIn(pods.Off, pods.StatusDeleting), nil, seen(pods.PhaseRunning),
			want{status: pods.StatusDeleting, effect: remove, keepLogs: true, after: std.Recheck},
		},
		{
			"a removal under way is asked for again, without the logs",
			podIn(pods.Off, pods.StatusDeleting), nil, seen(pods.PhaseRunning, terminating),
			want{status: pods.StatusDeleting, effect: remove, after: std.Recheck},
		},
		{
			"the last words of a container that ended during its removal are kept",
			podIn(pods.Off, pods.StatusDeleting), nil, seen(pods.PhaseFailed, terminating, terminated("Error", 143, "")),
			want{status: pods.StatusDeleting, effect: remove, keepLogs: true, after: std.Recheck},
		},
		{
			"a deleted pod of which only other objects are left is removed",
			podIn(pods.Off, pods.StatusDeleting), nil, seen(pods.PhaseNone),
			want{status: pods.StatusDeleting, effect: remove, keepLogs: true, after: std.Recheck},
		},
		{
			"a deleted pod that is gone is stopped, and its run forgotten",
			podIn(pods.Off, pods.StatusDeleting, func(s *pods.State) {
				s.StartedAt, s.StopAt, s.Instance, s.Attempts = ago(time.Hour), &noon, "run-1", 3
				s.Container = pods.ContainerStatus{Phase: "Running", Message: messageRunning, RestartCount: 2}
			}), nil, stored,
			want{status: pods.StatusStopped, events: []string{"health set status to STOPPED"}, keepLogs: true, clear: true},
		},
		{
			"a pod that shall RESTART and is gone is set to ON",
			podIn(pods.Restart, pods.StatusDeleting), nil, stored,
			want{
				status: pods.StatusStopped, requested: pods.On, again: true, keepLogs: true, clear: true,
				events: []string{"health set status to STOPPED, set to ON"},
			},
		},
		{
			"a stopped pod that shall RESTART is requested",
			podIn(pods.Restart, pods.StatusStopped), nil, stored,
			want{status: pods.StatusRequested, requested: pods.On, events: []string{textRequested}, again: true},
		},

		// What is not this pod's.
		{
			"the objects of an earlier pod are purged before anything else",
			podIn(pods.On, pods.StatusRequested), nil, seen(pods.PhaseRunning, func(o *pods.Observation) { o.UID = "uid0" }),
			want{status: pods.StatusRequested, message: messageLeftover, effect: purge, after: std.Recheck},
		},
		{
			"the storage of an earlier pod is purged before anything else",
			podIn(pods.On, pods.StatusRequested), nil,
			pods.Observation{Key: web, UID: "uid0", Retained: true},
			want{status: pods.StatusRequested, message: messageLeftover, effect: purge, after: std.Recheck},
		},
		{
			"the objects of an earlier pod are purged while the pod is OFF, too",
			podIn(pods.Off, pods.StatusStopped), nil, seen(pods.PhaseRunning, func(o *pods.Observation) { o.UID = "uid0" }),
			want{status: pods.StatusStopped, effect: purge, after: std.Recheck},
		},
		{
			"a foreign object is an error, and nothing is touched",
			podIn(pods.On, pods.StatusSpawnerSetup), nil,
			pods.Observation{Key: web, Foreign: "pod default/pods-dev-dev-web"},
			want{
				status: pods.StatusError, events: []string{textForeign},
				message: "The name of this pod's objects is taken by something else in the cluster: pod default/pods-dev-dev-web. " +
					"It was left alone; an administrator has to remove it, then restart the pod.",
			},
		},
		{
			"a pod whose name is taken can be stopped without touching what took it",
			podIn(pods.Off, pods.StatusDeleting), nil,
			pods.Observation{Key: web, Foreign: "pod x", Present: true, Phase: pods.PhaseRunning},
			want{status: pods.StatusStopped, events: []string{textStopped}, keepLogs: true, clear: true},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			def := usable
			if tt.def != nil {
				def = *tt.def
			}
			s := std.next(tt.pod, def, tt.obs, noon)
			got := want{
				status: s.state.Status, message: s.state.Container.Message, events: s.events, requested: s.requested,
				effect: s.effect, again: s.again, after: s.after, keepLogs: s.keepLogs, clear: s.clearInstance, ready: s.state.Ready,
			}
			if tt.want.message == "=" {
				tt.want.message = tt.pod.State.Container.Message
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got\n%+v, want\n%+v", got, tt.want)
			}
			if s.state.Version != tt.pod.State.Version {
				t.Errorf("version: got %d, want %d", s.state.Version, tt.pod.State.Version)
			}
			if changed := s.state.Status != tt.pod.State.Status; changed != s.state.Since.Equal(noon) {
				t.Errorf("since: got %v for a status that changed: %v", s.state.Since, changed)
			}
		})
	}
}

func TestNextForgetsARunThatIsStopped(t *testing.T) {
	p := podIn(pods.Off, pods.StatusDeleting, func(s *pods.State) {
		s.StartedAt, s.StopAt, s.NextAttempt, s.Instance, s.Attempts = ago(time.Hour), &noon, &noon, "run-1", 3
		s.Container = pods.ContainerStatus{Phase: "Running", Message: messageRunning, RestartCount: 2, StartTime: &noon}
	})
	got := std.next(p, usable, stored, noon).state
	want := pods.State{Status: pods.StatusStopped, Since: noon, Version: p.State.Version}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestNextStartsAndEndsTheClockOfARun(t *testing.T) {
	p := podIn(pods.On, pods.StatusCreating, func(s *pods.State) { s.NextAttempt = &noon })
	got := std.next(p, usable, seen(pods.PhaseRunning), noon).state
	if got.StartedAt == nil || !got.StartedAt.Equal(noon) {
		t.Errorf("started: got %v, want %v", got.StartedAt, noon)
	}
	if want := noon.Add(12 * time.Hour); got.StopAt == nil || !got.StopAt.Equal(want) {
		t.Errorf("stop at: got %v, want %v", got.StopAt, want)
	}
	if got.NextAttempt != nil || got.Instance != "run-1" {
		t.Errorf("got next attempt %v and instance %q", got.NextAttempt, got.Instance)
	}

	t.Run("a deadline that became never is cleared", func(t *testing.T) {
		p := podIn(pods.On, pods.StatusAvailable)
		if got := std.next(p, timeToStop(-1, nil), seen(pods.PhaseRunning), noon).state.StopAt; got != nil {
			t.Errorf("got %v, want none", got)
		}
	})
	t.Run("a deadline moves with the setting while the pod runs", func(t *testing.T) {
		p := podIn(pods.On, pods.StatusAvailable)
		got := std.next(p, timeToStop(600, nil), seen(pods.PhaseRunning), noon).state.StopAt
		if want := noon.Add(9 * time.Minute); got == nil || !got.Equal(want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
	t.Run("a deadline stays while the definition can't be resolved", func(t *testing.T) {
		p := podIn(pods.On, pods.StatusAvailable)
		got := std.next(p, definition{err: pods.Errorf(pods.Invalid, "no")}, seen(pods.PhaseRunning), noon).state.StopAt
		if want := p.State.StopAt; got == nil || !got.Equal(*want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

func TestApplied(t *testing.T) {
	p := podIn(pods.On, pods.StatusSpawnerSetup, func(s *pods.State) { s.Container.Message = "refused before" })
	s := std.applied(p, noon)
	if s.state.Status != pods.StatusCreating || s.state.Container != (pods.ContainerStatus{}) || !s.again {
		t.Errorf("got %+v", s)
	}
	if want := []string{"spawner set status to CREATING"}; !slices.Equal(s.events, want) {
		t.Errorf("got %q, want %q", s.events, want)
	}
}

func TestApplyFailed(t *testing.T) {
	for _, tt := range []struct {
		name     string
		before   int // attempts
		err      error
		status   pods.Status
		attempts int
		wait     time.Duration
		message  string
	}{
		{
			"the first refusal is tried again after a second", 0, pods.Errorf(pods.TooMany, "The quota is used up."),
			pods.StatusDeleting, 1, time.Second, "Pod could not be created: The quota is used up. Trying again (attempt 2 of 6).",
		},
		{
			"the wait doubles", 3, pods.Errorf(pods.Conflict, "busy"),
			pods.StatusDeleting, 4, 8 * time.Second, "Pod could not be created: busy. Trying again (attempt 5 of 6).",
		},
		{
			"the last refusal is final", 5, pods.Errorf(pods.Conflict, "busy"),
			pods.StatusDeleting, 6, 32 * time.Second, "Pod could not be created: busy.",
		},
		{
			"an invalid pod is not tried again", 0, fmt.Errorf("wrapped: %w", pods.Errorf(pods.Invalid, "image not in the catalogue")),
			pods.StatusDeleting, 6, 32 * time.Second, "Pod could not be created: image not in the catalogue.",
		},
		{
			"an internal error tells its owner nothing of the inside", 0, fmt.Errorf("dsn=postgres://secret: %w", os.ErrPermission),
			pods.StatusDeleting, 1, time.Second,
			"Pod could not be created: an internal error, which the administrators find in the log. Trying again (attempt 2 of 6).",
		},
		{
			"a cluster that does not answer is no attempt", 2, pods.Errorf(pods.Unavailable, "etcd is down"),
			pods.StatusSpawnerSetup, 2, 0, messageOutage,
		},
		{
			"a refused connection is no attempt", 0, &net.OpError{Op: "dial", Err: errors.New("connection refused")},
			pods.StatusSpawnerSetup, 0, 0, messageOutage,
		},
		{
			"a call that took too long is no attempt", 0, fmt.Errorf("applying: %w", context.DeadlineExceeded),
			pods.StatusSpawnerSetup, 0, 0, messageOutage,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := podIn(pods.On, pods.StatusSpawnerSetup, func(s *pods.State) { s.Attempts = tt.before })
			got := std.applyFailed(p, tt.err, noon).state
			if got.Status != tt.status || got.Attempts != tt.attempts || got.Container.Message != tt.message {
				t.Errorf("got %q %d %q, want %q %d %q", got.Status, got.Attempts, got.Container.Message, tt.status, tt.attempts, tt.message)
			}
			if wait := max(untilAttempt(got, noon), 0); wait != tt.wait {
				t.Errorf("wait: got %v, want %v", wait, tt.wait)
			}
		})
	}
}

// TestNextSettles follows next from every state to rest, with nothing changing
// in the cluster but what it is asked for.
func TestNextSettles(t *testing.T) {
	observations := []pods.Observation{
		nothing, stored, seen(pods.PhaseNone), seen(pods.PhasePending), seen(pods.PhaseRunning),
		seen(pods.PhaseSucceeded), seen(pods.PhaseFailed), seen(pods.PhasePending, waiting("ErrImagePull", "")),
		{Key: web, Foreign: "x"},
	}
	statuses := []pods.Status{
		"", pods.StatusRequested, pods.StatusSpawnerSetup, pods.StatusCreating, pods.StatusAvailable,
		pods.StatusComplete, pods.StatusError, pods.StatusDeleting, pods.StatusStopped, "SUBMITTED",
	}
	for _, want := range []pods.Requested{pods.On, pods.Off, pods.Restart} {
		for _, status := range statuses {
			for i, o := range observations {
				p := podIn(want, status)
				if n := passesToRest(p, o); n > maxPasses {
					t.Errorf("%s %q, observation %d: not at rest after %d passes", want, status, i, n)
				}
			}
		}
	}
}

// passesToRest counts the passes until next asks for no other at once.
func passesToRest(p pods.Pod, o pods.Observation) int {
	for n := 1; ; n++ {
		s := std.next(p, usable, o, noon)
		p.State = s.state
		if s.requested != "" {
			p.Requested = s.requested
		}
		switch s.effect {
		case apply:
			p.State = std.applied(p, noon).state
			if !o.Present {
				o = seen(pods.PhasePending)
			}
			s.again = true
		case remove, purge:
			o, s.again = nothing, true // the event of its end
		case noEffect:
		}
		if !s.again || n > maxPasses {
			return n
		}
	}
}

func TestMessagesOfOthersAreBounded(t *testing.T) {
	got := waitingText(pods.Observation{Waiting: "Odd", Message: strings.Repeat("é", 5000)})
	if len(got) > maxMessageBytes+20 {
		t.Errorf("got %d bytes", len(got))
	}
	if strings.ToValidUTF8(got, "?") != got {
		t.Error("a letter was cut in two")
	}
}

func TestBackoff(t *testing.T) {
	for n, want := range map[int]time.Duration{1: 1, 2: 2, 3: 4, 4: 8, 5: 10, 1000: 10} {
		if got := backoff(n, 1, 10); got != want {
			t.Errorf("failure %d: got %d, want %d", n, got, want)
		}
	}
}
