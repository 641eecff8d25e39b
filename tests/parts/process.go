package parts

import (
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// stopWithin bounds the orderly end of a program, on a machine that has much to do.
const stopWithin = 30 * time.Second

// Process is a program under test, in a process group of its own. It ends with the
// test, which tells the end of its output if it fails. Its methods may be called from
// any goroutine.
type Process struct {
	t    testing.TB
	cmd  *exec.Cmd
	done chan struct{}
	out  Output
}

// StartProcess starts a command, whose standard output and error it takes.
func StartProcess(t testing.TB, cmd *exec.Cmd) *Process {
	t.Helper()
	p := &Process{t: t, cmd: cmd, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.out, &p.out
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Setpgid = true
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", cmd.Path, err)
	}
	go func() {
		_ = cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.Stop()
		if t.Failed() {
			t.Logf("output of %s %s:\n%s", filepath.Base(cmd.Path), strings.Join(cmd.Args[1:], " "), p.out.end())
		}
	})
	return p
}

// Output returns what the program has written until now.
func (p *Process) Output() string { return p.out.String() }

// PID is its process id, and that of its group.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the program has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// ExitCode is that of a program that has ended, -1 if a signal ended it.
func (p *Process) ExitCode() int { return p.cmd.ProcessState.ExitCode() }

// Stop ends the program with SIGTERM and waits for it. It may be called again.
func (p *Process) Stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(stopWithin):
		p.t.Errorf("%s did not end within %v of SIGTERM", p.cmd.Path, stopWithin)
		p.Kill()
	}
}

// Kill ends the program with SIGKILL, in the middle of whatever it does.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}
