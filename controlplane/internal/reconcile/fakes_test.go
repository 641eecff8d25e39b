package reconcile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/routes"
)

const testDomain = "dev.localhost"

// faults make a fake fail. The zero value never does.
type faults struct {
	mu    sync.Mutex
	queue []error
	until error // of every call until it is nil
	calls int
}

// next fails the coming calls, one with each error; a nil lets one through.
func (f *faults) next(errs ...error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queue = append(f.queue, errs...)
}

// always fails every call until it is called with nil, which also drops what is
// queued.
func (f *faults) always(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.until = err
	if err == nil {
		f.queue = nil
	}
}

func (f *faults) err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	if f.until != nil {
		return f.until
	}
	if len(f.queue) == 0 {
		return nil
	}
	err := f.queue[0]
	f.queue = f.queue[1:]
	return err
}

func (f *faults) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

// fakeStore is a pods.Store in memory.
type fakeStore struct {
	faults faults
	writes faults // only writes of the reconciler

	mu     sync.Mutex
	pods   map[pods.Key]pods.Pod
	events map[pods.Key][]pods.Event
	logs   map[pods.Key]string
	// statuses that were written, in their order, each change once
	statuses map[pods.Key][]pods.Status

	// beforeSave, if not nil, runs before the next write of the reconciler,
	// afterRead after its next read of a pod.
	beforeSave, afterRead func()
}

func newFakeStore() *fakeStore {
	return &fakeStore{
		pods: map[pods.Key]pods.Pod{}, events: map[pods.Key][]pods.Event{},
		logs: map[pods.Key]string{}, statuses: map[pods.Key][]pods.Status{},
	}
}

func (s *fakeStore) CreatePod(_ context.Context, p pods.Pod, _ pods.Credentials, first pods.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.pods[p.Key]; ok {
		return pods.Errorf(pods.Exists, "exists")
	}
	p.Version, p.State.Version = 1, 1
	s.pods[p.Key] = p
	s.events[p.Key] = []pods.Event{first}
	return nil
}

func (s *fakeStore) Pod(_ context.Context, k pods.Key) (pods.Pod, error) {
	if err := s.faults.err(); err != nil {
		return pods.Pod{}, err
	}
	s.mu.Lock()
	p, ok := s.pods[k]
	f := s.afterRead
	s.afterRead = nil
	s.mu.Unlock()
	if f != nil {
		f()
	}
	if !ok {
		return pods.Pod{}, pods.Errorf(pods.NotFound, "no pod")
	}
	return p, nil
}

func (s *fakeStore) Pods(context.Context, pods.PodQuery) ([]pods.Pod, error) {
	if err := s.faults.err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Values(s.pods), func(a, b pods.Pod) int {
		return strings.Compare(a.String(), b.String())
	}), nil
}

func (s *fakeStore) UpdatePod(_ context.Context, p pods.Pod, events ...pods.Event) (pods.Pod, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, ok := s.pods[p.Key]
	if !ok || now.UID != p.UID {
		return p, pods.Errorf(pods.NotFound, "no pod")
	}
	if now.Version != p.Version {
		return p, pods.Errorf(pods.Conflict, "changed")
	}
	now.Definition, now.Requested, now.Permissions = p.Definition, p.Requested, p.Permissions
	now.Version++
	s.pods[p.Key] = now
	s.log(p.Key, events)
	return now, nil
}

func (s *fakeStore) SetRequested(_ context.Context, k pods.Key, uid string, from, to pods.Requested, events ...pods.Event) error {
	now, err := s.write(k, uid)
	if err != nil {
		return err
	}
	defer s.mu.Unlock()
	if now.Requested != from {
		return pods.Errorf(pods.Conflict, "changed")
	}
	now.Requested = to
	now.Version++
	s.pods[k] = now
	s.log(k, events)
	return nil
}

func (s *fakeStore) SaveState(_ context.Context, p pods.Pod, clearInstance bool, events ...pods.Event) error {
	now, err := s.write(p.Key, p.UID)
	if err != nil {
		return err
	}
	defer s.mu.Unlock()
	if now.State.Version != p.State.Version {
		return pods.Errorf(pods.Conflict, "changed")
	}
	now.State = p.State
	now.State.Version++
	if clearInstance {
		now.Definition.TimeToStopInstance = pods.Opt[int]{}
	}
	s.pods[p.Key] = now
	if list := s.statuses[p.Key]; len(list) == 0 || list[len(list)-1] != p.State.Status {
		s.statuses[p.Key] = append(list, p.State.Status)
	}
	s.log(p.Key, events)
	return nil
}

