//go:build linux && e2e

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// This is what `make cluster-test` runs: the whole life of a cluster, with pods
// of every local image that are reached from the machine by pod IP and by
// ClusterIP, and a machine that is afterwards as it was before.
func TestClusterUpAndDown(t *testing.T) {
	if all, err := nodes(); err != nil || len(all) > 0 {
		t.Fatalf("got clusters %v that are up (%v), want none: end them first", all, err)
	}
	before := snapshot(t)
	t.Cleanup(func() {
		call(t, "down")
		call(t, "down") // does nothing, successfully
		compare(t, before, snapshot(t))
	})
	call(t, "up")
	if out := call(t, "up"); !strings.Contains(out, "the cluster is up\n") {
		t.Errorf("the second start: got %q, want that it is up", out)
	}
	call(t, "status")
	f := newUse(t)

	t.Run("sysctls stay as they were", func(t *testing.T) {
		if got := machineSysctls(t); !slices.Equal(got, before["sysctls"]) {
			t.Errorf("got %v, want %v", got, before["sysctls"])
		}
	})
	t.Run("hello is reached by pod IP and by ClusterIP", f.hello)
	t.Run("postgres keeps its data on a volume", f.postgres)
	t.Run("mariadb answers", f.mariadb)
	t.Run("an image that is not here is not found, at once", f.missingImage)
	t.Run("pods find each other by name", f.names)
}

// use is a namespace in which everything is restricted, as in production.
type use struct {
	client kubernetes.Interface
	ns     string
}

func newUse(t *testing.T) *use {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(repo, ".cache", "k8s", "kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	f := &use{client: kubernetes.NewForConfigOrDie(config)}
	ns, err := f.client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		GenerateName: "cluster-test-", Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	f.ns = ns.Name
	return f
}

func (f *use) hello(t *testing.T) {
	p := restricted("hello", "podway/hello", nil)
	p.Spec.Containers[0].ReadinessProbe = &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{
		HTTPGet: &corev1.HTTPGetAction{Path: "/", Port: intstr.FromInt32(5000)},
	}}
	p = f.run(t, p)
	for _, addr := range []string{net.JoinHostPort(p.Status.PodIP, "5000"), f.serve(t, "hello", 80, 5000)} {
		eventually(t, func() error {
			resp, err := (&http.Client{Timeout: 5 * time.Second}).Get("http://" + addr)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err == nil && !bytes.Contains(body, []byte("Hello from hello")) {
				err = fmt.Errorf("got %q from %s, want a greeting", body, addr)
			}
			return err
		})
	}
	if _, err := f.client.CoreV1().Pods(f.ns).GetLogs("hello", &corev1.PodLogOptions{}).DoRaw(t.Context()); err != nil {
		t.Errorf("reading logs: %v", err)
	}
}

func (f *use) postgres(t *testing.T) {
	_, err := f.client.CoreV1().PersistentVolumeClaims(f.ns).Create(t.Context(), &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: "data"},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p := restricted("pg", "postgres", map[string]string{
		"POSTGRES_USER": "alice", "POSTGRES_PASSWORD": "p'w d", "POSTGRES_DB": "my-db", "PGDATA": "/var/lib/postgresql/data/pgdata",
	})
	p.Spec.SecurityContext.FSGroup = new(int64(999))
	p.Spec.Volumes = []corev1.Volume{{Name: "d", VolumeSource: corev1.VolumeSource{
		PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"},
	}}}
	p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "d", MountPath: "/var/lib/postgresql/data"}}
	p.Spec.Containers[0].ReadinessProbe = &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{
		Exec: &corev1.ExecAction{Command: []string{"pg_isready", "-h", "127.0.0.1", "-U", "alice"}},
	}}
	addr := f.serve(t, "pg", 5432, 5432)
	// query runs both statements, the second of which answers with a number.
	query := func(addr, first, second string) (answer int) {
		t.Helper()
		config, err := pgx.ParseConfig("postgres://" + addr + "/my-db?sslmode=disable&user=alice")
		if err != nil {
			t.Fatal(err)
		}
		config.Password = "p'w d"
		eventually(t, func() error {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			conn, err := pgx.ConnectConfig(ctx, config)
			if err != nil {
				return err
			}
			defer func() { _ = conn.Close(ctx) }()
			if _, err := conn.Exec(ctx, first); err != nil {
				return err
			}
			return conn.QueryRow(ctx, second).Scan(&answer)
		})
		return answer
	}

	created := f.run(t, p.DeepCopy())
	create := "create table if not exists kept as select 42 as answer"
	if got := query(net.JoinHostPort(created.Status.PodIP, "5432"), create, "select answer from kept"); got != 42 {
		t.Errorf("got %d, want 42", got)
	}
	f.delete(t, "pg")
	f.run(t, p)
	if got := query(addr, "set timezone = 'Europe/Berlin'", "select answer from kept"); got != 42 {
		t.Errorf("after a restart: got %d, want 42", got)
	}
	f.delete(t, "pg")
	f.volumeGoes(t)
}

