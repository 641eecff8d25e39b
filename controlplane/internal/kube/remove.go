package kube

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// Remove implements [pods.Cluster]. Only objects that carry our labels are
// removed, and none that replaced one of them meanwhile.
func (c *Cluster) Remove(ctx context.Context, k pods.Key) error {
	if err := c.ready(); err != nil {
		return err
	}
	defer c.locks.lock(k)()
	return c.removeRun(ctx, k, c.memory.view(k))
}

// Purge implements [pods.Cluster].
func (c *Cluster) Purge(ctx context.Context, k pods.Key) error {
	if err := c.ready(); err != nil {
		return err
	}
	defer c.locks.lock(k)()
	v := c.memory.view(k)
	if err := c.removeRun(ctx, k, v); err != nil {
		return err
	}
	for _, claim := range v.claims {
		if claim.DeletionTimestamp != nil {
			continue
		}
		if err := remove(ctx, c, c.client.CoreV1().PersistentVolumeClaims(claim.Namespace), claim, sameUID(claim)); err != nil {
			return err
		}
	}
	return nil
}

// removeRun removes what makes a pod run. Secrets are not followed, so they go
// first: what shows that there may be some goes last.
func (c *Cluster) removeRun(ctx context.Context, k pods.Key, v view) error {
	if err := c.removeSecrets(ctx, k, v); err != nil {
		return err
	}
	for _, p := range v.pods {
		options := sameUID(p)
		switch {
		case p.DeletionTimestamp == nil:
		case c.stuck(p):
			c.Logger.Warn("removing a pod by force: its machine does not say that it has stopped",
				"tenant", k.Tenant, "pod_id", k.ID, "node", p.Spec.NodeName)
			options.GracePeriodSeconds = new(int64(0))
		default:
			continue
		}
		if err := remove(ctx, c, c.client.CoreV1().Pods(p.Namespace), p, options); err != nil {
			return err
		}
	}
	for _, s := range v.services {
		if err := remove(ctx, c, c.client.CoreV1().Services(s.Namespace), s, sameUID(s)); err != nil {
			return err
		}
	}
	return nil
}

// removeSecrets removes the Secrets of a pod in the namespaces where there is a
// sign of it, unless that was done: what is left then is on its way out.
func (c *Cluster) removeSecrets(ctx context.Context, k pods.Key, v view) error {
	places := map[string]struct{}{}
	for _, s := range v.services {
		places[s.Namespace] = struct{}{}
	}
	for _, p := range v.pods {
		if p.DeletionTimestamp == nil {
			places[p.Namespace] = struct{}{}
		}
	}
	for namespace := range places {
		short, cancel := context.WithTimeout(ctx, c.Timeout)
		err := c.client.CoreV1().Secrets(namespace).DeleteCollection(short, metav1.DeleteOptions{}, metav1.ListOptions{
			LabelSelector: selector(selectorLabels(c.Site, k)),
		})
		cancel()
		if err != nil {
			return apiError(ctx, "removing secrets", err)
		}
	}
	return nil
}

// stuck reports whether a pod that was told to stop has not for so long that
// nothing will come of waiting.
func (c *Cluster) stuck(p *corev1.Pod) bool {
	return c.ForceAfter >= 0 && c.Now().After(p.DeletionTimestamp.Add(c.ForceAfter))
}

// deleter is a part of the typed clients of client-go.
type deleter interface {
	Delete(ctx context.Context, name string, opts metav1.DeleteOptions) error
}

// remove deletes an object; it is no error if that is gone.
func remove(ctx context.Context, c *Cluster, api deleter, o metav1.Object, options metav1.DeleteOptions) error {
	short, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	return apiError(ctx, "removing "+nameOf(o).String(), ignoreNotThere(api.Delete(short, o.GetName(), options)))
}
