package pods

import (
	"context"
	"net/url"
)

// Tenant is a Tapis tenant.
type Tenant struct {
	ID      string
	Site    string
	BaseURL string // "https://tacc.tapis.io", without trailing slash
}

// Domain returns the host name of the base URL, without port: the domain below
// which the tenant's pods live.
func (t Tenant) Domain() string {
	u, err := url.Parse(t.BaseURL)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// Credential is what a request shows to prove who makes it.
type Credential struct {
	Token string // X-Tapis-Token

	// OnBehalfOfTenant and OnBehalfOfUser are the X-Tapis-Tenant and X-Tapis-User
	// headers, for service tokens only.
	OnBehalfOfTenant string
	OnBehalfOfUser   string

	// Host is the host the client asked for, as in the Host header.
	Host string
}

// Principal is who makes a request, after verification.
type Principal struct {
	User    string
	Tenant  Tenant
	Service string // name of the service account that acts for User; "" for users
}

// Identity verifies tokens and knows tenants and roles.
type Identity interface {
	// Authenticate verifies a credential and resolves its tenant. Unauthorized if
	// the token is missing, unreadable, expired or not the tenant's; Forbidden if
	// it belongs to another tenant than the host; Unavailable if the tenant's key
	// can't be had.
	Authenticate(ctx context.Context, c Credential) (Principal, error)

	// Admin reports whether a principal holds the pods_admin role. False when the
	// roles can't be had.
	Admin(ctx context.Context, p Principal) bool

	// Tenant returns a tenant by id. NotFound if there is none.
	Tenant(ctx context.Context, id string) (Tenant, error)
}
