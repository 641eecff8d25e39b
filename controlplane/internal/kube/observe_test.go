package kube

import (
	"maps"
	"reflect"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

var (
	webKey  = pods.Key{Tenant: "dev", ID: "web"}
	epoch   = time.Date(2025, 7, 21, 12, 0, 0, 0, time.UTC)
	started = metav1.NewTime(epoch)
)

// scene is the objects of pod web of tenant dev, which runs and is ready unless
// it is changed.
type scene struct {
	Options
	view
	pod *corev1.Pod
	now time.Time
}

func newScene(t *testing.T) *scene {
	t.Helper()
	o := settled(t, Options{})
	w := workload("web", "podway/hello")
	w.Ports["bolt"] = pods.Port{Protocol: pods.NetTCP, Number: 7687}
	w.VolumeMounts = map[string]pods.VolumeMount{"keep": {Type: typePVC, MountPath: "/keep"}}
	built, err := o.build(w)
	if err != nil {
		t.Fatal(err)
	}
	p, s := built.pod, built.service
	p.UID = "run-1"
	p.Status = corev1.PodStatus{
		Phase: corev1.PodRunning, PodIP: "10.1.0.5", HostIP: "192.0.2.5",
		Conditions:        []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
		ContainerStatuses: []corev1.ContainerStatus{{Name: p.Name, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: started}}}},
	}
	s.Spec.ClusterIPs = []string{"10.96.0.7"}
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Labels: map[string]string{discoveryv1.LabelServiceName: s.Name}},
		Endpoints:  []discoveryv1.Endpoint{{Addresses: []string{"10.1.0.5"}, TargetRef: &corev1.ObjectReference{UID: p.UID}}},
	}
	return &scene{
		Options: o, pod: p, now: epoch,
		view: view{pods: []*corev1.Pod{p}, services: []*corev1.Service{s}, claims: built.claims, slices: []*discoveryv1.EndpointSlice{slice}},
	}
}

func (s *scene) observe() pods.Observation {
	return observer{Options: s.Options, view: s.view, now: s.now}.observe(webKey)
}

// state sets the state of the container.
func (s *scene) state(phase corev1.PodPhase, state corev1.ContainerState) {
	s.pod.Status.Phase = phase
	s.pod.Status.ContainerStatuses[0].State = state
}

func (s *scene) waits(reason, message string) {
	s.state(corev1.PodPending, corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}})
}

func (s *scene) ended(phase corev1.PodPhase, reason string, code int32, message string) {
	s.state(phase, corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		Reason: reason, ExitCode: code, Message: message, StartedAt: started,
	}})
}

// unscheduled takes away what only a node adds.
func (s *scene) unscheduled() {
	s.pod.Status = corev1.PodStatus{Phase: corev1.PodPending}
}

func (s *scene) condition(kind corev1.PodConditionType, status corev1.ConditionStatus, reason, message string) {
	s.pod.Status.Conditions = []corev1.PodCondition{{Type: kind, Status: status, Reason: reason, Message: message}}
}

func (s *scene) event(kind, reason, message string, at time.Duration) {
	s.events = append(s.events, &corev1.Event{
		InvolvedObject: corev1.ObjectReference{UID: s.pod.UID}, Type: kind, Reason: reason, Message: message,
		LastTimestamp: metav1.NewTime(epoch.Add(at)),
	})
}

func (s *scene) deletedFor(d time.Duration) {
	s.pod.DeletionTimestamp = &metav1.Time{Time: s.now.Add(-d)}
}

