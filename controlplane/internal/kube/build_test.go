package kube

import (
	"bytes"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

var update = flag.Bool("update", false, "write the golden files")

// settled returns options with their defaults.
func settled(t testing.TB, o Options) Options {
	t.Helper()
	o.Site, o.REST = "tacc", &rest.Config{}
	o, err := o.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// manifests renders objects as people write them, one after the other.
func manifests(t testing.TB, objects ...any) string {
	t.Helper()
	var b bytes.Buffer
	for _, o := range objects {
		if v := reflect.ValueOf(o); v.Kind() == reflect.Pointer && v.IsNil() {
			continue
		}
		text, err := yaml.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString("---\n")
		for line := range strings.Lines(string(text)) {
			// Nothing that is built has a status or a time; the types write them all the same.
			if line != "status: {}\n" && line != "status:\n" && line != "  loadBalancer: {}\n" && line != "  creationTimestamp: null\n" {
				b.WriteString(line)
			}
		}
	}
	return b.String()
}

// wantGolden compares text with a file.
func wantGolden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".yaml")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test -update writes it); got:\n%s", path, got)
	}
}

// fullWorkload uses everything that a pod can have.
func fullWorkload() pods.Workload {
	return pods.Workload{
		Key: pods.Key{Tenant: "tacc", ID: "docpod"}, UID: "abcdefghijklmnopqrstuvwxyz", Site: "tacc",
		Image:     "ghcr.io/neo4j/neo4j:5.26@sha256:" + strings.Repeat("0", 64),
		Command:   []string{"/entry"},
		Arguments: []string{"--password", "user-secret", "--both=user-secret$user-secret/admin-secret"},
		Env: map[string]string{
			"NEO4J_AUTH": "docpod/user-secret", "EMPTY": "", "LITERAL": "$(HOME)", "KUBERNETES_PORT": "mine",
			"TAPIS_PODS_IMAGEPULLSECRET": "jo.doe@tacc",
		},
		Ports: map[string]pods.Port{
			"default": {Protocol: pods.NetHTTP, Number: 7474}, "bolt": {Protocol: pods.NetTCP, Number: 7687},
			"again": {Protocol: pods.NetHTTP, Number: 7474}, "admin": {Protocol: pods.NetLocalOnly, Number: 443},
		},
		Resources:    pods.Resources{CPURequest: 250, CPULimit: 2000, MemRequest: 256, MemLimit: 3072, GPUs: 3},
		ComputeQueue: "gpu",
		VolumeMounts: map[string]pods.VolumeMount{
			"data": {Type: "pvc", MountPath: "/data"}, "logs": {Type: "pvc", MountPath: "/logs", SubPath: "deep/er"},
			"shared": {Type: "tapisvolume", MountPath: "/shared", SubPath: "a"}, "old": {Type: "tapissnapshot", MountPath: "/old"},
		},
		Healthchecks: &pods.Healthchecks{
			Liveness:  &pods.Probe{ExecCommand: []string{"true"}, PeriodSeconds: 10, TimeoutSeconds: 5, FailureThreshold: 3, SuccessThreshold: 1},
			Readiness: &pods.Probe{HTTPGetPath: "/ready", HTTPGetPort: 7474, HTTPGetScheme: "HTTP", InitialDelaySeconds: 1, PeriodSeconds: 2, TimeoutSeconds: 3, FailureThreshold: 4, SuccessThreshold: 5},
			Startup:   &pods.Probe{TCPSocketPort: 7687, PeriodSeconds: 1, TimeoutSeconds: 1, FailureThreshold: 60, SuccessThreshold: 1},
		},
		Credentials: pods.Credentials{UserUsername: "docpod", UserPassword: "user-secret", AdminPassword: "admin-secret"},
	}
}

// fullOptions sets everything that an administrator can.
func fullOptions() Options {
	return Options{
		Namespace: "pods-{site}-{tenant}", AddressMode: NodePort, PullPolicy: corev1.PullIfNotPresent, PullSecrets: []string{"registry"},
		RuntimeClass: "gvisor", StorageClass: "fast", ClaimSize: "5Gi", EphemeralRequest: 100, EphemeralLimit: 200,
		Files: Files{NFSServer: "10.1.2.3", NFSPath: "/export"},
		Queues: map[string]Queue{"gpu": {
			NodeSelector: map[string]string{"pool": "gpu"},
			Tolerations:  []corev1.Toleration{{Key: "nvidia.com/gpu", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule}},
			GPUs:         []GPU{{Resource: "nvidia.com/gpu", Max: 2}, {Resource: "amd.com/gpu", Max: 2}},
		}},
		Images:  map[string]ImageRule{"ghcr.io/neo4j/neo4j": {User: 7474, Group: 7475}},
		Default: pods.DefaultSettings().Default, Max: pods.DefaultSettings().Max,
		Network: Network{
			EdgeNamespace: map[string]string{"kubernetes.io/metadata.name": "podway"}, EdgePods: map[string]string{"app": "edge"},
			EdgeCIDRs: prefixes("192.0.2.0/24"), DNSCIDRs: prefixes("169.254.20.10/32"),
			AllowCIDRs: prefixes("10.9.0.0/16"), DenyCIDRs: prefixes("203.0.113.7/32", "2001:db8::1/128"),
		},
	}
}

