// Package devtapis is a small Tapis for development and tests: sites, tenants,
// users with passwords, OAuth2 clients, roles and real RS256 tokens, in one
// handler. It is what the SDK, a browser and our own control plane need of Tapis
// to work on a machine without network, and no more. Its users are public and
// its passwords are not hidden: it must not be reachable from other machines.
//
//	dev, err := devtapis.New(devtapis.Options{Dir: ".run/tapis"})
//	mux.Handle("/v3/", dev)
//
//	// The control plane verifies its tokens as it does those of any Tapis:
//	identity, err := tapis.New(tapis.Options{
//		TenantsURL: dev.BaseURL(),
//		Transport:  dev.InProcess(),
//		DevHosts:   devtapis.DevHosts(),
//	})
//
// # Base URLs
//
// The base URL of a tenant says two things: where its API is, and below which
// domain its pods live. Ours is http://dev.localhost:8000, so pods are at
// <pod>.pods.dev.localhost. People type http://localhost:8000 though, and the
// SDK finds its tenant by comparing what was typed with the base_url of each
// tenant, as strings; where none is equal it goes on without a tenant and
// without an error. So to a request for one of the [DevHosts] the first tenant
// is shown with the base URL that was typed.
package devtapis
