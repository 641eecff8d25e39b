package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/tapis-project/podway/tests/kubetest"
)

// user is what the API server calls the account of the control plane.
const user = "system:serviceaccount:" + kubetest.Account + ":" + kubetest.Account

// auditPolicy has the API server write a line for each request of the control
// plane when it is answered, and for nobody else.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    users: ["` + user + `"]
  - level: None
`

// kubernetes is an API server with fake nodes, and an account for the control
// plane.
type kubernetes struct {
	server     *kubetest.Server
	nodes      *kubetest.Nodes
	kubeconfig string // of the account
	audit      string // path of the audit log
}

// startKubernetes starts everything. Close it.
func startKubernetes(ctx context.Context, o options, dir string) (k *kubernetes, err error) {
	bin, err := kubetest.Binary()
	if err != nil {
		return nil, err
	}
	policy := filepath.Join(dir, "audit.yaml")
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
		return nil, fmt.Errorf("writing the audit policy: %w", err)
	}
	k = &kubernetes{kubeconfig: filepath.Join(dir, "kubeconfig"), audit: filepath.Join(dir, "audit.log")}
	k.server, err = kubetest.Launch(ctx, bin, "--audit-policy-file="+policy, "--audit-log-path="+k.audit, "--audit-log-maxsize=10000")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			k.close()
		}
	}()
	if err := kubetest.WriteAccount(ctx, k.server.RESTConfig(), k.kubeconfig); err != nil {
		return nil, err
	}
	k.nodes, err = kubetest.NewNodes(ctx, k.server.RESTConfig(), kubetest.NodeOptions{Count: 20, Delay: o.delay, Events: true})
	if err != nil {
		return nil, fmt.Errorf("starting fake nodes: %w", err)
	}
	return k, nil
}

func (k *kubernetes) close() {
	if k.nodes != nil {
		k.nodes.Close()
	}
	k.server.Close()
}

// objects counts what pods are made of in the namespaces of tenants, by resource.
func (k *kubernetes) objects(ctx context.Context) (map[string]int, error) {
	client, err := dynamic.NewForConfig(k.server.RESTConfig())
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	counts := map[string]int{}
	for _, r := range []schema.GroupVersionResource{
		{Version: "v1", Resource: "pods"},
		{Version: "v1", Resource: "services"},
		{Version: "v1", Resource: "secrets"},
		{Version: "v1", Resource: "persistentvolumeclaims"},
		{Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"},
	} {
		list, err := client.Resource(r).List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, fmt.Errorf("counting %s: %w", r.Resource, err)
		}
		counts[r.Resource] = 0
		for _, o := range list.Items {
			if ns := o.GetNamespace(); ns != metav1.NamespaceDefault && !strings.HasPrefix(ns, "kube-") {
				counts[r.Resource]++
			}
		}
	}
	return counts, nil
}
