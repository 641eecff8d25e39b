package kubetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
)

// nodeIP is the address of all fake nodes.
const nodeIP = "127.0.0.1"

// NodeOptions say how fake nodes work. The zero value is one node that runs the
// pods of all namespaces at once.
type NodeOptions struct {
	// Number of nodes. Default: 1.
	Count int
	// Namespace whose objects they care for; "" for all. Tests that share a
	// server set it, so that they do not run each other's pods.
	Namespace string
	// Time from a pod's schedule to Running and Ready. Default: 0.
	Delay time.Duration
	// Time from a pod's delete to its end. Default: 0.
	StopDelay time.Duration
	// Time between two attempts of a pod that fails. Default: 1s.
	Backoff time.Duration
	// Address of every pod. Default: one of its own for each, which leads nowhere.
	PodIP string
	// Labels of the nodes, which node selectors ask for.
	Labels map[string]string
	// Whether to tell what happens in Events, as real nodes do.
	Events bool
}

// Nodes are fake nodes: they run nothing and say they do. Beside what kubelets
// do they do the minimum of what other parts of Kubernetes do:
//
//   - the scheduler: pods are bound to nodes that their node selector allows;
//   - EndpointSlices of Services with a selector follow the pods' readiness;
//   - volume claims become Bound, and go if no pod uses them;
//   - quotas get the status that admission waits for;
//   - a deleted namespace is emptied and goes.
//
// After the API server was away they return as other clients of it do, which
// after a minute's outage can take a minute and a half.
type Nodes struct {
	client    *kubernetes.Clientset
	options   NodeOptions
	factory   informers.SharedInformerFactory
	queue     workqueue.TypedRateLimitingInterface[item]
	sweeper   *sweeper
	names     []string
	cancel    context.CancelFunc
	work      sync.WaitGroup
	closeOnce sync.Once

	mu    sync.Mutex
	lives map[types.UID]life
	lost  map[string]bool // nodes that do nothing, by name
	next  int             // counts pods, for addresses and turns
}

// item is one object to look at.
type item struct {
	kind kind
	types.NamespacedName
}

type kind string

const (
	podKind       kind = "pod"
	serviceKind   kind = "service"
	claimKind     kind = "claim"
	quotaKind     kind = "quota"
	namespaceKind kind = "namespace"
)

// workers is the number of objects handled at the same time.
const workers = 8

// FakeNodes starts fake nodes for the server. They end, and leave the API, with
// the test.
func FakeNodes(t testing.TB, s *Server, o NodeOptions) *Nodes {
	t.Helper()
	n, err := NewNodes(t.Context(), s.RESTConfig(), o)
	if err != nil {
		t.Fatalf("starting fake nodes: %v", err)
	}
	t.Cleanup(n.Close)
	return n
}

// NewNodes starts fake nodes and returns when they are Ready. They work until
// Close. ctx is only for the start.
func NewNodes(ctx context.Context, config *rest.Config, o NodeOptions) (*Nodes, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1
	config.UserAgent = "kubetest-nodes"
	sweeper, err := newSweeper(config) // it knows JSON only
	if err != nil {
		return nil, err
	}
	config.ContentType = "application/vnd.kubernetes.protobuf"
	config.AcceptContentTypes = config.ContentType + ",application/json"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	o.Count = max(o.Count, 1)
	o.Backoff = cmp.Or(o.Backoff, time.Second)
	n := &Nodes{
		client:  client,
		options: o,
		factory: informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(o.Namespace)),
		queue: workqueue.NewTypedRateLimitingQueue(
			workqueue.NewTypedItemExponentialFailureRateLimiter[item](5*time.Millisecond, 5*time.Second)),
		sweeper: sweeper,
		lives:   make(map[types.UID]life),
		lost:    make(map[string]bool),
	}
	if err := n.register(ctx); err != nil {
		n.unregister()
		return nil, err
	}
	if err := n.start(ctx); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

// Names returns the names of the nodes.
func (n *Nodes) Names() []string { return slices.Clone(n.names) }

// Close ends the nodes and deletes them from the API. It is safe to call twice.
func (n *Nodes) Close() {
	n.closeOnce.Do(func() {
		n.cancel()
		n.queue.ShutDown()
		n.work.Wait()
		n.factory.Shutdown()
		n.unregister()
	})
}

// Lose takes a node away: it does nothing for its pods any more, and is marked
// as Kubernetes marks a node that was not heard of for 40 s: its Ready condition
// is Unknown and its pods are not Ready. What follows after 300 s more, the
// delete of its pods, which then never ends, is the test's to do.
func (n *Nodes) Lose(t testing.TB, node string) {
	t.Helper()
	n.setLost(node, true)
	if err := n.updateNode(t.Context(), node, corev1.ConditionUnknown); err != nil {
		t.Fatal(err)
	}
	pods, err := n.podsOn(t.Context(), node)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pods {
		setCondition(&p.Status, corev1.PodReady, false, "", "")
		if _, err := n.client.CoreV1().Pods(p.Namespace).UpdateStatus(t.Context(), &p, metav1.UpdateOptions{}); err != nil {
			t.Fatalf("marking pod %s: %v", p.Name, err)
		}
	}
}

