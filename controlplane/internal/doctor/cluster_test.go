package doctor

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/tapis-project/podway/podctl/diagnose"
	"github.com/tapis-project/podway/tests/kubetest"
	"github.com/tapis-project/podway/tests/parts"
)

func (i *installation) cluster(kubeconfig string) {
	i.o.Config.Cluster, i.o.Config.Kube.Kubeconfig = "kubernetes", kubeconfig
}

func writeKubeconfig(t *testing.T, server string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	insecure := strconv.FormatBool(strings.HasPrefix(server, "https"))
	text := "apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: '" + server + "', insecure-skip-tls-verify: " + insecure + "}}]\n" +
		"contexts: [{name: c, context: {cluster: c, user: u}}]\nusers: [{name: u, user: {token: none}}]\ncurrent-context: c\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// shippedRules are the rules of the ClusterRole that admins are given.
func shippedRules(t *testing.T) []rbacv1.PolicyRule {
	t.Helper()
	text, err := os.ReadFile("../../../deploy/rbac.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for r := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text))); ; {
		doc, err := r.Read()
		if errors.Is(err, io.EOF) {
			t.Fatal("deploy/rbac.yaml has no ClusterRole")
		}
		if err != nil {
			t.Fatal(err)
		}
		var role rbacv1.ClusterRole
		if yaml.Unmarshal(doc, &role) == nil && role.Kind == "ClusterRole" {
			return role.Rules
		}
	}
}

func TestTheRightsThatAreAskedForAreThoseOfTheRole(t *testing.T) {
	var want, got []string
	for _, r := range shippedRules(t) {
		for _, resource := range r.Resources {
			for _, verb := range r.Verbs {
				want = append(want, verb+" "+resource+" "+r.APIGroups[0])
			}
		}
	}
	for _, r := range append(append([]right{}, rights...), namespaceRights...) {
		for _, verb := range r.verbs {
			got = append(got, verb+" "+r.resource+" "+r.group)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// waitForFault waits until the only fault of the cluster is want: changed rights take
// a moment to count.
func waitForFault(t *testing.T, i *installation, want string) {
	t.Helper()
	parts.Eventually(t, 30*time.Second, func() error {
		var r diagnose.Report
		r.Add(checkCluster(t.Context(), i.o.Config.Kube)...)
		if got := strings.Join(faults(t, &r), " "); got != want {
			return fmt.Errorf("got %q, want %q: %+v", got, want, r.Findings)
		}
		return nil
	})
}

func TestRightsInARealCluster(t *testing.T) {
	srv := kubetest.Start(t)
	user := "doctor-" + srv.Namespace(t, nil)
	rules := shippedRules(t)
	api := srv.Client().RbacV1()
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: user}, Rules: rules}
	if _, err := api.ClusterRoles().Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err := api.ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: user},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: user},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.Background()
		_ = api.ClusterRoleBindings().Delete(ctx, user, metav1.DeleteOptions{})
		_ = api.ClusterRoles().Delete(ctx, user, metav1.DeleteOptions{})
	})
	i := &installation{t: t}
	i.cluster(srv.UserKubeconfig(t, user))

	waitForFault(t, i, "")
	without := slices.DeleteFunc(slices.Clone(rules), func(r rbacv1.PolicyRule) bool { return slices.Contains(r.Resources, "secrets") })
	role.Rules = without
	if _, err := api.ClusterRoles().Update(t.Context(), role, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	waitForFault(t, i, FaultClusterRights)

	// Somebody whom the cluster does not know.
	i.cluster(writeKubeconfig(t, srv.URL()))
	waitForFault(t, i, FaultClusterLogin)
}
