package kubetest

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
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/yaml"
)

// Account is the name of the control plane's service account in deploy/rbac.yaml,
// and of the namespace that it and its Lease are in.
const Account = "podway"

// accountDay is how long a token of the account is good for, in seconds.
const accountDay = 24 * 60 * 60

// WriteAccount gives the control plane an account with exactly the rights that
// admins are told to give it, deploy/rbac.yaml, and writes a kubeconfig of the
// account to path. Config is an administrator's. It may be called again: what is
// there already is brought up to date.
func WriteAccount(ctx context.Context, config *rest.Config, path string) error {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: Account}}
	if _, err := client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("making the namespace of the control plane: %w", err)
	}
	if err := applyRights(ctx, config); err != nil {
		return err
	}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(accountDay))}}
	token, err := client.CoreV1().ServiceAccounts(Account).CreateToken(ctx, Account, request, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("making a token for the control plane: %w", err)
	}
	return writeTokenConfig(config, token.Status.Token, path)
}

// applyRights applies every document of deploy/rbac.yaml.
func applyRights(ctx context.Context, config *rest.Config) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(root, "deploy", "rbac.yaml"))
	if err != nil {
		return fmt.Errorf("reading the rights of the control plane: %w", err)
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	for r := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text))); ; {
		doc, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading the rights of the control plane: %w", err)
		}
		if err := applyDocument(ctx, client, doc); err != nil {
			return err
		}
	}
}

// applyDocument applies one object. Its resource is named as most are.
func applyDocument(ctx context.Context, client dynamic.Interface, doc []byte) error {
	var o unstructured.Unstructured
	if err := yaml.Unmarshal(doc, &o.Object); err != nil {
		return fmt.Errorf("decoding an object: %w", err)
	}
	kind := o.GroupVersionKind()
	all := client.Resource(kind.GroupVersion().WithResource(strings.ToLower(kind.Kind) + "s"))
	var objects dynamic.ResourceInterface = all
	if ns := o.GetNamespace(); ns != "" {
		objects = all.Namespace(ns)
	}
	if _, err := objects.Apply(ctx, o.GetName(), &o, metav1.ApplyOptions{FieldManager: "kubetest", Force: true}); err != nil {
		return fmt.Errorf("applying %s %s: %w", kind.Kind, o.GetName(), err)
	}
	return nil
}

// writeTokenConfig writes a kubeconfig for the owner of a token, for the server of
// another configuration.
func writeTokenConfig(server *rest.Config, token, path string) error {
	ca := server.CAData
	if len(ca) == 0 && server.CAFile != "" {
		var err error
		if ca, err = os.ReadFile(server.CAFile); err != nil {
			return fmt.Errorf("reading the server's authority: %w", err)
		}
	}
	config := clientcmdapi.NewConfig()
	config.Clusters[Account] = &clientcmdapi.Cluster{Server: server.Host, CertificateAuthorityData: ca}
	config.AuthInfos[Account] = &clientcmdapi.AuthInfo{Token: token}
	config.Contexts[Account] = &clientcmdapi.Context{Cluster: Account, AuthInfo: Account}
	config.CurrentContext = Account
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		return fmt.Errorf("writing the kubeconfig: %w", err)
	}
	return nil
}
