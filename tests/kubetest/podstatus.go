package kubetest

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// life is what a fake node knows of a pod beside the object.
type life struct {
	since time.Time // when the node saw the pod first
	ip    string
}

// situation is the state of a pod's containers, all being in the same.
type situation struct {
	state    corev1.ContainerState
	last     corev1.ContainerState // the run before
	ready    bool
	restarts int32

	// phase of the pod, and why it is in it, if that is the pod's own story.
	phase           corev1.PodPhase
	reason, message string
}

// situate says what state a pod's containers are in now, and in how long
// something changes by itself; 0 means never. It is pure.
func situate(pod *corev1.Pod, l life, o NodeOptions, now time.Time) (s situation, again time.Duration) {
	b, age := behaviourOf(pod), now.Sub(l.since)
	switch {
	case b == ImagePullBackOff:
		return badImage(pod, age, o)
	case b == InvalidImageName:
		return waiting("InvalidImageName", fmt.Sprintf("Failed to apply default image tag %q: couldn't parse image name: invalid reference format", image(pod))), 0
	case b == ConfigError:
		return waiting("CreateContainerConfigError", `secret "missing" not found`), 0
	case b == NeverStarts, age < o.Delay && !started(pod):
		return waiting("ContainerCreating", ""), max(o.Delay-age, 0)
	case b == Evicted:
		return evicted(pod, now), 0
	}
	if code, exits := b.exitCode(); exits {
		return exited(pod, code, l, o, now)
	}
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: startedAt(l, o)}}
	return situation{state: running, ready: b != NeverReady, phase: corev1.PodRunning}, 0
}

// badImage tries, and then waits before it tries again, which it does for ever.
func badImage(pod *corev1.Pod, age time.Duration, o NodeOptions) (situation, time.Duration) {
	const format = `rpc error: code = NotFound desc = failed to pull and unpack image "%[1]s": failed to resolve reference "%[1]s": %[1]s: not found`
	cause := fmt.Sprintf(format, image(pod))
	if age < o.Backoff {
		return waiting("ErrImagePull", cause), o.Backoff - age
	}
	return waiting("ImagePullBackOff", fmt.Sprintf("Back-off pulling image %q: ErrImagePull: %s", image(pod), cause)), 0
}

func waiting(reason, message string) situation {
	return situation{
		state: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}},
		phase: corev1.PodPending,
	}
}

// evicted is a pod that its node threw out.
func evicted(pod *corev1.Pod, now time.Time) situation {
	s := situation{
		state: terminated(pod, 137, "Error", now), phase: corev1.PodFailed, reason: "Evicted",
		message: "The node was low on resource: memory. Threshold quantity: 100Mi, available: 12Mi. ",
	}
	return s
}

// mostRestarts ends the count of a crash loop, so that it does not go on
// writing statuses.
const mostRestarts = 5

// exited is a container that ended, and is started again if the pod's policy
// says so.
func exited(pod *corev1.Pod, code int32, l life, o NodeOptions, now time.Time) (s situation, again time.Duration) {
	reason := "Error"
	switch {
	case behaviourOf(pod) == OOMKilled:
		reason = "OOMKilled"
	case code == 0:
		reason = "Completed"
	}
	policy := pod.Spec.RestartPolicy
	if policy == corev1.RestartPolicyNever || policy == corev1.RestartPolicyOnFailure && code == 0 {
		phase := corev1.PodFailed
		if code == 0 {
			phase = corev1.PodSucceeded
		}
		return situation{state: terminated(pod, code, reason, now), phase: phase}, 0
	}
	round := now.Sub(startedAt(l, o).Time) / o.Backoff
	s = waiting("CrashLoopBackOff", fmt.Sprintf("back-off 10s restarting failed container=%s pod=%s_%s(%s)",
		pod.Spec.Containers[0].Name, pod.Name, pod.Namespace, pod.UID))
	s.phase = corev1.PodRunning
	s.restarts = int32(min(round+1, mostRestarts))
	s.last = terminated(pod, code, reason, now)
	if s.restarts < mostRestarts {
		again = o.Backoff
	}
	return s, again
}