func TestObserve(t *testing.T) {
	bothAddresses := map[string][]string{"default": {"10.96.0.7:5000"}, "bolt": {"10.96.0.7:7687"}}
	base := pods.Observation{Key: webKey, UID: "uid-of-web", Present: true, Retained: true, Instance: "run-1"}
	with := func(change func(*pods.Observation)) pods.Observation {
		o := base
		change(&o)
		return o
	}
	running := with(func(o *pods.Observation) { o.Phase, o.StartedAt = pods.PhaseRunning, &epoch })
	pending := func(waiting, message string) pods.Observation {
		return with(func(o *pods.Observation) { o.Phase, o.Waiting, o.Message = pods.PhasePending, waiting, message })
	}
	failed := func(reason string, code int, message string) pods.Observation {
		return with(func(o *pods.Observation) {
			o.Phase, o.Terminated, o.ExitCode, o.Message, o.StartedAt = pods.PhaseFailed, reason, code, message, &epoch
		})
	}
	live := running
	live.Ready, live.Addresses = true, bothAddresses
	for _, c := range []struct {
		name   string
		change func(*scene)
		want   pods.Observation
	}{
		{"nothing", func(s *scene) { s.view = view{} }, pods.Observation{Key: webKey}},
		{"a claim alone", func(s *scene) { s.pods, s.services = nil, nil }, pods.Observation{Key: webKey, UID: "uid-of-web", Retained: true}},
		{"a service without a pod", func(s *scene) { s.pods, s.claims = nil, nil }, pods.Observation{Key: webKey, UID: "uid-of-web", Present: true}},
		{"a pod that is ready", func(*scene) {}, live},

		// On its way.
		{"a pod that nobody has looked at", func(s *scene) { s.unscheduled() }, pending("", "")},
		{"a pod without room", func(s *scene) {
			s.unscheduled()
			s.condition(corev1.PodScheduled, corev1.ConditionFalse, "Unschedulable", "0/3 nodes are available: 3 Insufficient cpu.")
		}, pending("Unschedulable", "0/3 nodes are available: 3 Insufficient cpu.")},
		{"a container that is being made", func(s *scene) { s.waits("ContainerCreating", "") }, pending("ContainerCreating", "")},
		{"a volume that can't be mounted", func(s *scene) {
			s.waits("ContainerCreating", "")
			s.event("Warning", "FailedMount", "older", 1)
			s.event("Warning", "FailedMount", "mount failed: exit status 32\n", 2)
			s.event("Normal", "Pulling", "newer", 3)
			s.event("Warning", "FailedScheduling", "over", 4)
		}, pending("ContainerCreating", "FailedMount: mount failed: exit status 32")},
		{"a warning about an earlier run", func(s *scene) {
			s.waits("ContainerCreating", "")
			s.event("Warning", "FailedMount", "older", 1)
			s.events[0].InvolvedObject.UID = "run-0"
		}, pending("ContainerCreating", "")},
		{"an image that can't be had", func(s *scene) { s.waits("ImagePullBackOff", "Back-off pulling image \"x\"") }, pending("ImagePullBackOff", "Back-off pulling image \"x\"")},
		{"a secret that is missing", func(s *scene) { s.waits("CreateContainerConfigError", "secret \"x\" not found") }, pending("CreateContainerConfigError", "secret \"x\" not found")},

		// Running, but without traffic.
		{"a pod that is not ready", func(s *scene) { s.condition(corev1.PodReady, corev1.ConditionFalse, "", "") }, running},
		{"a pod without a word about readiness", func(s *scene) { s.pod.Status.Conditions = nil }, running},
		{"a pod that its service has not found", func(s *scene) { s.slices = nil }, running},
		{"a service that has found it not ready", func(s *scene) { s.slices[0].Endpoints[0].Conditions.Ready = new(false) }, running},
		{"a service that has found the run before", func(s *scene) { s.slices[0].Endpoints[0].TargetRef.UID = "run-0" }, running},
		{"another service's endpoints", func(s *scene) { s.slices[0].Labels[discoveryv1.LabelServiceName] = "other" }, running},
		{"a pod without a service", func(s *scene) { s.services = nil }, running},
		{"a phase that nobody knows", func(s *scene) { s.pod.Status.Phase = corev1.PodUnknown }, live},
		{"traffic before it is ready", func(s *scene) {
			s.condition(corev1.PodReady, corev1.ConditionFalse, "", "")
			s.pod.Annotations[annotationReadyWhen] = readyWhenRunning
		}, live},
		{"a container that started again", func(s *scene) { s.pod.Status.ContainerStatuses[0].RestartCount = 2 }, func() pods.Observation {
			o := live
			o.Restarts = 2
			return o
		}()},
		{"a crash loop", func(s *scene) {
			s.state(corev1.PodRunning, corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff", Message: "back-off 5m0s"}})
		}, with(func(o *pods.Observation) {
			o.Phase, o.Waiting, o.Message = pods.PhaseRunning, "CrashLoopBackOff", "back-off 5m0s"
		})},
		{"another container beside it", func(s *scene) {
			s.pod.Status.ContainerStatuses = append([]corev1.ContainerStatus{{
				Name: "sidecar", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}},
			}}, s.pod.Status.ContainerStatuses...)
		}, live},

		// Ended.
		{"a program that failed", func(s *scene) { s.ended(corev1.PodFailed, "Error", 3, "") }, failed("Error", 3, "")},
		{"a program that failed, says the container only", func(s *scene) { s.ended(corev1.PodRunning, "", 3, "boom\n") }, failed("Error", 3, "boom")},
		{"a program that failed before the pod has left Pending", func(s *scene) { s.ended(corev1.PodPending, "Error", 3, "") }, failed("Error", 3, "")},
		{"a container that runs before the pod has left Pending", func(s *scene) {
			s.state(corev1.PodPending, corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: started}})
			s.condition(corev1.PodReady, corev1.ConditionFalse, "", "")
		}, running},
		{"a program that fails again and again", func(s *scene) {
			s.pod.Spec.RestartPolicy = corev1.RestartPolicyAlways
			s.ended(corev1.PodRunning, "Error", 3, "")
		}, func() pods.Observation {
			o := failed("Error", 3, "")
			o.Phase = pods.PhaseRunning
			return o
		}()},
		{"a program that completed", func(s *scene) { s.ended(corev1.PodSucceeded, "Completed", 0, "") }, func() pods.Observation {
			o := failed("Completed", 0, "")
			o.Phase = pods.PhaseSucceeded
			return o
		}()},
		{"a program without a reason for its end", func(s *scene) { s.ended(corev1.PodSucceeded, "", 0, "") }, func() pods.Observation {
			o := failed("Completed", 0, "")
			o.Phase = pods.PhaseSucceeded
			return o
		}()},
		{"too much memory", func(s *scene) { s.ended(corev1.PodFailed, "OOMKilled", 137, "") }, failed("OOMKilled", 137, "")},
		{"a command that can't run", func(s *scene) { s.ended(corev1.PodFailed, "StartError", 128, "exec: \"x\": not found") }, failed("StartError", 128, "exec: \"x\": not found")},
		{"a probe that failed", func(s *scene) {
			s.ended(corev1.PodFailed, "Error", 137, "")
			s.event("Warning", "Unhealthy", "Liveness probe failed: HTTP probe failed with statuscode: 500", 1)
			s.event("Normal", "Killing", "Container web failed liveness probe, will be restarted", 2)
		}, failed("Error", 137, "Liveness probe failed: HTTP probe failed with statuscode: 500")},
		{"a program that failed after a stop was asked for", func(s *scene) {
			s.ended(corev1.PodFailed, "Error", 143, "")
			s.event("Normal", "Killing", "Stopping container web", 1)
		}, failed("Error", 143, "")},
		{"an eviction", func(s *scene) {
			s.ended(corev1.PodFailed, "Error", 137, "")
			s.pod.Status.Reason, s.pod.Status.Message = "Evicted", "The node was low on resource: memory. "
		}, failed("Evicted", 137, "The node was low on resource: memory.")},
		{"an eviction before anything ran", func(s *scene) {
			s.unscheduled()
			s.pod.Status.Phase, s.pod.Status.Reason, s.pod.Status.Message = corev1.PodFailed, "Evicted", "Pod was rejected"
		}, with(func(o *pods.Observation) {
			o.Phase, o.Terminated, o.Message = pods.PhaseFailed, "Evicted", "Pod was rejected"
		})},
		{"a machine that shuts down", func(s *scene) {
			s.ended(corev1.PodFailed, "Error", 137, "")
			s.pod.Status.Reason, s.pod.Status.Message = "Terminated", "Pod was terminated in response to imminent node shutdown."
		}, failed("NodeShutdown", 137, "Pod was terminated in response to imminent node shutdown.")},
		{"a pod that more important work has replaced", func(s *scene) {
			s.ended(corev1.PodFailed, "Error", 143, "")
			s.condition(corev1.DisruptionTarget, corev1.ConditionTrue, "PreemptionByScheduler", "")
		}, failed("Preempted", 143, "")},
		{"a failure that nobody explains", func(s *scene) {
			s.unscheduled()
			s.pod.Status.Phase = corev1.PodFailed
		}, with(func(o *pods.Observation) { o.Phase, o.Terminated = pods.PhaseFailed, "Error" })},

		// On its way out.
		{"a pod that is being stopped", func(s *scene) { s.deletedFor(-30 * time.Second) }, func() pods.Observation {
			o := running
			o.Terminating = true
			return o
		}()},
		{"a pod that should be gone", func(s *scene) { s.deletedFor(59 * time.Second) }, func() pods.Observation {
			o := running
			o.Terminating = true
			return o
		}()},
		{"a machine that was lost", func(s *scene) { s.deletedFor(2 * time.Minute) }, failed("NodeLost", 0, "the machine does not answer")},
		{"an old pod beside a new one", func(s *scene) {
			old := s.pod.DeepCopy()
			old.UID, old.DeletionTimestamp = "run-0", &metav1.Time{Time: s.now}
			s.pods = []*corev1.Pod{s.pod, old}
		}, live},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t)
			c.change(s)
			if got := s.observe(); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
}

