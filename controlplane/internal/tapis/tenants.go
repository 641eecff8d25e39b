package tapis

import (
	"context"
	"maps"
	"slices"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// LoginTenants returns all tenants that have a key, by id. Unavailable if the
// tenants were never read.
func (i *Identity) LoginTenants(ctx context.Context) ([]pods.LoginTenant, error) {
	s, err := i.directory.get(ctx)
	if err != nil {
		return nil, err
	}
	var all []pods.LoginTenant
	for _, id := range slices.Sorted(maps.Keys(s.tenants)) {
		if t := s.tenants[id]; t.key != nil {
			all = append(all, pods.LoginTenant{Tenant: t.Tenant, Issuer: t.issuer, PublicKey: t.keyPEM})
		}
	}
	return all, nil
}

// TenantAt returns the tenant whose API a host is, without anybody's token.
// NotFound if it is none's.
func (i *Identity) TenantAt(ctx context.Context, host string) (pods.Tenant, error) {
	t, err := i.directory.atHost(ctx, host)
	switch {
	case err != nil:
		return pods.Tenant{}, err
	case t == nil:
		return pods.Tenant{}, pods.Errorf(pods.NotFound, "The host '%s' is not that of a tenant.", host)
	}
	return t.Tenant, nil
}
