// Package operations runs what operators run, against a whole installation: the
// control plane with a store of its own, a Redis, and an edge.
package operations

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/tests/parts"
	"github.com/tapis-project/podway/tests/system"
)

func TestMain(m *testing.M) { system.Main(m) }

// host is the host name of a pod. The base URL of the tenant is that of the Tapis.
func host(pod string) string { return pod + ".pods.localhost" }

// limit is for things that take seconds, on a machine that is busy.
const limit = 60 * time.Second

// installation is a control plane, `podway serve`, with an edge.
type installation struct {
	t       *testing.T
	sys     *system.System // serves as the Tapis
	dir     string
	env     []string
	redis   *redis.Client
	replica *system.Replica
	user    system.User
	web     *http.Client // reaches pods
	edge    *exec.Cmd
}

func install(t *testing.T) *installation {
	t.Helper()
	i := &installation{t: t, sys: system.Start(t), dir: t.TempDir()}
	t.Cleanup(i.endPods)
	server := parts.StartRedis(t)
	i.redis = redis.NewClient(&redis.Options{Addr: server.Addr})
	t.Cleanup(func() { _ = i.redis.Close() })
	i.env = []string{
		"PODWAY_STORE=sqlite:" + filepath.Join(i.dir, "podway.db"), "PODWAY_REDIS_URL=redis://" + server.Addr,
		"PODWAY_KEY_FILE=" + filepath.Join(i.dir, "podway.key"), "PODWAY_STATE_DIR=" + i.dir, "PODWAY_TAPIS_URL=" + i.sys.BaseURL(),
	}
	i.replica = i.sys.NewReplica(i.dir, i.env...)
	i.env = append(i.env, "PODWAY_LISTEN=127.0.0.1:"+strconv.Itoa(i.replica.Port))
	i.replica.Start()
	i.replica.WaitReady()
	i.user = i.replica.As(i.sys.Login("testuser"))
	i.startEdge()
	return i
}

// endPods ends the pods, which outlive a control plane that ends, and checks that no
// process is left. It runs after all else has ended.
func (i *installation) endPods() {
	i.t.Helper()
	// The command cleans what podway dev has locked once.
	if err := os.WriteFile(filepath.Join(i.dir, "lock"), nil, 0o600); err != nil {
		i.t.Fatal(err)
	}
	cmd := exec.Command(system.Program(i.t, "controlplane"), "dev", "--clean")
	cmd.Env = append(os.Environ(), "PODWAY_STATE_DIR="+i.dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		i.t.Errorf("ending the pods: %v\n%s", err, out)
	}
	if left := processesOf(i.dir); len(left) > 0 {
		i.t.Errorf("got processes that are left %q, want none", left)
	}
}

// processesOf returns the command lines of the processes that were started for a
// folder: it is among their arguments, or they work in it.
func processesOf(dir string) []string {
	var found []string
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range processes {
		line, _ := os.ReadFile(filepath.Join(p, "cmdline")) // it may have ended
		cwd, _ := os.Readlink(filepath.Join(p, "cwd"))
		if bytes.Contains(line, []byte(dir)) || strings.HasPrefix(cwd, dir) {
			found = append(found, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}

func TestProcessesOfAFolderAreFound(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "sleep", "60")
	cmd.Dir = dir
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	parts.Eventually(t, limit, func() error {
		if got := processesOf(dir); len(got) != 1 {
			return fmt.Errorf("got %q, want one process", got)
		}
		return nil
	})
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if got := processesOf(dir); len(got) != 0 {
		t.Errorf("got %q, want none", got)
	}
}

// startEdge starts an edge that follows the Redis of the installation.
func (i *installation) startEdge() {
	i.t.Helper()
	cmd := system.EdgeCommand(i.t)
	env := os.Environ()
	for name, value := range i.sys.EdgeEnv() {
		env = append(env, name+"="+value)
	}
	cmd.Env = append(append(env, i.env...), "PODWAY_EDGE_CERTIFICATES=*."+strings.TrimPrefix(host(""), "."))
	if err := cmd.Start(); err != nil {
		i.t.Fatal(err)
	}
	i.edge = cmd
	i.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	parts.Eventually(i.t, limit, func() error {
		pem, err := os.ReadFile(i.sys.CAFile())
		if err != nil {
			return err
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(pem)
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(i.sys.EdgePort))
		i.web = &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", addr)
			},
		}}
		return nil
	})
}

