// Package login is the control plane's half of the login gate: it logs visitors
// of pods in with Tapis and hands them over to the edge, keeps an OAuth2 client in
// each tenant, and publishes what edges need to know of tenants and of the links
// and passwords that lead to pods.
//
//	l, err := login.New(login.Options{Tapis: identity, Store: store, Gate: gate, Route: lookup})
//	if err != nil { ... }
//	go l.Run(ctx)                         // clients and tenants
//	err = l.Start(w, r)                   // GET /v3/pods/login
//	err = l.Callback(w, r)                // GET /v3/pods/auth/callback
//
// # A login
//
//  1. An edge sends the browser to [Service.Start], with the pod's host and the
//     hash of an attempt id that only the browser has.
//  2. Start remembers both, a random state and the PKCE verifier in a sealed
//     cookie on the tenant's host, and sends the browser to Tapis.
//  3. Tapis sends it to [Service.Callback], one for each tenant. It checks the state
//     against the cookie, uses it up, exchanges the code for a token, and verifies
//     that locally.
//  4. It stores who has logged in for a minute and sends the browser to the pod's
//     host with a code for it. The token is dropped: neither the edge nor the pod
//     gets it.
//
// Nothing that somebody unknown asks for creates anything: without the tenant's
// client, which [Service.Run] makes, there is no login.
package login
