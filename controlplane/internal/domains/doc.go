// Package domains finds out whether custom domains belong to who claims them.
//
//	resolver, err := domains.NewResolver(domains.ResolverOptions{Servers: []string{"127.0.0.1:53"}})
//	v := domains.New(domains.Deps{
//		Store: store, Tenants: identity, DNS: resolver, Changed: reconciler.Enqueue,
//	})
//	go v.Run(ctx)
//
// A pod claims a name by naming it in its definition; the store keeps the claim.
// The claim is proven when DNS shows both
//
//  1. a TXT record at _tapis-pods.<domain> with the token of the claim, which only
//     who owns the domain can have made, and
//  2. that the domain leads here: by a CNAME to the host of the pod's entry, or by
//     an address that this host has as well, for names that can have no CNAME.
//
// Both are looked for again and again, as long as there is a claim:
//
//	                  proven                        not found, MaxFailures times
//	pending ─────────────────────────────► verified ─────────────────► failed
//	   │  ▲                                  │    ▲                      │  ▲
//	   └──┘ not found: later and later,      │    └──────────────────────┘  │
//	        until nobody has patience        │             proven           │
//	                                         └──────────────────────────────┘
//	                                               proven by another pod
//
// An answer that says "not there" counts, one that does not come does not: a
// name server that is down must not take a service off the net. A name of which
// nothing was heard for [Settings.Forget] is failed all the same.
//
// Any number of processes may run a Verifier on one store: each claim is leased
// for a check. A Verifier asks its DNS servers and nobody else; it never connects
// to a domain or to what it resolves to.
package domains
