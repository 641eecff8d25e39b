//go:build e2e

package kube

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/controlplane/internal/pods/clustertest"
	"github.com/tapis-project/podway/tests/parts"
)

// realKubeconfig names a cluster with real nodes, whose pods and services this
// machine reaches, and the image busybox:1. `make cluster` starts one.
const realKubeconfig = "PODWAY_TEST_KUBECONFIG"

// realNodes returns options for a namespace of a cluster with real nodes, which is
// deleted with the test.
func realNodes(t *testing.T) Options {
	t.Helper()
	path := os.Getenv(realKubeconfig)
	if path == "" {
		t.Fatalf("%s names no cluster; `make e2e` starts one and runs this", realKubeconfig)
	}
	config, err := LoadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	admin, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	ns, err := admin.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "podway-conformance-", Labels: restricted},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := admin.CoreV1().Namespaces().Delete(context.Background(), ns.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	return Options{
		REST: config, Namespace: ns.Name, Unmanaged: true, PullPolicy: corev1.PullIfNotPresent,
		Images:    map[string]ImageRule{"docker.io/library/busybox": {User: 1000, Group: 1000}},
		ClaimSize: "10Mi", Grace: time.Second, // busybox does not mind being told to stop
	}
}

// busybox returns a workload that runs a shell script.
func busybox(id, script string) pods.Workload {
	w := workload(id, "busybox:1")
	w.Command = []string{"sh", "-c", script}
	w.Resources = pods.Resources{CPURequest: 10, CPULimit: 500, MemRequest: 16, MemLimit: 64}
	return w
}

// serving is a script that stays and accepts connections.
const serving = "echo hello from busybox; exec httpd -f -p 5000 -h /tmp"

// The suite once more, with real containers.
func TestConformanceOnRealNodes(t *testing.T) {
	o := realNodes(t)
	clustertest.Run(t, func(t *testing.T) clustertest.Setup {
		return clustertest.Setup{
			Cluster: open(t, o),
			Reopen:  func(t *testing.T) pods.Cluster { return open(t, o) },
			Serving: func() pods.Workload {
				w := busybox("", serving)
				w.VolumeMounts = map[string]pods.VolumeMount{"keep": {Type: typePVC, MountPath: "/keep"}}
				return w
			},
			Greeting:  "hello from busybox",
			Ending:    func(code int) pods.Workload { return busybox("", fmt.Sprintf("exit %d", code)) },
			Shell:     []string{"sh", "-c"},
			KeepDir:   "/keep",
			Reachable: true,
			Limit:     2 * limit,
		}
	})
}