func prefixes(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// configured has a configuration file, one below a folder, and an empty folder.
func configured() pods.Workload {
	w := workload("web", "podway/hello")
	w.VolumeMounts = map[string]pods.VolumeMount{
		"appconf": {Type: "ephemeral", MountPath: "/etc/app.conf", ConfigContent: "listen 5000", ConfigPermissions: "0640"},
		"conf":    {Type: "ephemeral", MountPath: "/etc/app.d/", ConfigFilename: "a.conf", ConfigContent: "debug off"},
		"cache":   {Type: "ephemeral", MountPath: "/cache"},
	}
	return w
}

func TestManifests(t *testing.T) {
	root := Options{Images: map[string]ImageRule{"docker.io/library/postgres": {Root: true}}, NoStartupProbe: true}
	claim := Options{Files: Files{Claim: "files", Class: "shared"}, Quota: map[string]string{}, Namespace: "pods"}
	mounting := workload("web", "podway/hello")
	mounting.VolumeMounts = map[string]pods.VolumeMount{"vol": {Type: typeVolume, MountPath: "/v"}}
	early := workload("web", "podway/hello")
	early.Healthchecks = &pods.Healthchecks{Readiness: &pods.Probe{TCPSocketPort: 5000, PeriodSeconds: 1, TimeoutSeconds: 1, FailureThreshold: 1, SuccessThreshold: 1}}
	for _, c := range []struct {
		name     string
		options  Options
		workload pods.Workload
	}{
		{"plain", Options{}, workload("web", "podway/hello")},
		{"everything", fullOptions(), fullWorkload()},
		{"an-image-that-runs-as-root", root, workload("db", "postgres:16")},
		{"files-in-a-shared-namespace", claim, mounting},
		{"traffic-before-ready", Options{}, early},
		{"configuration-files", Options{}, configured()},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := settled(t, c.options)
			if err := o.admit(c.workload); err != nil {
				t.Fatal(err)
			}
			built, err := o.build(c.workload)
			if err != nil {
				t.Fatal(err)
			}
			g := o.guards(built.place, c.workload.Tenant)
			all := []any{o.namespace(built.place), g.policy, g.limits, g.quota, g.files}
			for _, claim := range built.claims {
				all = append(all, claim)
			}
			wantGolden(t, c.name, manifests(t, append(all, built.service, built.secret, built.pod)...))
		})
	}
}

func TestBuildIsDeterministic(t *testing.T) {
	o := settled(t, fullOptions())
	first, err := o.build(fullWorkload())
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		again, err := o.build(fullWorkload())
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(first, again) {
			t.Fatal("the same workload gave other objects")
		}
	}
}

func TestNoSecretIsInThePod(t *testing.T) {
	w := fullWorkload()
	w.Env["TOKEN"] = "canary-in-env"
	built, err := settled(t, fullOptions()).build(w)
	if err != nil {
		t.Fatal(err)
	}
	text := manifests(t, built.service, built.pod, built.claims)
	for _, secret := range []string{"canary-in-env", "user-secret", "admin-secret"} {
		if strings.Contains(text, secret) {
			t.Errorf("%q is in\n%s", secret, text)
		}
	}
}

func TestPasswordsInACommandLineBecomeReferences(t *testing.T) {
	w := workload("web", "podway/hello")
	w.Arguments = []string{"generated-user-web", "a=generated-admin-web.", "$generated-user-web", "$(HOME)"}
	built, err := settled(t, Options{}).build(w)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(built.pod.Spec.Containers[0].Args, " ")
	// Kubernetes reads $$ as a dollar and $(NAME) as the variable's value.
	const want = "$(PODWAY_USER_PASSWORD) a=$(PODWAY_ADMIN_PASSWORD). $$$(PODWAY_USER_PASSWORD) $(HOME)"
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := string(built.secret.Data["PODWAY_USER_PASSWORD"]); got != "generated-user-web" {
		t.Errorf("got %q in the secret, want the password", got)
	}
}

func TestSecretNames(t *testing.T) {
	o := settled(t, Options{})
	name := func(change func(*pods.Workload)) string {
		w := workload("web", "podway/hello")
		w.Env = map[string]string{"A": "1", "B": "2"}
		change(&w)
		built, err := o.build(w)
		if err != nil {
			t.Fatal(err)
		}
		return built.secret.Name
	}
	same := name(func(*pods.Workload) {})
	if again := name(func(w *pods.Workload) { w.Image = "other" }); again != same {
		t.Errorf("got %s for the same environment, want %s", again, same)
	}
	for what, change := range map[string]func(*pods.Workload){
		"another value":            func(w *pods.Workload) { w.Env["A"] = "2" },
		"another pod of the name":  func(w *pods.Workload) { w.UID = "other" },
		"values that moved":        func(w *pods.Workload) { w.Env = map[string]string{"A": "1B", "": "2"} },
		"the same, other password": func(w *pods.Workload) { w.Credentials.UserPassword = "other" },
	} {
		if got := name(change); got == same {
			t.Errorf("%s: got the name %s again", what, got)
		}
	}
}

