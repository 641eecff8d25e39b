//go:build linux

package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// provisioner is the name of our storage, and of its class.
const (
	provisioner  = "podway/folder"
	storageClass = "standard"
	// provisionedBy marks volumes that are not Kubernetes' own to delete.
	provisionedBy = "pv.kubernetes.io/provisioned-by"
)

// storage makes volumes for claims: folders of the node, of any size and for any
// number of pods. It works on one goroutine, that of the informers' events.
type storage struct {
	client kubernetes.Interface
	dir    string
}

// serveStorage makes the default storage class and serves it.
func (n *node) serveStorage(ctx context.Context) error {
	s := &storage{client: n.client, dir: volumeDir}
	if err := s.makeClass(ctx); err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(n.client, 0)
	core := factory.Core().V1()
	_, err := core.PersistentVolumeClaims().Informer().AddEventHandler(onChange(func(claim *corev1.PersistentVolumeClaim) {
		if err := s.provide(ctx, claim); err != nil {
			slog.Error("making a volume failed", "error", err)
		}
	}))
	if err != nil {
		return fmt.Errorf("watching claims: %w", err)
	}
	_, err = core.PersistentVolumes().Informer().AddEventHandler(onChange(func(volume *corev1.PersistentVolume) {
		if err := s.reclaim(ctx, volume); err != nil {
			slog.Error("deleting a volume failed", "error", err)
		}
	}))
	if err != nil {
		return fmt.Errorf("watching volumes: %w", err)
	}
	factory.Start(ctx.Done())
	return nil
}

// onChange returns a handler that sees objects when they are new or changed.
func onChange[T any](f func(T)) cache.ResourceEventHandler {
	see := func(o any) {
		if v, ok := o.(T); ok {
			f(v)
		}
	}
	return cache.ResourceEventHandlerFuncs{AddFunc: see, UpdateFunc: func(_, o any) { see(o) }}
}

func (s *storage) makeClass(ctx context.Context) error {
	reclaim, binding := corev1.PersistentVolumeReclaimDelete, storagev1.VolumeBindingImmediate
	_, err := s.client.StorageV1().StorageClasses().Create(ctx, &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{
			Name: storageClass, Annotations: map[string]string{"storageclass.kubernetes.io/is-default-class": "true"},
		},
		Provisioner: provisioner, ReclaimPolicy: &reclaim, VolumeBindingMode: &binding,
	}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("making the storage class: %w", err)
	}
	return nil
}

// provide makes a folder and a volume for a claim that waits for one of ours.
func (s *storage) provide(ctx context.Context, claim *corev1.PersistentVolumeClaim) error {
	if claim.Spec.VolumeName != "" || claim.DeletionTimestamp != nil ||
		claim.Spec.StorageClassName == nil || *claim.Spec.StorageClassName != storageClass {
		return nil
	}
	name := "pvc-" + string(claim.UID)
	dir := filepath.Join(s.dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making a folder for claim %s: %w", claim.Name, err)
	}
	// Any user may write, for pods run as any; only root gets as far as here otherwise.
	if err := os.Chmod(dir, 0o777); err != nil { //nolint:gosec // see above
		return fmt.Errorf("opening the folder of claim %s: %w", claim.Name, err)
	}
	_, err := s.client.CoreV1().PersistentVolumes().Create(ctx, volumeFor(claim, name, dir), metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("making a volume for claim %s: %w", claim.Name, err)
	}
	return nil
}

// volumeFor returns a volume that is bound to the claim and to this node. It is
// of the kind "local", which lets pods write by their fsGroup.
func volumeFor(claim *corev1.PersistentVolumeClaim, name, dir string) *corev1.PersistentVolume {
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{provisionedBy: provisioner}},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: claim.Spec.Resources.Requests[corev1.ResourceStorage]},
			AccessModes:                   claim.Spec.AccessModes,
			VolumeMode:                    claim.Spec.VolumeMode,
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete,
			StorageClassName:              storageClass,
			PersistentVolumeSource:        corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: dir}},
			ClaimRef: &corev1.ObjectReference{
				APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID,
			},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchExpressions: []corev1.NodeSelectorRequirement{{
					Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{nodeName},
				}},
			}}}},
		},
	}
}

// reclaim deletes a volume of ours, and its folder, when its claim is gone.
func (s *storage) reclaim(ctx context.Context, volume *corev1.PersistentVolume) error {
	if volume.Annotations[provisionedBy] != provisioner || volume.Status.Phase != corev1.VolumeReleased ||
		volume.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimDelete || volume.DeletionTimestamp != nil {
		return nil
	}
	if err := os.RemoveAll(filepath.Join(s.dir, volume.Name)); err != nil {
		return fmt.Errorf("deleting the folder of volume %s: %w", volume.Name, err)
	}
	if err := s.client.CoreV1().PersistentVolumes().Delete(ctx, volume.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting volume %s: %w", volume.Name, err)
	}
	return nil
}
