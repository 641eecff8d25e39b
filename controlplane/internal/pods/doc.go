// Package pods is the domain of the control plane: what a pod is, which
// definitions are valid, who may do what, and the interfaces through which the
// rest of the control plane meets ([Store], [Cluster], [Identity]).
//
// Three things are kept apart:
//
//   - what the user asked for: [Definition] (sparse: nothing but what was set)
//     and [Requested];
//   - what is computed from it on every read: [Effective];
//   - what the cluster shows: [Observation], remembered as [State].
//
// A pod's way through the package:
//
//	n, err := pods.DecodeNewPod(body, settings)                // what the user asked for
//	chain, err := pods.TemplateChain(ctx, store, n.Definition) // what it builds on
//	e, err := pods.Resolve(n.ID, domain, settings, n.Definition, pods.Definitions(chain)...)
//	err = pods.AllowImage(ctx, store, tenant, e.Image, settings)
//	err = pods.CheckNames(site, tenant, domain, n.ID, e.Networking)
//	err = pods.CheckApproval(e, permissions)
//	w := pods.BuildWorkload(pod, e, pods.NewCredentials(n.ID)) // what a Cluster runs
//	v := pods.NewView(pod, e)                                  // what clients see
//
// The package imports no adapter. Adapters import it and never each other.
package pods
