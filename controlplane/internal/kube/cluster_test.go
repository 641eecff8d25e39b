package kube

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/tests/kubetest"
	"github.com/tapis-project/podway/tests/parts"
)

// managed opens a cluster that makes its namespaces, which are deleted with the
// test. Their names begin with the name of a namespace of the test's own.
func managed(t *testing.T, srv *kubetest.Server, o Options) (c *Cluster, prefix string) {
	t.Helper()
	prefix = srv.Namespace(t, nil)
	// All namespaces are followed, so those of other tests are told apart by the site.
	o.Site = "dev" + prefix[strings.LastIndex(prefix, "-")+1:]
	o.REST, o.Namespace = srv.RESTConfig(), prefix+"-{tenant}"
	t.Cleanup(func() {
		list, err := srv.Client().CoreV1().Namespaces().List(context.Background(), metav1.ListOptions{LabelSelector: labelSite})
		if err != nil {
			t.Error(err)
			return
		}
		for _, ns := range list.Items {
			if !strings.HasPrefix(ns.Name, prefix) {
				continue
			}
			if err := srv.Client().CoreV1().Namespaces().Delete(context.Background(), ns.Name, metav1.DeleteOptions{}); err != nil {
				t.Error(err)
			}
		}
	})
	return open(t, o), prefix
}

func TestNamespacesAreMadeAndGuarded(t *testing.T) {
	srv := kubetest.Start(t)
	c, prefix := managed(t, srv, fullOptionsWithoutCSI())
	w := workload("web", "podway/hello")
	applyTo(t, c, w)
	other := w
	other.Tenant, other.UID = "other", "uid-of-other"
	applyTo(t, c, other)
	for _, tenant := range []string{"dev", "other"} {
		name := prefix + "-" + tenant
		ns, err := srv.Client().CoreV1().Namespaces().Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{labelManagedBy: "podway", labelSite: c.Site, labelTenant: tenant, labelEnforce: levelRestricted, corev1.LabelMetadataName: name}
		if !maps.Equal(ns.Labels, want) {
			t.Errorf("labels of %s: got %v, want %v", name, ns.Labels, want)
		}
		policy, err := srv.Client().NetworkingV1().NetworkPolicies(name).Get(t.Context(), "podway-"+tenant, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got := policy.Spec.PodSelector.MatchLabels[labelTenant]; got != tenant {
			t.Errorf("policy of %s selects tenant %q", name, got)
		}
		if _, err := srv.Client().CoreV1().LimitRanges(name).Get(t.Context(), "podway", metav1.GetOptions{}); err != nil {
			t.Error(err)
		}
		if _, err := srv.Client().CoreV1().ResourceQuotas(name).Get(t.Context(), "podway", metav1.GetOptions{}); err != nil {
			t.Error(err)
		}
		if _, err := srv.Client().CoreV1().Pods(name).Get(t.Context(), "pods-"+c.Site+"-"+tenant+"-web", metav1.GetOptions{}); err != nil {
			t.Error(err)
		}
	}
}

// fullOptionsWithoutCSI are the options whose guards a server checks.
func fullOptionsWithoutCSI() Options {
	o := fullOptions()
	o.Files, o.RuntimeClass, o.Quota = Files{Claim: "files", Class: "shared"}, "", map[string]string{"pods": "10"}
	return o
}

func TestANamespaceOfSomebodyElseIsNotUsed(t *testing.T) {
	srv := kubetest.Start(t)
	c, prefix := managed(t, srv, Options{})
	_, err := srv.Client().CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: prefix + "-dev", Labels: map[string]string{labelSite: "another"},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	err = c.Apply(t.Context(), workload("web", "podway/hello"))
	if pods.ErrorCode(err) != pods.Unavailable || !strings.Contains(err.Error(), "is not Podway's") || !strings.Contains(err.Error(), labelTenant+"=dev") {
		t.Fatalf("got %v, want an error that says what to do", err)
	}
	list, err := srv.Client().CoreV1().Services(prefix+"-dev").List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) != 0 {
		t.Errorf("got %d services and %v, want none", len(list.Items), err)
	}
}

