package kubetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
)

// syncClaim binds a volume claim, to no volume, or lets a deleted one go.
func (n *Nodes) syncClaim(ctx context.Context, key types.NamespacedName) error {
	const protection = "kubernetes.io/pvc-protection" // set by admission
	claim, err := n.factory.Core().V1().PersistentVolumeClaims().Lister().PersistentVolumeClaims(key.Namespace).Get(key.Name)
	if err != nil {
		return err
	}
	api := n.client.CoreV1().PersistentVolumeClaims(key.Namespace)
	claim = claim.DeepCopy()
	switch {
	case claim.DeletionTimestamp != nil && slices.Contains(claim.Finalizers, protection) && !n.used(claim):
		claim.Finalizers = slices.DeleteFunc(claim.Finalizers, func(f string) bool { return f == protection })
		_, err = api.Update(ctx, claim, metav1.UpdateOptions{})
	case claim.DeletionTimestamp == nil && claim.Status.Phase != corev1.ClaimBound:
		claim.Status.Phase = corev1.ClaimBound
		claim.Status.AccessModes = claim.Spec.AccessModes
		claim.Status.Capacity = claim.Spec.Resources.Requests
		_, err = api.UpdateStatus(ctx, claim, metav1.UpdateOptions{})
	}
	if err != nil {
		return fmt.Errorf("updating claim %s: %w", key.Name, err)
	}
	return nil
}

// used says that a pod that did not end mounts the claim.
func (n *Nodes) used(claim *corev1.PersistentVolumeClaim) bool {
	pods, _ := n.factory.Core().V1().Pods().Lister().Pods(claim.Namespace).List(labels.Everything())
	return slices.ContainsFunc(pods, func(pod *corev1.Pod) bool {
		return !ended(pod) && slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool {
			return v.PersistentVolumeClaim != nil && v.PersistentVolumeClaim.ClaimName == claim.Name
		})
	})
}

// syncQuota writes the status that admission needs before it lets anything
// pass, and counts again what pods use. Other objects are only ever counted up,
// by admission.
func (n *Nodes) syncQuota(ctx context.Context, key types.NamespacedName) error {
	quota, err := n.factory.Core().V1().ResourceQuotas().Lister().ResourceQuotas(key.Namespace).Get(key.Name)
	if err != nil {
		return err
	}
	pods, err := n.factory.Core().V1().Pods().Lister().Pods(key.Namespace).List(labels.Everything())
	if err != nil {
		return err
	}
	status := corev1.ResourceQuotaStatus{Hard: quota.Spec.Hard, Used: make(corev1.ResourceList)}
	taken := usage(pods)
	for name := range status.Hard {
		status.Used[name] = quota.Status.Used[name]
		if ofPods(name) {
			status.Used[name] = taken[name]
		}
	}
	if equality.Semantic.DeepEqual(quota.Status, status) {
		return nil
	}
	quota = quota.DeepCopy()
	quota.Status = status
	if _, err := n.client.CoreV1().ResourceQuotas(key.Namespace).UpdateStatus(ctx, quota, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("updating quota %s: %w", key.Name, err)
	}
	return nil
}

// ofPods says that a quota's name is about what pods take.
func ofPods(name corev1.ResourceName) bool {
	switch name {
	case corev1.ResourcePods, corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage:
		return true
	case corev1.ResourceRequestsStorage:
		return false // of claims
	default:
		return strings.HasPrefix(string(name), "requests.") || strings.HasPrefix(string(name), "limits.")
	}
}

// usage sums up what pods that did not end take, under each name that a quota
// may give it.
func usage(pods []*corev1.Pod) corev1.ResourceList {
	used := make(corev1.ResourceList)
	add := func(name corev1.ResourceName, more resource.Quantity) {
		sum := used[name]
		sum.Add(more)
		used[name] = sum
	}
	one := resource.MustParse("1")
	for _, pod := range pods {
		if ended(pod) {
			continue
		}
		add(corev1.ResourcePods, one)
		for _, c := range pod.Spec.Containers {
			for name, q := range c.Resources.Requests {
				add(name, q)
				add("requests."+name, q)
			}
			for name, q := range c.Resources.Limits {
				add("limits."+name, q)
			}
		}
	}
	return used
}

// syncNamespace empties a namespace that is being deleted and, once nothing is
// left, lets it go.
func (n *Nodes) syncNamespace(ctx context.Context, name string) (again time.Duration, err error) {
	ns, err := n.factory.Core().V1().Namespaces().Lister().Get(name)
	if err != nil || ns.DeletionTimestamp == nil || n.options.Namespace != "" && n.options.Namespace != name {
		return 0, err
	}
	found, err := n.sweeper.sweep(ctx, name, false)
	if err != nil {
		return 0, err
	}
	if found > 0 {
		return 100 * time.Millisecond, nil
	}
	return 0, n.sweeper.finalize(ctx, name)
}
