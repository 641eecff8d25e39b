package peer

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// How long a program may take to serve, on a machine that has much to do, and to
// end.
const (
	startWithin = time.Minute
	stopWithin  = 20 * time.Second
)

// Process is a running program.
type Process struct {
	cmd  *exec.Cmd
	log  string        // file of its output
	done chan struct{} // closed at its end
}

// command is a program to start.
type command struct {
	path string
	args []string
	dir  string // where it runs and its log is written
	end  syscall.Signal
	attr *syscall.SysProcAttr
}

// start starts a program; its environment is ours without what is set for other
// Podways.
func (c command) start(ctx context.Context) (*Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	name := filepath.Base(c.path)
	log, err := os.CreateTemp(c.dir, name+"-*.log")
	if err != nil {
		return nil, fmt.Errorf("making a log file for %s: %w", name, err)
	}
	defer log.Close()
	// Not bound to ctx: an orderly end is Stop's to do.
	cmd := exec.Command(c.path, c.args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = c.dir, log, log, endWithUs(c.attr, c.end)
	cmd.Env = append(cleanEnv(), "HOME="+c.dir, "XDG_DATA_HOME="+c.dir, "XDG_CONFIG_HOME="+c.dir)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	p := &Process{cmd: cmd, log: log.Name(), done: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // why it ended is in its log
		close(p.done)
	}()
	return p, nil
}

func cleanEnv() []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "PODWAY_") {
			env = append(env, kv)
		}
	}
	return env
}

// end ends the process and waits for it.
func (p *Process) end(sig syscall.Signal) {
	_ = p.cmd.Process.Signal(sig)
	select {
	case <-p.done:
	case <-time.After(stopWithin):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// await polls ready until it returns nil, and says why if it doesn't in time.
func (p *Process) await(ctx context.Context, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w; its log ends:\n%s", p.cmd.Path, err, p.logEnd())
		case <-p.done:
			return fmt.Errorf("waiting for %s: it ended; its log ends:\n%s", p.cmd.Path, p.logEnd())
		case <-tick.C:
		}
	}
}

func (p *Process) logEnd() string {
	const most = 2 << 10
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-most):])
}

// accepts reports whether something listens on addr.
func accepts(addr string) func(context.Context) error {
	return func(ctx context.Context) error {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err == nil {
			c.Close()
		}
		return err
	}
}

// freeAddrs returns n addresses of loopback that were free a moment ago.
func freeAddrs(ctx context.Context, n int) ([]string, error) {
	addrs := make([]string, n)
	for i := range addrs {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("finding a free port: %w", err)
		}
		defer l.Close() // at the end, so that all differ
		addrs[i] = l.Addr().String()
	}
	return addrs, nil
}
