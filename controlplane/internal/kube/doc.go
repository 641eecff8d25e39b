// Package kube is a [pods.Cluster] of a Kubernetes cluster.
//
//	config, err := kube.LoadConfig("") // as a pod of the cluster, or a kubeconfig file
//	cluster, err := kube.New(kube.Options{REST: config, Site: "tacc"})
//	if err != nil { ... }
//	defer cluster.Close() // everything in Kubernetes goes on
//
//	err = kube.RunAsLeader(ctx, kube.Leadership{REST: config, Namespace: "podway", Identity: host}, reconciler.Run)
//
// # Objects
//
// A pod is a bare Pod with a Service, all named "pods-<site>-<tenant>-<pod_id>", a
// claim for each volume mount of type pvc, and a Secret that holds its whole
// environment. They live in a namespace of the tenant, which is made when it is
// needed, with a network policy, a quota and limits. Everything of ours carries
// labels that say whose it is; whatever does not is never touched.
//
// The Pod is what the level "restricted" of the Pod Security standards asks for.
// Images that the administrator lets run as root ([ImageRule]) get a second
// namespace with the level "baseline", so that nothing is loosened for others.
//
// Apply makes claims, Service, Secret, Pod, in this order; Remove takes away
// Secret, Pod, Service. The Secrets of pods are never read or listed, so the
// Service, which is made before and removed after them, stands for them: as long
// as it is there the pod is observed as present, and removed again.
//
// # What is known
//
// Pods, Services, claims and EndpointSlices with the site's label, and events about
// pods, are listed once and then watched. Observe, List and Watch read that memory
// only, so an idle pod costs no request; a watch that is lost is taken up again,
// and begins with a new list if need be. What Apply has made is in the memory when
// it returns. While the API server is away, the last that was known stays.
//
// A pod is ready when Kubernetes says so and its Service has found it, so a route
// does not go live before connections arrive.
package kube
