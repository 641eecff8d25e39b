package kubetest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// process is one server of ours, which can be started again after its end.
type process struct {
	name string // of the program, as kube knows it
	bin  string
	args []string
	dir  string // working directory, and where name.log is

	cmd  *exec.Cmd
	done chan struct{} // closed at the end of cmd
}

// start starts the program. The kernel kills it when this process ends, however
// that happens.
func (p *process) start() error {
	log, err := os.OpenFile(p.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("opening the log of %s: %w", p.name, err)
	}
	defer log.Close()
	// Not CommandContext: a server outlives the test that needs it first.
	cmd := exec.Command(p.bin, append([]string{p.name}, p.args...)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.dir, log, log
	cmd.SysProcAttr = endWithUs()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", p.name, err)
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait() // why it ended is in its log
		close(done)
	}()
	p.cmd, p.done = cmd, done
	return nil
}

// kill ends the program with SIGKILL and waits for its end. It does nothing if
// the program does not run.
func (p *process) kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	<-p.done
	p.cmd = nil
}

func (p *process) signal(s syscall.Signal) error {
	if p.cmd == nil {
		return fmt.Errorf("signalling %s: %w", p.name, os.ErrProcessDone)
	}
	if err := p.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("signalling %s: %w", p.name, err)
	}
	return nil
}

// ended returns an error with the last lines of the log if the program ended.
func (p *process) ended() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s ended: %w", p.name, errors.New(p.tail()))
	default:
		return nil
	}
}

// tail returns the last lines of the log.
func (p *process) tail() string {
	const most = 2 << 10
	b, err := os.ReadFile(p.logPath())
	if err != nil {
		return err.Error()
	}
	if len(b) > most {
		b = b[len(b)-most:]
		_, b, _ = bytes.Cut(b, []byte("\n"))
	}
	return string(bytes.TrimSpace(b))
}

func (p *process) logPath() string { return filepath.Join(p.dir, p.name+".log") }