// write begins a write of the reconciler. Without an error the store is locked.
func (s *fakeStore) write(k pods.Key, uid string) (pods.Pod, error) {
	if err := errors.Join(s.faults.err(), s.writes.err()); err != nil {
		return pods.Pod{}, err
	}
	s.mu.Lock()
	if f := s.beforeSave; f != nil {
		s.beforeSave = nil
		s.mu.Unlock()
		f()
		s.mu.Lock()
	}
	p, ok := s.pods[k]
	if !ok || p.UID != uid {
		s.mu.Unlock()
		return p, pods.Errorf(pods.NotFound, "no pod")
	}
	return p, nil
}

func (s *fakeStore) log(k pods.Key, events []pods.Event) {
	for _, e := range events {
		if list := s.events[k]; len(list) > 0 && list[len(list)-1].Text == e.Text {
			continue
		}
		s.events[k] = append(s.events[k], e)
	}
}

func (s *fakeStore) DeletePod(_ context.Context, k pods.Key) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.pods[k]; !ok {
		return pods.Errorf(pods.NotFound, "no pod")
	}
	delete(s.pods, k)
	delete(s.events, k)
	delete(s.logs, k)
	delete(s.statuses, k)
	return nil
}

func (s *fakeStore) Credentials(_ context.Context, k pods.Key) (pods.Credentials, error) {
	if err := s.faults.err(); err != nil {
		return pods.Credentials{}, err
	}
	return pods.Credentials{UserUsername: string(k.ID), UserPassword: "secret-canary"}, nil
}

func (s *fakeStore) Events(_ context.Context, k pods.Key) ([]pods.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.events[k]), nil
}

func (s *fakeStore) SaveLogs(_ context.Context, k pods.Key, _ string, logs []byte) error {
	if err := s.faults.err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logs[k] = string(logs)
	return nil
}

func (s *fakeStore) Logs(_ context.Context, k pods.Key) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return []byte(s.logs[k]), nil
}

func (s *fakeStore) Ping(context.Context) error { return nil }

// onSave runs f before the next write of the reconciler.
func (s *fakeStore) onSave(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.beforeSave = f
}

// whenReading runs f after the next read of a pod, before its reader goes on.
func (s *fakeStore) whenReading(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.afterRead = f
}

// change does what the API does to a stored pod on behalf of its user.
func (s *fakeStore) change(k pods.Key, f func(*pods.Pod)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, ok := s.pods[k]; ok {
		f(&p)
		p.Version++
		s.pods[k] = p
	}
}

// request does what the API does for start, stop and restart.
func (s *fakeStore) request(k pods.Key, want pods.Requested) {
	s.change(k, func(p *pods.Pod) { p.Requested = want })
}

func (s *fakeStore) get(k pods.Key) (pods.Pod, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.pods[k]
	return p, ok
}

// takeStatuses returns the statuses a pod went through since the last call.
func (s *fakeStore) takeStatuses(k pods.Key) []pods.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.statuses[k]
	delete(s.statuses, k)
	return list
}

// takeTexts returns what was added to a pod's action log since the last call.
func (s *fakeStore) takeTexts(k pods.Key) []string {
	out := s.texts(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events[k] = nil
	return out
}

// texts returns the action log of a pod.
func (s *fakeStore) texts(k pods.Key) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, e := range s.events[k] {
		out = append(out, e.Text)
	}
	return out
}

// fakeCluster is a model of a cluster: what it is asked for happens after a
// delay, and is told by events that may come late, twice or never.
type fakeCluster struct {
	faults faults // of Apply, Remove and Purge
	views  faults // of Observe and List
	stops  faults // of Watch

	// lostAnswers makes calls fail after they had their effect.
	lostAnswers atomic.Bool

	startDelay, readyDelay, stopDelay time.Duration
	// eventDelays returns when an event is told, nil for never. A nil function
	// stands for once, at once.
	eventDelays func() []time.Duration

	mu      sync.Mutex
	objects map[pods.Key]*object
	notify  func(pods.Key)
	ended   context.Context
	runs    int
	asked   asked
	// onRemove, if not nil, runs at the begin of each Remove and Purge.
	onRemove func(pods.Key)
}

// asked is what a cluster was asked for, in its order.
type asked struct {
	applied         []pods.Workload
	removed, purged []pods.Key
}

// object is what the model keeps of one pod.
type object struct {
	pods.Observation
	logs string
}

func newFakeCluster() *fakeCluster {
	return &fakeCluster{objects: map[pods.Key]*object{}}
}

func (c *fakeCluster) Admit(context.Context, pods.Workload) error { return nil }

