package kube

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"sync"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// userAgent tells the API server's administrators who asks.
const userAgent = "podway"

// LoadConfig returns how to reach the API server: as a kubeconfig file says, or,
// if path is "", as a pod of the cluster itself does.
func LoadConfig(path string) (*rest.Config, error) {
	if path == "" {
		config, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("finding the Kubernetes cluster: %w; outside of one a kubeconfig file is needed", err)
		}
		return config, nil
	}
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("reading the kubeconfig file: %w", err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig file %s: %w", path, err)
	}
	return config, nil
}

// Cluster runs pods in Kubernetes. It is safe for concurrent use.
type Cluster struct {
	Options

	config *rest.Config // with our limits
	web    *http.Client
	client kubernetes.Interface
	memory *memory

	locks      keyLocks[pods.Key] // held by what changes a pod
	namespaces namespaces         // that were made ready
	foreign    foreign            // objects in the way of pods

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	running sync.WaitGroup
}

var (
	_ pods.Cluster      = (*Cluster)(nil)
	_ pods.FileCluster  = (*Cluster)(nil)
	_ pods.EventCluster = (*Cluster)(nil)
)

// New returns a Cluster and begins to follow its objects, without waiting for the
// API server: until the objects were listed, Observe and List return an error
// with code Unavailable. Close it.
func New(o Options) (*Cluster, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	config := rest.CopyConfig(o.REST)
	config.QPS, config.Burst, config.UserAgent = o.QPS, o.Burst, userAgent
	web, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("making a client for Kubernetes: %w", err)
	}
	client, err := kubernetes.NewForConfigAndClient(config, web)
	if err != nil {
		return nil, fmt.Errorf("making a client for Kubernetes: %w", err)
	}
	c := &Cluster{Options: o, config: config, web: web, client: client, memory: newMemory(o.Site)}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	for _, s := range c.sources() {
		c.running.Go(func() { c.follow(c.ctx, s) })
	}
	return c, nil
}

// Close stops following the cluster and leaves everything in it as it is. Watches
// end.
func (c *Cluster) Close() {
	c.cancel()
	c.running.Wait()
	c.web.CloseIdleConnections()
}

// Synced waits until the cluster's objects were listed.
func (c *Cluster) Synced(ctx context.Context) error {
	select {
	case <-c.memory.listed:
		return nil
	case <-c.ctx.Done():
		return errClosed
	case <-ctx.Done():
		return fmt.Errorf("waiting for the objects of the cluster: %w", ctx.Err())
	}
}

// ready returns an error until the cluster's objects were listed: before that
// nobody knows what is there.
func (c *Cluster) ready() error {
	switch {
	case c.ctx.Err() != nil:
		return errClosed
	case !c.memory.isListed():
		return unavailable(nil, "the cluster has not told yet what runs there")
	default:
		return nil
	}
}

// Admit implements [pods.Cluster], without asking the API server.
func (c *Cluster) Admit(_ context.Context, w pods.Workload) error { return c.admit(w) }

// Observe implements [pods.Cluster]. An object that is in the way of a pod is not
// followed, so as long as there is one it is looked at again with each call.
func (c *Cluster) Observe(ctx context.Context, k pods.Key) (pods.Observation, error) {
	if err := c.ready(); err != nil {
		return pods.Observation{}, err
	}
	o := c.observation(k)
	o.Foreign = c.foreignOf(ctx, k)
	return o, nil
}

// observation returns what is known of a pod.
func (c *Cluster) observation(k pods.Key) pods.Observation {
	return observer{Options: c.Options, view: c.memory.view(k), now: c.Now()}.observe(k)
}

// List implements [pods.Cluster], ordered by tenant and id.
func (c *Cluster) List(context.Context) ([]pods.Observation, error) {
	if err := c.ready(); err != nil {
		return nil, err
	}
	keys := c.memory.keys()
	list := make([]pods.Observation, 0, len(keys))
	for _, k := range keys {
		if o := c.observation(k); o.Present || o.Retained {
			list = append(list, o)
		}
	}
	return list, nil
}

// Watch implements [pods.Cluster]. It begins with the key of every pod there is,
// once that is known.
func (c *Cluster) Watch(ctx context.Context, notify func(pods.Key)) error {
	if err := c.Synced(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	s := c.memory.subscribe()
	defer c.memory.unsubscribe(s)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.ctx.Done():
			return errClosed
		case <-s.wake:
		}
		for k := range c.memory.take(s) {
			notify(k)
		}
	}
}

// keyLocks are mutexes by key. The zero value is ready.
type keyLocks[K comparable] struct {
	mu   sync.Mutex
	held map[K]*keyLock
}

type keyLock struct {
	sync.Mutex
	users int
}

// lock locks a key and returns what unlocks it.
func (l *keyLocks[K]) lock(k K) (unlock func()) {
	l.mu.Lock()
	if l.held == nil {
		l.held = map[K]*keyLock{}
	}
	one := l.held[k]
	if one == nil {
		one = new(keyLock)
		l.held[k] = one
	}
	one.users++
	l.mu.Unlock()
	one.Lock()
	return func() {
		one.Unlock()
		l.mu.Lock()
		defer l.mu.Unlock()
		if one.users--; one.users == 0 {
			delete(l.held, k)
		}
	}
}
