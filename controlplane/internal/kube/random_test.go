package kube

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/tests/kubetest"
)

// dice makes random pod definitions as users send them.
type dice struct{ *rand.Rand }

func (d dice) chance() bool { return d.IntN(2) == 0 }

func pick[T any](d dice, list ...T) T { return list[d.IntN(len(list))] }

// word returns text that stresses what reads it.
func (d dice) word() string {
	return pick(d, "", "a", "$(HOME)", "$$", "${X}", "'; rm -rf / #", "--flag=value", "naïve ☃ text", "<<TAPIS_user_password>>",
		"line\nbreak", strings.Repeat("long", 200), `{"json": [1, 2]}`, "${oc.env:X}", "\t", "%s%n")
}

func (d dice) words() []string {
	list := make([]string, 1+d.IntN(4))
	for i := range list {
		list[i] = d.word()
	}
	return list
}

func (d dice) probe(p map[string]any) map[string]any {
	switch d.IntN(3) {
	case 0:
		p["http_get_path"] = pick(d, "/", "/healthz?full=1", "/a b")
		p["http_get_scheme"] = pick(d, "HTTP", "https")
	case 1:
		p["exec_command"] = append([]string{"test"}, d.words()...)
	default:
		p["tcp_socket_port"] = 1 + d.IntN(65535)
	}
	p["period_seconds"], p["timeout_seconds"] = 1+d.IntN(100), 1+d.IntN(10)
	p["initial_delay_seconds"], p["failure_threshold"] = d.IntN(100), 1+d.IntN(10)
	return p
}

func (d dice) networking() map[string]any {
	keys := []string{"default", "abc", "a0123456789012345678901234567890123456789", "web2"}
	out := map[string]any{}
	for _, key := range keys[:1+d.IntN(len(keys))] {
		out[key] = map[string]any{"protocol": pick(d, "http", "tcp", "postgres", "local_only"), "port": pick(d, 10, 80, 443, 1023, 5000, 7474, 65535)}
	}
	return out
}

func (d dice) mounts() map[string]any {
	out := map[string]any{}
	for i := range d.IntN(4) {
		out[fmt.Sprintf("vol%d%s", i, pick(d, "", strings.Repeat("x", 100)))] = map[string]any{
			"type": pick(d, "pvc", "tapisvolume", "tapissnapshot"), "mount_path": fmt.Sprintf("/mnt/%d/%s", i, pick(d, "a", "with space", "..."[:2]+"x")),
			"sub_path": pick(d, "", "a", "a/b", "./a//b", "...", "a b"),
		}
	}
	return out
}

func (d dice) body(i int) map[string]any {
	b := map[string]any{
		"pod_id": fmt.Sprintf("random%d", i), "image": pick(d, "nginx", "ghcr.io/x/y:1.2", "localhost:5000/a/b@sha256:"+strings.Repeat("0f", 32)),
		"environment_variables": map[string]string{"A": d.word(), "_b.C-d": d.word(), "KUBERNETES_PORT": d.word(), "image": d.word(), "PODWAY_USER_PASSWORD": d.word()},
		"networking":            d.networking(), "volume_mounts": d.mounts(),
	}
	if d.chance() {
		b["command"], b["arguments"] = append([]string{"run"}, d.words()...), d.words()
	}
	if d.chance() {
		b["resources"] = map[string]int{"cpu_request": 250 + d.IntN(250), "cpu_limit": 500 + d.IntN(5500), "mem_limit": 256 + d.IntN(12032), "mem_request": 256}
	}
	if d.chance() {
		checks := map[string]any{"networking_requires_ready": d.chance()}
		for _, name := range []string{"liveness", "readiness", "startup"} {
			if d.chance() {
				checks[name] = d.probe(map[string]any{})
			}
		}
		b["healthchecks"] = checks
	}
	return b
}