func (c *fakeCluster) Apply(_ context.Context, w pods.Workload) error {
	err := c.faults.err()
	if err != nil && !c.lostAnswers.Load() {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked.applied = append(c.asked.applied, w)
	o := c.objects[w.Key]
	if o != nil && (o.Present || o.UID != w.UID) {
		return err
	}
	c.runs++
	o = &object{Observation: pods.Observation{
		Key: w.Key, UID: w.UID, Present: true, Retained: true, Phase: pods.PhasePending,
		Waiting: "ContainerCreating", Instance: fmt.Sprintf("run-%d", c.runs),
	}, logs: fmt.Sprintf("hello from run %d\n", c.runs)}
	c.objects[w.Key] = o
	c.later(c.startDelay, o, func() { c.run(o, w.Ports) })
	return err
}

// run makes an object's container run, and later ready. c is locked.
func (c *fakeCluster) run(o *object, ports map[string]pods.Port) {
	if o.Terminated != "" || o.Foreign != "" || o.Terminating {
		return
	}
	o.Phase, o.Waiting, o.StartedAt = pods.PhaseRunning, "", new(time.Now())
	c.later(c.readyDelay, o, func() {
		if o.Phase != pods.PhaseRunning || o.Terminated != "" || o.Terminating {
			return
		}
		o.Ready, o.Addresses = true, map[string][]string{}
		for key, port := range ports {
			o.Addresses[key] = []string{fmt.Sprintf("10.0.0.%d:%d", c.runs%250+1, port.Number)}
		}
	})
}

// later changes an object after a delay, if it is still there then, and sends
// an event. c is locked, and locked again when f is called.
func (c *fakeCluster) later(d time.Duration, o *object, f func()) {
	change := func() {
		f()
		c.event(o.Key)
	}
	if d == 0 {
		change()
		return
	}
	time.AfterFunc(d, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.objects[o.Key] == o {
			change()
		}
	})
}

// event tells a watcher about a key. c is locked.
func (c *fakeCluster) event(k pods.Key) {
	notify, ctx := c.notify, c.ended
	if notify == nil {
		return
	}
	delays := []time.Duration{0}
	if c.eventDelays != nil {
		delays = c.eventDelays()
	}
	for _, d := range delays {
		time.AfterFunc(d, func() {
			if ctx.Err() == nil {
				notify(k)
			}
		})
	}
}

func (c *fakeCluster) Remove(_ context.Context, k pods.Key) error { return c.end(k, false) }
func (c *fakeCluster) Purge(_ context.Context, k pods.Key) error  { return c.end(k, true) }

