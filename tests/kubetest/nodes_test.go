package kubetest_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"

	"github.com/tapis-project/podway/tests/kubetest"
	"github.com/tapis-project/podway/tests/parts"
)

// limit is generous: machines are busy.
const limit = time.Minute

// fixture is a namespace of the shared server with fake nodes.
type fixture struct {
	t      *testing.T
	client kubernetes.Interface
	ns     string
	nodes  *kubetest.Nodes
}

func newFixture(t *testing.T, o kubetest.NodeOptions) *fixture {
	t.Helper()
	srv := kubetest.Start(t)
	o.Namespace = srv.Namespace(t, nil)
	return &fixture{t: t, client: srv.Client(), ns: o.Namespace, nodes: kubetest.FakeNodes(t, srv, o)}
}

func (f *fixture) create(p *corev1.Pod) {
	f.t.Helper()
	if _, err := f.client.CoreV1().Pods(f.ns).Create(f.t.Context(), p, metav1.CreateOptions{}); err != nil {
		f.t.Fatal(err)
	}
}

// behave changes what a pod does.
func (f *fixture) behave(name string, b kubetest.Behaviour) {
	f.t.Helper()
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, kubetest.BehaviourAnnotation, b)
	if _, err := f.client.CoreV1().Pods(f.ns).Patch(f.t.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		f.t.Fatal(err)
	}
}

// eventually waits until the pod is as reached says.
func (f *fixture) eventually(name string, reached func(*corev1.Pod) bool) *corev1.Pod {
	f.t.Helper()
	var pod *corev1.Pod
	parts.Eventually(f.t, limit, func() (err error) {
		pod, err = f.client.CoreV1().Pods(f.ns).Get(f.t.Context(), name, metav1.GetOptions{})
		if err == nil && !reached(pod) {
			err = fmt.Errorf("pod is %s: %+v", pod.Status.Phase, pod.Status)
		}
		return err
	})
	return pod
}

