package kube

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/controlplane/internal/reconcile"
	"github.com/tapis-project/podway/controlplane/internal/store"
	"github.com/tapis-project/podway/controlplane/internal/store/tempstore"
	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/tests/kubetest"
	"github.com/tapis-project/podway/tests/parts"
)

// The tests in this file put a reconciler and a store on top of a cluster: what
// counts is that pods come to what their users want, whatever happens.

// long makes the tests of outages as long as those of real life. With
// PODWAY_TEST_LONG=1 they take some minutes.
var long = os.Getenv("PODWAY_TEST_LONG") != ""

// fakeRoutes is a pods.Routes in memory.
type fakeRoutes struct {
	mu  sync.Mutex
	set map[routes.PodRef][]routes.Route
}

func (f *fakeRoutes) SetPod(_ context.Context, tenant, pod string, rs []routes.Route) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	ref := routes.PodRef{Tenant: tenant, Pod: pod}
	if f.set[ref] = rs; len(rs) == 0 {
		delete(f.set, ref)
	}
	return nil
}

func (f *fakeRoutes) Pods(context.Context) ([]routes.PodRef, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var refs []routes.PodRef
	for ref := range f.set {
		refs = append(refs, ref)
	}
	return refs, nil
}

// live reports whether the route of a pod leads there.
func (f *fakeRoutes) live(k pods.Key) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	rs := f.set[routes.PodRef{Tenant: k.Tenant, Pod: string(k.ID)}]
	return len(rs) == 1 && rs[0].State == routes.Live && len(rs[0].Upstreams) == 1
}

// oneTenant is a reconcile.Tenants that knows every tenant.
type oneTenant struct{}

func (oneTenant) Tenant(_ context.Context, id string) (pods.Tenant, error) {
	return pods.Tenant{ID: id, Site: "dev", BaseURL: "https://" + id + ".example.org"}, nil
}

// plane is a control plane without its API.
type plane struct {
	t      *testing.T
	srv    *kubetest.Server
	config *rest.Config
	ns     string
	store  *store.Store
	routes *fakeRoutes

	mu         sync.Mutex
	cluster    *Cluster
	reconciler *reconcile.Reconciler
	stop       func()
}

func newPlane(t *testing.T, srv *kubetest.Server, config *rest.Config, nodes kubetest.NodeOptions) *plane {
	t.Helper()
	ns := srv.Namespace(t, restricted)
	nodes.Namespace = ns
	kubetest.FakeNodes(t, srv, nodes)
	p := &plane{t: t, srv: srv, config: config, ns: ns, store: tempstore.New(t), routes: &fakeRoutes{set: map[routes.PodRef][]routes.Route{}}}
	p.start()
	t.Cleanup(p.kill)
	return p
}

