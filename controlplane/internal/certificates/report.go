package certificates

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/routes"
)

// maxReason bounds what the action log quotes of an authority.
const maxReason = 300 // bytes

// Reports say where reports go.
type Reports struct {
	Store   Store
	Tenants Tenants
}

// Store is what reports are made with; see [pods.Store] and [pods.DomainStore].
type Store interface {
	pods.EventStore

	Pod(ctx context.Context, k pods.Key) (pods.Pod, error)
	Events(ctx context.Context, k pods.Key) ([]pods.Event, error)
	Domains(ctx context.Context, q pods.DomainQuery) ([]pods.DomainClaim, error)
}

// Tenants is the part of [pods.Identity] that reports need.
type Tenants interface {
	// Tenant returns a tenant by id. NotFound if there is none.
	Tenant(ctx context.Context, id string) (pods.Tenant, error)
}

// Report writes into the action logs of pods which of their own certificates have
// become ready and which have failed, until ctx ends, and returns nil. The log
// itself is the memory of what was said: whoever goes on after another process says
// nothing twice.
func (w *Watcher) Report(ctx context.Context, r Reports) error {
	said := map[string]pods.CertState{} // by host
	for {
		next := w.next()
		w.report(ctx, r, said)
		select {
		case <-ctx.Done():
			return nil
		case <-next:
		}
	}
}

// report says what has not been said.
func (w *Watcher) report(ctx context.Context, r Reports, said map[string]pods.CertState) {
	known, now := *w.known.Load(), w.Now()
	for host := range said {
		if _, ok := known[host]; !ok {
			delete(said, host)
		}
	}
	for host, n := range known {
		c := n.certificate(now)
		if strings.HasPrefix(host, "*.") || c.State == pods.CertProvisioning || said[host] == c.State {
			continue
		}
		err := r.say(ctx, host, n.Tenant, c)
		if err == nil {
			said[host] = c.State
		} else if pods.ErrorCode(err) != pods.NotFound && ctx.Err() == nil { // its pod may come later
			w.Logger.Warn("noting a certificate failed", "tenant", n.Tenant, "host", host, "error", err)
		}
	}
}

// say appends to the log of the pod that has the host, unless its last word on
// that certificate was the same. NotFound if no pod has it.
func (r Reports) say(ctx context.Context, host, tenant string, c pods.Certificate) error {
	key, err := r.podOf(ctx, host, tenant)
	if err != nil {
		return err
	}
	p, err := r.Store.Pod(ctx, key)
	if err != nil {
		return err
	}
	events, err := r.Store.Events(ctx, key)
	if err != nil {
		return err
	}
	subject := "certificate of " + host + " "
	verdict := map[pods.CertState]string{pods.CertReady: "is ready", pods.CertFailed: "failed"}[c.State]
	for _, e := range slices.Backward(events) {
		if last, ok := strings.CutPrefix(e.Text, subject); ok {
			if strings.HasPrefix(last, verdict) {
				return nil
			}
			break
		}
	}
	text := subject + verdict
	if c.State == pods.CertFailed {
		reason := strings.Join(strings.Fields(c.Reason), " ") // one line
		text += ": " + reason[:min(len(reason), maxReason)]
	}
	return r.Store.AddEvents(ctx, key, p.UID, pods.Event{At: c.Since.UTC(), Text: text})
}

// podOf finds the pod that a host leads to.
func (r Reports) podOf(ctx context.Context, host, tenant string) (pods.Key, error) {
	claims, err := r.Store.Domains(ctx, pods.DomainQuery{Domain: host, State: pods.DomainVerified})
	if err != nil {
		return pods.Key{}, err
	}
	if len(claims) > 0 {
		return claims[0].Pod, nil
	}
	t, err := r.Tenants.Tenant(ctx, tenant)
	if err != nil {
		return pods.Key{}, fmt.Errorf("looking up tenant: %w", err)
	}
	domain, pod, _, ok := routes.ParsePodHost(host)
	if !ok || domain != t.Domain() {
		return pods.Key{}, pods.Errorf(pods.NotFound, "no pod has the host %s", host)
	}
	return pods.Key{Tenant: tenant, ID: pods.ID(pod)}, nil
}
