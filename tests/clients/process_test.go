package clients

import (
	"bufio"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/tapis-project/podway/tests/parts"
)

// start starts a program that runs until the end of the test, and returns what is
// closed when it ended.
func start(t *testing.T, cmd *exec.Cmd) (ended <-chan struct{}) {
	t.Helper()
	log := new(parts.Output)
	if cmd.Stdout == nil {
		cmd.Stdout = log
	}
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(done)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-done:
		case <-time.After(limit):
			t.Errorf("%s did not end within %v of SIGTERM", cmd.Path, limit)
			_ = cmd.Process.Kill()
			<-done
		}
		if t.Failed() {
			t.Logf("output of %s:\n%s", filepath.Base(cmd.Path), log)
		}
	})
	return done
}

// serve starts a server that prints the address it serves, and returns that.
func serve(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	if _, err := cmd.StdinPipe(); err != nil { // open as long as this test runs
		t.Fatal(err)
	}
	r, w := io.Pipe()
	cmd.Stdout = w
	ended := start(t, cmd)
	t.Cleanup(func() { w.Close() })

	lines := make(chan string, 1)
	go func() {
		s := bufio.NewScanner(r)
		if s.Scan() {
			lines <- s.Text()
		}
		_, _ = io.Copy(io.Discard, r)
	}()
	select {
	case addr := <-lines:
		return addr
	case <-ended:
		t.Fatalf("%s ended before it served", cmd.Path)
	case <-time.After(startWithin):
		t.Fatalf("%s printed no address within %v", cmd.Path, startWithin)
	}
	return ""
}

// accepts waits until a server accepts connections.
func accepts(t *testing.T, addr string) {
	t.Helper()
	parts.Eventually(t, limit, func() error {
		c, err := (&net.Dialer{Timeout: limit}).DialContext(t.Context(), "tcp", addr)
		if err != nil {
			return err
		}
		return c.Close()
	})
}