// workloadOf takes a body the way of a create request.
func workloadOf(t *testing.T, body any) pods.Workload {
	t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	s := pods.DefaultSettings()
	n, err := pods.DecodeNewPod(b, s)
	if err != nil {
		t.Fatalf("%s\nis not valid: %v", b, err)
	}
	e, err := pods.Resolve(n.ID, "dev.localhost", s, n.Definition)
	if err != nil {
		t.Fatalf("%s\nis not valid: %v", b, err)
	}
	p := pods.Pod{Key: pods.Key{Tenant: "dev", ID: n.ID}, UID: pods.NewUID(), Site: "dev"}
	return pods.BuildWorkload(p, e, pods.NewCredentials(n.ID))
}

// Whatever a user may define, the API server takes it in a namespace where Pod
// Security enforces "restricted".
func TestRandomDefinitionsAreRestricted(t *testing.T) {
	srv := kubetest.Start(t)
	ns := srv.Namespace(t, restricted)
	d := dice{rand.New(rand.NewPCG(1, 2))}
	for i := range 50 {
		o := Options{
			REST: srv.RESTConfig(), Namespace: ns, Unmanaged: true, AddressMode: pick(d, AddressModes()...),
			Files:  pick(d, Files{Claim: "files"}, Files{NFSServer: "192.0.2.1"}),
			Images: pick(d, nil, map[string]ImageRule{"docker.io/library/nginx": {User: 101, Group: 101}}),
		}
		o.Site = "dev"
		c := Cluster{Options: mustSettle(t, o)}
		w := workloadOf(t, d.body(i))
		if err := c.admit(w); err != nil {
			t.Fatalf("%+v is not admitted: %v", w, err)
		}
		built, err := c.build(w)
		if err != nil {
			t.Fatal(err)
		}
		core, dry := srv.Client().CoreV1(), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
		_, err1 := core.Pods(ns).Create(t.Context(), built.pod, dry)
		_, err2 := core.Services(ns).Create(t.Context(), built.service, dry)
		_, err3 := core.Secrets(ns).Create(t.Context(), built.secret, dry)
		for _, err := range []error{err1, err2, err3} {
			if err != nil {
				t.Errorf("definition %d: %v\n%s", i, err, manifests(t, built.service, built.pod))
			}
		}
		for _, claim := range built.claims {
			if _, err := core.PersistentVolumeClaims(ns).Create(t.Context(), claim, dry); err != nil {
				t.Errorf("definition %d: %v", i, err)
			}
		}
	}
}

func mustSettle(t *testing.T, o Options) Options {
	t.Helper()
	o, err := o.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// The one exception is what it claims to be: it needs the level "baseline", and
// that is enough.
func TestRootImagesNeedBaselineAndNoMore(t *testing.T) {
	srv := kubetest.Start(t)
	rules := map[string]ImageRule{"docker.io/library/nginx": {Root: true}}
	built, err := mustSettle(t, Options{REST: srv.RESTConfig(), Site: "dev", Images: rules}).build(workloadOf(t, map[string]any{"pod_id": "root", "image": "nginx"}))
	if err != nil {
		t.Fatal(err)
	}
	for level, ok := range map[string]bool{levelRestricted: false, levelBaseline: true} {
		ns := srv.Namespace(t, map[string]string{labelEnforce: level})
		pod := built.pod.DeepCopy()
		pod.Namespace = ns
		_, err := srv.Client().CoreV1().Pods(ns).Create(t.Context(), pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if ok && err != nil || !ok && !apierrors.IsForbidden(err) {
			t.Errorf("%s: got %v, want it to be taken: %v", level, err, ok)
		}
	}
	s := built.pod.Spec.Containers[0].SecurityContext
	if *s.AllowPrivilegeEscalation || len(s.Capabilities.Drop) != 1 || s.Capabilities.Drop[0] != "ALL" {
		t.Errorf("got %+v, want no way to more rights", s)
	}
}
