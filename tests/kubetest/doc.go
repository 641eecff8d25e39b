// Package kubetest gives tests a real Kubernetes API server, and fake nodes
// that run pods without running anything.
//
//	func TestPodBecomesAvailable(t *testing.T) {
//		srv := kubetest.Start(t)               // etcd and kube-apiserver, shared by the test binary
//		ns := srv.Namespace(t, nil)            // emptied and deleted with the test
//		kubetest.FakeNodes(t, srv, kubetest.NodeOptions{Namespace: ns, Delay: 50 * time.Millisecond})
//		// … create pods with srv.RESTConfig(); they are scheduled and become Ready
//	}
//
// The API server is the real one: validation, server-side apply, watches, RBAC,
// Pod Security and everything else are its own. Around it is only what the fake
// nodes do, see [FakeNodes]; there is no controller-manager, so nothing makes
// pods of a Deployment, and service accounts are not required.
//
// Faults are made with [Server.Kill], [Server.Restart], [Server.Stop] and
// [Server.Cont], best on a server of the test's own ([StartPrivate]), and with
// the [Behaviour] of single pods.
//
// The control plane gets the rights that it has in production with
// [WriteAccount].
//
// `make kube` builds the program that is needed, in some minutes, and `make test`
// calls it. Where it is missing tests are skipped, unless
// PODWAY_TEST_KUBE=required is set: then they fail. PODWAY_KUBE_BIN names another
// one. [Launch] and [NewNodes] are the same without a test, for benchmarks.
package kubetest