func (f *fixture) delete(name string) {
	f.t.Helper()
	if err := f.client.CoreV1().Pods(f.ns).Delete(f.t.Context(), name, metav1.DeleteOptions{}); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) gone(name string) {
	f.t.Helper()
	parts.Eventually(f.t, limit, func() error {
		_, err := f.client.CoreV1().Pods(f.ns).Get(f.t.Context(), name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return stillThere(err)
	})
}

// stillThere is the error of something that a read found, or failed to look for.
func stillThere(err error) error { return errors.Join(errors.New("it is not gone"), err) }

func ready(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

func running(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodRunning && ready(p) }

func TestAPodRunsAndGoes(t *testing.T) {
	f := newFixture(t, kubetest.NodeOptions{Count: 2, Delay: 20 * time.Millisecond, StopDelay: 20 * time.Millisecond})
	f.create(pod("web", ""))
	p := f.eventually("web", running)
	if !slices.Contains(f.nodes.Names(), p.Spec.NodeName) {
		t.Errorf("got node %q, want one of %v", p.Spec.NodeName, f.nodes.Names())
	}
	c := p.Status.ContainerStatuses[0]
	if p.Status.PodIP == "" || c.ContainerID == "" || !c.Ready || c.State.Running == nil {
		t.Errorf("got %+v, want an address and a running container", p.Status)
	}
	f.delete("web")
	f.gone("web")
}

func TestBehaviours(t *testing.T) {
	waiting := func(reason, text string) func(*corev1.Pod) bool {
		return func(p *corev1.Pod) bool {
			if p.Status.Phase != corev1.PodPending || len(p.Status.ContainerStatuses) == 0 {
				return false
			}
			w := p.Status.ContainerStatuses[0].State.Waiting
			return w != nil && w.Reason == reason && strings.Contains(w.Message, text)
		}
	}
	terminated := func(phase corev1.PodPhase, reason string, code int32) func(*corev1.Pod) bool {
		return func(p *corev1.Pod) bool {
			if p.Status.Phase != phase || ready(p) || len(p.Status.ContainerStatuses) == 0 {
				return false
			}
			end := p.Status.ContainerStatuses[0].State.Terminated
			return end != nil && end.Reason == reason && end.ExitCode == code && !end.FinishedAt.IsZero()
		}
	}
	cases := []struct {
		name      string
		behaviour kubetest.Behaviour
		policy    corev1.RestartPolicy
		want      func(*corev1.Pod) bool
	}{
		{"an image that is missing", kubetest.ImagePullBackOff, "Never", waiting("ImagePullBackOff", "not found")},
		{"an image that is no name", kubetest.InvalidImageName, "Never", waiting("InvalidImageName", "parse")},
		{"a secret that is missing", kubetest.ConfigError, "Never", waiting("CreateContainerConfigError", "secret")},
		{"a container that never starts", kubetest.NeverStarts, "Never", waiting("ContainerCreating", "")},
		{"a crash without restart", kubetest.CrashLoop, "Never", terminated("Failed", "Error", 1)},
		{"a crash with restarts", kubetest.CrashLoop, "Always", func(p *corev1.Pod) bool {
			if p.Status.Phase != corev1.PodRunning || ready(p) {
				return false
			}
			c := p.Status.ContainerStatuses[0]
			return c.RestartCount >= 2 && c.State.Waiting.Reason == "CrashLoopBackOff" && c.LastTerminationState.Terminated.ExitCode == 1
		}},
		{"a job that succeeds", kubetest.Exits(0), "Never", terminated("Succeeded", "Completed", 0)},
		{"a job that succeeds, with restarts on failure", kubetest.Exits(0), "OnFailure", terminated("Succeeded", "Completed", 0)},
		{"an exit code", kubetest.Exits(42), "Never", terminated("Failed", "Error", 42)},
		{"too much memory", kubetest.OOMKilled, "Never", terminated("Failed", "OOMKilled", 137)},
		{"an eviction", kubetest.Evicted, "Never", func(p *corev1.Pod) bool {
			return p.Status.Phase == corev1.PodFailed && p.Status.Reason == "Evicted" && strings.Contains(p.Status.Message, "low on resource")
		}},
		{"no room", kubetest.Unschedulable, "Never", func(p *corev1.Pod) bool {
			return p.Spec.NodeName == "" && slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
				return c.Type == corev1.PodScheduled && c.Reason == corev1.PodReasonUnschedulable && strings.Contains(c.Message, "Insufficient memory")
			})
		}},
		{"a probe that never holds", kubetest.NeverReady, "Never", func(p *corev1.Pod) bool {
			return p.Status.Phase == corev1.PodRunning && !ready(p)
		}},
	}
	f := newFixture(t, kubetest.NodeOptions{Delay: time.Millisecond, Backoff: 10 * time.Millisecond, Events: true})
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f := &fixture{t: t, client: f.client, ns: f.ns, nodes: f.nodes}
			p := pod(fmt.Sprintf("by-image-%d", i), "docker.io/podway/"+string(c.behaviour)+":1")
			p.Spec.RestartPolicy = c.policy
			f.create(p)
			f.eventually(p.Name, c.want)

			p = pod(fmt.Sprintf("by-annotation-%d", i), "")
			p.Spec.RestartPolicy = c.policy
			p.Annotations = map[string]string{kubetest.BehaviourAnnotation: string(c.behaviour)}
			f.create(p)
			f.eventually(p.Name, c.want)
		})
	}
}

func TestABehaviourChangesAtRunTime(t *testing.T) {
	f := newFixture(t, kubetest.NodeOptions{Delay: 10 * time.Millisecond})
	f.create(pod("web", ""))
	f.eventually("web", running)
	f.behave("web", kubetest.NeverReady)
	f.eventually("web", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodRunning && !ready(p) })
	f.behave("web", kubetest.Runs)
	f.eventually("web", running)
	f.behave("web", kubetest.Exits(3))
	f.eventually("web", func(p *corev1.Pod) bool {
		return p.Status.Phase == corev1.PodFailed && p.Status.ContainerStatuses[0].State.Terminated.ExitCode == 3
	})

	f.create(pod("stuck", ""))
	f.eventually("stuck", running)
	f.behave("stuck", kubetest.NeverStops)
	f.delete("stuck")
	f.eventually("stuck", func(p *corev1.Pod) bool { return p.DeletionTimestamp != nil })
	f.behave("stuck", kubetest.Runs)
	f.gone("stuck")
}

