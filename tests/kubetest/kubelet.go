package kubetest

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
)

// syncPod brings a pod one step on: it is bound, its status written, or its
// delete ended.
func (n *Nodes) syncPod(ctx context.Context, key types.NamespacedName) (again time.Duration, err error) {
	pod, err := n.factory.Core().V1().Pods().Lister().Pods(key.Namespace).Get(key.Name)
	switch {
	case err != nil:
		return 0, err
	case pod.Spec.NodeName == "":
		return 0, n.schedule(ctx, pod)
	case !n.owns(pod.Spec.NodeName), n.isLost(pod.Spec.NodeName):
		return 0, nil
	case pod.DeletionTimestamp != nil:
		return n.stop(ctx, pod)
	case pod.Status.Phase == corev1.PodSucceeded, pod.Status.Phase == corev1.PodFailed:
		return 0, nil // a pod that ended stays as it is
	}
	now := time.Now()
	l := n.lifeOf(pod, now)
	s, again := situate(pod, l, n.options, now)
	return again, n.writeStatus(ctx, pod, podStatus(pod, l, s))
}

// lifeOf returns what is known of a pod, from its status if these nodes did not
// see it before.
func (n *Nodes) lifeOf(pod *corev1.Pod, now time.Time) life {
	n.mu.Lock()
	defer n.mu.Unlock()
	if l, ok := n.lives[pod.UID]; ok {
		return l
	}
	n.next++
	l := life{since: now, ip: n.options.PodIP}
	if l.ip == "" {
		l.ip = fmt.Sprintf("10.%d.%d.%d", 200+n.next>>16&15, n.next>>8&255, n.next&255)
	}
	if pod.Status.PodIP != "" {
		l.ip = pod.Status.PodIP
	}
	n.lives[pod.UID] = l
	return l
}

func (n *Nodes) writeStatus(ctx context.Context, pod *corev1.Pod, status corev1.PodStatus) error {
	if equality.Semantic.DeepEqual(pod.Status, status) {
		return nil
	}
	changed := pod.DeepCopy()
	changed.Status = status
	if _, err := n.client.CoreV1().Pods(pod.Namespace).UpdateStatus(ctx, changed, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("writing the status of pod %s: %w", pod.Name, err)
	}
	n.tellStatus(ctx, pod, status)
	return nil
}

// stop ends the delete of a pod when its time is over.
func (n *Nodes) stop(ctx context.Context, pod *corev1.Pod) (again time.Duration, err error) {
	if behaviourOf(pod) == NeverStops {
		return 0, nil
	}
	// The timestamp is when the grace period ends, not when it began.
	grace := time.Duration(*pod.DeletionGracePeriodSeconds) * time.Second
	if left := min(n.options.StopDelay, grace) - time.Since(pod.DeletionTimestamp.Add(-grace)); left > 0 {
		return left, nil
	}
	n.tell(ctx, pod, corev1.EventTypeNormal, "Killing", "Stopping container "+pod.Spec.Containers[0].Name)
	err = n.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
		GracePeriodSeconds: new(int64),
		Preconditions:      &metav1.Preconditions{UID: &pod.UID},
	})
	if err != nil {
		return 0, fmt.Errorf("ending pod %s: %w", pod.Name, err)
	}
	return 0, nil
}

// schedule binds a pod to a node.
func (n *Nodes) schedule(ctx context.Context, pod *corev1.Pod) error {
	if pod.DeletionTimestamp != nil {
		return nil
	}
	if behaviourOf(pod) == Unschedulable {
		return n.refuse(ctx, pod, "Insufficient memory")
	}
	node, ok := n.pick(pod)
	if !ok {
		return n.refuse(ctx, pod, "node(s) didn't match Pod's node affinity/selector")
	}
	err := n.client.CoreV1().Pods(pod.Namespace).Bind(ctx, &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Name: pod.Name, UID: pod.UID},
		Target:     corev1.ObjectReference{Kind: "Node", Name: node},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("binding pod %s: %w", pod.Name, err)
	}
	n.tell(ctx, pod, corev1.EventTypeNormal, "Scheduled", fmt.Sprintf("Successfully assigned %s/%s to %s", pod.Namespace, pod.Name, node))
	return nil
}

// refuse says that no node takes the pod.
func (n *Nodes) refuse(ctx context.Context, pod *corev1.Pod, why string) error {
	message := fmt.Sprintf("0/%[1]d nodes are available: %[1]d %[2]s. preemption: 0/%[1]d nodes are available: "+
		"%[1]d No preemption victims found for incoming pod.", len(n.names), why)
	status := *pod.Status.DeepCopy()
	setCondition(&status, corev1.PodScheduled, false, corev1.PodReasonUnschedulable, message)
	return n.writeStatus(ctx, pod, status)
}

// pick returns a node for the pod, in turns.
func (n *Nodes) pick(pod *corev1.Pod) (node string, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	wanted := labels.SelectorFromSet(pod.Spec.NodeSelector)
	for range n.names {
		n.next++
		name := n.names[n.next%len(n.names)]
		set := labels.Set{"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
		if !n.lost[name] && wanted.Matches(labels.Merge(set, n.options.Labels)) {
			return name, true
		}
	}
	return "", false
}

func (n *Nodes) owns(node string) bool { return slices.Contains(n.names, node) }
