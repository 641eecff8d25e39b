package local

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tapis-project/podway/controlplane/internal/local/hello"
	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/tests/parts"
)

// limit bounds the wait for anything, on a machine that does much else.
const limit = 60 * time.Second

// testDirPrefix begins the names of this test process' state folders.
var testDirPrefix = fmt.Sprintf("podway-test-local-%d-", os.Getpid())

// TestMain lets the test program stand in for podway: the cluster starts its
// subcommands.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case ShimCommand:
			exit(ShimMain(os.Args[2:]))
		case HelloCommand:
			exit(hello.Main(os.Args[2:]))
		case "stubborn":
			exit(stubborn())
		}
	}
	catalogue = append(catalogue, image{name: "test/stubborn", plan: planStubborn})
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if left := ownProcesses(); len(left) > 0 && code == 0 {
		fmt.Fprintln(os.Stderr, "processes are left:", left)
		code = 1
	}
	os.Exit(code)
}

// exit ends the process without the second that the race detector's os.Exit
// takes.
func exit(code int) { syscall.Exit(code) }

func planStubborn(_ image, _ pods.Workload, p place) (plan, error) {
	return plan{main: command{Argv: []string{p.self, "stubborn"}}, stop: syscall.SIGTERM}, nil
}

// stubborn is a program that is hard to stop: it ignores the wish, and has a
// child in a session of its own.
func stubborn() int {
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT)
	child := exec.Command("sleep", "600")
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := child.Start(); err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("stubborn: child", child.Process.Pid)
	select {}
}

// open opens a cluster that is closed with the test.
func open(t *testing.T, dir string) *Cluster {
	t.Helper()
	return openWith(t, Options{Dir: dir})
}

func openWith(t *testing.T, o Options) *Cluster {
	t.Helper()
	if o.Self == "" {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		o.Self = self
	}
	c, err := Open(o)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(c.Close)
	return c
}

// stateDir returns a folder for the state that other users can pass through,
// and stops what was left running there.
func stateDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", testDirPrefix) //nolint:usetesting // t.TempDir of root keeps others out
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c, err := Open(Options{Dir: dir, Self: "/nowhere"})
		if err != nil {
			t.Fatalf("Open to clean up: %v", err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		if err := c.StopAll(ctx); err != nil {
			t.Errorf("StopAll to clean up: %v", err)
		}
		for _, p := range c.all() {
			if log := logText(c, p.meta.key()); strings.Contains(log, "DATA RACE") || strings.Contains(log, "panic:") {
				t.Errorf("pod %s has this in its log:\n%s", p.meta.ID, log)
			}
			if err := c.Purge(ctx, p.meta.key()); err != nil {
				t.Errorf("Purge to clean up: %v", err)
			}
		}
		c.Close()
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("removing the state: %v", err)
		}
	})
	return dir
}

// workload returns a pod of tenant dev with one http entry.
func workload(id, image string) pods.Workload {
	return pods.Workload{
		Key: pods.Key{Tenant: "dev", ID: pods.ID(id)}, UID: "uid-of-" + id, Site: "dev", Image: image,
		Ports:       map[string]pods.Port{"default": {Protocol: pods.NetHTTP, Number: 5000}},
		Credentials: pods.Credentials{UserUsername: id, UserPassword: "generated-" + id},
	}
}

func apply(t *testing.T, c *Cluster, w pods.Workload) {
	t.Helper()
	if err := c.Apply(t.Context(), w); err != nil {
		t.Fatalf("Apply: %v", err)
	}
}

// await waits until the observation of a pod is as wanted, and returns it.
func await(t *testing.T, c *Cluster, k pods.Key, what string, ok func(pods.Observation) bool) pods.Observation {
	t.Helper()
	var o pods.Observation
	parts.Eventually(t, limit, func() error {
		if o, _ = c.Observe(t.Context(), k); ok(o) {
			return nil
		}
		return fmt.Errorf("got %#v, want %s; log:\n%s", o, what, logText(c, k))
	})
	return o
}

func isReady(o pods.Observation) bool      { return o.Ready }
func isTerminated(o pods.Observation) bool { return o.Terminated != "" }
func isAbsent(o pods.Observation) bool     { return !o.Present }
func isNothing(o pods.Observation) bool    { return !o.Present && !o.Retained }

// ready applies a workload and waits until it is ready.
func ready(t *testing.T, c *Cluster, w pods.Workload) pods.Observation {
	t.Helper()
	apply(t, c, w)
	return await(t, c, w.Key, "ready", isReady)
}

func logText(c *Cluster, k pods.Key) string {
	r, err := c.Logs(context.Background(), k, false)
	if err != nil {
		return err.Error()
	}
	defer r.Close()
	b, _ := io.ReadAll(r)
	return string(b)
}

// shimState returns what the shim of a pod reported.
func shimState(t *testing.T, c *Cluster, k pods.Key) state {
	t.Helper()
	st, err := readJSON[state](c.pod(k).folder.run().state())
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// gone reports whether a process has ended.
func gone(pid int) bool {
	return syscall.Kill(pid, 0) != nil || isZombie(pid)
}

func awaitGone(t *testing.T, what string, pid int) {
	t.Helper()
	parts.Eventually(t, limit, func() error {
		if gone(pid) {
			return nil
		}
		return fmt.Errorf("%s, process %d, still runs", what, pid)
	})
}

// files lists what is below a folder, and below the machine's temporary folder
// for a pod.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if rel := strings.TrimPrefix(path, dir); rel != "" {
			found = append(found, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
