package kubetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
)

// Namespace makes a namespace for the test and returns its name. With the test
// it is deleted, with everything in it. Labels may be nil; "restricted" for
// pod-security.kubernetes.io/enforce makes the API server refuse what is not.
func (s *Server) Namespace(t testing.TB, labels map[string]string) string {
	t.Helper()
	ctx := context.Background()
	ns, err := s.probe.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{GenerateName: namePrefix(t.Name()), Labels: labels},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("making a namespace: %v", err)
	}
	t.Cleanup(func() {
		// The test may have left the server killed, and may share it.
		s.Restart(t)
		if err := s.deleteNamespace(ctx, ns.Name); err != nil {
			t.Errorf("deleting namespace %s: %v", ns.Name, err)
		}
	})
	return ns.Name
}

// namePrefix makes the start of a namespace's name of a test's name.
func namePrefix(test string) string {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(test))
	return strings.Trim(name[:min(len(name), 40)], "-") + "-"
}

func (s *Server) deleteNamespace(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err := s.probe.CoreV1().Namespaces().Delete(ctx, name, metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("deleting it: %w", err)
	}
	sweeper, err := newSweeper(s.RESTConfig())
	if err != nil {
		return err
	}
	if _, err := sweeper.sweep(ctx, name, true); err != nil {
		return err
	}
	return sweeper.finalize(ctx, name)
}

// sweeper does the work of Kubernetes' namespace controller: it empties a
// namespace that is being deleted and lets it go.
type sweeper struct {
	client    kubernetes.Interface
	metadata  metadata.Interface
	resources []schema.GroupVersionResource // everything that lives in namespaces
}

func newSweeper(config *rest.Config) (*sweeper, error) {
	config = rest.CopyConfig(config)
	config.WarningHandler = rest.NoWarnings{} // some of everything is always deprecated
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	meta, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a metadata client: %w", err)
	}
	lists, err := client.Discovery().ServerPreferredNamespacedResources()
	if err != nil {
		return nil, fmt.Errorf("discovering resources: %w", err)
	}
	can := discovery.SupportsAllVerbs{Verbs: []string{"list", "delete"}}
	found, err := discovery.GroupVersionResources(discovery.FilteredBy(can, lists))
	if err != nil {
		return nil, fmt.Errorf("reading the list of resources: %w", err)
	}
	s := &sweeper{client: client, metadata: meta}
	for r := range found {
		if r.Resource != "events" || r.Group == "" { // events have two groups
			s.resources = append(s.resources, r)
		}
	}
	slices.SortFunc(s.resources, func(a, b schema.GroupVersionResource) int {
		return strings.Compare(a.String(), b.String())
	})
	return s, nil
}

// sweep deletes what is in the namespace and returns how many objects there
// were. With force it waits for nobody: no grace, no finalizers.
func (s *sweeper) sweep(ctx context.Context, namespace string, force bool) (found int, err error) {
	for _, r := range s.resources {
		objects := s.metadata.Resource(r).Namespace(namespace)
		list, err := objects.List(ctx, metav1.ListOptions{})
		if err != nil {
			return found, fmt.Errorf("listing %s: %w", r.Resource, err)
		}
		found += len(list.Items)
		for i := range list.Items {
			if err := remove(ctx, objects, &list.Items[i], force); err != nil {
				return found, fmt.Errorf("deleting %s %s: %w", r.Resource, list.Items[i].Name, err)
			}
		}
	}
	return found, nil
}

func remove(ctx context.Context, objects metadata.ResourceInterface, o *metav1.PartialObjectMetadata, force bool) error {
	var options metav1.DeleteOptions
	if force {
		options.GracePeriodSeconds = new(int64)
		if len(o.Finalizers) > 0 {
			_, err := objects.Patch(ctx, o.Name, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
			if err != nil && !apierrors.IsNotFound(err) {
				return err
			}
		}
	} else if o.DeletionTimestamp != nil {
		return nil
	}
	if err := objects.Delete(ctx, o.Name, options); err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	return nil
}

// finalize lets an empty namespace go. It does nothing if it is gone.
func (s *sweeper) finalize(ctx context.Context, name string) error {
	ns, err := s.client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the namespace: %w", err)
	}
	if ns.DeletionTimestamp == nil {
		return errors.New("the namespace is not being deleted")
	}
	ns.Spec.Finalizers = nil
	if _, err := s.client.CoreV1().Namespaces().Finalize(ctx, ns, metav1.UpdateOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("finalizing the namespace: %w", err)
	}
	return nil
}
