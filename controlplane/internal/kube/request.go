package kube

import (
	"context"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// creator, getter and patcher are parts of the typed clients of client-go.
type (
	creator[T any] interface {
		Create(ctx context.Context, o T, opts metav1.CreateOptions) (T, error)
	}
	getter[T any] interface {
		Get(ctx context.Context, name string, opts metav1.GetOptions) (T, error)
	}
	patcher[T any] interface {
		Patch(ctx context.Context, name string, pt types.PatchType, data []byte, opts metav1.PatchOptions, sub ...string) (T, error)
	}
	maker[T any] interface {
		creator[T]
		getter[T]
	}
)

// create makes an object.
func create[T metav1.Object](ctx context.Context, c *Cluster, api creator[T], o T) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	return api.Create(ctx, o, metav1.CreateOptions{FieldManager: fieldManager})
}

// get reads an object.
func get[T metav1.Object](ctx context.Context, c *Cluster, api getter[T], name string) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	return api.Get(ctx, name, metav1.GetOptions{})
}

// apply makes an object's fields those that we want, by server-side apply, and
// leaves those of others alone. The object is made if it is not there.
func apply[T metav1.Object](ctx context.Context, c *Cluster, what string, api patcher[T], o T) error {
	b, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("encoding %s: %w", what, err)
	}
	short, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	_, err = api.Patch(short, o.GetName(), types.ApplyPatchType, b, metav1.PatchOptions{FieldManager: fieldManager, Force: new(true)})
	return apiError(ctx, "applying "+what, err)
}

// ensure makes an object, or returns the one of its name that is there.
func ensure[T metav1.Object](ctx context.Context, c *Cluster, what string, api maker[T], o T) (found T, there bool, err error) {
	found, err = create(ctx, c, api, o)
	if apierrors.IsAlreadyExists(err) {
		there = true
		found, err = get(ctx, c, api, o.GetName())
	}
	return found, there, apiError(ctx, "making "+what, err)
}