// volumeGoes deletes the claim and waits for the end of its volume and data.
func (f *use) volumeGoes(t *testing.T) {
	t.Helper()
	if err := f.client.CoreV1().PersistentVolumeClaims(f.ns).Delete(t.Context(), "data", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		volumes, err := f.client.CoreV1().PersistentVolumes().List(t.Context(), metav1.ListOptions{})
		if err == nil && len(volumes.Items) > 0 {
			err = fmt.Errorf("got %d volumes, want none", len(volumes.Items))
		}
		return err
	})
}

func (f *use) mariadb(t *testing.T) {
	p := restricted("maria", "mariadb", map[string]string{
		"MARIADB_ROOT_PASSWORD": `r'o\ot`, "MARIADB_USER": "alice", "MARIADB_PASSWORD": "pw", "MARIADB_DATABASE": "my-db",
	})
	p.Spec.Containers[0].ReadinessProbe = &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{
		Exec: &corev1.ExecAction{Command: []string{"mariadb", "--host=127.0.0.1", "--user=alice", "--password=pw", "--execute=create table if not exists t (i int)", "my-db"}},
	}}
	p = f.run(t, p)
	for _, addr := range []string{net.JoinHostPort(p.Status.PodIP, "3306"), f.serve(t, "maria", 3306, 3306)} {
		eventually(t, func() error {
			conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
			if err != nil {
				return err
			}
			defer conn.Close()
			_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
			// 3 bytes length, 1 byte sequence, 1 byte protocol, then the server's version.
			greeting := make([]byte, 60)
			_, err = io.ReadFull(conn, greeting)
			if err == nil && !bytes.Contains(greeting, []byte("MariaDB")) {
				err = fmt.Errorf("got greeting %q, want MariaDB's", greeting)
			}
			return err
		})
	}
	f.delete(t, "maria")
}

func (f *use) missingImage(t *testing.T) {
	p := restricted("nope", "quay.io/no/such:1", nil)
	p.Spec.SecurityContext.RunAsUser = new(int64(1000))
	f.create(t, p)
	f.until(t, "nope", func(p *corev1.Pod) bool {
		w := p.Status.ContainerStatuses
		return len(w) > 0 && w[0].State.Waiting != nil && strings.Contains(w[0].State.Waiting.Message, "not found")
	})
	f.delete(t, "nope")
}

func (f *use) names(t *testing.T) {
	p := restricted("asks", "busybox", nil)
	p.Spec.SecurityContext.RunAsUser = new(int64(1000))
	p.Spec.Containers[0].Command = []string{"sh", "-c", "wget -qO- http://hello/ && wget -qO- http://hello." + f.ns + ".svc.cluster.local/headers"}
	f.create(t, p)
	f.until(t, "asks", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodSucceeded })
}

// restricted returns a pod that the strictest Pod Security level takes.
func restricted(name, image string, env map[string]string) *corev1.Pod {
	c := corev1.Container{
		Name: "main", Image: image, ImagePullPolicy: corev1.PullAlways,
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: new(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
		Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m")},
			Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("512Mi")},
		},
	}
	for k, v := range env {
		c.Env = append(c.Env, corev1.EnvVar{Name: k, Value: v})
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": name}},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever, TerminationGracePeriodSeconds: new(int64(10)),
			AutomountServiceAccountToken: new(false), EnableServiceLinks: new(false),
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot: new(true), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Containers: []corev1.Container{c},
		},
	}
}

func (f *use) create(t *testing.T, p *corev1.Pod) {
	t.Helper()
	if _, err := f.client.CoreV1().Pods(f.ns).Create(t.Context(), p, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// run creates the pod and waits until it is ready.
func (f *use) run(t *testing.T, p *corev1.Pod) *corev1.Pod {
	t.Helper()
	f.create(t, p)
	return f.until(t, p.Name, func(p *corev1.Pod) bool {
		if p.Status.Phase == corev1.PodFailed {
			t.Fatalf("pod %s failed; its logs: %s", p.Name, f.logs(t, p.Name))
		}
		return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
		})
	})
}

func (f *use) until(t *testing.T, name string, reached func(*corev1.Pod) bool) *corev1.Pod {
	t.Helper()
	var pod *corev1.Pod
	eventually(t, func() (err error) {
		pod, err = f.client.CoreV1().Pods(f.ns).Get(t.Context(), name, metav1.GetOptions{})
		if err == nil && !reached(pod) {
			err = fmt.Errorf("pod is %+v, its logs: %s", pod.Status, f.logs(t, name))
		}
		return err
	})
	return pod
}

