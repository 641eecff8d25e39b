package kube

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/controlplane/internal/pods/clustertest"
	"github.com/tapis-project/podway/tests/kubetest"
	"github.com/tapis-project/podway/tests/parts"
)

// unseen are rights that the requests below do not show, and why we have them.
var unseen = map[string]string{
	"create pods/exec":       "for SPDY, which is used where WebSockets do not pass",
	"create limitranges":     "needed to apply one that is not there",
	"create resourcequotas":  "needed to apply one that is not there",
	"create networkpolicies": "needed to apply one that is not there",
}

// shippedRoles reads the roles that admins are given.
func shippedRoles(t *testing.T) (cluster rbacv1.ClusterRole, leader rbacv1.Role) {
	t.Helper()
	text, err := os.ReadFile("../../../deploy/rbac.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for r := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text))); ; {
		doc, err := r.Read()
		if errors.Is(err, io.EOF) {
			return cluster, leader
		}
		if err != nil {
			t.Fatal(err)
		}
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal(doc, &kind); err != nil {
			t.Fatal(err)
		}
		switch kind.Kind {
		case "ClusterRole":
			err = yaml.UnmarshalStrict(doc, &cluster)
		case "Role":
			err = yaml.UnmarshalStrict(doc, &leader)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// granted lists what rules allow, as "verb resource".
func granted(t *testing.T, rules []rbacv1.PolicyRule) sets.Set[string] {
	t.Helper()
	all := sets.New[string]()
	for _, r := range rules {
		for _, resource := range r.Resources {
			for _, verb := range r.Verbs {
				if strings.ContainsAny(verb+resource+strings.Join(r.APIGroups, ""), "*") {
					t.Errorf("a wildcard in %v", r)
				}
				all.Insert(verb + " " + resource)
			}
		}
	}
	return all
}

// recorder notes the requests that clients send, as "verb resource".
type recorder struct {
	mu   sync.Mutex
	seen sets.Set[string]
}

// roundTripper is a function as an http.RoundTripper.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// wrap notes what passes through a transport.
func (r *recorder) wrap(rt http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		r.mu.Lock()
		r.seen.Insert(rightFor(req))
		r.mu.Unlock()
		return rt.RoundTrip(req)
	})
}

func (r *recorder) rights() sets.Set[string] {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen.Clone()
}

// rightFor returns the right that a request needs.
func rightFor(r *http.Request) string {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	parts = parts[2:] // api/v1, or apis/group/version
	if strings.HasPrefix(r.URL.Path, "/apis/") {
		parts = parts[1:]
	}
	if parts[0] == "namespaces" && len(parts) > 2 {
		parts = parts[2:]
	}
	resource := parts[0]
	named := len(parts) > 1
	if len(parts) > 2 {
		resource += "/" + parts[2]
	}
	verb := map[string]string{
		http.MethodGet: "get", http.MethodPost: "create", http.MethodPut: "update", http.MethodPatch: "patch", http.MethodDelete: "delete",
	}[r.Method]
	switch {
	case verb == "get" && r.URL.Query().Get("watch") != "":
		verb = "watch"
	case verb == "get" && !named:
		verb = "list"
	case verb == "delete" && !named:
		verb = "deletecollection"
	}
	return verb + " " + resource
}

func TestTheRoleHoldsWhatIsUsedAndNothingElse(t *testing.T) {
	srv := kubetest.Start(t)
	clusterRole, leaderRole := shippedRoles(t)
	user := "podway-" + srv.Namespace(t, nil)
	bind(t, srv, user, clusterRole, leaderRole)

	seen := &recorder{seen: sets.New[string]()}
	config := srv.UserConfig(t, user)
	config.Wrap(seen.wrap)

	// Whatever a cluster does, in namespaces that it makes.
	t.Run("suite", func(t *testing.T) {
		clustertest.Run(t, func(t *testing.T) clustertest.Setup {
			namespace := srv.Namespace(t, restricted)
			startKubelet(t, srv, kubetest.FakeNodes(t, srv, kubetest.NodeOptions{Namespace: namespace}))
			o := Options{REST: config, Namespace: namespace, Unmanaged: true}
			return clustertest.Setup{
				Cluster: open(t, o),
				Reopen:  func(t *testing.T) pods.Cluster { return open(t, o) },
				Serving: func() pods.Workload {
					w := workload("", "podway/hello")
					w.Env = map[string]string{"TOKEN": "x"}
					w.VolumeMounts = map[string]pods.VolumeMount{"keep": {Type: typePVC, MountPath: "/keep"}}
					return w
				},
				Greeting: greeting,
				Ending:   func(code int) pods.Workload { return workload("", image(kubetest.Exits(code))) },
				Shell:    []string{"sh", "-c"}, KeepDir: "$" + keepVariable, Limit: limit,
			}
		})
	})
	t.Run("namespaces", func(t *testing.T) { useNamespaces(t, srv, config) })
	t.Run("lead", func(t *testing.T) {
		lead, stop := context.WithTimeout(t.Context(), limit)
		defer stop()
		err := RunAsLeader(lead, Leadership{REST: config, Namespace: "default", Name: user, Identity: "me", Retry: 50 * time.Millisecond, Logger: testLog(t)},
			func(ctx context.Context) error {
				parts.Eventually(t, limit, func() error { // until it was renewed
					if !seen.rights().Has("update leases") {
						return errors.New("the lease was not renewed")
					}
					return nil
				})
				stop()
				<-ctx.Done()
				return nil
			})
		if err != nil {
			t.Error(err)
		}
	})

	want := granted(t, clusterRole.Rules).Union(granted(t, leaderRole.Rules)).Difference(sets.KeySet(unseen))
	got := seen.rights()
	if missing := got.Difference(want).Difference(sets.KeySet(unseen)); missing.Len() > 0 {
		t.Errorf("the role lacks %v", sets.List(missing))
	}
	if idle := want.Difference(got); idle.Len() > 0 {
		t.Errorf("the role holds what nobody needs: %v", sets.List(idle))
	}
}

// useNamespaces does what happens in and to namespaces only.
func useNamespaces(t *testing.T, srv *kubetest.Server, config *rest.Config) {
	admin, prefix := managed(t, srv, Options{Quota: map[string]string{}})
	o := Options{REST: config, Site: admin.Site, Namespace: prefix + "-{tenant}", Files: Files{Claim: "files", Class: "shared"}}
	w := workload("web", "podway/hello")
	applyTo(t, open(t, o), w)
	applyTo(t, open(t, o), w)
	other := workload("other", "podway/hello")
	applyTo(t, open(t, o), other) // the namespace is there already

	// An attempt that came as far as the service.
	ns, name := prefix+"-dev", pods.ObjectName(admin.Site, other.Key)
	c := open(t, o)
	if err := srv.Client().CoreV1().Pods(ns).Delete(t.Context(), name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)}); err != nil {
		t.Fatal(err)
	}
	await(t, c, other.Key, "without a run", func(o pods.Observation) bool { return o.Phase == pods.PhaseNone && o.Present })
	applyTo(t, c, other)

	// Claims and pods that are there, but not known yet.
	third := workload("third", "podway/hello")
	third.VolumeMounts = map[string]pods.VolumeMount{"keep": {Type: typePVC, MountPath: "/keep"}}
	applyTo(t, admin, third)
	behind := open(t, o)
	behind.memory = newMemory(admin.Site)
	close(behind.memory.listed)
	applyTo(t, behind, third)
}