// try runs a command of podway in the environment of the installation.
func (i *installation) try(args ...string) (string, error) {
	i.t.Helper()
	cmd := exec.CommandContext(i.t.Context(), system.Program(i.t, "controlplane"), args...)
	cmd.Env = append(os.Environ(), i.env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

func (i *installation) podway(args ...string) string {
	i.t.Helper()
	out, err := i.try(args...)
	if err != nil {
		i.t.Fatalf("podway %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// get asks a pod for its front page.
func (i *installation) get(pod string) error {
	resp, err := i.web.Get("https://" + host(pod) + "/")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

// serves waits until a pod answers through the edge.
func (i *installation) serves(pod string) {
	i.t.Helper()
	parts.Eventually(i.t, limit, func() error { return i.get(pod) })
}

func (i *installation) create(pod string) {
	i.t.Helper()
	i.user.Call(http.MethodPost, "/v3/pods", fmt.Sprintf(`{"pod_id":%q,"image":"podway/hello"}`, pod))
	i.user.WaitStatus(pod, "AVAILABLE")
	if a := i.user.Call(http.MethodGet, "/v3/pods/"+pod, ""); !strings.Contains(string(a.Result), host(pod)) {
		i.t.Fatalf("got %s, want the host %s in it", a.Result, host(pod))
	}
	i.serves(pod)
}

// faults are those that podway doctor finds.
func (i *installation) faults(args ...string) []string {
	i.t.Helper()
	out, _ := i.try(append([]string{"doctor", "--json"}, args...)...) // exit code 1 tells of faults
	var report struct {
		Findings []struct{ Fault, Subject, Found string }
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		i.t.Fatalf("reading the report: %v\n%s", err, out)
	}
	var names []string
	for _, f := range report.Findings {
		if f.Fault != "" {
			names = append(names, f.Fault)
		}
	}
	return names
}

func (i *installation) wantFaults(args []string, want ...string) {
	i.t.Helper()
	parts.Eventually(i.t, limit, func() error {
		if got := i.faults(args...); !slices.Equal(got, want) {
			return fmt.Errorf("got faults %v, want %v", got, want)
		}
		return nil
	})
}

func TestDoctorAndAdmin(t *testing.T) {
	i := install(t)
	i.create("web")
	reach := func(host, protocol string) []string {
		return []string{"--host", host, "--protocol", protocol, "--edge", "127.0.0.1", "--port", strconv.Itoa(i.sys.EdgePort), "--ca", i.sys.CAFile()}
	}
	i.wantFaults(reach(host("web"), "http"))
	i.wantFaults(reach(host("nobody"), "http"), "unknown_name")
	i.wantFaults(reach(host("web"), "http")[:8], "certificate_untrusted")

	for _, want := range []string{"ready", "EDGE"} {
		if out := i.podway("admin", "edges"); !strings.Contains(out, want) {
			t.Errorf("got %q, want %q in it", out, want)
		}
	}
	name := i.edgeName()
	for _, args := range [][]string{{"admin", "routes"}, {"admin", "routes", host("web")}, {"admin", "routes", "--edge", name}} {
		if out := i.podway(args...); !strings.Contains(out, host("web")) {
			t.Errorf("podway %v: got %q, want the host in it", args, out)
		}
	}
	i.kick()

	if out := i.podway("admin", "drain", "--edge", name); !strings.Contains(out, "accepts no more connections") {
		t.Errorf("got %q, want that it is drained", out)
	}
	parts.Eventually(t, limit, func() error {
		if i.get("web") == nil {
			return errors.New("it still accepts connections")
		}
		return nil
	})
	i.wantFaults(nil, "edge_draining")
	if _, err := i.try("admin", "drain"); err == nil {
		t.Error("an edge is drained that nobody named")
	}

	// A certain death.
	_ = i.edge.Process.Kill()
	i.wantFaults(nil, "edge_silent")
}

// edgeName is the name of the only edge.
func (i *installation) edgeName() string {
	i.t.Helper()
	var edges []struct{ Edge string }
	if err := json.Unmarshal([]byte(i.podway("admin", "edges", "--json")), &edges); err != nil || len(edges) != 1 {
		i.t.Fatalf("got %v, %v, want one edge", edges, err)
	}
	return edges[0].Edge
}

// kick ends a session that an admin sees.
func (i *installation) kick() {
	i.t.Helper()
	i.user.Call(http.MethodPost, "/v3/pods", `{"pod_id":"echo","image":"podway/hello","networking":{"default":{"protocol":"tcp","port":5001}}}`)
	i.user.WaitStatus("echo", "AVAILABLE")
	config := i.web.Transport.(*http.Transport).TLSClientConfig.Clone()
	config.ServerName = host("echo")
	var conn net.Conn
	parts.Eventually(i.t, limit, func() (err error) {
		d := tls.Dialer{Config: config}
		conn, err = d.DialContext(i.t.Context(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(i.sys.EdgePort)))
		if err != nil {
			return err
		}
		// The edge greets before it refuses a pod that does not listen yet.
		_ = conn.SetDeadline(time.Now().Add(limit))
		if _, err = conn.Write([]byte("x")); err == nil {
			_, err = conn.Read(make([]byte, 1))
		}
		if err != nil {
			conn.Close()
		}
		return err
	})
	defer conn.Close()
	parts.Eventually(i.t, limit, func() error {
		if out := i.podway("admin", "sessions", "--host", host("echo")); !strings.Contains(out, host("echo")) {
			return fmt.Errorf("got %q, want the session", out)
		}
		return nil
	})
	if out := i.podway("admin", "kick", "--host", host("echo")); !strings.Contains(out, "ended 1 sessions") {
		i.t.Errorf("got %q, want one session", out)
	}
	_ = conn.SetReadDeadline(time.Now().Add(limit))
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		i.t.Errorf("got %v, want that the session has ended", err)
	}
}

func TestAfterARestoreEverythingServesAgain(t *testing.T) {
	i := install(t)
	i.create("web")
	before := string(i.user.Call(http.MethodGet, "/v3/pods/web/credentials", "").Result)
	file := filepath.Join(t.TempDir(), "backup.tar.gz")
	if out := i.podway("backup", file); !strings.Contains(out, "written and checked") || !strings.Contains(out, "needs the keys") {
		t.Errorf("got %q, want that it is checked, and which keys it needs", out)
	}
	i.podway("backup", "--check", file)
	if _, err := i.try("backup", file); err == nil {
		t.Error("a backup is written over")
	}

	// With Redis alone wiped, nobody notices.
	stop := i.keepAsking("web")
	begun := time.Now()
	if err := i.redis.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	i.wantFaults(nil)
	stop()
	t.Logf("all was published again %v after Redis lost it", time.Since(begun).Round(time.Millisecond))

	// Without its control plane, the store and Redis.
	stop = i.keepAsking("web")
	i.replica.Kill()
	for _, suffix := range []string{"", "-wal", "-shm", ".lock"} {
		_ = os.Remove(filepath.Join(i.dir, "podway.db"+suffix))
	}
	if err := i.redis.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	begun = time.Now()
	if out := i.podway("restore", file); !strings.Contains(out, "is restored") {
		t.Errorf("got %q, want that it is restored", out)
	}
	i.replica.Start()
	i.replica.WaitReady()
	i.user.WaitStatus("web", "AVAILABLE")
	i.wantFaults(nil)
	t.Logf("store and routes were back %v after the restore began", time.Since(begun).Round(time.Millisecond))
	stop()
	i.serves("web")
	if after := string(i.user.Call(http.MethodGet, "/v3/pods/web/credentials", "").Result); after != before {
		t.Error("the credentials of the pod are others than before")
	}
	i.create("other")
}

// keepAsking asks a pod for its front page until stop is called, which fails the test
// if any of the requests failed.
func (i *installation) keepAsking(pod string) (stop func()) {
	var asked, failed atomic.Int64
	var last atomic.Value
	ctx, cancel := context.WithCancel(i.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			asked.Add(1)
			if err := i.get(pod); err != nil {
				failed.Add(1)
				last.Store(err.Error())
			}
		}
	}()
	return func() {
		i.t.Helper()
		cancel()
		<-done
		i.t.Logf("%d requests", asked.Load())
		if n := failed.Load(); n > 0 {
			i.t.Errorf("got %d failures of %d requests, want none: %v", n, asked.Load(), last.Load())
		}
	}
}