// Return brings a lost node back, with its pods as they were.
func (n *Nodes) Return(t testing.TB, node string) {
	t.Helper()
	n.setLost(node, false)
	if err := n.updateNode(t.Context(), node, corev1.ConditionTrue); err != nil {
		t.Fatal(err)
	}
	pods, err := n.factory.Core().V1().Pods().Lister().List(labels.Everything())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pods {
		n.queue.Add(podItem(p))
	}
}

func (n *Nodes) podsOn(ctx context.Context, node string) ([]corev1.Pod, error) {
	list, err := n.client.CoreV1().Pods(n.options.Namespace).List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=" + node})
	if err != nil {
		return nil, fmt.Errorf("listing the pods of node %s: %w", node, err)
	}
	return list.Items, nil
}

func (n *Nodes) setLost(node string, lost bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lost[node] = lost
}

func (n *Nodes) isLost(node string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.lost[node]
}

// register adds the nodes to the API.
func (n *Nodes) register(ctx context.Context) error {
	prefix := "fake-" + rand.String(5)
	for i := range n.options.Count {
		name := fmt.Sprintf("%s-%d", prefix, i)
		set := map[string]string{"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
		maps.Copy(set, n.options.Labels)
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: set}}
		if _, err := n.client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("registering node %s: %w", name, err)
		}
		n.names = append(n.names, name)
		if err := n.updateNode(ctx, name, corev1.ConditionTrue); err != nil {
			return err
		}
	}
	return nil
}

// updateNode writes the status of a node.
func (n *Nodes) updateNode(ctx context.Context, name string, ready corev1.ConditionStatus) error {
	node, err := n.client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading node %s: %w", name, err)
	}
	capacity := corev1.ResourceList{
		corev1.ResourceCPU:              resource.MustParse("10000"),
		corev1.ResourceMemory:           resource.MustParse("100Ti"),
		corev1.ResourceEphemeralStorage: resource.MustParse("100Ti"),
		corev1.ResourcePods:             resource.MustParse("100000"),
	}
	condition := corev1.NodeCondition{
		Type: corev1.NodeReady, Status: ready, Reason: "KubeletReady", Message: "kubelet is posting ready status",
		LastHeartbeatTime: metav1.Now(), LastTransitionTime: metav1.Now(),
	}
	if ready == corev1.ConditionUnknown {
		condition.Reason, condition.Message = "NodeStatusUnknown", "Kubelet stopped posting node status."
	}
	node.Status = corev1.NodeStatus{
		Capacity: capacity, Allocatable: capacity,
		Conditions: []corev1.NodeCondition{condition},
		Addresses:  []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: nodeIP}},
		NodeInfo:   corev1.NodeSystemInfo{KubeletVersion: "v1.33.0-fake", OperatingSystem: "linux", Architecture: "amd64"},
	}
	if _, err := n.client.CoreV1().Nodes().UpdateStatus(ctx, node, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("writing the status of node %s: %w", name, err)
	}
	return nil
}

// unregister removes the nodes from the API, if it answers.
func (n *Nodes) unregister() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for _, name := range n.names {
		if err := n.client.CoreV1().Nodes().Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
			return // it is the server of a test, which may have ended
		}
	}
}

// start starts informers and workers, and returns when the caches are filled.
func (n *Nodes) start(ctx context.Context) error {
	own, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	if err := n.watch(); err != nil {
		return err
	}
	n.factory.Start(own.Done())
	for what, ok := range n.factory.WaitForCacheSync(ctx.Done()) {
		if !ok {
			return fmt.Errorf("filling the cache of %v: %w", what, context.Cause(ctx))
		}
	}
	for range workers {
		n.work.Go(func() {
			for n.step(own) {
			}
		})
	}
	return nil
}