func TestAddresses(t *testing.T) {
	for _, c := range []struct {
		name   string
		mode   AddressMode
		change func(*scene)
		want   map[string][]string
	}{
		{"the service", ClusterIP, func(*scene) {}, map[string][]string{"default": {"10.96.0.7:5000"}, "bolt": {"10.96.0.7:7687"}}},
		{"the service with two families", ClusterIP, func(s *scene) {
			s.services[0].Spec.ClusterIPs = []string{"10.96.0.7", "fd00::7"}
		}, map[string][]string{"default": {"10.96.0.7:5000", "[fd00::7]:5000"}, "bolt": {"10.96.0.7:7687", "[fd00::7]:7687"}}},
		{"a service without an address", ClusterIP, func(s *scene) { s.services[0].Spec.ClusterIPs = []string{corev1.ClusterIPNone} }, map[string][]string{}},
		{"the pod", PodIP, func(*scene) {}, map[string][]string{"default": {"10.1.0.5:5000"}, "bolt": {"10.1.0.5:7687"}}},
		{"the service's name", ServiceDNS, func(*scene) {}, map[string][]string{
			"default": {"pods-tacc-dev-web.podway-dev.svc.cluster.local:5000"}, "bolt": {"pods-tacc-dev-web.podway-dev.svc.cluster.local:7687"},
		}},
		{"the node of the pod", NodePort, func(*scene) {}, map[string][]string{"default": {"192.0.2.5:30001"}, "bolt": {"192.0.2.5:30002"}}},
		{"given nodes", NodePort, func(s *scene) { s.NodeAddresses = []string{"198.51.100.1", "2001:db8::1"} }, map[string][]string{
			"default": {"198.51.100.1:30001", "[2001:db8::1]:30001"}, "bolt": {"198.51.100.1:30002", "[2001:db8::1]:30002"},
		}},
		{"a node without an address", NodePort, func(s *scene) { s.pod.Status.HostIP = "" }, map[string][]string{}},
		{"two entries with one port", ClusterIP, func(s *scene) {
			s.pod.Annotations[annotationPorts] = `{"default":5000,"again":5000}`
		}, map[string][]string{"default": {"10.96.0.7:5000"}, "again": {"10.96.0.7:5000"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t)
			s.AddressMode = c.mode
			for i := range s.services[0].Spec.Ports {
				s.services[0].Spec.Ports[i].NodePort = int32(30001 + i)
			}
			c.change(s)
			o := s.observe()
			if !maps.EqualFunc(o.Addresses, c.want, func(a, b []string) bool { return reflect.DeepEqual(a, b) }) {
				t.Errorf("got %v, want %v", o.Addresses, c.want)
			}
			if want := len(c.want) > 0; o.Ready != want {
				t.Errorf("ready: got %v, want %v", o.Ready, want)
			}
		})
	}
}

