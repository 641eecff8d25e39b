package kube

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// lostAfter is how long after its grace a pod that was not stopped by us may stay
// until its machine counts as lost.
const lostAfter = time.Minute

// observer tells what the objects of one pod mean.
type observer struct {
	Options

	view view
	now  time.Time
}

// observe is pure.
func (v observer) observe(k pods.Key) pods.Observation {
	p, s := v.pod(), v.service()
	o := pods.Observation{
		Key: k, UID: v.uid(p, s), Present: p != nil || s != nil, Retained: len(v.view.claims) > 0,
	}
	if p == nil {
		return o
	}
	o.Terminating = p.DeletionTimestamp != nil
	o.Phase, o.Instance = phaseOf(p), string(p.UID)
	v.container(&o, p)
	if v.lost(p) {
		o.Terminating, o.Phase, o.Waiting, o.Terminated, o.ExitCode = false, pods.PhaseFailed, "", reasonNodeLost, 0
		o.Message = "the machine does not answer"
	}
	if !o.Terminating && v.accepts(o, p) && s != nil {
		o.Addresses = v.addresses(p, s)
		o.Ready = len(o.Addresses) > 0
	}
	return o
}

// pod returns the pod that counts if there are several: one that is not on its
// way out, the newest.
func (v observer) pod() *corev1.Pod {
	return slices.MaxFunc(append([]*corev1.Pod{nil}, v.view.pods...), func(a, b *corev1.Pod) int {
		if a == nil || b == nil {
			return cmp.Compare(truth(a != nil), truth(b != nil))
		}
		return cmp.Or(
			cmp.Compare(truth(a.DeletionTimestamp == nil), truth(b.DeletionTimestamp == nil)),
			a.CreationTimestamp.Compare(b.CreationTimestamp.Time),
		)
	})
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (v observer) service() *corev1.Service {
	if len(v.view.services) == 0 {
		return nil
	}
	return v.view.services[0]
}

// uid returns whose the objects are. What runs says so before what is kept.
func (v observer) uid(p *corev1.Pod, s *corev1.Service) string {
	switch {
	case p != nil:
		return p.Labels[labelUID]
	case s != nil:
		return s.Labels[labelUID]
	case len(v.view.claims) > 0:
		return v.view.claims[0].Labels[labelUID]
	default:
		return ""
	}
}

func phaseOf(p *corev1.Pod) pods.Phase {
	switch p.Status.Phase {
	case corev1.PodSucceeded:
		return pods.PhaseSucceeded
	case corev1.PodFailed:
		return pods.PhaseFailed
	case corev1.PodRunning, corev1.PodUnknown: // unknown: its machine does not tell for the moment
		return pods.PhaseRunning
	default:
		return pods.PhasePending
	}
}

// The reasons that say why a pod waits or ended, in the words the reconciler
// knows.
const (
	reasonUnschedulable = "Unschedulable"
	reasonCreating      = "ContainerCreating"
	reasonError         = "Error"
	reasonCompleted     = "Completed"
	reasonNodeLost      = "NodeLost"
	reasonNodeShutdown  = "NodeShutdown"
	reasonPreempted     = "Preempted"
)

// container tells what the pod's container does.
func (v observer) container(o *pods.Observation, p *corev1.Pod) {
	state, restarts, started := containerState(p)
	o.Restarts = restarts
	switch {
	case p.Status.Phase == corev1.PodFailed && p.Status.Reason != "":
		// The whole pod was ended; what that did to the container explains less.
		o.Terminated, o.Message = podReason(p), strings.TrimSpace(p.Status.Message)
		endOf(o, state)
	case state.Terminated != nil:
		v.terminated(o, p, *state.Terminated)
	case state.Waiting != nil:
		o.Waiting, o.Message = cmp.Or(state.Waiting.Reason, reasonCreating), state.Waiting.Message
		if o.Waiting == reasonCreating && o.Message == "" {
			o.Message = v.trouble()
		}
	case state.Running != nil:
		o.Phase, o.StartedAt = pods.PhaseRunning, timeOf(state.Running.StartedAt.Time)
	case p.Status.Phase == corev1.PodFailed:
		o.Terminated, o.Message = reasonError, p.Status.Message
	case p.Status.Phase == corev1.PodSucceeded:
		o.Terminated = reasonCompleted
	case !started:
		v.pending(o, p)
	}
}

// containerState returns the state of the pod's own container, which has the
// pod's name; somebody may add others to it. ok is false before a node has taken
// the pod.
func containerState(p *corev1.Pod) (state corev1.ContainerState, restarts int, ok bool) {
	for _, s := range p.Status.ContainerStatuses {
		if s.Name == p.Name {
			return s.State, int(s.RestartCount), true
		}
	}
	return corev1.ContainerState{}, 0, false
}

func (v observer) terminated(o *pods.Observation, p *corev1.Pod, t corev1.ContainerStateTerminated) {
	o.Terminated, o.Message = t.Reason, strings.TrimSpace(t.Message)
	switch {
	case o.Terminated == "" && t.ExitCode == 0:
		o.Terminated = reasonCompleted
	case o.Terminated == "":
		o.Terminated = reasonError
	}
	endOf(o, corev1.ContainerState{Terminated: &t})
	if p.Spec.RestartPolicy == corev1.RestartPolicyNever {
		// A node tells of a short run before it says that the pod has left Pending.
		o.Phase = endPhase(t.ExitCode)
	}
	if reason := disruption(p); reason != "" && t.ExitCode != 0 {
		o.Terminated = reason
	}
	if o.Message == "" && t.ExitCode != 0 {
		o.Message = v.killed()
	}
}

// endPhase is the phase of a pod whose only container has ended for good.
func endPhase(code int32) pods.Phase {
	if code == 0 {
		return pods.PhaseSucceeded
	}
	return pods.PhaseFailed
}

func endOf(o *pods.Observation, state corev1.ContainerState) {
	if t := state.Terminated; t != nil {
		o.ExitCode, o.StartedAt = int(t.ExitCode), timeOf(t.StartedAt.Time)
	}
}

// podReason returns why a pod as a whole failed.
func podReason(p *corev1.Pod) string {
	switch reason := p.Status.Reason; reason {
	case "Terminated", "Shutdown": // the kubelet's words when its machine shuts down
		return reasonNodeShutdown
	case "Preempting":
		return reasonPreempted
	default:
		return reason
	}
}

// disruption returns why the cluster ended a pod, "" if it did not.
func disruption(p *corev1.Pod) string {
	for _, c := range p.Status.Conditions {
		if c.Type != corev1.DisruptionTarget || c.Status != corev1.ConditionTrue {
			continue
		}
		switch c.Reason {
		case corev1.PodReasonPreemptionByScheduler:
			return reasonPreempted
		case corev1.PodReasonTerminationByKubelet:
			return reasonNodeShutdown
		case "DeletionByTaintManager", "DeletionByPodGC":
			return reasonNodeLost
		default:
			return "Evicted"
		}
	}
	return ""
}

// pending tells what a pod waits for that no node runs yet.
func (v observer) pending(o *pods.Observation, p *corev1.Pod) {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			o.Waiting, o.Message = c.Reason, c.Message
			return
		}
	}
	o.Message = v.trouble()
}

