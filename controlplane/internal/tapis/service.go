package tapis

import (
	"context"
	"slices"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// actFor resolves who a service acts for. Services are powerful, they choose
// user and tenant themselves, so each of these must hold: the token was made for
// our site, the service is on our list, and the tenant that signed the token is
// the admin tenant of a site that may speak for the user's tenant. The host that
// was asked does not matter: services call within their site.
func (i *Identity) actFor(ctx context.Context, tok verified, tenantID, user string) (pods.Principal, error) {
	switch {
	case i.site == "" || tok.targetSite != i.site:
		return pods.Principal{}, pods.Errorf(pods.Unauthorized, "Invalid service token; target_site claim does not match this service's site_id.")
	case tenantID == "":
		return pods.Principal{}, pods.Errorf(pods.Unauthorized, "Invalid service request; X-Tapis-Tenant header missing.")
	case user == "":
		return pods.Principal{}, pods.Errorf(pods.Unauthorized, "Invalid service request; X-Tapis-User header missing.")
	case validateUser(user) != nil:
		return pods.Principal{}, pods.Errorf(pods.Unauthorized, "Invalid service request; X-Tapis-User is not the name of a user.")
	case !slices.Contains(i.services, tok.User):
		return pods.Principal{}, pods.Errorf(pods.Forbidden, "The service '%s' is not allowed to act for users.", tok.User)
	}
	t, s, err := i.directory.tenant(ctx, tenantID)
	switch {
	case err != nil:
		return pods.Principal{}, err
	case t == nil:
		return pods.Principal{}, pods.Errorf(pods.Unauthorized, "Invalid service request; unexpected X-Tapis-Tenant.")
	case !s.speaksFor(tok.Tenant, t):
		return pods.Principal{}, pods.Errorf(pods.Forbidden, "Services of the tenant '%s' are not allowed to act for users of the tenant '%s'.", tok.Tenant, t.ID)
	}
	return pods.Principal{User: user, Tenant: t.Tenant, Service: tok.User}, nil
}