func TestEndpointsFollowReadiness(t *testing.T) {
	f := newFixture(t, kubetest.NodeOptions{})
	_, err := f.client.CoreV1().Services(f.ns).Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": "web"}, Ports: []corev1.ServicePort{{Name: "p0", Port: 80, TargetPort: intstr.FromString("web")}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// endpoints waits for "address:port ready" lines.
	endpoints := func(want ...string) {
		t.Helper()
		parts.Eventually(t, limit, func() error {
			list, err := f.client.DiscoveryV1().EndpointSlices(f.ns).List(t.Context(), metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=web"})
			if err != nil {
				return err
			}
			var got []string
			for _, s := range list.Items {
				for _, e := range s.Endpoints {
					got = append(got, fmt.Sprintf("%s:%d %v", e.Addresses[0], *s.Ports[0].Port, *e.Conditions.Ready))
				}
			}
			if !slices.Equal(got, want) {
				return fmt.Errorf("got %v, want %v", got, want)
			}
			return nil
		})
	}
	endpoints()
	f.create(pod("other", ""))
	f.create(pod("web", ""))
	ip := f.eventually("web", running).Status.PodIP
	if other := f.eventually("other", running).Status.PodIP; other == ip {
		t.Errorf("two pods have the address %s", ip)
	}
	endpoints(ip + ":5000 true")
	f.behave("web", kubetest.NeverReady)
	endpoints(ip + ":5000 false")
	f.behave("web", kubetest.NeverStops)
	f.eventually("web", running)
	f.delete("web")
	endpoints(ip + ":5000 false")
	f.behave("web", kubetest.Runs)
	f.gone("web")
	endpoints()

	if err := f.client.CoreV1().Services(f.ns).Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	parts.Eventually(t, limit, func() error {
		list, err := f.client.DiscoveryV1().EndpointSlices(f.ns).List(t.Context(), metav1.ListOptions{})
		if err == nil && len(list.Items) > 0 {
			err = fmt.Errorf("got %d slices, want none", len(list.Items))
		}
		return err
	})
}

func TestNodeSelectorsDecide(t *testing.T) {
	f := newFixture(t, kubetest.NodeOptions{Labels: map[string]string{"gpu": "a100"}})
	p := pod("right", "")
	p.Spec.NodeSelector = map[string]string{"gpu": "a100"}
	f.create(p)
	p = pod("wrong", "")
	p.Spec.NodeSelector = map[string]string{"gpu": "h100"}
	f.create(p)
	f.eventually("right", running)
	f.eventually("wrong", func(p *corev1.Pod) bool {
		return len(p.Status.Conditions) > 0 && strings.Contains(p.Status.Conditions[0].Message, "affinity/selector")
	})
}

func TestALostNodeDoesNothing(t *testing.T) {
	f := newFixture(t, kubetest.NodeOptions{})
	f.create(pod("web", ""))
	node := f.eventually("web", running).Spec.NodeName
	f.nodes.Lose(t, node)
	f.eventually("web", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodRunning && !ready(p) })
	f.create(pod("later", ""))
	f.eventually("later", func(p *corev1.Pod) bool { return len(p.Status.Conditions) > 0 && p.Spec.NodeName == "" })
	f.delete("web")
	f.eventually("web", func(p *corev1.Pod) bool { return p.DeletionTimestamp != nil })
	f.nodes.Return(t, node)
	f.gone("web")
	f.eventually("later", running)
}