// start starts the reconciler over a new cluster, which knows nothing yet.
func (p *plane) start() {
	cluster, err := New(Options{REST: p.config, Site: "dev", Namespace: p.ns, Unmanaged: true, Timeout: 5 * time.Second, Logger: quietLog()})
	if err != nil {
		p.t.Fatal(err)
	}
	settings := pods.DefaultSettings()
	r := reconcile.New(reconcile.Deps{
		Store: p.store, Cluster: cluster, Routes: p.routes, Tenants: oneTenant{}, Pods: settings, Logger: quietLog(),
		Settings: reconcile.Settings{
			Resync: 2 * time.Second, Recheck: time.Second, MaxBackoff: 2 * time.Second,
			// What is deleted shortly before a kill is an orphan to the next one.
			OrphanGrace: time.Second,
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := r.Run(ctx); err != nil {
			p.t.Errorf("Run: %v", err)
		}
	}()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cluster, p.reconciler = cluster, r
	p.stop = sync.OnceFunc(func() {
		cancel()
		cluster.Close()
		<-done
	})
}

// kill ends it in the middle of whatever it does.
func (p *plane) kill() {
	p.mu.Lock()
	stop := p.stop
	p.mu.Unlock()
	stop()
}

func (p *plane) wake(k pods.Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reconciler.Enqueue(k)
}

func keyOfPod(id string) pods.Key { return pods.Key{Tenant: "dev", ID: pods.ID(id)} }

// create stores a pod, as the API does.
func (p *plane) create(id, image string) {
	p.t.Helper()
	now := time.Now()
	one := pods.Pod{
		Key: keyOfPod(id), UID: pods.NewUID(), Site: "dev", Owner: "u", Requested: pods.On, CreatedAt: now, UpdatedAt: now,
		Definition: pods.Definition{
			Image: pods.Set(image), EnvironmentVariables: pods.Set(map[string]string{"TOKEN": "x"}),
			VolumeMounts: pods.Set(map[string]pods.VolumeMount{"keep": {Type: typePVC, MountPath: "/keep"}}),
		},
		Permissions: pods.Permissions{"u": pods.LevelAdmin},
		State:       pods.State{Status: pods.StatusRequested, Since: now},
	}
	err := p.store.CreatePod(context.Background(), one, pods.NewCredentials(one.ID), pods.Event{At: now, Text: "created"})
	if err != nil {
		p.t.Fatalf("creating pod %s: %v", id, err)
	}
	p.wake(one.Key)
}

func (p *plane) delete(id string) {
	p.t.Helper()
	if err := p.store.DeletePod(context.Background(), keyOfPod(id)); err != nil {
		p.t.Fatalf("deleting pod %s: %v", id, err)
	}
	p.wake(keyOfPod(id))
}

func (p *plane) request(id string, r pods.Requested) {
	p.t.Helper()
	parts.Eventually(p.t, limit, func() error {
		one, err := p.store.Pod(context.Background(), keyOfPod(id))
		if err != nil {
			return err
		}
		one.Requested = r
		_, err = p.store.UpdatePod(context.Background(), one)
		return err
	})
	p.wake(keyOfPod(id))
}

func (p *plane) pod(id string) pods.Pod {
	p.t.Helper()
	one, err := p.store.Pod(context.Background(), keyOfPod(id))
	if err != nil {
		p.t.Fatalf("reading pod %s: %v", id, err)
	}
	return one
}

// await waits until a pod has a status.
func (p *plane) await(id string, want pods.Status) pods.Pod {
	p.t.Helper()
	var one pods.Pod
	parts.Eventually(p.t, 2*limit, func() error {
		if one = p.pod(id); one.State.Status != want {
			return fmt.Errorf("pod %s has the status %s (%+v), want %s", id, one.State.Status, one.State.Container, want)
		}
		return nil
	})
	return one
}

// converged waits until the cluster holds exactly the objects of the pods that are
// wanted, each ready and with a live route, and nothing else.
func (p *plane) converged(within time.Duration, wanted ...string) {
	p.t.Helper()
	parts.Eventually(p.t, within, func() error {
		uids := map[string]string{}
		for _, id := range wanted {
			one := p.pod(id)
			if one.State.Status != pods.StatusAvailable || !p.routes.live(one.Key) {
				return fmt.Errorf("pod %s has the status %s, live=%v: %+v", id, one.State.Status, p.routes.live(one.Key), one.State.Container)
			}
			uids[pods.ObjectName("dev", one.Key)] = one.UID
		}
		return p.holds(uids)
	})
}

// holds checks that the cluster holds one of each object for each of some pods.
func (p *plane) holds(uids map[string]string) error {
	core, ctx, all := p.srv.Client().CoreV1(), context.Background(), metav1.ListOptions{}
	list, err1 := core.Pods(p.ns).List(ctx, all)
	services, err2 := core.Services(p.ns).List(ctx, all)
	secrets, err3 := core.Secrets(p.ns).List(ctx, all)
	claims, err4 := core.PersistentVolumeClaims(p.ns).List(ctx, all)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return err
	}
	got := map[string]string{}
	for _, one := range list.Items {
		got[one.Name] = one.Labels[labelUID]
	}
	if !maps.Equal(got, uids) {
		return fmt.Errorf("got pods %v, want %v", got, uids)
	}
	n := len(uids)
	if len(services.Items) != n || len(secrets.Items) != n || len(claims.Items) != n {
		return fmt.Errorf("got %d services, %d secrets, %d claims; want %d of each", len(services.Items), len(secrets.Items), len(claims.Items), n)
	}
	for _, s := range services.Items {
		if s.Labels[labelUID] != uids[s.Name] {
			return fmt.Errorf("service %s is of pod %s, want %s", s.Name, s.Labels[labelUID], uids[s.Name])
		}
	}
	return nil
}

func names(prefix string, n int) []string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf("%s%d", prefix, i))
	}
	return list
}