// bind gives a user the roles, under other names.
func bind(t *testing.T, srv *kubetest.Server, user string, clusterRole rbacv1.ClusterRole, leaderRole rbacv1.Role) {
	t.Helper()
	api, ctx := srv.Client().RbacV1(), t.Context()
	meta := metav1.ObjectMeta{Name: user}
	subjects := []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user}}
	_, err1 := api.ClusterRoles().Create(ctx, &rbacv1.ClusterRole{ObjectMeta: meta, Rules: clusterRole.Rules}, metav1.CreateOptions{})
	_, err2 := api.ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: meta, Subjects: subjects, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: user},
	}, metav1.CreateOptions{})
	_, err3 := api.Roles("default").Create(ctx, &rbacv1.Role{ObjectMeta: meta, Rules: leaderRole.Rules}, metav1.CreateOptions{})
	_, err4 := api.RoleBindings("default").Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: meta, Subjects: subjects, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: user},
	}, metav1.CreateOptions{})
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.Background()
		_ = api.ClusterRoleBindings().Delete(ctx, user, metav1.DeleteOptions{})
		_ = api.ClusterRoles().Delete(ctx, user, metav1.DeleteOptions{})
		_ = api.RoleBindings("default").Delete(ctx, user, metav1.DeleteOptions{})
		_ = api.Roles("default").Delete(ctx, user, metav1.DeleteOptions{})
	})
	// Rights take a moment to count.
	config := srv.UserConfig(t, user)
	parts.Eventually(t, limit, func() error {
		c, err := New(Options{REST: config, Site: "dev", Unmanaged: true, Logger: testLog(t)})
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{Limit: 1})
		return err
	})
}

func TestARightThatIsMissingIsNotThePodsFault(t *testing.T) {
	srv := kubetest.Start(t)
	ns := srv.Namespace(t, nil)
	role, leader := shippedRoles(t)
	role.Rules = slices.DeleteFunc(role.Rules, func(r rbacv1.PolicyRule) bool { return slices.Contains(r.Resources, "secrets") })
	user := "podway-" + ns
	bind(t, srv, user, role, leader)
	c := open(t, Options{REST: srv.UserConfig(t, user), Namespace: ns, Unmanaged: true})
	w := workload("web", "podway/hello")
	w.Env = map[string]string{"TOKEN": "x"}
	err := c.Apply(t.Context(), w)
	if pods.ErrorCode(err) != pods.Unavailable || !apierrors.IsForbidden(err) {
		t.Errorf("got %v, want code unavailable with the cause", err)
	}
	if e, ok := errors.AsType[*pods.Error](err); ok && strings.Contains(strings.Join(e.Messages, ""), user) {
		t.Errorf("got %v, want nothing about us in the message", e.Messages)
	}
}
