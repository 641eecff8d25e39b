package kubetest

import (
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Behaviour is what a pod does on fake nodes. It is taken from the pod's
// annotation [BehaviourAnnotation], which a test may set or change at any time,
// or else from the last part of the image's name: an image
// "docker.io/podway/crash-loop:1" crashes. Any other image runs and is ready.
type Behaviour string

// What pods can do. Reasons and messages are those of a real node.
const (
	// Runs: after the delay of the options the pod is Running and Ready.
	Runs Behaviour = "runs"
	// NeverStarts: the container stays in ContainerCreating.
	NeverStarts Behaviour = "never-starts"
	// NeverReady: the container runs and is never ready.
	NeverReady Behaviour = "never-ready"
	// NeverStops: a deleted pod stays, until it is deleted by force.
	NeverStops Behaviour = "never-stops"
	// ImagePullBackOff: the image does not exist.
	ImagePullBackOff Behaviour = "image-pull-back-off"
	// InvalidImageName: the image's name is none.
	InvalidImageName Behaviour = "invalid-image-name"
	// ConfigError: a Secret or ConfigMap that the container needs is missing.
	ConfigError Behaviour = "config-error"
	// CrashLoop: the container exits with 1 again and again; with the restart
	// policy Never, once.
	CrashLoop Behaviour = "crash-loop"
	// OOMKilled: the container takes more memory than it may.
	OOMKilled Behaviour = "oom-killed"
	// Evicted: the node runs out of memory and throws the pod out.
	Evicted Behaviour = "evicted"
	// Unschedulable: no node has room.
	Unschedulable Behaviour = "unschedulable"
)

// Exits is the behaviour of a container that exits with the code, "exit-3" for
// example: when the delay of the options is over, or at once if it runs already.
func Exits(code int) Behaviour { return Behaviour(exitPrefix + strconv.Itoa(code)) }

// BehaviourAnnotation is the annotation of a pod that says what it does.
const BehaviourAnnotation = "kubetest.podway/behaviour"

const exitPrefix = "exit-"

// behaviourOf returns what the pod does.
func behaviourOf(pod *corev1.Pod) Behaviour {
	if b := Behaviour(pod.Annotations[BehaviourAnnotation]); b.known() {
		return b
	}
	for _, c := range pod.Spec.Containers {
		if b := Behaviour(imageName(c.Image)); b.known() {
			return b
		}
	}
	return Runs
}

// imageName returns the last part of an image's name, without tag and digest.
func imageName(image string) string {
	image, _, _ = strings.Cut(image, "@")
	image = image[strings.LastIndex(image, "/")+1:]
	name, _, _ := strings.Cut(image, ":")
	return name
}

func (b Behaviour) known() bool {
	switch b {
	case Runs, NeverStarts, NeverReady, NeverStops, ImagePullBackOff, InvalidImageName, ConfigError,
		CrashLoop, OOMKilled, Evicted, Unschedulable:
		return true
	default:
		_, exits := b.exitCode()
		return exits
	}
}

// exitCode returns the code of a container that exits by itself.
func (b Behaviour) exitCode() (code int32, exits bool) {
	switch b {
	case CrashLoop:
		return 1, true
	case OOMKilled:
		return 137, true
	default:
	}
	digits, exits := strings.CutPrefix(string(b), exitPrefix)
	if !exits {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 8)
	return int32(n), err == nil
}
