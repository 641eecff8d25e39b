package gate

import (
	"bufio"
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tapis-project/podway/tests/parts"
	"github.com/tapis-project/podway/tests/system"
)

// runFor runs a program that has to succeed within a time, and returns what it wrote.
func runFor(t *testing.T, most time.Duration, env []string, name string, args ...string) string {
	t.Helper()
	out, err := try(t, most, env, name, args...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return out
}

// try is runFor for a program that may fail.
func try(t *testing.T, most time.Duration, env []string, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), most)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

// background starts a program that runs until the end of the test, and returns its
// lines.
func background(t *testing.T, env []string, name string, args ...string) (lines <-chan string, stop func()) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	all := make(chan string, 1000)
	ended := make(chan struct{})
	go func() {
		for sc := bufio.NewScanner(out); sc.Scan(); {
			select {
			case all <- sc.Text():
			default: // nobody reads that much
			}
		}
		_ = cmd.Wait()
		close(all)
		close(ended)
	}()
	stop = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(syscall.SIGINT)
		select {
		case <-ended:
		case <-time.After(limit):
			t.Errorf("%s did not end within %v of SIGINT", cmd.Path, limit)
			_ = cmd.Process.Kill()
			<-ended
		}
	})
	t.Cleanup(stop)
	return all, stop
}

// line waits for a line that holds a word.
func line(t *testing.T, lines <-chan string, word string) string {
	t.Helper()
	deadline := time.After(limit)
	for {
		select {
		case l, ok := <-lines:
			switch {
			case !ok:
				t.Fatalf("the program ended before it said %q", word)
			case strings.Contains(l, word):
				return l
			default:
				t.Log(l)
			}
		case <-deadline:
			t.Fatalf("the program did not say %q within %v", word, limit)
		}
	}
}

// podctl is a terminal of somebody who is logged in.
type podctl struct {
	t   *testing.T
	s   *system.System
	bin string
	env []string
}

func newPodctl(t *testing.T, s *system.System, user system.User) *podctl {
	t.Helper()
	return &podctl{t, s, system.Program(t, "podctl"), []string{
		"PODCTL_CONFIG=" + t.TempDir() + "/login.json", "PODCTL_URL=" + s.BaseURL(), "PODCTL_TOKEN=" + user.Token,
	}}
}

// connect runs podctl connect and returns the port of this machine.
func (p *podctl) connect(env []string, pod string, more ...string) (port string, lines <-chan string, stop func()) {
	p.t.Helper()
	args := append([]string{"connect", pod, "--edge-port", strconv.Itoa(p.s.EdgePort), "--ca", p.s.CAFile()}, more...)
	lines, stop = background(p.t, append(p.env, env...), p.bin, args...)
	told := line(p.t, lines, " is at ")
	_, addr, _ := strings.Cut(strings.TrimSuffix(told, " until Ctrl-C."), " is at ")
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		p.t.Fatalf("reading %q: %v", told, err)
	}
	return port, lines, stop
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
