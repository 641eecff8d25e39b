package kube

import (
	"context"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// guardsLast is how long the guards of a namespace are believed to be as they
// were applied.
const guardsLast = 10 * time.Minute

// namespaces remembers which were made ready for whom, and when. The zero value is
// ready. It is safe for concurrent use.
type namespaces struct {
	locks keyLocks[string]

	mu    sync.Mutex
	ready map[string]time.Time // by namespace and tenant
}

func (n *namespaces) since(key string) time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.ready[key]
}

func (n *namespaces) mark(key string, at time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ready == nil {
		n.ready = map[string]time.Time{}
	}
	n.ready[key] = at
}

// ensurePlace makes a namespace for a tenant's pods and brings what bounds it up
// to date, before anything is put there.
func (c *Cluster) ensurePlace(ctx context.Context, p place, tenant string) error {
	if c.Unmanaged {
		return nil
	}
	key := p.name + "/" + tenant
	defer c.namespaces.locks.lock(key)()
	if c.Now().Sub(c.namespaces.since(key)) < guardsLast {
		return nil
	}
	if err := c.ensureNamespace(ctx, p); err != nil {
		return err
	}
	if err := c.applyGuards(ctx, p.name, c.guards(p, tenant)); err != nil {
		return err
	}
	c.namespaces.mark(key, c.Now())
	return nil
}

// forgetPlace has a namespace made ready again before the next pod.
func (c *Cluster) forgetPlace(p place, tenant string) {
	c.namespaces.mark(p.name+"/"+tenant, time.Time{})
}

// ensureNamespace makes a namespace. One that is there is left as it is, and used
// only if its labels say that it is for us: we have no right to change any, or we
// could lift the security of the whole cluster.
func (c *Cluster) ensureNamespace(ctx context.Context, p place) error {
	found, there, err := ensure(ctx, c, "the namespace", c.client.CoreV1().Namespaces(), c.namespace(p))
	if err != nil {
		return err
	}
	if !there {
		c.Logger.Info("made namespace", "namespace", p.name, "tenant", p.tenant, "pod_security", p.level())
		return nil
	}
	switch labels := found.Labels; {
	case found.DeletionTimestamp != nil:
		return unavailable(nil, "the namespace '%s' is being deleted", p.name)
	case labels[labelSite] != c.Site || labels[labelTenant] != p.tenant:
		cause := fmt.Errorf("label the namespace %s with %s to let it be used", p.name, selector(p.labels(c.Site)))
		return unavailable(cause, "the namespace '%s' is not Podway's; an administrator has to allow its use", p.name)
	case labels[labelEnforce] != p.level():
		c.Logger.Warn("namespace has another pod security level than it should",
			"namespace", p.name, "label", labelEnforce, "want", p.level(), "got", labels[labelEnforce])
	}
	return nil
}

func (c *Cluster) applyGuards(ctx context.Context, namespace string, g guards) error {
	core := c.client.CoreV1()
	if err := apply(ctx, c, "the network policy", c.client.NetworkingV1().NetworkPolicies(namespace), g.policy); err != nil {
		return err
	}
	if err := apply(ctx, c, "the limit range", core.LimitRanges(namespace), g.limits); err != nil {
		return err
	}
	if g.quota != nil {
		if err := apply(ctx, c, "the quota", core.ResourceQuotas(namespace), g.quota); err != nil {
			return err
		}
	}
	if g.files == nil {
		return nil
	}
	_, err := create(ctx, c, core.PersistentVolumeClaims(namespace), g.files)
	if apierrors.IsAlreadyExists(err) {
		return nil // nothing of a claim can be changed
	}
	return apiError(ctx, "making the claim for files", err)
}
