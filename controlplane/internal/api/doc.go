// Package api serves the REST API of the control plane. It decodes requests,
// decides who may do what, and writes the answers; what a pod is and which
// definitions are valid is known to package pods.
//
//	h := api.New(api.Deps{
//		Store: store, Cluster: cluster, Identity: identity,
//		Settings: pods.DefaultSettings(), Wake: reconciler.Enqueue,
//		Logger: slog.Default(), Version: "1.0.0",
//	})
//	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
//
// One table, [operations], declares every operation: its method and pattern, the
// name clients know it by, and what a caller needs. Router, authorisation and
// tests are driven from it, so an operation can't be reached without a rule.
//
// The life of a request:
//
//  1. observe gives it an id, turns a panic into an answer and logs its end.
//  2. cors answers preflights and names the origins that may read the answer.
//  3. cleanSlashes redirects paths with repeated slashes.
//  4. The router finds the operation; unknown paths and methods end here.
//  5. serve authenticates the caller, loads the object and compares the caller's
//     level with the operation's, counts a change against the caller's limit,
//     runs the handler and writes its answer or its error.
//
// Every answer is the envelope {message, metadata, result, status, version},
// but for streams.
package api