// The API server is killed in the middle of 50 creates and deletes, and comes back
// later. Users go on asking for things meanwhile, and all of it happens.
func TestAnOutageOfTheAPIServer(t *testing.T) {
	srv := kubetest.StartPrivate(t)
	p := newPlane(t, srv, srv.RESTConfig(), kubetest.NodeOptions{Delay: 100 * time.Millisecond, StopDelay: 100 * time.Millisecond})
	old, early, late := names("old", 25), names("early", 15), names("late", 10)
	for _, id := range old {
		p.create(id, "podway/hello")
	}
	p.converged(2*limit, old...)

	outage := 5 * time.Second
	if long {
		outage = time.Minute
	}
	killed := make(chan struct{})
	go func() {
		defer close(killed)
		wait(t.Context(), 150*time.Millisecond) // some of what follows is under way
		srv.Kill()
	}()
	for i, id := range early {
		p.create(id, "podway/hello")
		p.delete(old[i])
	}
	<-killed
	begun := time.Now()
	for i, id := range late {
		p.create(id, "podway/hello")
		p.delete(old[len(early)+i])
	}
	// One comes back under the name it had.
	p.create(old[0], "podway/hello")
	if _, err := p.store.Pods(t.Context(), pods.PodQuery{}); err != nil {
		t.Errorf("the store stopped answering: %v", err)
	}
	wait(t.Context(), outage-time.Since(begun))
	for _, one := range late {
		if got := p.pod(one).State.Status; got == pods.StatusError || got == pods.StatusAvailable {
			t.Errorf("during the outage pod %s has the status %s, want it to wait", one, got)
		}
	}
	srv.Restart(t)
	back := time.Now()
	parts.Eventually(t, 30*time.Second, func() error { // longer waits are those of the fake nodes
		list, err := srv.Client().CoreV1().Pods(p.ns).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		made := map[string]bool{}
		for _, one := range list.Items {
			made[one.Labels[labelPod]] = true
		}
		for _, id := range append(slices.Clone(early), late...) {
			if !made[id] {
				return fmt.Errorf("pod %s was not made yet", id)
			}
		}
		return nil
	})
	t.Logf("all were made %v after the API server", time.Since(back))
	p.converged(3*limit, append(append([]string{old[0]}, early...), late...)...)
	t.Logf("all came right %v after the API server", time.Since(back))
}

// The API server freezes: connections stay, and nothing is answered.
func TestAnAPIServerThatFreezes(t *testing.T) {
	srv := kubetest.StartPrivate(t)
	p := newPlane(t, srv, srv.RESTConfig(), kubetest.NodeOptions{})
	before := names("before", 5)
	for _, id := range before {
		p.create(id, "podway/hello")
	}
	p.converged(2*limit, before...)
	srv.Stop(t)
	p.delete(before[0])
	p.create("during", "podway/hello")
	frozen := 7 * time.Second // longer than a request may take here
	if long {
		frozen = time.Minute
	}
	wait(t.Context(), frozen)
	for _, id := range before[1:] {
		if got := p.pod(id).State.Status; got != pods.StatusAvailable {
			t.Errorf("pod %s has the status %s, want it to stay %s", id, got, pods.StatusAvailable)
		}
	}
	srv.Cont(t)
	p.converged(3*limit, append(before[1:], "during")...)
}

// The control plane is killed again and again while pods come and go.
func TestAControlPlaneThatIsKilled(t *testing.T) {
	t.Parallel()
	srv := kubetest.Start(t)
	p := newPlane(t, srv, srv.RESTConfig(), kubetest.NodeOptions{Delay: 50 * time.Millisecond, StopDelay: 50 * time.Millisecond})
	rounds, every := 6, 500*time.Millisecond
	if long {
		rounds, every = 30, 2*time.Second
	}
	var wanted []string
	for round := range rounds {
		for i := range 5 {
			id := fmt.Sprintf("pod%dx%d", round, i)
			p.create(id, "podway/hello")
			switch {
			case i == 0 && round > 0: // of the round before, perhaps not started yet
				p.delete(wanted[len(wanted)-1])
				wanted = wanted[:len(wanted)-1]
			case i == 1:
				p.request(id, pods.Restart)
			}
			wanted = append(wanted, id)
		}
		wait(t.Context(), every)
		p.kill()
		p.start()
	}
	p.converged(3*limit, wanted...)
}

// Whatever happened to a container, its owner reads about it.
func TestWhatOwnersAreTold(t *testing.T) {
	t.Parallel()
	srv := kubetest.Start(t)
	p := newPlane(t, srv, srv.RESTConfig(), kubetest.NodeOptions{Backoff: 10 * time.Millisecond})
	for i, c := range []struct {
		behaviour kubetest.Behaviour
		status    pods.Status
		want      string
	}{
		{kubetest.Runs, pods.StatusAvailable, "Pod is running."},
		{kubetest.Exits(0), pods.StatusComplete, "Pod phase in Succeeded, putting in COMPLETE status."},
		{kubetest.Exits(3), pods.StatusError, "Pod in terminated state for reason: Error (exit code 3) (the program's output is in the pod's logs)."},
		{kubetest.OOMKilled, pods.StatusError, "mem_limit allows, 3072 MiB"},
		{kubetest.Evicted, pods.StatusError, "low on resource: memory"},
		{kubetest.ImagePullBackOff, pods.StatusError, "check the image's name and tag"},
		{kubetest.InvalidImageName, pods.StatusError, "InvalidImageName"},
		{kubetest.ConfigError, pods.StatusError, "CreateContainerConfigError"},
		{kubetest.Unschedulable, pods.StatusCreating, "The cluster has no room for it yet: "},
		{kubetest.NeverStarts, pods.StatusCreating, "Pod is still initializing."},
	} {
		id := fmt.Sprintf("pod%d", i)
		p.create(id, image(c.behaviour))
		p.await(id, c.status)
		parts.Eventually(t, limit, func() error {
			if got := p.pod(id).State.Container.Message; !bytes.Contains([]byte(got), []byte(c.want)) {
				return fmt.Errorf("%s: got the message %q, want %q in it", c.behaviour, got, c.want)
			}
			return nil
		})
	}
}