func TestANamespaceThatWentAwayIsMadeAgain(t *testing.T) {
	srv := kubetest.Start(t)
	c, prefix := managed(t, srv, Options{Quota: map[string]string{}})
	kubetest.FakeNodes(t, srv, kubetest.NodeOptions{Namespace: prefix + "-dev"})
	w := workload("web", "podway/hello")
	ready(t, c, w)
	if err := srv.Client().CoreV1().Namespaces().Delete(t.Context(), prefix+"-dev", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	await(t, c, w.Key, "nothing", isNothing)
	parts.Eventually(t, limit, func() error { return c.Apply(t.Context(), w) })
	await(t, c, w.Key, "ready", isReady)
}

func TestImagesThatRunAsRootHaveTheirOwnNamespace(t *testing.T) {
	srv := kubetest.Start(t)
	rules := map[string]ImageRule{"docker.io/library/postgres": {Root: true}}
	c, prefix := managed(t, srv, Options{Images: rules, Quota: map[string]string{}})
	kubetest.FakeNodes(t, srv, kubetest.NodeOptions{Namespace: prefix + "-dev-root"})
	w := workload("db", "postgres:16")
	w.VolumeMounts = map[string]pods.VolumeMount{"data": {Type: typePVC, MountPath: "/data"}}
	o := ready(t, c, w)
	if o.UID != w.UID || len(o.Addresses["default"]) == 0 {
		t.Errorf("got %+v, want it to be observed as any other", o)
	}
	ns, err := srv.Client().CoreV1().Namespaces().Get(t.Context(), prefix+"-dev-root", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := ns.Labels[labelEnforce]; got != levelBaseline {
		t.Errorf("pod security: got %q, want %q", got, levelBaseline)
	}

	// The rule is taken back, and the storage can't follow.
	if err := c.Remove(t.Context(), w.Key); err != nil {
		t.Fatal(err)
	}
	await(t, c, w.Key, "removed", isAbsent)
	strict := open(t, Options{REST: srv.RESTConfig(), Site: c.Site, Namespace: prefix + "-{tenant}"})
	err = strict.Apply(t.Context(), w)
	if pods.ErrorCode(err) != pods.Invalid || !strings.Contains(err.Error(), prefix+"-dev-root") {
		t.Errorf("got %v, want an error that says where the storage is", err)
	}
}

func TestAQuotaThatIsUsedUp(t *testing.T) {
	srv := kubetest.Start(t)
	c, prefix := managed(t, srv, Options{Quota: map[string]string{"pods": "1"}})
	kubetest.FakeNodes(t, srv, kubetest.NodeOptions{Namespace: prefix + "-dev"})
	first := workload("first", "podway/hello")
	parts.Eventually(t, limit, func() error { return c.Apply(t.Context(), first) }) // quotas need a moment
	err := c.Apply(t.Context(), workload("second", "podway/hello"))
	if pods.ErrorCode(err) != pods.TooMany || !strings.Contains(err.Error(), "exceeded quota") {
		t.Fatalf("got %v, want code %s", err, pods.TooMany)
	}
	// What was made of it is seen, and can be removed.
	second := pods.Key{Tenant: "dev", ID: "second"}
	await(t, c, second, "present", func(o pods.Observation) bool { return o.Present && o.Phase == pods.PhaseNone })
	if err := c.Remove(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	await(t, c, second, "nothing", isNothing)
}

func TestWhatTheAPIServerRefusesIsInvalid(t *testing.T) {
	srv := kubetest.Start(t)
	c := openIn(t, srv, srv.Namespace(t, restricted))
	w := workload("web", "podway/hello")
	w.Resources.CPURequest = w.Resources.CPULimit + 1
	err := c.Apply(t.Context(), w)
	if pods.ErrorCode(err) != pods.Invalid || !strings.Contains(err.Error(), "requests") {
		t.Errorf("got %v, want code invalid with the reason", err)
	}
}

func TestForeignObjectsAreLeftAlone(t *testing.T) {
	srv := kubetest.Start(t)
	for _, c := range []struct {
		name   string
		make   func(ctx context.Context, ns, name string) error
		delete func(ctx context.Context, ns, name string) error
	}{
		{
			"pod", func(ctx context.Context, ns, name string) error {
				_, err := srv.Client().CoreV1().Pods(ns).Create(ctx, &corev1.Pod{
					ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{labelSite: "another"}},
					Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "x"}}},
				}, metav1.CreateOptions{})
				return err
			},
			func(ctx context.Context, ns, name string) error {
				return srv.Client().CoreV1().Pods(ns).Delete(ctx, name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)})
			},
		},
		{
			"service", func(ctx context.Context, ns, name string) error {
				_, err := srv.Client().CoreV1().Services(ns).Create(ctx, &corev1.Service{
					ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}},
				}, metav1.CreateOptions{})
				return err
			},
			func(ctx context.Context, ns, name string) error {
				return srv.Client().CoreV1().Services(ns).Delete(ctx, name, metav1.DeleteOptions{})
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			ns := srv.Namespace(t, nil)
			cluster := openIn(t, srv, ns)
			w := workload("web", "podway/hello")
			name := pods.ObjectName("dev", w.Key)
			if err := c.make(t.Context(), ns, name); err != nil {
				t.Fatal(err)
			}
			before := dump(t, srv, ns, name)
			if err := cluster.Apply(t.Context(), w); pods.ErrorCode(err) != pods.Conflict {
				t.Fatalf("Apply: got %v, want code %s", err, pods.Conflict)
			}
			want := c.name + " " + ns + "/" + name
			if o := await(t, cluster, w.Key, "foreign", func(o pods.Observation) bool { return o.Foreign != "" }); o.Foreign != want {
				t.Errorf("foreign: got %q, want %q", o.Foreign, want)
			}
			if err := cluster.Purge(t.Context(), w.Key); err != nil {
				t.Errorf("Purge: %v", err)
			}
			if after := dump(t, srv, ns, name); after != before {
				t.Errorf("the foreign object changed:\n%s\n%s", before, after)
			}
			if err := c.delete(t.Context(), ns, name); err != nil {
				t.Fatal(err)
			}
			await(t, cluster, w.Key, "not foreign", func(o pods.Observation) bool { return o.Foreign == "" })
			parts.Eventually(t, limit, func() error { return cluster.Apply(t.Context(), w) })
		})
	}
}

