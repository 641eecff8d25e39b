package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/apimachinery/pkg/util/httpstream/spdy"
	"k8s.io/apimachinery/pkg/util/remotecommand"

	"github.com/tapis-project/podway/tests/kubetest"
)

// greeting is what every container of a fake kubelet prints.
const greeting = "hello from the fake kubelet"

// keepVariable names the folder of a pod's first claim for commands.
const keepVariable = "KEEP_DIR"

// fakeKubelet is the part of fake nodes that the API server calls for logs and
// commands. Commands run on this machine, in a folder of the test.
type fakeKubelet struct {
	t      testing.TB
	server *kubetest.Server
	dir    string
	log    string // what a container printed
	reason string // why the rest of the log can't be read, "" if all can
}

// startKubelet gives nodes a kubelet.
func startKubelet(t testing.TB, s *kubetest.Server, nodes *kubetest.Nodes) *fakeKubelet {
	t.Helper()
	k := &fakeKubelet{t: t, server: s, dir: t.TempDir(), log: greeting + "\n"}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", k.logs)
	mux.HandleFunc("/exec/{namespace}/{pod}/{container}", k.exec)
	web := httptest.NewTLSServer(mux)
	t.Cleanup(web.CloseClientConnections)
	t.Cleanup(web.Close)
	_, port, err := net.SplitHostPort(web.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range nodes.Names() {
		patch := fmt.Sprintf(`{"status":{"daemonEndpoints":{"kubeletEndpoint":{"Port":%d}}}}`, n)
		_, err := s.Client().CoreV1().Nodes().Patch(t.Context(), name, "application/merge-patch+json", []byte(patch), metav1.PatchOptions{}, "status")
		if err != nil {
			t.Fatal(err)
		}
	}
	return k
}

// pod returns the pod that a request is about, nil if it is not there.
func (k *fakeKubelet) pod(r *http.Request) *corev1.Pod {
	p, err := k.server.Client().CoreV1().Pods(r.PathValue("namespace")).Get(r.Context(), r.PathValue("pod"), metav1.GetOptions{})
	if err != nil {
		return nil
	}
	return p
}

func (k *fakeKubelet) logs(w http.ResponseWriter, r *http.Request) {
	p := k.pod(r)
	if p == nil {
		http.Error(w, "no such pod", http.StatusNotFound)
		return
	}
	if r.FormValue("timestamps") != "true" {
		http.Error(w, "without times the reason is taken for output", http.StatusBadRequest)
		return
	}
	for line := range strings.Lines(k.log) {
		_, _ = io.WriteString(w, "2026-11-22T09:15:42.929000000Z "+line)
	}
	if k.reason != "" || r.FormValue("follow") != "true" {
		_, _ = io.WriteString(w, k.reason) // as kubelets do, after status 200
		return
	}
	_ = http.NewResponseController(w).Flush()
	for r.Context().Err() == nil {
		now := k.pod(r)
		if now == nil || now.UID != p.UID || now.DeletionTimestamp != nil || now.Status.Phase != corev1.PodRunning {
			return
		}
		wait(r.Context(), 20*time.Millisecond)
	}
}

// streams are the connections of one command.
type streams struct {
	stdin                 io.Reader
	stdout, stderr, error httpstream.Stream
}

func (k *fakeKubelet) exec(w http.ResponseWriter, r *http.Request) {
	p := k.pod(r)
	if p == nil {
		http.Error(w, "no such pod", http.StatusNotFound)
		return
	}
	if _, err := httpstream.Handshake(r, w, []string{remotecommand.StreamProtocolV4Name}); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	opened := make(chan httpstream.Stream, 4)
	conn := spdy.NewResponseUpgrader().UpgradeResponse(w, r, func(s httpstream.Stream, _ <-chan struct{}) error {
		opened <- s
		return nil
	})
	if conn == nil {
		return
	}
	defer conn.Close()
	wanted := 1
	for _, name := range []string{"input", "output", "error"} {
		if r.FormValue(name) == "1" {
			wanted++
		}
	}
	var s streams
	for range wanted {
		one := <-opened
		switch one.Headers().Get(corev1.StreamType) {
		case corev1.StreamTypeStdin:
			s.stdin = one
		case corev1.StreamTypeStdout:
			s.stdout = one
		case corev1.StreamTypeStderr:
			s.stderr = one
		case corev1.StreamTypeError:
			s.error = one
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		<-conn.CloseChan()
		cancel()
	}()
	status := k.run(ctx, p, r.URL.Query()["command"], s)
	b, _ := json.Marshal(status)
	_, _ = s.error.Write(b)
	for _, one := range []httpstream.Stream{s.error, s.stdout, s.stderr} {
		_ = one.Close()
	}
	select { // the client closes when it has read all
	case <-conn.CloseChan():
	case <-time.After(limit):
	}
}

// run runs a command and returns the status as a kubelet tells it.
func (k *fakeKubelet) run(ctx context.Context, p *corev1.Pod, argv []string, s streams) metav1.Status {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), keepVariable+"="+k.claimDir(p), "LC_ALL=C")
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = s.stdout, s.stderr, time.Second
	if s.stdin != nil {
		in, err := cmd.StdinPipe()
		if err != nil {
			return failure(err)
		}
		go func() {
			_, _ = io.Copy(in, s.stdin)
			in.Close()
		}()
	}
	err := cmd.Run()
	if err == nil {
		return metav1.Status{Status: metav1.StatusSuccess}
	}
	ended, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return failure(err)
	}
	return metav1.Status{
		Status: metav1.StatusFailure, Reason: remotecommand.NonZeroExitCodeReason,
		Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{{
			Type: remotecommand.ExitCodeCauseType, Message: strconv.Itoa(ended.ExitCode()),
		}}},
		Message: "command terminated with non-zero exit code: " + err.Error(),
	}
}

// failure is what a kubelet tells of a command that can't be started.
func failure(err error) metav1.Status {
	text := strings.Replace(err.Error(), "exec:", "OCI runtime exec failed: exec failed: unable to start container process: exec:", 1)
	return apierrors.NewInternalError(fmt.Errorf("error executing command in container: %s", text)).ErrStatus
}

// claimDir returns the folder of a pod's first claim, "" without one.
func (k *fakeKubelet) claimDir(p *corev1.Pod) string {
	for _, v := range p.Spec.Volumes {
		if v.PersistentVolumeClaim == nil {
			continue
		}
		claim, err := k.server.Client().CoreV1().PersistentVolumeClaims(p.Namespace).Get(context.Background(), v.PersistentVolumeClaim.ClaimName, metav1.GetOptions{})
		if err != nil {
			return ""
		}
		dir := filepath.Join(k.dir, string(claim.UID))
		_ = os.MkdirAll(dir, 0o700)
		return dir
	}
	return ""
}