// A pod that is deleted behind our back comes back if its user wants it, and only
// then.
func TestPodsThatAreDeletedBehindOurBack(t *testing.T) {
	t.Parallel()
	srv := kubetest.Start(t)
	p := newPlane(t, srv, srv.RESTConfig(), kubetest.NodeOptions{})
	p.create("wanted", "podway/hello")
	p.create("unwanted", "podway/hello")
	p.converged(limit, "wanted", "unwanted")
	first := p.pod("wanted").State.Instance
	p.request("unwanted", pods.Off)
	for _, id := range []string{"wanted", "unwanted"} {
		err := srv.Client().CoreV1().Pods(p.ns).Delete(t.Context(), pods.ObjectName("dev", keyOfPod(id)), metav1.DeleteOptions{})
		if err != nil {
			t.Logf("deleting %s: %v", id, err) // the second may be gone already
		}
	}
	parts.Eventually(t, limit, func() error {
		if one := p.pod("wanted"); one.State.Status != pods.StatusAvailable || one.State.Instance == first {
			return fmt.Errorf("got %+v, want another run", one.State)
		}
		return nil
	})
	p.await("unwanted", pods.StatusStopped)
	p.delete("unwanted")
	p.converged(limit, "wanted")
}

// An object of somebody else that has a pod's name is not touched; the pod is in
// ERROR until it is out of the way and the user asks again.
func TestAForeignObjectIsAnError(t *testing.T) {
	t.Parallel()
	srv := kubetest.Start(t)
	p := newPlane(t, srv, srv.RESTConfig(), kubetest.NodeOptions{})
	services, name := srv.Client().CoreV1().Services(p.ns), pods.ObjectName("dev", keyOfPod("web"))
	foreign, err := services.Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p.create("web", "podway/hello")
	if got := p.await("web", pods.StatusError).State.Container.Message; !bytes.Contains([]byte(got), []byte("service "+p.ns+"/"+name)) {
		t.Errorf("got the message %q, want it to name the service", got)
	}
	p.request("web", pods.Restart)
	wait(t.Context(), 100*time.Millisecond)
	p.await("web", pods.StatusError)
	now, err := services.Get(t.Context(), name, metav1.GetOptions{})
	if err != nil || now.ResourceVersion != foreign.ResourceVersion {
		t.Errorf("the foreign service was touched: %v, %v", now, err)
	}
	if err := services.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	p.request("web", pods.Restart)
	p.converged(limit, "web")
}

// Two control planes share a store and a cluster. One of them leads; it is cut off
// from the API server, and the other takes over in less than 20 s.
func TestTheOtherControlPlaneTakesOver(t *testing.T) {
	t.Parallel()
	srv := kubetest.Start(t)
	proxy := startProxy(t, srv)
	p := newPlane(t, srv, proxy.config(), kubetest.NodeOptions{})
	p.kill() // it runs by the lead from here on

	lead := func(name string, config *rest.Config) (leads chan bool, stop func()) {
		leads = make(chan bool, 10)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		cluster := open(t, Options{REST: config, Namespace: p.ns, Unmanaged: true, Timeout: 5 * time.Second, Logger: quietLog()})
		r := reconcile.New(reconcile.Deps{
			Store: p.store, Cluster: cluster, Routes: p.routes, Tenants: oneTenant{}, Pods: pods.DefaultSettings(), Logger: quietLog(),
			Settings: reconcile.Settings{Resync: time.Second, OrphanGrace: time.Second},
		})
		go func() {
			defer close(done)
			err := RunAsLeader(ctx, Leadership{REST: config, Namespace: p.ns, Identity: name, Logger: testLog(t)}, func(ctx context.Context) error {
				leads <- true
				return r.Run(ctx)
			})
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}()
		return leads, func() {
			cancel()
			<-done
		}
	}
	first, stopFirst := lead("first", proxy.config())
	defer stopFirst()
	<-first
	p.create("one", "podway/hello")
	p.converged(limit, "one")
	second, stopSecond := lead("second", srv.RESTConfig())
	defer stopSecond()

	begun := time.Now()
	proxy.isolate()
	p.create("two", "podway/hello")
	p.delete("one")
	select {
	case <-second:
	case <-time.After(limit):
		t.Fatal("the second does not lead")
	}
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("the second led after %v, want at most 20s", took)
	}
	p.converged(limit, "two")
}
