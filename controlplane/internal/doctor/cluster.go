package doctor

import (
	"context"
	"fmt"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/tapis-project/podway/controlplane/internal/config"
	"github.com/tapis-project/podway/controlplane/internal/kube"
	"github.com/tapis-project/podway/podctl/diagnose"
)

// right is what the control plane may do with a kind of objects.
type right struct {
	group, resource string // a resource may have a subresource: "pods/log"
	verbs           []string
}

// rights are those of the ClusterRole in deploy/rbac.yaml. Those to namespaces and
// what is in them besides pods are needed only where the control plane makes
// namespaces.
var (
	rights = []right{
		{"", "pods", []string{"get", "list", "watch", "create", "delete"}},
		{"", "persistentvolumeclaims", []string{"get", "list", "watch", "create", "delete"}},
		{"", "services", []string{"get", "list", "watch", "create", "update", "delete"}},
		{"", "secrets", []string{"create", "deletecollection"}},
		{"discovery.k8s.io", "endpointslices", []string{"list", "watch"}},
		{"", "events", []string{"list", "watch"}},
		{"", "pods/log", []string{"get"}},
		{"", "pods/exec", []string{"get", "create"}},
	}
	namespaceRights = []right{
		{"", "namespaces", []string{"get", "create"}},
		{"", "limitranges", []string{"create", "patch"}},
		{"", "resourcequotas", []string{"create", "patch"}},
		{"networking.k8s.io", "networkpolicies", []string{"create", "patch"}},
	}
)

// checkCluster asks the cluster what we may do there.
func checkCluster(ctx context.Context, c config.Kube) []diagnose.Finding {
	access, err := kube.LoadConfig(c.Kubeconfig)
	if err != nil {
		return []diagnose.Finding{fault("cluster", FaultConfig, err.Error(), "correct PODWAY_KUBECONFIG, or run this in the cluster with its service account")}
	}
	access.Timeout = checkTimeout
	client, err := kubernetes.NewForConfig(access)
	if err != nil {
		return []diagnose.Finding{fault("cluster", FaultConfig, err.Error(), "correct the kubeconfig file")}
	}
	version, err := client.Discovery().ServerVersion()
	if err != nil {
		return []diagnose.Finding{clusterFault(err)}
	}
	namespace, want := "", rights
	if !strings.Contains(c.Namespace, "{tenant}") {
		namespace = c.Namespace
	}
	if !c.Unmanaged {
		want = append(append([]right{}, rights...), namespaceRights...)
	}
	missing, err := lacking(ctx, client, namespace, want)
	if err != nil {
		return []diagnose.Finding{clusterFault(err)}
	}
	answers := diagnose.OK("cluster", "", "Kubernetes "+version.GitVersion+" answers")
	if len(missing) > 0 {
		return []diagnose.Finding{answers, fault("cluster rights", FaultClusterRights, "the account may not "+strings.Join(missing, ", "), "apply deploy/rbac.yaml of this release, with the namespace and the account that the control plane runs under")}
	}
	return []diagnose.Finding{answers, diagnose.OK("cluster rights", "", "the account may do all that is needed")}
}

// lacking asks for each right and returns those that are missing, as "verb resource".
func lacking(ctx context.Context, client kubernetes.Interface, namespace string, want []right) ([]string, error) {
	var missing []string
	for _, r := range want {
		resource, sub, _ := strings.Cut(r.resource, "/")
		for _, verb := range r.verbs {
			review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
				ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: namespace, Group: r.group, Resource: resource, Subresource: sub, Verb: verb},
			}}
			answer, err := client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
			if err != nil {
				return nil, fmt.Errorf("asking for the right to %s %s: %w", verb, r.resource, err)
			}
			if !answer.Status.Allowed {
				missing = append(missing, verb+" "+r.resource)
			}
		}
	}
	return missing, nil
}

func clusterFault(err error) diagnose.Finding {
	if apierrors.IsUnauthorized(err) || apierrors.IsForbidden(err) {
		return fault("cluster", FaultClusterLogin, err.Error(), "the account's token or certificate is refused: has it expired? Mount the service account again, or renew the kubeconfig file")
	}
	return fault("cluster", FaultClusterUnreachable, err.Error(), "is the API server up, and may this machine reach it? Pods that run are served meanwhile")
}
