// Package certificates follows what the edges note in Redis of the certificates
// they keep, so that the API can show it on pods, and writes into a pod's action
// log how it goes with the certificates that are the pod's own:
//
//	w, err := certificates.NewWatcher(certificates.Options{Client: client})
//	...
//	go w.Run(ctx)                                              // each process
//	go w.Report(ctx, certificates.Reports{Store: st, Tenants: identity}) // the leader
//	w.Certificate("web.pods.tacc.tapis.io").State
//
// The wildcard of a tenant belongs to no pod: it is shown on all of them, and not
// in their logs. Nothing here decides where connections go.
package certificates
