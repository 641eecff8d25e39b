package kubetest

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// manager marks what these nodes made.
const manager = "kubetest"

// podsByLabel is an index of pods by each of their labels.
const podsByLabel = "label"

func indexByLabel(o any) ([]string, error) {
	pod, ok := o.(*corev1.Pod)
	if !ok {
		return nil, nil
	}
	keys := make([]string, 0, len(pod.Labels))
	for k, v := range pod.Labels {
		keys = append(keys, labelKey(pod.Namespace, k, v))
	}
	return keys, nil
}

func labelKey(namespace, key, value string) string { return namespace + "/" + key + "=" + value }

// sameEndpoint says that a pod looks to services as before.
func sameEndpoint(a, b *corev1.Pod) bool {
	return a.Status.PodIP == b.Status.PodIP && podReady(a) == podReady(b) &&
		ended(a) == ended(b) && (a.DeletionTimestamp == nil) == (b.DeletionTimestamp == nil) &&
		labels.Equals(a.Labels, b.Labels)
}

// queueServices queues the services that select a pod with one of the sets.
func (n *Nodes) queueServices(namespace string, sets ...labels.Set) {
	services, _ := n.factory.Core().V1().Services().Lister().Services(namespace).List(labels.Everything())
	for _, svc := range services {
		for _, set := range sets {
			if len(svc.Spec.Selector) > 0 && labels.SelectorFromSet(svc.Spec.Selector).Matches(set) {
				n.queue.Add(item{serviceKind, types.NamespacedName{Namespace: namespace, Name: svc.Name}})
				break
			}
		}
	}
}

// syncService writes the EndpointSlice of a service, or deletes it with the
// service.
func (n *Nodes) syncService(ctx context.Context, key types.NamespacedName) error {
	existing, err := n.factory.Discovery().V1().EndpointSlices().Lister().EndpointSlices(key.Namespace).Get(sliceName(key.Name))
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	api := n.client.DiscoveryV1().EndpointSlices(key.Namespace)
	svc, err := n.factory.Core().V1().Services().Lister().Services(key.Namespace).Get(key.Name)
	if apierrors.IsNotFound(err) || err == nil && len(svc.Spec.Selector) == 0 {
		if existing == nil {
			return nil
		}
		return api.Delete(ctx, existing.Name, metav1.DeleteOptions{})
	}
	if err != nil {
		return err
	}
	wanted := endpointSlice(svc, n.selected(svc))
	switch {
	case existing == nil:
		_, err = api.Create(ctx, wanted, metav1.CreateOptions{})
	case !equality.Semantic.DeepEqual(existing.Endpoints, wanted.Endpoints) || !equality.Semantic.DeepEqual(existing.Ports, wanted.Ports):
		wanted.ResourceVersion = existing.ResourceVersion
		_, err = api.Update(ctx, wanted, metav1.UpdateOptions{})
	}
	if err != nil {
		return fmt.Errorf("writing the endpoints of service %s: %w", key.Name, err)
	}
	return nil
}

// selected returns the pods of a service that have an address, by address.
func (n *Nodes) selected(svc *corev1.Service) []*corev1.Pod {
	selector := labels.SelectorFromSet(svc.Spec.Selector)
	var pods []*corev1.Pod
	for _, o := range n.candidates(svc) {
		pod, ok := o.(*corev1.Pod)
		if ok && pod.Status.PodIP != "" && !ended(pod) && selector.Matches(labels.Set(pod.Labels)) {
			pods = append(pods, pod)
		}
	}
	slices.SortFunc(pods, func(a, b *corev1.Pod) int {
		return strings.Compare(a.Status.PodIP+a.Name, b.Status.PodIP+b.Name)
	})
	return pods
}

// candidates returns the pods that have the rarest label of a service's
// selector.
func (n *Nodes) candidates(svc *corev1.Service) []any {
	indexer := n.factory.Core().V1().Pods().Informer().GetIndexer()
	var rarest string
	fewest := -1
	for k, v := range svc.Spec.Selector {
		key := labelKey(svc.Namespace, k, v)
		names, _ := indexer.IndexKeys(podsByLabel, key)
		if fewest < 0 || len(names) < fewest {
			rarest, fewest = key, len(names)
		}
	}
	found, _ := indexer.ByIndex(podsByLabel, rarest)
	return found
}

func endpointSlice(svc *corev1.Service, pods []*corev1.Pod) *discoveryv1.EndpointSlice {
	// As the real ones, they have the labels of their service.
	set := labels.Merge(svc.Labels, labels.Set{discoveryv1.LabelServiceName: svc.Name, discoveryv1.LabelManagedBy: manager})
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: svc.Namespace, Name: sliceName(svc.Name),
			Labels: set,
			OwnerReferences: []metav1.OwnerReference{
				*metav1.NewControllerRef(svc, corev1.SchemeGroupVersion.WithKind("Service")),
			},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
	}
	const most = 1000 // endpoints in one slice, says the API; more than any test needs
	for _, pod := range pods[:min(len(pods), most)] {
		serving, terminating := podReady(pod), pod.DeletionTimestamp != nil
		ready := serving && !terminating
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
			Addresses:  []string{pod.Status.PodIP},
			Conditions: discoveryv1.EndpointConditions{Ready: &ready, Serving: &serving, Terminating: &terminating},
			NodeName:   &pod.Spec.NodeName,
			TargetRef:  &corev1.ObjectReference{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
		})
	}
	if len(pods) > 0 {
		slice.Ports = endpointPorts(svc, pods[0])
	}
	return slice
}

// endpointPorts resolves the target ports of a service. All its pods are taken
// to name their ports alike.
func endpointPorts(svc *corev1.Service, pod *corev1.Pod) []discoveryv1.EndpointPort {
	var ports []discoveryv1.EndpointPort
	for _, p := range svc.Spec.Ports {
		number := p.TargetPort.IntVal
		if p.TargetPort.Type == intstr.String {
			number = namedPort(pod, p.TargetPort.StrVal)
		}
		if number != 0 {
			ports = append(ports, discoveryv1.EndpointPort{Name: &p.Name, Protocol: &p.Protocol, Port: &number, AppProtocol: p.AppProtocol})
		}
	}
	return ports
}

func namedPort(pod *corev1.Pod, name string) int32 {
	for _, c := range pod.Spec.Containers {
		for _, p := range c.Ports {
			if p.Name == name {
				return p.ContainerPort
			}
		}
	}
	return 0
}

func podReady(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

func ended(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

func sliceName(service string) string { return service + "-" + manager }
