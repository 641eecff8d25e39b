package kube

import (
	"context"
	"fmt"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// foreign remembers which pods have objects of somebody else in their way. They
// carry none of our labels, so no watch tells of them; they are found when a pod
// shall be made. The zero value is ready. It is safe for concurrent use.
type foreign struct {
	mu    sync.Mutex
	found map[pods.Key]obstacle
}

// obstacle is an object that has the name of one of a pod's.
type obstacle struct {
	what string // "pod podway-dev/pods-dev-dev-web"

	// look reads it again.
	look func(ctx context.Context) (metav1.Object, error)
}

func (f *foreign) add(k pods.Key, o obstacle) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.found == nil {
		f.found = map[pods.Key]obstacle{}
	}
	f.found[k] = o
}

func (f *foreign) remove(k pods.Key) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.found, k)
}

func (f *foreign) of(k pods.Key) (obstacle, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	o, ok := f.found[k]
	return o, ok
}

// foreignOf returns what is in the way of a pod, "" if nothing is known to be. It
// asks the API server whether that is still so.
func (c *Cluster) foreignOf(ctx context.Context, k pods.Key) string {
	obstacle, ok := c.foreign.of(k)
	if !ok {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	o, err := obstacle.look(ctx)
	if gone := apierrors.IsNotFound(err); gone || err == nil && c.owns(k, o) {
		c.foreign.remove(k)
		return ""
	}
	return obstacle.what
}

// owns reports whether an object is one of a pod's.
func (c *Cluster) owns(k pods.Key, o metav1.Object) bool {
	of, ours := keyOf(c.Site, o)
	return ours && of == k
}

// obstruct notes an object in a pod's way and returns the error that says so.
func (c *Cluster) obstruct(k pods.Key, kind string, o metav1.Object, look func(ctx context.Context) (metav1.Object, error)) error {
	what := fmt.Sprintf("%s %s", kind, nameOf(o))
	c.foreign.add(k, obstacle{what: what, look: look})
	return pods.Errorf(pods.Conflict, "the name of the pod's objects is taken by the %s, which is not Podway's", what)
}
