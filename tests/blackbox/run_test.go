package blackbox

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tapis-project/podway/tests/parts"
	"github.com/tapis-project/podway/tests/system"
)

// launch starts `podway dev --edge`, as `make run` does, and waits until it
// printed what to try.
func launch(t *testing.T, s *podway) *parts.Process {
	t.Helper()
	p := s.Launch()
	parts.Eventually(t, 60*time.Second, func() error {
		if !strings.Contains(p.Output(), "Ctrl-C") {
			return fmt.Errorf("not ready; it printed:\n%s", p.Output())
		}
		return nil
	})
	return p
}

// A person starts the system and pastes what it prints.
func TestPrintedCommandsWorkAsPrinted(t *testing.T) {
	parts.Require(t, "/usr/lib/postgresql/*/bin/initdb")
	s := prepare(t)
	p := launch(t, s)

	commands := printedCommands(p.Output())
	if len(commands) < 5 {
		t.Fatalf("found %d commands in:\n%s", len(commands), p.Output())
	}
	script := "set -eo pipefail\nexport PATH\n" + strings.Join(commands, "\n")
	cmd := exec.Command("bash", "-c", script)
	cmd.Dir = filepath.Dir(s.Dir) // where the system runs: files are told from there
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("running the printed commands: %v\n%s\n%s", err, script, out)
	}
	for _, want := range []string{`"pod_id":"web"`, `"pod_id":"db"`, "host", "(1 row)"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is not in the output:\n%s", want, out)
		}
	}
}

// printedCommands are the indented blocks of what the launcher prints after
// "Try".
func printedCommands(out string) []string {
	_, try, _ := strings.Cut(out, "Try")
	var commands []string
	for line := range strings.Lines(try) {
		if c, ok := strings.CutPrefix(line, "    "); ok {
			commands = append(commands, strings.TrimRight(c, "\n"))
		}
	}
	return commands
}

// Ctrl-C stops everything the launcher started, pods included, within five
// seconds; the next start brings the pods back.
func TestCtrlCStopsEverythingAndTheStateStays(t *testing.T) {
	s := prepare(t)
	p := launch(t, s)
	u := s.login("testuser")
	u.create(webPod, 5*time.Second)

	start := time.Now()
	if err := syscall.Kill(-p.PID(), syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.Done():
		t.Logf("stopped in %v", time.Since(start))
	case <-time.After(5 * time.Second):
		t.Fatal("still running 5 s after Ctrl-C")
	}
	if code := p.ExitCode(); code != 0 {
		t.Errorf("exit code: got %d, want 0", code)
	}
	if left := processesIn(s.Dir); len(left) > 0 {
		t.Errorf("still running: %v", left)
	}

	launch(t, s)
	u = s.login("testuser")
	u.waitStatus("web", "AVAILABLE", 10*time.Second)
	s.WaitEdge()
	parts.Eventually(t, 5*time.Second, func() error { return s.wantStatus("web", 200) })
}

// The launcher starts a half that died again.
func TestLauncherRestartsAHalfThatDied(t *testing.T) {
	s := prepare(t)
	p := launch(t, s)
	s.WaitEdge()
	u := s.login("testuser")
	u.create(webPod, 5*time.Second)
	for _, half := range []string{system.Program(t, "controlplane"), system.Program(t, "edge")} {
		pid := childOf(t, p.PID(), half)
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		parts.Eventually(t, 30*time.Second, func() error {
			if now := findChild(p.PID(), half); now == 0 || now == pid {
				return fmt.Errorf("%s was not started again", filepath.Base(half))
			}
			return nil
		})
		s.WaitAPI()
		s.WaitEdge()
		parts.Eventually(t, 10*time.Second, func() error { return s.wantStatus("web", 200) })
	}
}

// A port that is taken gives one clear line.
func TestTakenPortIsToldInOneLine(t *testing.T) {
	for _, variable := range []string{"PODWAY_API_PORT", "PODWAY_EDGE_PORT", "PODWAY_REDIS_PORT"} {
		t.Run(variable, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			port := l.Addr().(*net.TCPAddr).Port
			s := prepare(t, fmt.Sprintf("%s=%d", variable, port))
			cmd := exec.Command(system.Program(t, "controlplane"), s.LaunchArgs()...)
			cmd.Env = s.Env
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Fatal("got exit code 0")
			}
			want := regexp.MustCompile(fmt.Sprintf(`^podway: port %d is taken .*%s=\d+\n$`, port, variable))
			if !want.Match(out) {
				t.Errorf("got %q, want one line that names port and variable", out)
			}
		})
	}
}

// processesIn lists processes whose command line names a folder.
func processesIn(dir string) []string {
	var found []string
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		if b, _ := os.ReadFile(f); strings.Contains(string(b), dir) {
			found = append(found, strings.ReplaceAll(string(b), "\x00", " "))
		}
	}
	return found
}

func childOf(t *testing.T, parent int, program string) int {
	t.Helper()
	pid := findChild(parent, program)
	if pid == 0 {
		t.Fatalf("no child of %d runs %s", parent, program)
	}
	return pid
}

// findChild returns the pid of a direct child that runs a program, 0 if none.
func findChild(parent int, program string) int {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		exe, _ := os.Readlink(d + "/exe")
		stat, _ := os.ReadFile(d + "/stat")
		// pid (comm) state ppid …
		_, rest, _ := strings.Cut(string(stat), ") ")
		var state string
		var ppid, pid int
		if _, err := fmt.Sscan(rest, &state, &ppid); err != nil || ppid != parent || exe != program {
			continue
		}
		if _, err := fmt.Sscan(filepath.Base(d), &pid); err == nil {
			return pid
		}
	}
	return 0
}
