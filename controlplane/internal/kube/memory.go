package kube

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// memory is what watches have told of this site's objects. Objects in it are
// never changed. It is safe for concurrent use.
type memory struct {
	mu       sync.Mutex // guards what follows
	pods     *table[*corev1.Pod, pods.Key]
	services *table[*corev1.Service, pods.Key]
	claims   *table[*corev1.PersistentVolumeClaim, pods.Key]
	slices   *table[*discoveryv1.EndpointSlice, pods.Key]
	events   *table[*corev1.Event, types.NamespacedName] // by the pod they are about

	unlisted int                         // tables that were never filled and have to be
	awaited  map[types.UID]chan struct{} // closed when an object with the UID is known

	subscriptions map[*subscription]struct{}

	listed chan struct{} // closed when unlisted is 0
}

func newMemory(site string) *memory {
	m := &memory{
		awaited: map[types.UID]chan struct{}{}, subscriptions: map[*subscription]struct{}{}, listed: make(chan struct{}),
	}
	m.pods = newTable(m, podKey[*corev1.Pod](site), true)
	m.services = newTable(m, podKey[*corev1.Service](site), true)
	m.claims = newTable(m, podKey[*corev1.PersistentVolumeClaim](site), true)
	m.slices = newTable(m, podKey[*discoveryv1.EndpointSlice](site), true)
	m.pods.changed, m.services.changed, m.claims.changed, m.slices.changed = m.touch, m.touch, m.touch, m.touch

	// Events explain, and nothing more: they are not waited for.
	m.events = newTable(m, eventKey(site), false)
	m.events.changed = func(pod types.NamespacedName) {
		if p, ok := m.pods.byName[pod]; ok {
			if k, ours := keyOf(site, p); ours {
				m.touch(k)
			}
		}
	}
	return m
}

// podKey returns a function that tells from its labels whose object one is.
func podKey[T metav1.Object](site string) func(T) (pods.Key, bool) {
	return func(o T) (pods.Key, bool) { return keyOf(site, o) }
}

// eventKey returns a function that tells which pod an event is about. Events have
// no labels, so those about objects that can't be ours by their name are dropped;
// whose the others are is asked with a pod in hand.
func eventKey(site string) func(*corev1.Event) (types.NamespacedName, bool) {
	prefix := pods.ObjectName(site, pods.Key{})
	prefix = strings.TrimRight(prefix, "-") + "-"
	return func(e *corev1.Event) (types.NamespacedName, bool) {
		name := types.NamespacedName{Namespace: e.InvolvedObject.Namespace, Name: e.InvolvedObject.Name}
		return name, e.InvolvedObject.Kind == "Pod" && strings.HasPrefix(name.Name, prefix)
	}
}

// view is everything that is known of one pod.
type view struct {
	pods     []*corev1.Pod
	services []*corev1.Service
	claims   []*corev1.PersistentVolumeClaim
	slices   []*discoveryv1.EndpointSlice
	events   []*corev1.Event // of the pods that are there
}

// view returns what is known of a pod.
func (m *memory) view(k pods.Key) view {
	m.mu.Lock()
	defer m.mu.Unlock()
	v := view{pods: m.pods.of(k), services: m.services.of(k), claims: m.claims.of(k), slices: m.slices.of(k)}
	for _, p := range v.pods {
		v.events = append(v.events, m.events.of(nameOf(p))...)
	}
	return v
}

// eventsOf returns the events about pods of a name, of earlier runs, too.
func (m *memory) eventsOf(pod types.NamespacedName) []*corev1.Event {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.events.of(pod)
}

// keys lists the pods that left anything that lasts.
func (m *memory) keys() []pods.Key {
	m.mu.Lock()
	defer m.mu.Unlock()
	set := map[pods.Key]struct{}{}
	for k := range m.pods.byKey {
		set[k] = struct{}{}
	}
	for k := range m.services.byKey {
		set[k] = struct{}{}
	}
	for k := range m.claims.byKey {
		set[k] = struct{}{}
	}
	return slices.SortedFunc(maps.Keys(set), func(a, b pods.Key) int { return strings.Compare(a.String(), b.String()) })
}

// isListed reports whether the cluster's objects were listed once.
func (m *memory) isListed() bool {
	select {
	case <-m.listed:
		return true
	default:
		return false
	}
}

// nameOf returns the name of an object.
func nameOf(o metav1.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()}
}

// table holds the objects of one kind. It is what a reflector fills.
type table[T metav1.Object, K comparable] struct {
	*memory

	keyOf   func(T) (K, bool) // false: the object is not kept
	changed func(K)           // called for the key of an object that came, changed or went
	byName  map[types.NamespacedName]T
	byKey   map[K]map[types.NamespacedName]T
	pending bool // counted in unlisted
}

