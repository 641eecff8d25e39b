package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/util/exec"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// The exit codes of a command that can't be run, as a shell gives them.
const (
	exitNotExecutable = 126
	exitNotFound      = 127
)

// Exec implements [pods.Cluster]. A command that does not exist ends with 127, and
// says so on stderr. When ctx ends, Exec returns; whether the command goes on in
// the container is up to the container runtime.
func (c *Cluster) Exec(ctx context.Context, k pods.Key, argv []string, stdout, stderr io.Writer) (int, error) {
	return c.exec(ctx, k, argv, remotecommand.StreamOptions{Stdout: stdout, Stderr: stderr})
}

// exec runs a command with the given streams. Stdout and Stderr are required.
func (c *Cluster) exec(ctx context.Context, k pods.Key, argv []string, streams remotecommand.StreamOptions) (int, error) {
	if len(argv) == 0 {
		return 0, pods.Errorf(pods.Invalid, "commands: a command needs at least a program")
	}
	if err := c.ready(); err != nil {
		return 0, err
	}
	p := c.runningPod(k)
	if p == nil {
		return 0, errNotRunning(k)
	}
	executor, err := c.executor(p, &corev1.PodExecOptions{
		Container: p.Name, Command: argv, Stdin: streams.Stdin != nil, Stdout: true, Stderr: true,
	})
	if err != nil {
		return 0, err
	}
	return c.outcome(ctx, k, executor.StreamWithContext(ctx, streams), streams.Stderr)
}

func errNotRunning(k pods.Key) error { return pods.Errorf(pods.NotFound, "pod %s does not run", k.ID) }

// runningPod returns the pod of a key if its container runs, else nil.
func (c *Cluster) runningPod(k pods.Key) *corev1.Pod {
	if o := c.observation(k); o.Phase != pods.PhaseRunning || o.Terminated != "" {
		return nil
	}
	return observer{view: c.memory.view(k)}.pod()
}

// executor opens streams by WebSocket, or by SPDY where something on the way does
// not let that pass.
func (c *Cluster) executor(p *corev1.Pod, o *corev1.PodExecOptions) (remotecommand.Executor, error) {
	url := c.client.CoreV1().RESTClient().Post().Resource("pods").Namespace(p.Namespace).Name(p.Name).SubResource("exec").
		VersionedParams(o, scheme.ParameterCodec).URL()
	ws, err := remotecommand.NewWebSocketExecutor(c.config, "GET", url.String())
	if err != nil {
		return nil, fmt.Errorf("preparing a command: %w", err)
	}
	spdy, err := remotecommand.NewSPDYExecutor(c.config, "POST", url)
	if err != nil {
		return nil, fmt.Errorf("preparing a command: %w", err)
	}
	both, err := remotecommand.NewFallbackExecutor(ws, spdy, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
	if err != nil {
		return nil, fmt.Errorf("preparing a command: %w", err)
	}
	return both, nil
}

// outcome tells how a command ended.
func (c *Cluster) outcome(ctx context.Context, k pods.Key, err error, stderr io.Writer) (int, error) {
	if err == nil {
		return 0, nil
	}
	if ctx.Err() != nil {
		return 0, fmt.Errorf("running a command: %w", ctx.Err())
	}
	if ended, ok := errors.AsType[exec.CodeExitError](err); ok {
		return ended.Code, nil
	}
	if code := notRun(err); code != 0 {
		if _, werr := fmt.Fprintln(stderr, err); werr != nil {
			return 0, fmt.Errorf("writing the error of a command: %w", werr)
		}
		return code, nil
	}
	if apierrors.IsNotFound(err) || c.runningPod(k) == nil {
		return 0, pods.Errorf(pods.NotFound, "pod %s stopped while the command ran", k.ID)
	}
	return 0, apiError(ctx, "running a command", err)
}

// notRun returns the exit code for a command that the container runtime could not
// start; 0 if it is not that. It has no other sign than the text.
func notRun(err error) int {
	text := err.Error()
	if !strings.Contains(text, "exec") {
		return 0
	}
	for _, sign := range []string{"executable file not found", "no such file or directory"} {
		if strings.Contains(text, sign) {
			return exitNotFound
		}
	}
	if strings.Contains(text, "permission denied") {
		return exitNotExecutable
	}
	return 0
}
