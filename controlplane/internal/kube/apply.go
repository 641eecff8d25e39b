package kube

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// knownWithin is how long Apply waits until what it made is known from the watch.
const knownWithin = 3 * time.Second

// Apply implements [pods.Cluster]. Objects that are there already and belong to
// this very pod are taken over; those of another pod with its id are worth a
// retry, and those of somebody else are an error with code Conflict, after which
// Observe tells of them.
func (c *Cluster) Apply(ctx context.Context, w pods.Workload) error {
	if err := c.admit(w); err != nil {
		return err
	}
	if err := c.ready(); err != nil {
		return err
	}
	objects, err := c.build(w)
	if err != nil {
		return err
	}
	defer c.locks.lock(w.Key)()
	a := application{Cluster: c, objects: objects, w: w}
	if err := a.checkKnown(c.memory.view(w.Key)); err != nil {
		return err
	}
	err = a.run(ctx)
	if apierrors.IsNotFound(err) { // only the namespace can be missing
		c.forgetPlace(objects.place, w.Tenant)
	}
	return err
}

// application is one call of Apply.
type application struct {
	*Cluster

	objects objects
	w       pods.Workload
}

// Errors that pass by themselves.
var (
	errStopping = pods.Errorf(pods.Unavailable, "the previous run of the pod is still stopping")
	errLeftover = pods.Errorf(pods.Unavailable, "what a deleted pod of this name left is still there")
)

// checkKnown refuses what the objects that are known don't allow, before any is
// made.
func (a *application) checkKnown(v view) error {
	for _, o := range v.objects() {
		if err := a.sameRun(o); err != nil {
			return err
		}
	}
	for _, claim := range v.claims {
		if claim.Namespace != a.objects.place.name {
			return pods.Errorf(pods.Invalid, "the pod's storage is in the namespace '%s', but its image or its compute_queue puts the pod into '%s'. "+
				"Delete the pod and create it again", claim.Namespace, a.objects.place.name)
		}
	}
	return nil
}

// objects returns the objects that a pod consists of.
func (v view) objects() []metav1.Object {
	var all []metav1.Object
	for _, p := range v.pods {
		all = append(all, p)
	}
	for _, s := range v.services {
		all = append(all, s)
	}
	for _, claim := range v.claims {
		all = append(all, claim)
	}
	return all
}

// sameRun checks that an object of ours is of this very pod, and stays.
func (a *application) sameRun(o metav1.Object) error {
	switch {
	case o.GetLabels()[labelUID] != a.w.UID:
		return errLeftover
	case o.GetDeletionTimestamp() != nil:
		return errStopping
	default:
		return nil
	}
}

// run makes the objects. The service comes before the Secret: it is followed, and
// so shows that something has to be removed if we die in between.
func (a *application) run(ctx context.Context) error {
	running, err := a.running(ctx)
	if err != nil || running && len(a.memory.view(a.w.Key).services) > 0 {
		return err
	}
	place := a.objects.place
	if err := a.ensurePlace(ctx, place, a.w.Tenant); err != nil {
		return err
	}
	core := a.client.CoreV1()
	for _, claim := range a.objects.claims {
		// One that is there is left as it is: it holds the data of earlier runs.
		if _, _, err := adopt(ctx, a, a.memory.claims, core.PersistentVolumeClaims(place.name), claim); err != nil {
			return err
		}
	}
	if err := a.service(ctx); err != nil || running {
		return err
	}
	if err := a.secret(ctx); err != nil {
		return err
	}
	_, _, err = adopt(ctx, a, a.memory.pods, core.Pods(place.name), a.objects.pod)
	return err
}

// service makes the service. One that an earlier attempt has made, perhaps for
// another definition, is made what it shall be now.
func (a *application) service(ctx context.Context) error {
	api := a.client.CoreV1().Services(a.objects.place.name)
	found, there, err := adopt(ctx, a, a.memory.services, api, a.objects.service)
	if err != nil || !there {
		return err
	}
	want := a.objects.service.DeepCopy()
	want.ResourceVersion = found.ResourceVersion
	short, cancel := context.WithTimeout(ctx, a.Timeout)
	defer cancel()
	_, err = api.Update(short, want, metav1.UpdateOptions{FieldManager: fieldManager})
	return apiError(ctx, "updating the service", err)
}

// adopt makes an object, or checks that the one of its name that is there is ours
// and of this very pod. When it returns, the object is known from the watch.
func adopt[T metav1.Object](ctx context.Context, a *application, known *table[T, pods.Key], api maker[T], want T) (found T, there bool, err error) {
	what := kindOf(want)
	found, there, err = ensure(ctx, a.Cluster, "the "+what, api, want)
	if err != nil {
		return found, there, err
	}
	if there {
		if !a.owns(a.w.Key, found) {
			return found, true, a.obstruct(a.w.Key, what, found, func(ctx context.Context) (metav1.Object, error) {
				return api.Get(ctx, want.GetName(), metav1.GetOptions{})
			})
		}
		if err := a.sameRun(found); err != nil {
			return found, true, err
		}
	}
	known.await(ctx, found, knownWithin)
	return found, there, nil
}

// kindOf names the kind of an object for people.
func kindOf(o metav1.Object) string {
	switch o.(type) {
	case *corev1.Pod:
		return "pod"
	case *corev1.Service:
		return "service"
	default:
		return "persistentvolumeclaim"
	}
}

// running reports whether the pod is there already, in whatever state. What is
// known may be older than its end, so the API server is asked.
func (a *application) running(ctx context.Context) (bool, error) {
	for _, known := range a.memory.view(a.w.Key).pods {
		found, err := get(ctx, a.Cluster, a.client.CoreV1().Pods(known.Namespace), known.Name)
		switch {
		case apierrors.IsNotFound(err) || err == nil && found.UID != known.UID:
			continue
		case err != nil:
			return false, apiError(ctx, "reading the pod", err)
		}
		return true, a.sameRun(found)
	}
	return false, nil
}

// secret makes the Secret with the pod's environment. One of its name can only be
// that of an earlier attempt, with the same content.
func (a *application) secret(ctx context.Context) error {
	want := a.objects.secret
	if want == nil {
		return nil
	}
	_, err := create(ctx, a.Cluster, a.client.CoreV1().Secrets(want.Namespace), want)
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return apiError(ctx, "making the secret", err)
}
