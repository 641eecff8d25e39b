// Package tapis tells who makes a request: it verifies Tapis tokens, knows the
// tenants of the installation and asks its Security Kernel for roles. It
// implements [pods.Identity].
//
//	id, err := tapis.New(tapis.Options{
//		TenantsURL: "https://admin.tapis.io",
//		Site:       "tacc",
//		Service:    &tapis.ServiceAccount{Tenant: "admin", Name: "pods", Password: password},
//	})
//	principal, err := id.Authenticate(ctx, pods.Credential{Token: token, Host: r.Host})
//
// # Verification
//
// A token is accepted in these steps, and the first that fails decides the
// error:
//
//  1. it has three parts and readable claims;
//  2. its tapis/tenant_id names a tenant with a public key;
//  3. it is signed by that key with RS256, has not expired, has no audience and
//     is an access token of a user or a service;
//  4. for a user: its tenant is the one of the host that was asked, and the
//     request carries no X-Tapis-Tenant or X-Tapis-User header;
//  5. for a service: it was made for our site by an admin tenant, the service is
//     on our list, and both headers are there. It then acts as X-Tapis-User.
//
// # Outages
//
// Tenants and their keys are read once and kept. They are read again when they
// are old, and when a token names an unknown tenant or has a signature that the
// known key did not make (keys rotate), but not more often than
// [Options.RefreshWindow], so that forged tokens cannot make us flood Tapis.
// While Tapis is away the last tenants serve; nobody is an admin then whose
// roles are not remembered.
package tapis