// What depends on the words of a real kubelet and of real programs.
func TestRealContainers(t *testing.T) {
	c := open(t, realNodes(t))
	w := busybox("web", serving)
	w.Arguments = []string{"sh", "generated-user-web"}
	w.Env = map[string]string{"LITERAL": "$(HOME) $HOME", "KUBERNETES_SERVICE_HOST": "mine"}
	ready(t, c, w)

	exec := func(argv ...string) (code int, stdout, stderr string) {
		t.Helper()
		var out, errs bytes.Buffer
		code, err := c.Exec(t.Context(), w.Key, argv, &out, &errs)
		if err != nil {
			t.Fatalf("%q: %v", argv, err)
		}
		return code, out.String(), errs.String()
	}
	if code, _, stderr := exec("/no/such/program"); code != 127 || stderr == "" {
		t.Errorf("a program that is not there: got %d, %q", code, stderr)
	}
	if code, _, stderr := exec("/etc"); code != 126 || stderr == "" {
		t.Errorf("a folder as a program: got %d, %q", code, stderr)
	}
	if _, got, _ := exec("sh", "-c", `echo "$LITERAL|$KUBERNETES_SERVICE_HOST|$KUBERNETES_PORT|$PODWAY_USER_PASSWORD|$(id -u)"`); got != "$(HOME) $HOME|mine||generated-user-web|1000\n" {
		t.Errorf("the environment: got %q", got)
	}
	if _, got, _ := exec("sh", "-c", `tr "\\0" "|" < /proc/1/cmdline; ls /var/run/secrets 2>/dev/null`); !strings.HasPrefix(got, "httpd|") || strings.Contains(got, "secrets") {
		t.Errorf("the process: got %q", got)
	}

	const path, text = "/tmp/new folder/it's a \"file\"", "some text\n"
	for _, size := range []int64{int64(len(text)), -1} {
		if err := c.CopyTo(t.Context(), w.Key, path, size, strings.NewReader(text)); err != nil {
			t.Fatalf("CopyTo: %v", err)
		}
	}
	file, r, err := c.CopyFrom(t.Context(), w.Key, path)
	if err != nil {
		t.Fatalf("CopyFrom: %v", err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); string(got) != text || err != nil || file.Size != int64(len(text)) {
		t.Errorf("got %q, %+v, %v back, want %q", got, file, err, text)
	}
	list, err := c.ListFiles(t.Context(), w.Key, "/tmp/new folder")
	if err != nil || len(list) != 1 || list[0].Name != `it's a "file"` || list[0].Size != int64(len(text)) {
		t.Errorf("ListFiles: got %+v, %v", list, err)
	}
	for name, err := range map[string]error{
		"a missing file": copyFrom(t, c, w.Key, "/no/such/file"), "a missing folder": listFiles(t, c, w.Key, "/no/such"),
	} {
		if pods.ErrorCode(err) != pods.NotFound {
			t.Errorf("%s: got %v, want code not_found", name, err)
		}
	}
	if err := copyTo(t, c, w.Key, "/etc/passwd"); pods.ErrorCode(err) != pods.Invalid {
		t.Errorf("a file of root: got %v, want code invalid", err)
	}

	// Without the administrator's word, an image that wants to be root does not run.
	strict := c.Options
	strict.Images = nil
	other := open(t, strict)
	root := busybox("root", serving)
	applyTo(t, other, root)
	await(t, other, root.Key, "refused", func(o pods.Observation) bool {
		return o.Waiting == "CreateContainerConfigError" && strings.Contains(o.Message, "root")
	})

	// The log of a container that goes away is read as it was, or is not there.
	talker := busybox("talker", "i=0; while [ $i -lt 20 ]; do echo line $i; i=$((i+1)); done; exec httpd -f -p 5000 -h /tmp")
	ready(t, c, talker)
	all := numbered(20)
	parts.Eventually(t, limit, func() error {
		got, err := readLog(t, c, talker.Key, false)
		if err == nil && got != all {
			err = fmt.Errorf("got the log %q, want %q", got, all)
		}
		return err
	})
	if err := c.Remove(t.Context(), talker.Key); err != nil {
		t.Fatal(err)
	}
	reads := 0
	for gone := false; !gone; reads++ {
		o, err := c.Observe(t.Context(), talker.Key)
		if err != nil {
			t.Fatal(err)
		}
		gone = !o.Present
		got, err := readLog(t, c, talker.Key, false)
		if err == nil && got != all || err != nil && pods.ErrorCode(err) != pods.NotFound {
			t.Fatalf("reading %d: got %q, %v, want the lines of the container or code not_found", reads, got, err)
		}
	}
	t.Logf("the log was read %d times while the container ended", reads)

	// Ends that a node words itself.
	for _, test := range []struct {
		name string
		w    pods.Workload
		ok   func(pods.Observation) bool
	}{
		{"an image that is not there", workload("noimage", "podway/no-such-image:1"), func(o pods.Observation) bool {
			return strings.HasPrefix(o.Waiting, "ErrImage") || strings.HasPrefix(o.Waiting, "ImagePull")
		}},
		{"a command that is not there", func() pods.Workload {
			w := busybox("nocommand", "")
			w.Command = []string{"/no/such/program"}
			return w
		}(), func(o pods.Observation) bool { return o.Terminated != "" && o.ExitCode != 0 && o.Message != "" }},
		{"too much memory", busybox("memory", "tail /dev/zero"), func(o pods.Observation) bool { return o.Terminated == "OOMKilled" }},
	} {
		applyTo(t, c, test.w)
		o := await(t, c, test.w.Key, test.name, test.ok)
		t.Logf("%s: %s%s, exit code %d: %s", test.name, o.Waiting, o.Terminated, o.ExitCode, o.Message)
	}
}

// numbered returns the lines of a container that counts to n.
func numbered(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "line %d\n", i)
	}
	return b.String()
}