// harmless are reasons of warnings that come and go in an ordinary start.
var harmless = []string{"FailedScheduling", "Unhealthy", "BackOff", "Failed"}

// trouble returns the newest warning about a start that does not get on, ""
// without one: of a volume that can't be mounted nothing else tells.
func (v observer) trouble() string {
	e := v.newest(func(e *corev1.Event) bool {
		return e.Type == corev1.EventTypeWarning && !slices.Contains(harmless, e.Reason)
	})
	if e == nil {
		return ""
	}
	return e.Reason + ": " + strings.TrimSpace(e.Message)
}

// killed returns why the kubelet ended a container, "" if it did not: of a probe
// that failed nothing else tells.
func (v observer) killed() string {
	e := v.newest(func(e *corev1.Event) bool { return e.Reason == "Killing" || e.Reason == "Unhealthy" })
	if e == nil || !strings.Contains(e.Message, "probe") {
		return ""
	}
	if probe := v.newest(func(e *corev1.Event) bool { return e.Reason == "Unhealthy" }); probe != nil {
		e = probe // it has the answer, too
	}
	return strings.TrimSpace(e.Message)
}

// newest returns the newest event about this run that fits, nil if none does.
func (v observer) newest(fits func(*corev1.Event) bool) *corev1.Event {
	var found *corev1.Event
	p := v.pod()
	for _, e := range v.view.events {
		if e.InvolvedObject.UID == p.UID && fits(e) && (found == nil || lastTime(e).After(lastTime(found))) {
			found = e
		}
	}
	return found
}

// lost reports whether a pod that somebody deleted stays although its time is
// over: the machine that should say it is gone does not.
func (v observer) lost(p *corev1.Pod) bool {
	return p.DeletionTimestamp != nil && v.now.After(p.DeletionTimestamp.Add(lostAfter))
}

// accepts reports whether a pod wants traffic.
func (v observer) accepts(o pods.Observation, p *corev1.Pod) bool {
	if o.Phase != pods.PhaseRunning || o.Terminated != "" || o.Waiting != "" {
		return false
	}
	if p.Annotations[annotationReadyWhen] == readyWhenRunning {
		return o.StartedAt != nil
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// timeOf returns nil for the zero time.
func timeOf(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// portsOf returns the port numbers of a pod by networking key.
func portsOf(p *corev1.Pod) map[string]int {
	var numbers map[string]int
	_ = json.Unmarshal([]byte(p.Annotations[annotationPorts]), &numbers) // ours; without it there are none
	return numbers
}
