package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// outputDelay is how long the output of a command is awaited after its end, when
// something it started keeps that open.
const outputDelay = time.Second

// The exit codes of a command that can't be run, as a shell gives them.
const (
	exitNotExecutable = 126
	exitNotFound      = 127
)

// Exec implements [pods.Cluster]: it runs a command on this machine, with the
// environment, working folder and user of the pod. What the command leaves
// running is killed. A command that does not exist ends with 127, and says so on
// stderr. The error is the context's when that ended first.
func (c *Cluster) Exec(ctx context.Context, k pods.Key, argv []string, stdout, stderr io.Writer) (int, error) {
	if len(argv) == 0 {
		return 0, pods.Errorf(pods.Invalid, "commands: a command needs at least a program")
	}
	r, err := c.running(k)
	if err != nil {
		return 0, err
	}
	path, err := findCommand(argv[0], r.spec.Dir, lookup(r.spec.Env, "PATH"))
	if err != nil {
		return notRun(stderr, err)
	}
	// A command does not outlive the pod.
	both, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(r.ended, cancel)()

	// The kernel kills the command with the thread that started it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(both, path)
	cmd.Args = argv
	cmd.Env, cmd.Dir, cmd.SysProcAttr = r.spec.Env, r.spec.Dir, r.spec.User.sysProcAttr()
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.WaitDelay = outputDelay
	cmd.Cancel = func() error {
		kill(cmd.Process.Pid)
		return nil
	}
	if err := cmd.Start(); err != nil {
		return notRun(stderr, err)
	}
	err = cmd.Wait()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // fails if nothing is left of its group
	switch {
	case ctx.Err() != nil:
		return 0, fmt.Errorf("running a command: %w", ctx.Err())
	case both.Err() != nil:
		return 0, pods.Errorf(pods.NotFound, "pod %s stopped while the command ran", k.ID)
	}
	return exitCode(cmd.ProcessState, err)
}

// running returns the run of a pod whose program runs.
func (c *Cluster) running(k pods.Key) (*run, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.known[k]
	if p == nil || p.run == nil || p.obs.Phase != pods.PhaseRunning {
		return nil, pods.Errorf(pods.NotFound, "pod %s does not run", k.ID)
	}
	return p.run, nil
}

// notRun tells why a command was not run, as a shell does.
func notRun(stderr io.Writer, err error) (int, error) {
	if _, werr := fmt.Fprintln(stderr, err); werr != nil {
		return 0, fmt.Errorf("writing the error of a command: %w", werr)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return exitNotFound, nil
	}
	return exitNotExecutable, nil
}

// exitCode returns the exit code of an ended command: 128 and the signal for one
// that was killed.
func exitCode(st *os.ProcessState, err error) (int, error) {
	_, failed := errors.AsType[*exec.ExitError](err)
	switch {
	case err != nil && !failed && !errors.Is(err, exec.ErrWaitDelay):
		return 0, fmt.Errorf("reading the output of a command: %w", err)
	case st.Exited():
		return st.ExitCode(), nil
	}
	if ws, ok := st.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal()), nil
	}
	return st.ExitCode(), nil
}

// findCommand returns the path of a command: name itself, seen from dir, if it
// holds a slash, else the first executable file of that name in searchPath. The
// error is fs.ErrNotExist if there is none.
func findCommand(name, dir, searchPath string) (string, error) {
	if strings.Contains(name, "/") {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		return name, nil
	}
	for _, folder := range filepath.SplitList(searchPath) {
		path := filepath.Join(folder, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("finding the program %q in %s: %w", name, searchPath, fs.ErrNotExist)
}