// dump returns everything that has a name in a namespace.
func dump(t *testing.T, srv *kubetest.Server, ns, name string) string {
	t.Helper()
	var found []any
	if p, err := srv.Client().CoreV1().Pods(ns).Get(t.Context(), name, metav1.GetOptions{}); err == nil && p.Labels[labelUID] == "" {
		found = append(found, p)
	}
	if s, err := srv.Client().CoreV1().Services(ns).Get(t.Context(), name, metav1.GetOptions{}); err == nil && s.Labels[labelUID] == "" {
		found = append(found, s)
	}
	b, err := json.Marshal(found)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Everything that can go wrong with a container ends in an observation that says
// what.
func TestBehaviours(t *testing.T) {
	srv := kubetest.Start(t)
	ns := srv.Namespace(t, restricted)
	kubetest.FakeNodes(t, srv, kubetest.NodeOptions{Namespace: ns, Backoff: 10 * time.Millisecond})
	c := openIn(t, srv, ns)
	for i, test := range []struct {
		behaviour kubetest.Behaviour
		ok        func(pods.Observation) bool
	}{
		{kubetest.ImagePullBackOff, func(o pods.Observation) bool {
			return o.Waiting == "ImagePullBackOff" && strings.Contains(o.Message, "not found")
		}},
		{kubetest.InvalidImageName, func(o pods.Observation) bool { return o.Waiting == "InvalidImageName" && o.Message != "" }},
		{kubetest.ConfigError, func(o pods.Observation) bool { return o.Waiting == "CreateContainerConfigError" && o.Message != "" }},
		{kubetest.CrashLoop, func(o pods.Observation) bool { return o.Terminated == "Error" && o.ExitCode == 1 }},
		{kubetest.OOMKilled, func(o pods.Observation) bool { return o.Terminated == "OOMKilled" && o.ExitCode == 137 }},
		{kubetest.Evicted, func(o pods.Observation) bool {
			return o.Terminated == "Evicted" && o.Phase == pods.PhaseFailed && strings.Contains(o.Message, "low on resource")
		}},
		{kubetest.Unschedulable, func(o pods.Observation) bool {
			return o.Waiting == "Unschedulable" && o.Phase == pods.PhasePending && strings.Contains(o.Message, "Insufficient memory")
		}},
		{kubetest.NeverStarts, func(o pods.Observation) bool { return o.Waiting == "ContainerCreating" }},
		{kubetest.NeverReady, func(o pods.Observation) bool {
			return o.Phase == pods.PhaseRunning && o.StartedAt != nil && !o.Ready && o.Addresses == nil
		}},
	} {
		t.Run(string(test.behaviour), func(t *testing.T) {
			w := workload(fmt.Sprintf("pod%d", i), image(test.behaviour))
			applyTo(t, c, w)
			await(t, c, w.Key, string(test.behaviour), test.ok)
		})
	}
}

func TestAReadyPodThatIsNotAnyMore(t *testing.T) {
	srv := kubetest.Start(t)
	ns := srv.Namespace(t, nil)
	kubetest.FakeNodes(t, srv, kubetest.NodeOptions{Namespace: ns})
	c := openIn(t, srv, ns)
	w := workload("web", "podway/hello")
	ready(t, c, w)
	annotate(t, srv, ns, pods.ObjectName("dev", w.Key), kubetest.NeverReady)
	if o := await(t, c, w.Key, "not ready", func(o pods.Observation) bool { return !o.Ready }); o.Addresses != nil || o.Phase != pods.PhaseRunning {
		t.Errorf("got %+v, want a running pod without addresses", o)
	}
	annotate(t, srv, ns, pods.ObjectName("dev", w.Key), kubetest.Runs)
	await(t, c, w.Key, "ready again", isReady)
}

func annotate(t *testing.T, srv *kubetest.Server, ns, name string, b kubetest.Behaviour) {
	t.Helper()
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, kubetest.BehaviourAnnotation, b)
	if _, err := srv.Client().CoreV1().Pods(ns).Patch(t.Context(), name, "application/merge-patch+json", []byte(patch), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}

func TestAPodThatWasDeletedBehindOurBack(t *testing.T) {
	srv := kubetest.Start(t)
	ns := srv.Namespace(t, nil)
	kubetest.FakeNodes(t, srv, kubetest.NodeOptions{Namespace: ns})
	c := openIn(t, srv, ns)
	w := workload("web", "podway/hello")
	first := ready(t, c, w)
	if err := srv.Client().CoreV1().Pods(ns).Delete(t.Context(), pods.ObjectName("dev", w.Key), metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	await(t, c, w.Key, "without a run", func(o pods.Observation) bool { return o.Instance == "" && o.Phase == pods.PhaseNone })
	if again := ready(t, c, w); again.Instance == first.Instance {
		t.Errorf("got the run %s again", again.Instance)
	}
}

func TestAPodOnALostMachineIsRemovedByForce(t *testing.T) {
	srv := kubetest.Start(t)
	ns := srv.Namespace(t, nil)
	kubetest.FakeNodes(t, srv, kubetest.NodeOptions{Namespace: ns})
	offset := make(chan time.Duration, 1)
	offset <- 0
	c := open(t, Options{
		REST: srv.RESTConfig(), Namespace: ns, Unmanaged: true, Grace: time.Second,
		Now: func() time.Time {
			d := <-offset
			offset <- d
			return time.Now().Add(d)
		},
	})
	w := workload("web", "podway/"+string(kubetest.NeverStops))
	applyTo(t, c, w)
	await(t, c, w.Key, "running", func(o pods.Observation) bool { return o.Phase == pods.PhaseRunning })
	if err := c.Remove(t.Context(), w.Key); err != nil {
		t.Fatal(err)
	}
	await(t, c, w.Key, "terminating", func(o pods.Observation) bool { return o.Terminating })

	<-offset
	offset <- 2 * time.Minute
	await(t, c, w.Key, "lost", func(o pods.Observation) bool { return o.Terminated == "NodeLost" && !o.Terminating })
	if err := c.Remove(t.Context(), w.Key); err != nil {
		t.Fatal(err)
	}
	if o := c.observation(w.Key); !o.Present {
		t.Fatal("the pod was removed by force too early")
	}

	<-offset
	offset <- 10 * time.Minute
	if err := c.Remove(t.Context(), w.Key); err != nil {
		t.Fatal(err)
	}
	await(t, c, w.Key, "nothing", isNothing)
}

func TestAddressModesOnAServer(t *testing.T) {
	srv := kubetest.Start(t)
	ns := srv.Namespace(t, nil)
	kubetest.FakeNodes(t, srv, kubetest.NodeOptions{Namespace: ns, PodIP: "10.200.3.4"})
	for i, mode := range AddressModes() {
		t.Run(string(mode), func(t *testing.T) {
			c := open(t, Options{REST: srv.RESTConfig(), Namespace: ns, Unmanaged: true, AddressMode: mode})
			w := workload(fmt.Sprintf("pod%d", i), "podway/hello")
			o := ready(t, c, w)
			s, err := srv.Client().CoreV1().Services(ns).Get(t.Context(), pods.ObjectName("dev", w.Key), metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			want := map[AddressMode]string{
				ClusterIP: net.JoinHostPort(s.Spec.ClusterIP, "5000"), PodIP: "10.200.3.4:5000",
				ServiceDNS: s.Name + "." + ns + ".svc.cluster.local:5000",
				NodePort:   fmt.Sprintf("127.0.0.1:%d", s.Spec.Ports[0].NodePort),
			}[mode]
			if got := o.Addresses["default"]; !slices.Equal(got, []string{want}) {
				t.Errorf("got %v, want %s", got, want)
			}
		})
	}
}

func TestAServiceFollowsTheDefinition(t *testing.T) {
	srv := kubetest.Start(t)
	ns := srv.Namespace(t, nil)
	kubetest.FakeNodes(t, srv, kubetest.NodeOptions{Namespace: ns})
	c := openIn(t, srv, ns)
	w := workload("web", "podway/hello")
	ready(t, c, w)
	name := pods.ObjectName("dev", w.Key)
	// The run goes away, the service stays, and the next run has another port.
	if err := srv.Client().CoreV1().Pods(ns).Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	await(t, c, w.Key, "without a run", func(o pods.Observation) bool { return o.Phase == pods.PhaseNone })
	w.Ports = map[string]pods.Port{"default": {Protocol: pods.NetHTTP, Number: 8080}}
	o := ready(t, c, w)
	s, err := srv.Client().CoreV1().Services(ns).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Spec.Ports) != 1 || s.Spec.Ports[0].Port != 8080 || o.Addresses["default"][0] != net.JoinHostPort(s.Spec.ClusterIP, "8080") {
		t.Errorf("got ports %v and addresses %v, want 8080", s.Spec.Ports, o.Addresses)
	}
}

func TestSecretsGoWithTheRun(t *testing.T) {
	srv := kubetest.Start(t)
	ns := srv.Namespace(t, nil)
	kubetest.FakeNodes(t, srv, kubetest.NodeOptions{Namespace: ns})
	c := openIn(t, srv, ns)
	w := workload("web", "podway/hello")
	w.Env = map[string]string{"TOKEN": "canary"}
	secrets := func() []corev1.Secret {
		list, err := srv.Client().CoreV1().Secrets(ns).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return list.Items
	}
	ready(t, c, w)
	if got := secrets(); len(got) != 1 || string(got[0].Data["TOKEN"]) != "canary" || got[0].Immutable == nil {
		t.Fatalf("got %v, want one immutable secret with the value", got)
	}
	other := workload("other", "podway/hello")
	other.Env = map[string]string{"TOKEN": "canary"}
	ready(t, c, other)
	if err := c.Remove(t.Context(), w.Key); err != nil {
		t.Fatal(err)
	}
	await(t, c, w.Key, "nothing", isNothing)
	if got := secrets(); len(got) != 1 || got[0].Labels[labelPod] != "other" {
		t.Errorf("got %v, want the other pod's secret only", got)
	}
}

func TestEventsOfAPod(t *testing.T) {
	srv := kubetest.Start(t)
	ns := srv.Namespace(t, nil)
	kubetest.FakeNodes(t, srv, kubetest.NodeOptions{Namespace: ns, Events: true})
	c := openIn(t, srv, ns)
	w := workload("web", image(kubetest.ImagePullBackOff))
	applyTo(t, c, w)
	parts.Eventually(t, limit, func() error {
		list, err := c.Events(t.Context(), w.Key)
		if err != nil {
			return err
		}
		scheduled := slices.ContainsFunc(list, func(e pods.ClusterEvent) bool { return e.Reason == "Scheduled" && e.Type == "Normal" })
		failed := slices.ContainsFunc(list, func(e pods.ClusterEvent) bool { return e.Type == "Warning" && e.Message != "" && e.Count > 0 })
		if !scheduled || !failed {
			return fmt.Errorf("got %+v, want its schedule and a warning", list)
		}
		return nil
	})
	if list, err := c.Events(t.Context(), pods.Key{Tenant: "dev", ID: "other"}); err != nil || len(list) != 0 {
		t.Errorf("got %v, %v of a pod that never was, want nothing", list, err)
	}
}

func TestFiles(t *testing.T) {
	srv := kubetest.Start(t)
	ns := srv.Namespace(t, nil)
	startKubelet(t, srv, kubetest.FakeNodes(t, srv, kubetest.NodeOptions{Namespace: ns}))
	c := openIn(t, srv, ns)
	w := workload("web", "podway/hello")
	ready(t, c, w)
	dir := t.TempDir() // commands of the fake kubelet run on this machine
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)

	path := filepath.Join(dir, "new", "it's -e \"file\".bin")
	if err := c.CopyTo(t.Context(), w.Key, path, int64(len(content)), bytes.NewReader(content)); err != nil {
		t.Fatalf("CopyTo: %v", err)
	}
	if err := c.CopyTo(t.Context(), w.Key, filepath.Join(dir, "unknown-size"), -1, strings.NewReader("abc")); err != nil {
		t.Fatalf("CopyTo without a size: %v", err)
	}
	if err := c.CopyTo(t.Context(), w.Key, filepath.Join(dir, "empty"), 0, strings.NewReader("")); err != nil {
		t.Fatalf("CopyTo of nothing: %v", err)
	}
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, content) {
		t.Fatalf("got %d bytes and %v, want what was sent", len(got), err)
	}

	file, r, err := c.CopyFrom(t.Context(), w.Key, path)
	if err != nil {
		t.Fatalf("CopyFrom: %v", err)
	}
	defer r.Close()
	var back bytes.Buffer
	if _, err := back.ReadFrom(r); err != nil || !bytes.Equal(back.Bytes(), content) {
		t.Errorf("got %d bytes back and %v, want what was sent", back.Len(), err)
	}
	if file.Name != filepath.Base(path) || file.Size != int64(len(content)) || file.Mode != copiedMode || time.Since(file.ModifiedAt) > time.Hour {
		t.Errorf("got %+v, want the file's description", file)
	}

	if err := os.Symlink("empty", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	list, err := c.ListFiles(t.Context(), w.Key, dir)
	if err != nil {
		t.Fatalf("ListFiles: %v", err)
	}
	if len(list) != 4 || list[0].Name != "empty" || list[1].Name != "link" || list[1].Mode&os.ModeSymlink == 0 ||
		!list[2].Mode.IsDir() || list[3].Size != 3 {
		t.Errorf("got %+v, want empty, link, new, unknown-size", list)
	}
	if list, err := c.ListFiles(t.Context(), w.Key, path); err != nil || len(list) != 1 || list[0].Size != int64(len(content)) {
		t.Errorf("a file: got %v, %v, want the file itself", list, err)
	}
	if list, err := c.ListFiles(t.Context(), w.Key, t.TempDir()); err != nil || len(list) != 0 {
		t.Errorf("an empty folder: got %v, %v, want nothing", list, err)
	}

	for _, test := range []struct {
		name string
		err  error
		want pods.Code
	}{
		{"a file that is not there", copyFrom(t, c, w.Key, filepath.Join(dir, "missing")), pods.NotFound},
		{"a folder that is not there", listFiles(t, c, w.Key, filepath.Join(dir, "missing")), pods.NotFound},
		{"a folder in place of a file", copyFrom(t, c, w.Key, dir), pods.Invalid},
		{"a file in place of a folder", copyTo(t, c, w.Key, path+"/x"), pods.Invalid},
		{"a path that is not absolute", copyTo(t, c, w.Key, "tmp/x"), pods.Invalid},
		{"a path that is not clean", copyFrom(t, c, w.Key, dir+"/../x"), pods.Invalid},
		{"a pod that does not run", copyTo(t, c, pods.Key{Tenant: "dev", ID: "other"}, path), pods.NotFound},
	} {
		if got := pods.ErrorCode(test.err); got != test.want {
			t.Errorf("%s: got %v, want code %s", test.name, test.err, test.want)
		}
	}
	err = c.CopyTo(t.Context(), w.Key, filepath.Join(dir, "short"), 10, strings.NewReader("abc"))
	if err == nil || !strings.Contains(err.Error(), "EOF") {
		t.Errorf("a reader that gives too little: got %v, want an error", err)
	}
}

func copyTo(t *testing.T, c *Cluster, k pods.Key, path string) error {
	t.Helper()
	return c.CopyTo(t.Context(), k, path, 3, strings.NewReader("abc"))
}

func copyFrom(t *testing.T, c *Cluster, k pods.Key, path string) error {
	t.Helper()
	_, r, err := c.CopyFrom(t.Context(), k, path)
	if err == nil {
		r.Close()
	}
	return err
}

func listFiles(t *testing.T, c *Cluster, k pods.Key, path string) error {
	t.Helper()
	_, err := c.ListFiles(t.Context(), k, path)
	return err
}

func TestCommandsThatCantBeRun(t *testing.T) {
	srv := kubetest.Start(t)
	ns := srv.Namespace(t, nil)
	startKubelet(t, srv, kubetest.FakeNodes(t, srv, kubetest.NodeOptions{Namespace: ns}))
	c := openIn(t, srv, ns)
	w := workload("web", "podway/hello")
	ready(t, c, w)
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		argv []string
		want int
	}{
		{"a program that is not there", []string{"/no/such/program"}, 127},
		{"a program that is not in the path", []string{"no-such-program"}, 127},
		{"a file that can't be run", []string{script}, 126},
		{"words that a shell would read", []string{"test", "$(id) ; `id` && a", "=", "$(id) ; `id` && a"}, 0},
	} {
		var stdout, stderr bytes.Buffer
		code, err := c.Exec(t.Context(), w.Key, test.argv, &stdout, &stderr)
		if code != test.want || err != nil || test.want > 0 && stderr.Len() == 0 {
			t.Errorf("%s: got %d, %v, %q; want %d", test.name, code, err, &stderr, test.want)
		}
	}
	if _, err := c.Exec(t.Context(), w.Key, nil, nil, nil); pods.ErrorCode(err) != pods.Invalid {
		t.Errorf("no command: got %v, want code invalid", err)
	}
}

