//go:build e2e

// Package e2e tells the user stories on a real Kubernetes: real API server,
// kubelet and containers. The control plane has a service account with exactly
// the rights of deploy/rbac.yaml. `make e2e` starts the cluster and runs it; by
// hand:
//
//	make cluster
//	PODWAY_KUBECONFIG=$PWD/.cache/k8s/kubeconfig go test -tags e2e ./tests/e2e
package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/tapis-project/podway/tests/kubetest"
	"github.com/tapis-project/podway/tests/system"
)

// startWithin bounds create → AVAILABLE on a loaded machine with one node.
const startWithin = 2 * time.Minute

func TestMain(m *testing.M) { system.Main(m) }

// start starts a Podway whose pods run in the cluster, for a test that runs beside
// others: it has a site of its own, which keeps them apart. Further arguments are
// environment variables of it, NAME=value.
func start(t *testing.T, site string, env ...string) *system.System {
	t.Helper()
	t.Parallel()
	s := system.Start(t, append([]string{
		"PODWAY_CLUSTER=kubernetes", "PODWAY_KUBECONFIG=" + account(t),
		"PODWAY_SITE=" + site, "PODWAY_KUBE_NAMESPACE=podway-{site}-{tenant}",
		"PODWAY_IMAGES=podway/hello,postgres,busybox",
		// Who the images of the test cluster run as.
		"PODWAY_KUBE_IMAGE_USERS=postgres=999:999,busybox=1000:1000",
		// Small, so that a node of two processors holds all pods of the stories.
		"PODWAY_KUBE_CLAIM_SIZE=1Gi", "PODWAY_KUBE_GRACE=2",
	}, env...)...)
	s.StartEdge()
	return s
}

// namespaceOf is where the pods of a site are.
func namespaceOf(site string) string { return "podway-" + site + "-dev" }

// account returns the path of a kubeconfig of the control plane's account.
func account(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := kubetest.WriteAccount(t.Context(), configOf(t, adminKubeconfig(t)), path); err != nil {
		t.Fatal(err)
	}
	return path
}

// adminKubeconfig returns the path of the kubeconfig of the cluster's
// administrator.
func adminKubeconfig(t *testing.T) string {
	t.Helper()
	path := os.Getenv("PODWAY_KUBECONFIG")
	if path == "" {
		t.Fatal("PODWAY_KUBECONFIG names no cluster; `make e2e` starts one")
	}
	return path
}

func configOf(t *testing.T, kubeconfig string) *rest.Config {
	t.Helper()
	c, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func clientOf(t *testing.T, kubeconfig string) kubernetes.Interface {
	t.Helper()
	k, err := kubernetes.NewForConfig(configOf(t, kubeconfig))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// client returns a client of the cluster's administrator.
func client(t *testing.T) kubernetes.Interface {
	t.Helper()
	return clientOf(t, adminKubeconfig(t))
}

// What follows here is done with these rights and no others.
func TestTheControlPlaneIsNoAdministrator(t *testing.T) {
	k := clientOf(t, account(t))
	for what, c := range map[string]struct {
		ask  authorizationv1.ResourceAttributes
		want bool
	}{
		"create pods":       {authorizationv1.ResourceAttributes{Verb: "create", Resource: "pods", Namespace: "podway-dev"}, true},
		"read secrets":      {authorizationv1.ResourceAttributes{Verb: "get", Resource: "secrets", Namespace: "podway-dev"}, false},
		"change namespaces": {authorizationv1.ResourceAttributes{Verb: "patch", Resource: "namespaces"}, false},
		"give rights":       {authorizationv1.ResourceAttributes{Verb: "create", Group: "rbac.authorization.k8s.io", Resource: "clusterrolebindings"}, false},
		"do everything":     {authorizationv1.ResourceAttributes{Verb: "*", Group: "*", Resource: "*"}, false},
	} {
		review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &c.ask}}
		got, err := k.AuthorizationV1().SelfSubjectAccessReviews().Create(t.Context(), review, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got.Status.Allowed != c.want {
			t.Errorf("may it %s: got %v, want %v", what, got.Status.Allowed, c.want)
		}
	}
}

// create makes a pod and waits until it is AVAILABLE.
func create(t *testing.T, u system.User, body string) {
	t.Helper()
	began := time.Now()
	var p struct {
		PodID string `json:"pod_id"`
	}
	u.Call(http.MethodPost, "/v3/pods", body).Into(t, &p)
	u.WaitStatus(p.PodID, "AVAILABLE")
	t.Logf("%s was AVAILABLE after %v", p.PodID, time.Since(began).Round(10*time.Millisecond))
}

// pod is the part of a pod that the stories look at.
type pod struct {
	Status          string  `json:"status"`
	TimeToStopTS    *string `json:"time_to_stop_ts"`
	StartInstanceTS *string `json:"start_instance_ts"`
	StatusContainer struct {
		Message string `json:"message"`
	} `json:"status_container"`
}

func read(t *testing.T, u system.User, id string) pod {
	t.Helper()
	var p pod
	u.Call(http.MethodGet, "/v3/pods/"+id, "").Into(t, &p)
	return p
}

// logs returns what a pod wrote, and what happened to it.
func logs(t *testing.T, u system.User, id string) (output string, actions []string) {
	t.Helper()
	var l struct {
		Logs       string   `json:"logs"`
		ActionLogs []string `json:"action_logs"`
	}
	u.Call(http.MethodGet, "/v3/pods/"+id+"/logs", "").Into(t, &l)
	return l.Logs, l.ActionLogs
}