func TestAdmit(t *testing.T) {
	files := Options{Files: Files{Claim: "files"}}
	gpus := Options{Queues: map[string]Queue{"gpu": {GPUs: []GPU{{Resource: "nvidia.com/gpu", Max: 2}}}, "default": {}}}
	for _, c := range []struct {
		name    string
		options Options
		change  func(*pods.Workload)
		want    string // a part of the message; "": it is admitted
	}{
		{"a plain pod", Options{}, func(*pods.Workload) {}, ""},
		{"a name that is too long", Options{}, func(w *pods.Workload) { w.ID = pods.ID(strings.Repeat("a", 60)) }, "at most 63"},
		{"a tenant that can't be in a name", Options{}, func(w *pods.Workload) { w.Tenant = "Tacc" }, "pods-tacc-Tacc-web"},
		{"a tenant too long for a namespace", Options{Namespace: strings.Repeat("n", 50) + "-{tenant}"}, func(w *pods.Workload) { w.Tenant = "tenant-with-a-name" }, "namespace"},
		{"a UID that is no label", Options{}, func(w *pods.Workload) { w.UID = "no/label" }, "podway.tapis.io/pod-uid"},
		{"a variable that is no key", Options{}, func(w *pods.Workload) { w.Env = map[string]string{"..x": "secret"} }, "environment_variables...x"},
		{"a variable with dots and dashes", Options{}, func(w *pods.Workload) { w.Env = map[string]string{"_a.b-C": "x"} }, ""},
		{"an environment that is too large", Options{}, func(w *pods.Workload) { w.Env = map[string]string{"A": strings.Repeat("x", 1<<20)} }, "at most 1048576"},
		{"a pull secret that can't be", Options{}, func(w *pods.Workload) { w.Env = map[string]string{pullSecretVariable: "Jo Doe"} }, "pull secret"},
		{"a volume without files", Options{}, mount(typeVolume), "no volumes"},
		{"a snapshot without files", Options{}, mount(typeSnapshot), "no volumes"},
		{"a volume", files, mount(typeVolume), ""},
		{"a claim", Options{}, mount(typePVC), ""},
		{"another type", Options{}, mount("hostpath"), "type 'hostpath'"},
		{"GPUs without a queue that has some", gpus, func(w *pods.Workload) { w.Resources.GPUs = 1 }, "has no GPUs"},
		{"too many GPUs", gpus, func(w *pods.Workload) { w.Resources.GPUs, w.ComputeQueue = 3, "gpu" }, "at most 2"},
		{"GPUs", gpus, func(w *pods.Workload) { w.Resources.GPUs, w.ComputeQueue = 2, "gpu" }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := workload("web", "podway/hello")
			c.change(&w)
			err := settled(t, c.options).admit(w)
			switch {
			case c.want == "" && err != nil:
				t.Errorf("got %v, want it to be admitted", err)
			case c.want != "" && (pods.ErrorCode(err) != pods.Invalid || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want code invalid and %q", err, c.want)
			case err != nil && strings.Contains(err.Error(), "secret\""):
				t.Errorf("got %v, with a value in it", err)
			}
		})
	}
}

func mount(kind string) func(*pods.Workload) {
	return func(w *pods.Workload) {
		w.VolumeMounts = map[string]pods.VolumeMount{"data": {Type: kind, MountPath: "/data"}}
	}
}

func TestOptionsReportEveryProblem(t *testing.T) {
	_, err := Options{
		Site: "no/label", AddressMode: "carrier-pigeon", ClaimSize: "big", Quota: map[string]string{"pods": "-1"},
		Namespace: "No-{tenant}", Files: Files{Claim: "a", NFSServer: "b"}, EphemeralRequest: 2, EphemeralLimit: 1,
	}.withDefaults()
	if err == nil {
		t.Fatal("got no error")
	}
	for _, want := range []string{"API server", "no/label", "carrier-pigeon", `"big"`, "quota of pods", "No-{tenant}", "not both", "2 MiB"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in:\n%v", want, err)
		}
	}
}

func TestScope(t *testing.T) {
	root := map[string]ImageRule{"docker.io/library/postgres": {Root: true}}
	for _, c := range []struct {
		name    string
		options Options
		want    string
	}{
		{"a namespace for each tenant", Options{}, ""},
		{"one for all", Options{Namespace: "pods-{site}"}, "pods-tacc"},
		{"one for all, and one for root", Options{Namespace: "pods", Images: root}, ""},
		{"a queue with the same", Options{Namespace: "pods", Queues: map[string]Queue{"gpu": {Namespace: "pods"}}}, "pods"},
		{"a queue with its own", Options{Namespace: "pods", Queues: map[string]Queue{"gpu": {Namespace: "gpu"}}}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := settled(t, c.options).scope(); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