// terminated is the end of a container, at the time that the pod's status has
// already, if it has.
func terminated(pod *corev1.Pod, code int32, reason string, now time.Time) corev1.ContainerState {
	t := &corev1.ContainerStateTerminated{
		ExitCode: code, Reason: reason, StartedAt: seconds(now), FinishedAt: seconds(now),
	}
	for _, c := range pod.Status.ContainerStatuses {
		for _, before := range []*corev1.ContainerStateTerminated{c.State.Terminated, c.LastTerminationState.Terminated} {
			if before != nil {
				t.StartedAt, t.FinishedAt = before.StartedAt, before.FinishedAt
			}
		}
		if c.State.Running != nil {
			t.StartedAt = c.State.Running.StartedAt
		}
	}
	return corev1.ContainerState{Terminated: t}
}

// podStatus writes a situation down as a kubelet does.
func podStatus(pod *corev1.Pod, l life, s situation) corev1.PodStatus {
	since := seconds(l.since)
	status := *pod.Status.DeepCopy()
	status.Phase, status.Reason, status.Message = s.phase, s.reason, s.message
	status.HostIP, status.HostIPs = nodeIP, []corev1.HostIP{{IP: nodeIP}}
	status.StartTime = &since
	if s.state.Waiting == nil || s.last.Terminated != nil {
		status.PodIP, status.PodIPs = l.ip, []corev1.PodIP{{IP: l.ip}}
	}
	setCondition(&status, corev1.PodScheduled, true, "", "")
	setCondition(&status, corev1.PodInitialized, true, "", "")
	reason, message := unready(pod, s)
	setCondition(&status, corev1.ContainersReady, s.ready, reason, message)
	setCondition(&status, corev1.PodReady, s.ready, reason, message)
	status.ContainerStatuses = nil
	for _, c := range pod.Spec.Containers {
		status.ContainerStatuses = append(status.ContainerStatuses, containerStatus(pod, c, s))
	}
	status.InitContainerStatuses = nil
	for _, c := range pod.Spec.InitContainers {
		done := situation{state: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			Reason: "Completed", StartedAt: since, FinishedAt: since,
		}}, ready: true}
		status.InitContainerStatuses = append(status.InitContainerStatuses, containerStatus(pod, c, done))
	}
	return status
}

func containerStatus(pod *corev1.Pod, c corev1.Container, s situation) corev1.ContainerStatus {
	started := s.state.Running != nil
	status := corev1.ContainerStatus{
		Name: c.Name, Image: c.Image, State: s.state, LastTerminationState: s.last,
		Ready: s.ready, Started: &started, RestartCount: s.restarts,
	}
	if started || s.state.Terminated != nil || s.restarts > 0 {
		status.ImageID = c.Image
		status.ContainerID = fmt.Sprintf("fake://%s-%s-%d", pod.UID, c.Name, s.restarts)
	}
	return status
}

// unready says why a pod is not ready.
func unready(pod *corev1.Pod, s situation) (reason, message string) {
	switch {
	case s.ready:
		return "", ""
	case s.phase == corev1.PodSucceeded:
		return "PodCompleted", ""
	case s.phase == corev1.PodFailed:
		return "PodFailed", ""
	}
	names := make([]string, len(pod.Spec.Containers))
	for i, c := range pod.Spec.Containers {
		names[i] = c.Name
	}
	return "ContainersNotReady", fmt.Sprintf("containers with unready status: [%s]", strings.Join(names, " "))
}

// setCondition keeps the time of a condition that has its status already.
func setCondition(status *corev1.PodStatus, kind corev1.PodConditionType, is bool, reason, message string) {
	c := corev1.PodCondition{
		Type: kind, Status: corev1.ConditionFalse, Reason: reason, Message: message,
		LastTransitionTime: metav1.Now().Rfc3339Copy(),
	}
	if is {
		c.Status = corev1.ConditionTrue
	}
	for i, before := range status.Conditions {
		if before.Type != kind {
			continue
		}
		if before.Status == c.Status {
			c.LastTransitionTime = before.LastTransitionTime
		}
		status.Conditions[i] = c
		return
	}
	status.Conditions = append(status.Conditions, c)
}

// started says that the pod's container runs, or has run, by its status.
func started(pod *corev1.Pod) bool {
	return len(pod.Status.ContainerStatuses) > 0 && pod.Status.ContainerStatuses[0].State.Waiting == nil
}

func startedAt(l life, o NodeOptions) metav1.Time { return seconds(l.since.Add(o.Delay)) }

// seconds cuts what an API object does not keep.
func seconds(t time.Time) metav1.Time { return metav1.NewTime(t).Rfc3339Copy() }

func image(pod *corev1.Pod) string { return pod.Spec.Containers[0].Image }