func TestEvents(t *testing.T) {
	at := func(d time.Duration) metav1.Time { return metav1.NewTime(epoch.Add(d)) }
	for _, c := range []struct {
		name  string
		event corev1.Event
		want  pods.ClusterEvent
	}{
		{"of an older part", corev1.Event{
			Type: "Warning", Reason: "BackOff", Message: "text\n", Count: 4, FirstTimestamp: at(1), LastTimestamp: at(2), Source: corev1.EventSource{Component: "kubelet"},
		}, pods.ClusterEvent{Type: "Warning", Reason: "BackOff", Message: "text", Count: 4, First: epoch.Add(1), Last: epoch.Add(2), Source: "kubelet"}},
		{"of a newer part, once", corev1.Event{
			Type: "Normal", EventTime: metav1.NewMicroTime(epoch), ReportingController: "default-scheduler",
		}, pods.ClusterEvent{Type: "Normal", Count: 1, First: epoch, Last: epoch, Source: "default-scheduler"}},
		{"of a newer part, again and again", corev1.Event{
			EventTime: metav1.NewMicroTime(epoch), Series: &corev1.EventSeries{Count: 7, LastObservedTime: metav1.NewMicroTime(epoch.Add(9))},
		}, pods.ClusterEvent{Count: 7, First: epoch, Last: epoch.Add(9)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := eventOf(&c.event); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestMemoryForgetsWhatANewListDoesNotHave(t *testing.T) {
	m := newMemory("dev")
	pod := func(id string, version string) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
			Name: id, Namespace: "n", UID: types.UID(id), ResourceVersion: version,
			Labels: podLabels("dev", pods.Key{Tenant: "dev", ID: pods.ID(id)}, "u"),
		}}
	}
	key := func(id string) pods.Key { return pods.Key{Tenant: "dev", ID: pods.ID(id)} }
	foreign := pod("foreign", "1")
	foreign.Labels[labelSite] = "other"
	if err := m.pods.Replace([]any{pod("one", "1"), pod("two", "1"), foreign}, "1"); err != nil {
		t.Fatal(err)
	}
	s := m.subscribe()
	m.take(s)
	if err := m.pods.Replace([]any{pod("two", "1"), pod("three", "2")}, "2"); err != nil {
		t.Fatal(err)
	}
	if got, want := m.take(s), map[pods.Key]struct{}{key("one"): {}, key("three"): {}}; !reflect.DeepEqual(got, want) {
		t.Errorf("changed: got %v, want %v", got, want)
	}
	if got, want := m.keys(), []pods.Key{key("three"), key("two")}; !reflect.DeepEqual(got, want) {
		t.Errorf("known: got %v, want %v", got, want)
	}
	relabelled := pod("two", "3")
	relabelled.Labels = nil
	if err := m.pods.Update(relabelled); err != nil {
		t.Fatal(err)
	}
	if err := m.pods.Delete(pod("three", "4")); err != nil {
		t.Fatal(err)
	}
	if got := m.keys(); len(got) != 0 {
		t.Errorf("known: got %v, want nothing", got)
	}
}
