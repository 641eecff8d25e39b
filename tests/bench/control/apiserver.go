package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/yaml"

	"github.com/tapis-project/podway/tests/kubetest"
)

// account is the service account of the control plane, in a namespace of the same
// name, and user what the API server calls it.
const (
	account = "podway"
	user    = "system:serviceaccount:" + account + ":" + account
)

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
func startKubernetes(ctx context.Context, o options, dir, repo string) (k *kubernetes, err error) {
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
	if err := k.grant(ctx, filepath.Join(repo, "deploy", "rbac.yaml")); err != nil {
		return nil, err
	}
	if err := k.writeKubeconfig(ctx); err != nil {
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

// grant gives the account the rights that admins are told to give.
func (k *kubernetes) grant(ctx context.Context, path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading the rights of the control plane: %w", err)
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: account}}
	if _, err := k.server.Client().CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("making the namespace of the control plane: %w", err)
	}
	client, err := dynamic.NewForConfig(k.server.RESTConfig())
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	for r := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text))); ; {
		doc, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading %s: %w", path, err)
		}
		if err := create(ctx, client, doc); err != nil {
			return err
		}
	}
}

// create makes the object of a document. Its resource is named as most are.
func create(ctx context.Context, client dynamic.Interface, doc []byte) error {
	var o unstructured.Unstructured
	if err := yaml.Unmarshal(doc, &o.Object); err != nil {
		return fmt.Errorf("decoding an object: %w", err)
	}
	kind := o.GroupVersionKind()
	resource := kind.GroupVersion().WithResource(strings.ToLower(kind.Kind) + "s")
	if _, err := resourceOf(client, resource, o.GetNamespace()).Create(ctx, &o, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("making %s %s: %w", kind.Kind, o.GetName(), err)
	}
	return nil
}

func resourceOf(client dynamic.Interface, r schema.GroupVersionResource, namespace string) dynamic.ResourceInterface {
	if namespace == "" {
		return client.Resource(r)
	}
	return client.Resource(r).Namespace(namespace)
}

// writeKubeconfig writes how the account reaches the API server.
func (k *kubernetes) writeKubeconfig(ctx context.Context) error {
	const day = 24 * 60 * 60
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(day))}}
	token, err := k.server.Client().CoreV1().ServiceAccounts(account).CreateToken(ctx, account, request, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("making a token for the control plane: %w", err)
	}
	config := clientcmdapi.NewConfig()
	config.Clusters[account] = &clientcmdapi.Cluster{
		Server: k.server.URL(), CertificateAuthorityData: k.server.RESTConfig().CAData,
	}
	config.AuthInfos[account] = &clientcmdapi.AuthInfo{Token: token.Status.Token}
	config.Contexts[account] = &clientcmdapi.Context{Cluster: account, AuthInfo: account}
	config.CurrentContext = account
	if err := clientcmd.WriteToFile(*config, k.kubeconfig); err != nil {
		return fmt.Errorf("writing the kubeconfig: %w", err)
	}
	return nil
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