// logs returns the last lines of a pod's container, or why there are none.
func (f *use) logs(t *testing.T, name string) string {
	t.Helper()
	logs, err := f.client.CoreV1().Pods(f.ns).GetLogs(name, &corev1.PodLogOptions{TailLines: new(int64(20))}).DoRaw(t.Context())
	if err != nil {
		return err.Error()
	}
	return string(logs)
}

// serve makes a service for the pod of the same name and returns its address.
func (f *use) serve(t *testing.T, name string, port, target int32) string {
	t.Helper()
	svc, err := f.client.CoreV1().Services(f.ns).Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": name},
			Ports:    []corev1.ServicePort{{Port: port, TargetPort: intstr.FromInt32(target)}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort(svc.Spec.ClusterIP, strconv.Itoa(int(port)))
}

func (f *use) delete(t *testing.T, name string) {
	t.Helper()
	pods := f.client.CoreV1().Pods(f.ns)
	if err := pods.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if _, err := pods.Get(t.Context(), name, metav1.GetOptions{}); err == nil {
			return errors.New("the pod is still there")
		}
		return nil
	})
}

// repo is the checkout, seen from this package.
const repo = "../.."

// call runs cluster.sh and returns what it printed.
func call(t *testing.T, command string) string {
	t.Helper()
	start := time.Now()
	out, err := exec.Command(filepath.Join(repo, "deploy/cluster/cluster.sh"), command).CombinedOutput()
	t.Logf("%s took %.1f s:\n%s", command, time.Since(start).Seconds(), out)
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	return string(out)
}

func eventually(t *testing.T, f func() error) {
	t.Helper()
	if err := within(2*time.Minute, f); err != nil {
		t.Fatal(err)
	}
}

// snapshot describes everything of the machine that a cluster could change.
func snapshot(t *testing.T) map[string][]string {
	t.Helper()
	s := map[string][]string{
		"sysctls": machineSysctls(t),
		"mounts":  lines(t, "/proc/self/mounts"),
		"cgroups": cgroupDirs(),
	}
	for _, args := range []string{"-o link", "-o -4 address", "route show table all", "rule"} {
		out, err := exec.Command("ip", strings.Fields(args)...).Output()
		if err != nil {
			t.Fatal(err)
		}
		s["ip "+args] = sorted(strings.Split(string(out), "\n"))
	}
	// Without nft, or without the right to ask, there is nothing to compare.
	if out, err := exec.Command("nft", "list", "ruleset").Output(); err == nil {
		s["firewall"] = strings.Split(string(out), "\n")
	}
	ours := regexp.MustCompile(`container|kube|cni|etcd|podway|pods|netns|runc|calico`)
	for _, dir := range []string{"/run", "/run/netns", "/var/lib", "/var/log", "/var/run", "/etc", "/opt", "/usr/libexec", "/usr/local/bin"} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		for _, e := range entries {
			if ours.MatchString(e.Name()) {
				s["files"] = append(s["files"], filepath.Join(dir, e.Name()))
			}
		}
	}
	programs := regexp.MustCompile(`^(` + binDir + `/|(/usr/bin/)?containerd|/pause\x00)`)
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range all {
		if line, err := os.ReadFile(path); err == nil && programs.Match(line) {
			s["programs"] = append(s["programs"], string(line))
		}
	}
	slices.Sort(s["programs"])
	return s
}

// machineSysctls returns the settings that Kubernetes' programs are known to
// change.
func machineSysctls(t *testing.T) []string {
	t.Helper()
	names := []string{
		"net/ipv4/ip_forward", "net/bridge/bridge-nf-call-iptables", "net/ipv4/conf/all/route_localnet", "net/ipv4/vs/conntrack",
		"net/netfilter/nf_conntrack_max", "net/netfilter/nf_conntrack_tcp_timeout_established",
	}
	for name := range sysctls {
		names = append(names, name)
	}
	var values []string
	for _, name := range sorted(names) {
		b, err := os.ReadFile(filepath.Join("/proc/sys", name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		values = append(values, name+" = "+strings.TrimSpace(string(b)))
	}
	return values
}

func lines(t *testing.T, path string) []string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return sorted(strings.Split(string(b), "\n"))
}

func sorted(s []string) []string {
	slices.Sort(s)
	return s
}

func compare(t *testing.T, before, after map[string][]string) {
	t.Helper()
	for what := range before {
		for _, line := range after[what] {
			if !slices.Contains(before[what], line) {
				t.Errorf("%s: got %q, which was not there before", what, line)
			}
		}
		for _, line := range before[what] {
			if !slices.Contains(after[what], line) {
				t.Errorf("%s: %q is gone", what, line)
			}
		}
	}
	for _, what := range []string{"files", "programs", "cgroups"} {
		if len(before[what]) == 0 && len(after[what]) > 0 {
			t.Errorf("%s: got %v, want none", what, after[what])
		}
	}
}
