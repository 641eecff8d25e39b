package kubetest

import (
	"context"
	"fmt"
	"log/slog"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// tellStatus tells in Events what a new status of a pod means.
func (n *Nodes) tellStatus(ctx context.Context, pod *corev1.Pod, status corev1.PodStatus) {
	if !n.options.Events {
		return
	}
	if status.Reason == "Evicted" {
		n.tell(ctx, pod, corev1.EventTypeWarning, "Evicted", status.Message)
		return
	}
	if len(status.ContainerStatuses) == 0 {
		for _, c := range status.Conditions {
			if c.Reason == corev1.PodReasonUnschedulable {
				n.tell(ctx, pod, corev1.EventTypeWarning, "FailedScheduling", c.Message)
			}
		}
		return
	}
	c := status.ContainerStatuses[0]
	switch {
	case c.State.Running != nil && !started(pod):
		n.tell(ctx, pod, corev1.EventTypeNormal, "Pulled", fmt.Sprintf("Container image %q already present on machine", c.Image))
		n.tell(ctx, pod, corev1.EventTypeNormal, "Created", "Created container: "+c.Name)
		n.tell(ctx, pod, corev1.EventTypeNormal, "Started", "Started container "+c.Name)
	case c.State.Waiting == nil || c.State.Waiting.Message == "":
	case c.State.Waiting.Reason == "ErrImagePull":
		n.tell(ctx, pod, corev1.EventTypeWarning, "Failed", c.State.Waiting.Message)
	case c.State.Waiting.Reason == "ImagePullBackOff":
		n.tell(ctx, pod, corev1.EventTypeNormal, "BackOff", c.State.Waiting.Message)
	case c.State.Waiting.Reason == "CrashLoopBackOff":
		n.tell(ctx, pod, corev1.EventTypeWarning, "BackOff", c.State.Waiting.Message)
	default:
		n.tell(ctx, pod, corev1.EventTypeWarning, "Failed", "Error: "+c.State.Waiting.Message)
	}
}

// tell writes an Event about a pod, if the options want them.
func (n *Nodes) tell(ctx context.Context, pod *corev1.Pod, kind, reason, message string) {
	if !n.options.Events {
		return
	}
	now := metav1.Now()
	_, err := n.client.CoreV1().Events(pod.Namespace).Create(ctx, &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{GenerateName: pod.Name + "."},
		InvolvedObject: corev1.ObjectReference{
			Kind: "Pod", APIVersion: "v1", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID,
		},
		Type: kind, Reason: reason, Message: message, Count: 1,
		FirstTimestamp: now, LastTimestamp: now,
		Source: corev1.EventSource{Component: manager},
	}, metav1.CreateOptions{})
	if err != nil {
		// Events are a courtesy, here as on a real node.
		slog.Debug("writing an event failed", "namespace", pod.Namespace, "name", pod.Name, "error", err)
	}
}