func newTable[T metav1.Object, K comparable](m *memory, keyOf func(T) (K, bool), needed bool) *table[T, K] {
	if needed {
		m.unlisted++
	}
	return &table[T, K]{
		memory: m, keyOf: keyOf, byName: map[types.NamespacedName]T{}, byKey: map[K]map[types.NamespacedName]T{}, pending: needed,
	}
}

// of returns the objects with a key, ordered by name. The memory is locked.
func (t *table[T, K]) of(k K) []T {
	found := slices.Collect(maps.Values(t.byKey[k]))
	slices.SortFunc(found, func(a, b T) int { return strings.Compare(nameOf(a).String(), nameOf(b).String()) })
	return found
}

// Add implements [cache.ReflectorStore].
func (t *table[T, K]) Add(obj any) error { return t.Update(obj) }

// Update implements [cache.ReflectorStore].
func (t *table[T, K]) Update(obj any) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.put(obj)
	return nil
}

// Delete implements [cache.ReflectorStore].
func (t *table[T, K]) Delete(obj any) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if o, ok := obj.(T); ok {
		t.drop(nameOf(o))
	}
	return nil
}

// Replace implements [cache.ReflectorStore]: what is not in the list is gone.
func (t *table[T, K]) Replace(list []any, _ string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	listed := make(map[types.NamespacedName]struct{}, len(list))
	for _, obj := range list {
		if o, ok := obj.(T); ok {
			listed[nameOf(o)] = struct{}{}
			t.put(obj)
		}
	}
	for name := range t.byName {
		if _, ok := listed[name]; !ok {
			t.drop(name)
		}
	}
	if t.pending {
		t.pending = false
		if t.unlisted--; t.unlisted == 0 {
			close(t.listed)
		}
	}
	return nil
}

// Resync implements [cache.ReflectorStore]. Nothing is done again without need.
func (t *table[T, K]) Resync() error { return nil }

// put keeps an object. The memory is locked.
func (t *table[T, K]) put(obj any) {
	o, ok := obj.(T)
	if !ok {
		return
	}
	name := nameOf(o)
	k, keep := t.keyOf(o)
	if !keep {
		t.drop(name)
		return
	}
	was, known := t.byName[name]
	if known && was.GetResourceVersion() == o.GetResourceVersion() {
		return // listed again
	}
	t.drop(name)
	o.SetManagedFields(nil) // as large as the object itself, and of no use here
	t.byName[name] = o
	if t.byKey[k] == nil {
		t.byKey[k] = map[types.NamespacedName]T{}
	}
	t.byKey[k][name] = o
	t.changed(k)
	if found, ok := t.awaited[o.GetUID()]; ok {
		close(found)
		delete(t.awaited, o.GetUID())
	}
}

// drop forgets an object. The memory is locked.
func (t *table[T, K]) drop(name types.NamespacedName) {
	o, ok := t.byName[name]
	if !ok {
		return
	}
	delete(t.byName, name)
	k, _ := t.keyOf(o)
	delete(t.byKey[k], name)
	if len(t.byKey[k]) == 0 {
		delete(t.byKey, k)
	}
	t.changed(k)
}

// await waits until an object that was just made is known here, so that what is
// observed next is no older than that. It gives up after a while: then the watch
// is lost, and what is observed is old, as it is for everything else.
func (t *table[T, K]) await(ctx context.Context, o T, limit time.Duration) {
	t.mu.Lock()
	if known, ok := t.byName[nameOf(o)]; ok && known.GetUID() == o.GetUID() {
		t.mu.Unlock()
		return
	}
	found, ok := t.awaited[o.GetUID()]
	if !ok {
		found = make(chan struct{})
		t.awaited[o.GetUID()] = found
	}
	t.mu.Unlock()

	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-found:
		return
	case <-timer.C:
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.awaited, o.GetUID())
}

// subscription is one call of Watch. Its fields are guarded by memory.mu.
type subscription struct {
	pending map[pods.Key]struct{}
	wake    chan struct{} // holds a token while pending is not empty
}

// subscribe begins with every pod that is known.
func (m *memory) subscribe() *subscription {
	s := &subscription{pending: map[pods.Key]struct{}{}, wake: make(chan struct{}, 1)}
	known := m.keys()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.subscriptions[s] = struct{}{}
	for _, k := range known {
		m.touch(k)
	}
	return s
}

func (m *memory) unsubscribe(s *subscription) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.subscriptions, s)
}

// take returns the keys to notify and forgets them.
func (m *memory) take(s *subscription) map[pods.Key]struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	keys := s.pending
	s.pending = map[pods.Key]struct{}{}
	return keys
}

// touch tells the watchers that a pod may have changed. The memory is locked.
func (m *memory) touch(k pods.Key) {
	for s := range m.subscriptions {
		s.pending[k] = struct{}{}
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}
