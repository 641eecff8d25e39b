// Package redisgate is what the two halves of the login gate share in Redis: the
// control plane logs visitors in, the edge admits them. It owns the names of the
// keys, the form of the records, and how both are sealed.
//
// The control plane:
//
//	ring, err := redisgate.ReadKeyring("gate.key")
//	if err != nil { ... }
//	store, err := redisgate.New(redisgate.Options{Client: client, Keyring: ring})
//	if err != nil { ... }
//	err = store.SetTenants(ctx, []redisgate.Tenant{...}) // keys that tokens are verified with
//	first, err := store.UseState(ctx, state)             // in the callback of a login
//	code, err := store.PutHandoff(ctx, redisgate.Handoff{...})
//	err = store.SetShares(ctx, "web.pods.dev.localhost", []redisgate.Share{...})
//
// The edge:
//
//	handoff, err := store.TakeHandoff(ctx, code)
//	id, err := store.CreateSession(ctx, redisgate.Session{...})
//	session, err := store.Session(ctx, id, host, pod)
//	go store.Watch(ctx, func(e redisgate.Event) { ... }) // until ctx ends
//
// # The way of a login
//
//  1. The edge keeps a random attempt id in a cookie of the pod's host and sends the
//     browser to [Tenant.LoginURLFor], with the hash of the id.
//  2. The control plane reads that by [ParseLogin], checks that the host is a gated
//     route of the tenant, and has Tapis log the user in. It uses the state of that
//     once, see [Store.UseState].
//  3. It stores a [Handoff] and sends the browser to [LoginRequest.CallbackURL].
//  4. The edge takes the handoff, compares host and attempt, asks the route whether
//     the user may pass, and creates the [Session].
//
// # Keys
//
//	podway:{default}:gate:tenants             hash, tenant → [Tenant] as JSON
//	podway:{default}:gate:handoff:<hash>      sealed [Handoff], 60 s, read once
//	podway:{default}:gate:state:<hash>        a login's state that was used, 10 min
//	podway:{default}:gate:session:<hash>      sealed [Session], its idle time
//	podway:{default}:gate:logout:<hash>       Unix milliseconds: sessions of a user
//	                                          that began until then are void
//	podway:{default}:gate:shares:<host>       hash, id → [Share] as JSON
//	podway:{default}:gate:shares:uses:<host>  hash, id → count, id:last → Unix seconds
//	podway:{default}:gate:shares:since        Unix microseconds: uses are counted since
//	podway:{default}:gate:rate:<what>:<who>   attempts within a window
//	podway:{default}:gate:revoked             channel of [Event]
//
// <hash> is SHA-256 in base64url of a secret that only the client has, so reading
// Redis gives nobody a session. Sealed records are AES-256-GCM bound to their key's
// name: a record that was moved does not open.
//
// The channel is a hint that makes things happen at once. Who misses a message
// learns it by [Resync], which comes with every new subscription, and then has to
// forget what it remembers.
package redisgate