// watch queues objects that change.
func (n *Nodes) watch() error {
	core := n.factory.Core().V1()
	pods := core.Pods().Informer()
	indexErr := pods.AddIndexers(cache.Indexers{podsByLabel: indexByLabel})
	_, podErr := pods.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { n.podChanged(nil, podOf(o)) },
		UpdateFunc: func(before, o any) { n.podChanged(podOf(before), podOf(o)) },
		DeleteFunc: func(o any) { n.podGone(podOf(o)) },
	})
	errs := []error{indexErr, podErr}
	for kind, informer := range map[kind]cache.SharedIndexInformer{
		serviceKind:   core.Services().Informer(),
		claimKind:     core.PersistentVolumeClaims().Informer(),
		namespaceKind: core.Namespaces().Informer(),
	} {
		_, err := informer.AddEventHandler(n.handler(kind))
		errs = append(errs, err)
	}
	_, quotaErr := core.ResourceQuotas().Informer().AddEventHandler(cache.FilteringResourceEventHandler{
		// Admission writes what is used; only a limit that it does not know yet is ours to tell.
		FilterFunc: func(o any) bool {
			q, ok := o.(*corev1.ResourceQuota)
			return ok && !equality.Semantic.DeepEqual(q.Spec.Hard, q.Status.Hard)
		},
		Handler: n.handler(quotaKind),
	})
	_, sliceErr := n.factory.Discovery().V1().EndpointSlices().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		DeleteFunc: func(o any) { // by somebody else
			if m := metaOf(o); m.GetLabels()[discoveryv1.LabelManagedBy] == manager {
				n.queue.Add(item{serviceKind, types.NamespacedName{Namespace: m.GetNamespace(), Name: m.GetLabels()[discoveryv1.LabelServiceName]}})
			}
		},
	})
	return errors.Join(append(errs, quotaErr, sliceErr)...)
}

// handler queues every object of a kind that changes.
func (n *Nodes) handler(k kind) cache.ResourceEventHandler {
	add := func(o any) {
		m := metaOf(o)
		n.queue.Add(item{k, types.NamespacedName{Namespace: m.GetNamespace(), Name: m.GetName()}})
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc: add, UpdateFunc: func(_, o any) { add(o) }, DeleteFunc: add,
	}
}

// step handles one object. It returns false at the end.
func (n *Nodes) step(ctx context.Context) bool {
	it, down := n.queue.Get()
	if down {
		return false
	}
	defer n.queue.Done(it)
	again, err := n.sync(ctx, it)
	switch {
	case err != nil && ctx.Err() == nil:
		// A conflict means that our cache is behind; anything else may be the API's fault.
		if !apierrors.IsConflict(err) {
			slog.Debug("syncing failed", "kind", string(it.kind), "namespace", it.Namespace, "name", it.Name, "error", err)
		}
		n.queue.AddRateLimited(it)
		return true
	case again > 0:
		n.queue.AddAfter(it, again)
	}
	n.queue.Forget(it)
	return true
}

func (n *Nodes) sync(ctx context.Context, it item) (again time.Duration, err error) {
	switch it.kind {
	case podKind:
		again, err = n.syncPod(ctx, it.NamespacedName)
	case serviceKind:
		err = n.syncService(ctx, it.NamespacedName)
	case claimKind:
		err = n.syncClaim(ctx, it.NamespacedName)
	case quotaKind:
		err = n.syncQuota(ctx, it.NamespacedName)
	case namespaceKind:
		again, err = n.syncNamespace(ctx, it.Name)
	}
	if apierrors.IsNotFound(err) {
		return 0, nil // it is gone, and its event is on the way
	}
	return again, err
}

// podChanged queues the pod and the services whose endpoints it may change.
func (n *Nodes) podChanged(before, pod *corev1.Pod) {
	n.queue.Add(podItem(pod))
	if before != nil && sameEndpoint(before, pod) {
		return
	}
	if before != nil && ended(before) != ended(pod) {
		n.queueQuotas(pod.Namespace)
	}
	sets := []labels.Set{pod.Labels}
	if before != nil {
		sets = append(sets, before.Labels)
	}
	n.queueServices(pod.Namespace, sets...)
}

// podGone queues what a pod leaves behind.
func (n *Nodes) podGone(pod *corev1.Pod) {
	n.mu.Lock()
	delete(n.lives, pod.UID)
	n.mu.Unlock()
	n.queueServices(pod.Namespace, pod.Labels)
	for _, v := range pod.Spec.Volumes {
		if v.PersistentVolumeClaim != nil {
			n.queue.Add(item{claimKind, types.NamespacedName{Namespace: pod.Namespace, Name: v.PersistentVolumeClaim.ClaimName}})
		}
	}
	n.queueQuotas(pod.Namespace)
}

func (n *Nodes) queueQuotas(namespace string) {
	quotas, _ := n.factory.Core().V1().ResourceQuotas().Lister().ResourceQuotas(namespace).List(labels.Everything())
	for _, q := range quotas {
		n.queue.Add(item{quotaKind, types.NamespacedName{Namespace: q.Namespace, Name: q.Name}})
	}
}

func podItem(pod *corev1.Pod) item {
	return item{podKind, types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}}
}

// metaOf returns the metadata of an object of an event, which for a delete that
// was missed is wrapped.
func metaOf(o any) metav1.Object {
	if gone, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = gone.Obj
	}
	return o.(metav1.Object)
}

func podOf(o any) *corev1.Pod { return metaOf(o).(*corev1.Pod) }