func TestTheNewestPartOfALongLogIsGiven(t *testing.T) {
	srv := kubetest.Start(t)
	ns := srv.Namespace(t, nil)
	kubelet := startKubelet(t, srv, kubetest.FakeNodes(t, srv, kubetest.NodeOptions{Namespace: ns}))
	kubelet.log = strings.Repeat("an old line\n", 2<<20) + "the newest line\n"
	c := openIn(t, srv, ns)
	w := workload("web", "podway/hello")
	ready(t, c, w)
	r, err := c.Logs(t.Context(), w.Key, false)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var got bytes.Buffer
	if _, err := got.ReadFrom(r); err != nil {
		t.Fatal(err)
	}
	if got.Len() != pods.MaxLogBytes || !strings.HasSuffix(got.String(), "the newest line\n") {
		t.Errorf("got %d bytes that end with %q, want %d and the newest line", got.Len(), got.String()[max(got.Len()-30, 0):], pods.MaxLogBytes)
	}
}

// A kubelet writes into the log why it can't read it. The owner of a pod never
// sees those words, and they are never kept in place of the log.
func TestTheReasonOfAKubeletIsNoOutput(t *testing.T) {
	const reason = `unable to retrieve container logs for containerd://1d0b784243d65510d9be6e5f49f0a4c9`
	srv := kubetest.Start(t)
	ns := srv.Namespace(t, nil)
	kubelet := startKubelet(t, srv, kubetest.FakeNodes(t, srv, kubetest.NodeOptions{Namespace: ns}))
	c := openIn(t, srv, ns)
	w := workload("web", "podway/hello")
	ready(t, c, w)
	for _, test := range []struct {
		name, log, reason, want string
		code                    pods.Code
	}{
		{"all of the log", "a line\nthe last one", "", "a line\nthe last one", ""},
		{"a container that wrote nothing", "", "", "", ""},
		{"a reason after output", "a line\n\n another\n", reason, "a line\n\n another\n", ""},
		{"nothing but a reason", "", reason, "", pods.NotFound},
		{"a container that writes one itself", reason + "\n" + reason, "", reason + "\n" + reason, ""},
	} {
		for _, follow := range []bool{false, true} {
			if follow && test.reason == "" {
				continue // that goes on; the suite has it
			}
			kubelet.log, kubelet.reason = test.log, test.reason
			got, err := readLog(t, c, w.Key, follow)
			if got != test.want || pods.ErrorCode(err) != test.code || err != nil && test.code == "" {
				t.Errorf("%s, follow %v: got %q, %v, want %q, code %q", test.name, follow, got, err, test.want, test.code)
			}
		}
	}
}

