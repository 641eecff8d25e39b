// Package parts starts the real servers that tests run against: Redis and
// PostgreSQL from the machine's packages, on loopback, on free ports, stopped
// with the test.
//
// `make test` installs them. Where they are missing a test is skipped, unless
// PODWAY_TEST_PARTS=required is set, as `make test` does: then it fails.
package parts

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Require returns the path of the first program that exists, of names or
// absolute glob patterns, and skips or fails the test if none does.
func Require(t testing.TB, names ...string) string {
	t.Helper()
	for _, n := range names {
		if filepath.IsAbs(n) {
			if m, _ := filepath.Glob(n); len(m) > 0 {
				slices.Sort(m)
				return m[len(m)-1]
			}
			continue
		}
		if p, err := exec.LookPath(n); err == nil {
			return p
		}
	}
	msg := fmt.Sprintf("%s is not installed; `make test` installs what tests need", strings.Join(names, " or "))
	if os.Getenv("PODWAY_TEST_PARTS") == "required" {
		t.Fatal(msg)
	}
	t.Skip(msg)
	return ""
}

// FreePort returns a TCP port that was free on 127.0.0.1 a moment ago.
func FreePort(t testing.TB) int {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("finding a free port: %v", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// Eventually calls f every 10 ms until it returns nil, and fails the test with
// its last error when that takes longer than limit.
func Eventually(t testing.TB, limit time.Duration, f func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not reached within %v: %v", limit, err)
		}
		<-tick.C
	}
}

// Redis is a real Redis server.
type Redis struct {
	Addr string // 127.0.0.1:port
	Dir  string
	Args []string // more arguments, for Start

	t    testing.TB
	bin  string
	port int
	cmd  *exec.Cmd
	done chan struct{}
}

// StartRedis starts an empty Redis without persistence. Arguments are added to
// its command line.
func StartRedis(t testing.TB, args ...string) *Redis {
	t.Helper()
	r := &Redis{t: t, bin: Require(t, "redis-server"), port: FreePort(t), Dir: t.TempDir(), Args: args}
	r.Addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(r.port))
	r.Start()
	t.Cleanup(r.Kill)
	return r
}

// Start starts the server again after Kill, on the same port and, without
// persistence, empty.
func (r *Redis) Start() {
	r.t.Helper()
	args := append([]string{
		"--bind", "127.0.0.1", "--port", strconv.Itoa(r.port),
		"--save", "", "--appendonly", "no", "--dir", r.Dir, "--daemonize", "no", "--repl-diskless-sync-delay", "0",
	}, r.Args...)
	r.cmd, r.done = run(r.t, r.bin, args, nil)
	waitTCP(r.t, r.Addr, r.done)
}

// Kill ends the server with SIGKILL and waits for its end. It is safe to call twice.
func (r *Redis) Kill() {
	if r.cmd == nil {
		return
	}
	_ = r.cmd.Process.Kill()
	<-r.done
	r.cmd = nil
}

// Postgres is a real PostgreSQL server that trusts every local connection.
type Postgres struct {
	Port int
	// DSN of the database "postgres" as superuser "postgres".
	DSN string
}

// StartPostgres makes a cluster in a folder of its own and starts it.
func StartPostgres(t testing.TB, settings ...string) *Postgres {
	t.Helper()
	initdb := Require(t, "/usr/lib/postgresql/*/bin/initdb", "initdb")
	bin := filepath.Dir(initdb)

	// PostgreSQL refuses to run as root, and its data folder must be reachable
	// by the user it runs as, which t.TempDir of root is not.
	dir, err := os.MkdirTemp("/tmp", "podway-test-pg-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	cred := postgresUser(t, dir)

	data := filepath.Join(dir, "data")
	init := exec.CommandContext(t.Context(), initdb, "-D", data, "-A", "trust", "-U", "postgres", "--no-sync")
	init.Dir = dir
	init.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
	if out, err := init.CombinedOutput(); err != nil {
		t.Fatalf("running initdb: %v\n%s", err, out)
	}

	port := FreePort(t)
	args := []string{
		"-D", data, "-c", "listen_addresses=127.0.0.1", "-p", strconv.Itoa(port),
		"-c", "unix_socket_directories=" + dir, "-c", "fsync=off", "-c", "log_min_messages=fatal",
	}
	for _, s := range settings {
		args = append(args, "-c", s)
	}
	cmd, done := run(t, filepath.Join(bin, "postgres"), args, cred)
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGQUIT) // immediate shutdown; the data is thrown away
		<-done
	})
	waitTCP(t, net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), done)
	Eventually(t, 30*time.Second, func() error { // it listens before it serves
		return exec.CommandContext(t.Context(), filepath.Join(bin, "pg_isready"), "-q", "-h", "127.0.0.1", "-p", strconv.Itoa(port)).Run()
	})
	return &Postgres{
		Port: port,
		DSN:  fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", port),
	}
}

// postgresUser gives dir to the user PostgreSQL shall run as: nil, the caller,
// unless that is root.
func postgresUser(t testing.TB, dir string) *syscall.Credential {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		u, err = user.Lookup("nobody")
	}
	if err != nil {
		t.Fatalf("finding a user for PostgreSQL, which refuses to run as root: %v", err)
	}
	uid, _ := strconv.ParseUint(u.Uid, 10, 32)
	gid, _ := strconv.ParseUint(u.Gid, 10, 32)
	if err := os.Chown(dir, int(uid), int(gid)); err != nil {
		t.Fatal(err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// run starts a server; done is closed at its end. Its output goes to the test's
// log if the test fails.
func run(t testing.TB, bin string, args []string, cred *syscall.Credential) (*exec.Cmd, chan struct{}) {
	t.Helper()
	// Not CommandContext: t.Context ends before cleanups run, and an orderly
	// shutdown is theirs to do.
	cmd := exec.Command(bin, args...)
	var out Output
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred, Pdeathsig: syscall.SIGKILL}
	cmd.Dir = "/"
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", bin, err)
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(done)
	}()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("output of %s:\n%s", filepath.Base(bin), out.end())
		}
	})
	return cmd, done
}

func waitTCP(t testing.TB, addr string, done <-chan struct{}) {
	t.Helper()
	Eventually(t, 30*time.Second, func() error {
		select {
		case <-done:
			t.Fatalf("the server for %s ended before it was ready", addr)
		default:
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		return errors.Join(err, closeIf(c))
	})
}

func closeIf(c net.Conn) error {
	if c == nil {
		return nil
	}
	return c.Close()
}
