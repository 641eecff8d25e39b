package kube

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// The wait before a watch that failed is tried again: the first, which doubles,
// and the longest. client-go's own grows to a minute, in which a pod that was made
// after an outage would seem not to start.
const (
	firstRetry = 200 * time.Millisecond
	lastRetry  = 3 * time.Second
)

// listTimeout bounds one list.
const listTimeout = time.Minute

// followed is a kind of objects as a typed client of client-go offers it.
type followed[L runtime.Object] interface {
	List(ctx context.Context, o metav1.ListOptions) (L, error)
	Watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error)
}

// source is a kind of objects that is followed.
type source struct {
	name string
	kind runtime.Object
	into cache.ReflectorStore
	list func(context.Context, metav1.ListOptions) (runtime.Object, error)
	open func(context.Context, metav1.ListOptions) (watch.Interface, error)
}

// sourceOf makes a source of what a client offers; narrow selects the objects.
func sourceOf[L runtime.Object](kind runtime.Object, r followed[L], into cache.ReflectorStore, narrow func(*metav1.ListOptions)) source {
	return source{
		name: strings.ToLower(strings.TrimPrefix(fmt.Sprintf("%T", kind), "*v1.")) + "s", kind: kind, into: into,
		list: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			narrow(&o)
			return r.List(ctx, o)
		},
		open: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			narrow(&o)
			return r.Watch(ctx, o)
		},
	}
}

// sources are all that is followed.
func (c *Cluster) sources() []source {
	ns, core := c.scope(), c.client.CoreV1()
	ours := func(o *metav1.ListOptions) { o.LabelSelector = selector(map[string]string{labelSite: c.Site}) }
	ofPods := func(o *metav1.ListOptions) { o.FieldSelector = "involvedObject.kind=Pod" }
	return []source{
		sourceOf(&corev1.Pod{}, core.Pods(ns), c.memory.pods, ours),
		sourceOf(&corev1.Service{}, core.Services(ns), c.memory.services, ours),
		sourceOf(&corev1.PersistentVolumeClaim{}, core.PersistentVolumeClaims(ns), c.memory.claims, ours),
		sourceOf(&discoveryv1.EndpointSlice{}, c.client.DiscoveryV1().EndpointSlices(ns), c.memory.slices, ours),
		sourceOf(&corev1.Event{}, core.Events(ns), c.memory.events, ofPods),
	}
}

// follow keeps what is known of a kind up to date until ctx ends. It lists once
// and then watches; a watch that ends is taken up where it ended, and all is
// listed again when the API server does not know any more what happened since.
func (c *Cluster) follow(ctx context.Context, s source) {
	ctx = klog.NewContext(ctx, logr.FromSlogHandler(quiet{c.Logger.Handler()}))
	r := cache.NewReflectorWithOptions(&cache.ListWatch{
		ListWithContextFunc: func(_ context.Context, o metav1.ListOptions) (runtime.Object, error) {
			// The context that a reflector gives here never ends.
			ctx, cancel := context.WithTimeout(ctx, listTimeout)
			defer cancel()
			return s.list(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return c.openWatch(ctx, s, o)
		},
	}, s.kind, s.into, cache.ReflectorOptions{Name: "podway " + s.name})
	for failures := 0; ctx.Err() == nil; {
		begun := c.Now()
		err := r.ListAndWatchWithContext(ctx)
		if err == nil || c.Now().Sub(begun) > listTimeout {
			failures = 0
		}
		if ctx.Err() != nil {
			return
		}
		failures++
		if err != nil && failures&(failures-1) == 0 { // less and less often
			c.Logger.Warn("following objects of the cluster failed", "objects", s.name, "failures", failures, "error", err)
		}
		wait(ctx, retryAfter(err, failures))
	}
}

// openWatch tries to begin a watch as long as the API server can't be reached or
// asks for patience: after that it can go on where it ended.
func (c *Cluster) openWatch(ctx context.Context, s source, o metav1.ListOptions) (watch.Interface, error) {
	for failures := 1; ; failures++ {
		w, err := s.open(ctx, o)
		patience := utilnet.IsConnectionRefused(err) || apierrors.IsTooManyRequests(err)
		if !patience || !wait(ctx, retryAfter(err, failures)) {
			return w, err
		}
	}
}

// retryAfter returns how long to wait after the n-th failure in a row: what the
// API server asks for, or else a time that doubles.
func retryAfter(err error, n int) time.Duration {
	if seconds, ok := apierrors.SuggestsClientDelay(err); ok && seconds > 0 {
		return min(time.Duration(seconds)*time.Second, listTimeout)
	}
	d := firstRetry
	for range n - 1 {
		if d >= lastRetry {
			break
		}
		d *= 2
	}
	return min(d, lastRetry)
}

// wait reports whether d passed before ctx ended.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
