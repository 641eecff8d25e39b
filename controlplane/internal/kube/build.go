package kube

import (
	"encoding/json"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// objects are what makes one pod run, in the order in which they are made.
type objects struct {
	place   place
	claims  []*corev1.PersistentVolumeClaim
	service *corev1.Service
	secret  *corev1.Secret // nil: the pod has no environment
	pod     *corev1.Pod
}

// place is a namespace that pods of a tenant live in.
type place struct {
	name   string
	tenant string // "" if tenants share it
	root   bool   // its containers may run as root
}

// build returns the objects of a workload. It is pure: the same workload gives
// the same objects.
func (o Options) build(w pods.Workload) (objects, error) {
	b := builder{Options: o, w: w, name: pods.ObjectName(o.Site, w.Key), place: o.placeOf(w), ports: numbersOf(w.Ports)}
	b.environment = newEnvironment(w)
	size, err := quantity(o.ClaimSize)
	if err != nil {
		return objects{}, err
	}
	ports, err := b.portsAnnotation()
	if err != nil {
		return objects{}, err
	}
	return objects{
		place: b.place, claims: b.claims(size), service: b.service(), secret: b.secret(), pod: b.pod(ports),
	}, nil
}

// placeOf returns where a workload lives.
func (o Options) placeOf(w pods.Workload) place {
	pattern := o.Namespace
	if q := o.queue(w); q.Namespace != "" {
		pattern = q.Namespace
	}
	p := place{name: expand(pattern, o.Site, w.Tenant), root: o.rule(w).Root}
	if expand(pattern, o.Site, "") != p.name {
		p.tenant = w.Tenant
	}
	if p.root {
		p.name += rootSuffix
	}
	return p
}

// builder makes the objects of one workload.
type builder struct {
	Options

	w           pods.Workload
	name        string // of the pod and its service
	place       place
	ports       []int
	environment environment
}

// numbersOf returns the port numbers of a workload, each once, in order. Two
// networking entries may share one.
func numbersOf(ports map[string]pods.Port) []int {
	numbers := make([]int, 0, len(ports))
	for _, p := range ports {
		numbers = append(numbers, p.Number)
	}
	slices.Sort(numbers)
	return slices.Compact(numbers)
}

// portName names the i-th port: networking keys are too long for a port's name.
func portName(i int) string { return fmt.Sprintf("port-%d", i) }

// meta returns the metadata of an object of the pod.
func (b builder) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Namespace: b.place.name, Labels: podLabels(b.Site, b.w.Key, b.w.UID)}
}

// portsAnnotation returns what tells networking keys from a pod alone.
func (b builder) portsAnnotation() (string, error) {
	numbers := make(map[string]int, len(b.w.Ports))
	for key, p := range b.w.Ports {
		numbers[key] = p.Number
	}
	text, err := json.Marshal(numbers)
	if err != nil {
		return "", fmt.Errorf("encoding ports: %w", err)
	}
	return string(text), nil
}

func (b builder) service() *corev1.Service {
	s := &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: b.meta(b.name),
		Spec: corev1.ServiceSpec{
			Type:                     corev1.ServiceTypeClusterIP,
			Selector:                 selectorLabels(b.Site, b.w.Key),
			PublishNotReadyAddresses: b.readyWhenRunning(),
		},
	}
	if b.AddressMode == NodePort {
		s.Spec.Type = corev1.ServiceTypeNodePort
		// The pod's own node is dialled, and sees who dials: the network policy
		// admits edges by their address.
		s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	}
	for i, n := range b.ports {
		s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{
			Name: portName(i), Protocol: corev1.ProtocolTCP, Port: int32(n), TargetPort: intstr.FromInt32(int32(n)),
		})
	}
	return s
}

// typePVC is the volume type that is the pod's own storage.
const typePVC = "pvc"

// claimName names the claim of a volume mount of type pvc.
func (b builder) claimName(key string) string { return b.name + "--" + key }

// claimNames lists the claims of the pod, each once: one can be mounted at several
// places.
func (b builder) claimNames() []string {
	var names []string
	for key, m := range b.w.VolumeMounts {
		if m.Type == typePVC {
			names = append(names, b.claimName(m.Source(key)))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (b builder) claims(size resource.Quantity) []*corev1.PersistentVolumeClaim {
	var list []*corev1.PersistentVolumeClaim
	for _, name := range b.claimNames() {
		c := &corev1.PersistentVolumeClaim{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolumeClaim"},
			ObjectMeta: b.meta(name),
			Spec: corev1.PersistentVolumeClaimSpec{
				AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
				Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: size}},
			},
		}
		if b.StorageClass != "" {
			c.Spec.StorageClassName = &b.StorageClass
		}
		list = append(list, c)
	}
	return list
}

func (b builder) secret() *corev1.Secret {
	if len(b.environment.secret) == 0 {
		return nil
	}
	return &corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: b.meta(b.secretName()),
		Immutable:  new(true), // nodes need not watch it
		Type:       corev1.SecretTypeOpaque,
		Data:       b.environment.secret,
	}
}

func (b builder) secretName() string { return b.name + "-" + b.environment.digest(b.w) }

// quantity parses a quantity that must not be negative.
func quantity(s string) (resource.Quantity, error) {
	q, err := resource.ParseQuantity(s)
	if err != nil || q.Sign() < 0 {
		return q, fmt.Errorf("%q is not a quantity such as 10 or 10Gi", s)
	}
	return q, nil
}