func TestClaimsBindAndGoWithTheirPods(t *testing.T) {
	f := newFixture(t, kubetest.NodeOptions{})
	claims := f.client.CoreV1().PersistentVolumeClaims(f.ns)
	_, err := claims.Create(t.Context(), &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: "data"},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	parts.Eventually(t, limit, func() error {
		claim, err := claims.Get(t.Context(), "data", metav1.GetOptions{})
		if err == nil && claim.Status.Phase != corev1.ClaimBound {
			err = fmt.Errorf("got %s, want Bound", claim.Status.Phase)
		}
		return err
	})
	p := pod("db", "")
	p.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
		PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"},
	}}}
	f.create(p)
	f.eventually("db", running)
	if err := claims.Delete(t.Context(), "data", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := claims.Get(t.Context(), "data", metav1.GetOptions{}); err != nil {
		t.Errorf("while a pod uses the claim: got %v, want it to stay", err)
	}
	f.delete("db")
	f.gone("db")
	parts.Eventually(t, limit, func() error {
		_, err := claims.Get(t.Context(), "data", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return stillThere(err)
	})
}

func TestQuotasCountPods(t *testing.T) {
	f := newFixture(t, kubetest.NodeOptions{})
	_, err := f.client.CoreV1().ResourceQuotas(f.ns).Create(t.Context(), &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "tenant"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{corev1.ResourcePods: resource.MustParse("1")}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	parts.Eventually(t, limit, func() error { // only then it is enforced
		q, err := f.client.CoreV1().ResourceQuotas(f.ns).Get(t.Context(), "tenant", metav1.GetOptions{})
		if err == nil && len(q.Status.Hard) == 0 {
			err = errors.New("the quota was not counted yet")
		}
		return err
	})
	create := func(name string) error {
		_, err := f.client.CoreV1().Pods(f.ns).Create(t.Context(), pod(name, ""), metav1.CreateOptions{})
		return err
	}
	parts.Eventually(t, limit, func() error { return create("first") })
	if err := create("second"); !apierrors.IsForbidden(err) {
		t.Errorf("got %v, want Forbidden by the quota", err)
	}
	f.delete("first")
	f.gone("first")
	parts.Eventually(t, limit, func() error { return create("second") })
}

func TestADeletedNamespaceGoes(t *testing.T) {
	f := newFixture(t, kubetest.NodeOptions{})
	f.create(pod("web", ""))
	f.eventually("web", running)
	if err := f.client.CoreV1().Namespaces().Delete(t.Context(), f.ns, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	parts.Eventually(t, limit, func() error {
		_, err := f.client.CoreV1().Namespaces().Get(t.Context(), f.ns, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return stillThere(err)
	})
}

func TestNodesComeBackAfterAKilledServer(t *testing.T) {
	srv := kubetest.StartPrivate(t)
	f := &fixture{t: t, client: srv.Client(), ns: srv.Namespace(t, nil)}
	f.nodes = kubetest.FakeNodes(t, srv, kubetest.NodeOptions{})
	f.create(pod("before", ""))
	uid := f.eventually("before", running).UID
	srv.Kill()
	srv.Restart(t)
	f.create(pod("after", ""))
	f.eventually("after", running)
	if got := f.eventually("before", running).UID; got != uid {
		t.Errorf("got another pod, want the one from before")
	}
}

func TestManyPods(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	const many = 200
	f := newFixture(t, kubetest.NodeOptions{Count: 5, Delay: 50 * time.Millisecond})
	for i := range many {
		f.create(pod(fmt.Sprintf("p%d", i), ""))
	}
	addresses := make(map[string]bool)
	parts.Eventually(t, limit, func() error {
		list, err := f.client.CoreV1().Pods(f.ns).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		clear(addresses)
		for _, p := range list.Items {
			if running(&p) {
				addresses[p.Status.PodIP] = true
			}
		}
		if len(addresses) != many {
			return fmt.Errorf("got %d pods running with addresses of their own, want %d", len(addresses), many)
		}
		return nil
	})
}
