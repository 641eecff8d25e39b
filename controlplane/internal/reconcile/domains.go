package reconcile

import (
	"context"
	"fmt"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/routes"
)

// withDomains adds the routes of a pod's custom domains to its others. Only what
// is verified has one, whatever the definition names.
func (r *Reconciler) withDomains(ctx context.Context, p pods.Pod, rs []routes.Route) ([]routes.Route, error) {
	if r.Domains == nil || len(p.Definition.Domains()) == 0 {
		return rs, nil
	}
	claims, err := r.Domains(ctx, pods.DomainQuery{Tenant: p.Tenant, Pod: p.ID, State: pods.DomainVerified})
	if err != nil {
		return nil, fmt.Errorf("reading custom domains: %w", err)
	}
	return domainRoutes(rs, claims), nil
}

// domainRoutes returns the routes with one more for each claim: that of its entry,
// under the custom domain.
func domainRoutes(rs []routes.Route, verified []pods.DomainClaim) []routes.Route {
	own := rs
	for _, c := range verified {
		for _, route := range own {
			if route.Net == c.Net {
				route.Host = c.Domain
				rs = append(rs, route)
			}
		}
	}
	return byHost(rs)
}