func (c *fakeCluster) end(k pods.Key, storage bool) error {
	c.mu.Lock()
	f := c.onRemove
	c.mu.Unlock()
	if f != nil {
		f(k)
	}
	err := c.faults.err()
	if err != nil && !c.lostAnswers.Load() {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if storage {
		c.asked.purged = append(c.asked.purged, k)
	} else {
		c.asked.removed = append(c.asked.removed, k)
	}
	o := c.objects[k]
	if o == nil || o.Foreign != "" {
		return err
	}
	if storage {
		o.Retained = false
	}
	if !o.Present {
		c.forget(o)
		return err
	}
	if o.Terminating {
		return err
	}
	o.Terminating, o.Ready, o.Addresses = true, false, nil
	o.logs += "bye\n"
	c.event(k)
	c.later(c.stopDelay, o, func() { c.forget(o) })
	return err
}

// forget drops a run, and the whole object if it holds no storage. c is locked.
func (c *fakeCluster) forget(o *object) {
	if !o.Retained {
		delete(c.objects, o.Key)
		return
	}
	c.objects[o.Key] = &object{Observation: pods.Observation{Key: o.Key, UID: o.UID, Retained: true}}
}

func (c *fakeCluster) Observe(_ context.Context, k pods.Key) (pods.Observation, error) {
	if err := c.views.err(); err != nil {
		return pods.Observation{}, err
	}
	return c.see(k), nil
}

// see is Observe without faults.
func (c *fakeCluster) see(k pods.Key) pods.Observation {
	c.mu.Lock()
	defer c.mu.Unlock()
	if o := c.objects[k]; o != nil {
		return o.Observation
	}
	return pods.Observation{Key: k}
}

func (c *fakeCluster) List(context.Context) ([]pods.Observation, error) {
	if err := c.views.err(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []pods.Observation
	for _, o := range c.objects {
		out = append(out, o.Observation)
	}
	return out, nil
}

func (c *fakeCluster) Watch(ctx context.Context, notify func(pods.Key)) error {
	if err := c.stops.err(); err != nil {
		return err
	}
	c.mu.Lock()
	c.notify, c.ended = notify, ctx
	c.mu.Unlock()
	<-ctx.Done()
	return ctx.Err()
}

func (c *fakeCluster) Logs(_ context.Context, k pods.Key, _ bool) (io.ReadCloser, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.objects[k]
	if o == nil || o.logs == "" {
		return nil, pods.Errorf(pods.NotFound, "no container")
	}
	return io.NopCloser(bytes.NewBufferString(o.logs)), nil
}

func (c *fakeCluster) Exec(context.Context, pods.Key, []string, io.Writer, io.Writer) (int, error) {
	return 0, pods.Errorf(pods.NotFound, "no container")
}

// change lets something happen to a pod in the cluster behind our back.
func (c *fakeCluster) change(k pods.Key, f func(*object)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if o := c.objects[k]; o != nil {
		f(o)
		c.event(k)
	}
}

// appear puts something into the cluster, with an event.
func (c *fakeCluster) appear(o pods.Observation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.objects[o.Key] = &object{Observation: o}
	c.event(o.Key)
}

// vanish lets a pod's container go away without an end.
func (c *fakeCluster) vanish(k pods.Key) { c.change(k, c.forget) }

// exit ends a pod's container.
func (c *fakeCluster) exit(k pods.Key, reason string, code int) {
	c.change(k, func(o *object) {
		if !o.Present || o.Terminating {
			return
		}
		o.Phase, o.Terminated, o.ExitCode = pods.PhaseFailed, reason, code
		o.Waiting, o.Ready, o.Addresses = "", false, nil
		if code == 0 {
			o.Phase = pods.PhaseSucceeded
		}
	})
}

// counts returns what was asked of the cluster.
func (c *fakeCluster) counts() asked {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked
}

// calls returns how often something was asked of the cluster.
func (c *fakeCluster) calls() int {
	n := c.counts()
	return len(n.applied) + len(n.removed) + len(n.purged)
}

// whenRemoving sets what is done at the begin of each Remove and Purge.
func (c *fakeCluster) whenRemoving(f func(pods.Key)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.onRemove = f
}

// fakeRoutes holds what is published.
type fakeRoutes struct {
	faults faults

	mu     sync.Mutex
	pods   map[routes.PodRef][]routes.Route
	writes int // that changed something
}

func newFakeRoutes() *fakeRoutes { return &fakeRoutes{pods: map[routes.PodRef][]routes.Route{}} }

func (f *fakeRoutes) SetPod(_ context.Context, tenant, pod string, rs []routes.Route) error {
	if err := f.faults.err(); err != nil {
		return err
	}
	for _, r := range rs {
		if err := r.Validate(); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	ref := routes.PodRef{Tenant: tenant, Pod: pod}
	if !reflect.DeepEqual(f.pods[ref], rs) {
		f.writes++
	}
	f.pods[ref] = rs
	if len(rs) == 0 {
		delete(f.pods, ref)
	}
	return nil
}

func (f *fakeRoutes) Pods(context.Context) ([]routes.PodRef, error) {
	if err := f.faults.err(); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Collect(maps.Keys(f.pods)), nil
}

// wipe is what a Redis does that loses its data.
func (f *fakeRoutes) wipe() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.pods)
}

// count returns how many writes changed something.
func (f *fakeRoutes) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.writes
}

// all returns everything that is published.
func (f *fakeRoutes) all() map[routes.PodRef][]routes.Route {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.pods)
}

// of returns the published routes of a pod, by networking key.
func (f *fakeRoutes) of(k pods.Key) map[string]routes.Route {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := map[string]routes.Route{}
	for _, r := range f.pods[routes.PodRef{Tenant: k.Tenant, Pod: string(k.ID)}] {
		out[r.Net] = r
	}
	return out
}

// state returns the state of a pod's default route, "" without one.
func (f *fakeRoutes) state(k pods.Key) routes.State { return f.of(k)[routes.DefaultNet].State }

// fakeTenants knows one tenant.
type fakeTenants struct{ faults faults }

func (f *fakeTenants) Tenant(_ context.Context, id string) (pods.Tenant, error) {
	if err := f.faults.err(); err != nil {
		return pods.Tenant{}, err
	}
	if id != "dev" {
		return pods.Tenant{}, pods.Errorf(pods.NotFound, "no tenant %s", id)
	}
	return pods.Tenant{ID: "dev", BaseURL: "http://" + testDomain + ":8000"}, nil
}

var (
	_ pods.Store   = (*fakeStore)(nil)
	_ pods.Cluster = (*fakeCluster)(nil)
	_ pods.Routes  = (*fakeRoutes)(nil)
	_ Tenants      = (*fakeTenants)(nil)
)
