package reconcile

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// Lines of the action log. Clients know the texts that begin with the names of
// the upstream service's processes.
const (
	textApplied     = "spawner set status to CREATING"
	textApplyFailed = "spawner got error when creating pod, set status to DELETING"
	textAvailable   = "health set status to AVAILABLE"
	textSucceeded   = "health found pod in succeeded, set status to COMPLETE"
	textWaiting     = "health found pod in waiting state, set status to ERROR"
	textTerminated  = "health found pod in terminated state, set status to ERROR"
	textRemoving    = "health found running %s pod, set status to DELETING"
	textStopped     = "health set status to STOPPED"
	textRestarted   = "health set status to STOPPED, set to ON"
	textVanished    = "health found no running pod, set status to STOPPED"
	textStalled     = "health found no running pod and status = %s for %d minutes, stalled. Setting status = STOPPED"
	textRequested   = "health found ON pod set to STOPPED, set status to REQUESTED"
	textTimeToStop  = "health set pod to OFF due to time_to_stop trigger"
	textGaveUp      = "health found no running pod and gave up, set status to ERROR"
	textForeign     = "health found an object that is not this pod's under its name, set status to ERROR"
	textUnresolved  = "health found pod without a usable definition, set status to ERROR"
)

// Messages of status_container, for the owner of a pod.
const (
	messageRunning    = "Pod is running."
	messageStarting   = "Pod is still initializing."
	messageSucceeded  = "Pod phase in Succeeded, putting in COMPLETE status."
	messageWaiting    = "Pod in waiting state for reason: %s."
	messageTerminated = "Pod in terminated state for reason: %s."
	messageLeftover   = "Pod waits until an earlier pod with this id is removed."
	messageLastRun    = "Pod waits until its last run has ended."
	messageVanished   = "Pod went away without an end of its own; it is started again."
	messageGaveUp     = "Pod went away %d times in a row soon after its start, without an end of its own."
	messageOutage     = "The cluster does not answer; the pod starts as soon as it does."
)

// reasonCompleted is the reason of a container that ended as it should.
const reasonCompleted = "Completed"

// reasonUnschedulable says that no machine has room for the pod yet.
const reasonUnschedulable = "Unschedulable"

// transientReasons are those a container waits for on its ordinary way.
var transientReasons = []string{"ContainerCreating", "PodInitializing", reasonUnschedulable, "SchedulingGated"}

// waitingHints say what to do about a container that waits for what won't come.
var waitingHints = map[string]string{
	"ErrImagePull":               "check the image's name and tag, and that it may be pulled",
	"ImagePullBackOff":           "check the image's name and tag, and that it may be pulled",
	"InvalidImageName":           "check the image's name and tag",
	"CrashLoopBackOff":           "the program ends soon after its start; its output is in the pod's logs",
	"CreateContainerConfigError": "check environment variables and volume mounts",
	"RunContainerError":          "check command and arguments",
	"StartError":                 "check command and arguments",
}

// terminatedHints say why a container ended.
var terminatedHints = map[string]string{
	"Error":                  "the program's output is in the pod's logs",
	"Evicted":                "the cluster took it off its machine to save resources; restart the pod",
	"Preempting":             "the cluster needed its place for more important work; restart the pod",
	"Preempted":              "the cluster needed its place for more important work; restart the pod",
	"NodeLost":               "the machine it ran on was lost; restart the pod",
	"NodeShutdown":           "the machine it ran on was shut down; restart the pod",
	"ContainerStatusUnknown": "the machine it ran on lost sight of it; restart the pod",
	"ContainerCannotRun":     "check command and arguments",
	"StartError":             "check command and arguments",
}

// initializingText says what a pod waits for on its ordinary way.
func initializingText(o pods.Observation) string {
	if o.Message == "" {
		return messageStarting
	}
	if o.Waiting == reasonUnschedulable {
		return messageStarting + " The cluster has no room for it yet: " + o.Message
	}
	return messageStarting + " " + o.Message
}

// waitingText says why a container does not start.
func waitingText(o pods.Observation) string {
	return reasonText(o.Waiting, o.Message, waitingHints[o.Waiting])
}

// terminatedText says why a container ended.
func terminatedText(o pods.Observation, r pods.Resources) string {
	reason := o.Terminated
	if reason == "" {
		reason = string(o.Phase)
	}
	hint := terminatedHints[reason]
	if reason == "OOMKilled" {
		hint = memoryHint(r.MemLimit)
	}
	if o.ExitCode != 0 {
		reason = fmt.Sprintf("%s (exit code %d)", reason, o.ExitCode)
	}
	return reasonText(reason, o.Message, hint)
}

func memoryHint(limit int) string {
	if limit == 0 {
		return "it used more memory than resources.mem_limit allows"
	}
	return fmt.Sprintf("it used more memory than resources.mem_limit allows, %d MiB", limit)
}

// reasonText joins a reason, the cluster's message and a hint to a phrase
// without a full stop at its end.
func reasonText(reason, message, hint string) string {
	text := reason
	if message = clean(message); message != "" {
		text += ": " + message
	}
	if hint != "" {
		text += " (" + hint + ")"
	}
	return text
}

// maxMessageBytes bounds what is repeated of another program's words.
const maxMessageBytes = 1000

// clean makes the words of another program fit into the middle of a sentence.
func clean(s string) string {
	s = strings.TrimRight(strings.TrimSpace(s), ".")
	if len(s) > maxMessageBytes {
		s = strings.ToValidUTF8(s[:maxMessageBytes], "") + "…"
	}
	return s
}

// foreignText says that a name is taken by an object that is not ours.
func foreignText(object string) string {
	return fmt.Sprintf("The name of this pod's objects is taken by something else in the cluster: %s. "+
		"It was left alone; an administrator has to remove it, then restart the pod.", clean(object))
}

// unresolvedText says that a definition can't be used.
func unresolvedText(err error) string {
	return fmt.Sprintf("The pod's definition can't be used: %s. Change it, then restart the pod.", ownersText(err))
}

// applyFailedText says why a pod could not be created and what comes next.
func applyFailedText(err error, attempt, limit int) string {
	text := fmt.Sprintf("Pod could not be created: %s.", ownersText(err))
	if attempt < limit {
		text += fmt.Sprintf(" Trying again (attempt %d of %d).", attempt+1, limit)
	}
	return text
}

// ownersText is the part of an error that is meant for the pod's owner.
func ownersText(err error) string {
	e, ok := errors.AsType[*pods.Error](err)
	if !ok || e.Code == pods.Internal || len(e.Messages) == 0 {
		return "an internal error, which the administrators find in the log"
	}
	return clean(strings.Join(e.Messages, "; "))
}

// outage reports whether an error says that the cluster does not answer, rather
// than that it does not want this pod.
func outage(err error) bool {
	if pods.ErrorCode(err) == pods.Unavailable || errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	// Not net.Error: every system call's error is one of these, too.
	_, dial := errors.AsType[*net.OpError](err)
	_, call := errors.AsType[*url.Error](err)
	return dial || call
}