// readLog returns what a log gives until its end.
func readLog(t *testing.T, c *Cluster, k pods.Key, follow bool) (string, error) {
	t.Helper()
	r, err := c.Logs(t.Context(), k, follow)
	if err != nil {
		return "", err
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	return string(text), err
}

func TestOutput(t *testing.T) {
	const stamp = "2026-11-22T09:15:42.929000000Z "
	none := errors.New("none")
	long := strings.Repeat("0123456789", 1000)
	for _, test := range []struct {
		name, log, want string
		err             error
	}{
		{"lines longer than the buffer", stamp + long + "\n" + stamp + long, long + "\n" + long, nil},
		{"a zone", "2026-11-22T03:15:42.929000000-06:00 x\n", "x\n", nil},
		{"a node that writes no times", "one\ntwo 2\n" + long + "\n", "one\ntwo 2\n" + long + "\n", nil},
		{"an empty last line", stamp + "one\n" + stamp, "one\n", nil},
		{"a reason", "can't", "", none},
		{"a reason after long lines", stamp + long + "\ncan't", long + "\n", nil},
	} {
		for _, whole := range []bool{true, false} {
			src := io.Reader(strings.NewReader(test.log))
			if !whole {
				src = iotest.OneByteReader(src)
			}
			got, err := io.ReadAll(&output{src: bufio.NewReaderSize(src, 64), none: none})
			if string(got) != test.want || !errors.Is(err, test.err) {
				t.Errorf("%s: got %q, %v, want %q, %v", test.name, got, err, test.want, test.err)
			}
		}
	}
	broken := errors.New("the connection broke")
	src := io.MultiReader(strings.NewReader(stamp+"one\n"+stamp+"tw"), iotest.ErrReader(broken))
	got, err := io.ReadAll(&output{src: bufio.NewReader(src), none: none})
	if string(got) != "one\ntw" || !errors.Is(err, broken) {
		t.Errorf("a broken stream: got %q, %v", got, err)
	}
}

func TestCloseLeavesNothingRunning(t *testing.T) {
	srv := kubetest.Start(t)
	ns := srv.Namespace(t, nil)
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	c, err := New(Options{REST: srv.RESTConfig(), Site: "dev", Namespace: ns, Logger: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Synced(t.Context()); err != nil {
		t.Fatal(err)
	}
	watch := make(chan error, 1)
	go func() { watch <- c.Watch(t.Context(), func(pods.Key) {}) }()
	c.Close()
	if err := <-watch; err == nil {
		t.Error("Watch: got nil, want an error: nothing more will be told")
	}
}

func TestNothingIsKnownBeforeTheFirstList(t *testing.T) {
	srv := kubetest.Start(t)
	config := srv.RESTConfig()
	config.Host = "https://127.0.0.1:1"
	c, err := New(Options{REST: config, Site: "dev", Logger: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	w := workload("web", "podway/hello")
	_, observeErr := c.Observe(t.Context(), w.Key)
	_, listErr := c.List(t.Context())
	for what, err := range map[string]error{
		"Observe": observeErr, "List": listErr, "Apply": c.Apply(t.Context(), w), "Remove": c.Remove(t.Context(), w.Key), "Purge": c.Purge(t.Context(), w.Key),
	} {
		if pods.ErrorCode(err) != pods.Unavailable {
			t.Errorf("%s: got %v, want code unavailable", what, err)
		}
	}
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := c.Synced(short); err == nil {
		t.Error("Synced: got nil, want an error")
	}
	c.Close()
	if _, err := c.Observe(t.Context(), w.Key); err == nil || apierrors.IsNotFound(err) {
		t.Errorf("Observe after Close: got %v, want an error", err)
	}
}
