package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// The launcher is `podway dev --edge PROGRAM`, what `make run` starts: the
// control plane in dev mode and an edge, each as a process of its own, because
// either must be able to die without the other. It starts a child that died
// again, and stops both on Ctrl-C.

// stopWithin bounds the time from Ctrl-C to the last child's end.
const stopWithin = 4500 * time.Millisecond

// readyWithin bounds the start of a child.
const readyWithin = 60 * time.Second

type launcher struct {
	dev        devConfig
	edgeBin    string
	edgeConfig string
	out        io.Writer
}

func (l launcher) run(ctx context.Context) error {
	unlock, err := l.dev.prepare()
	if err != nil {
		return err
	}
	defer unlock()
	// The control plane takes no lock of its own: this one is for both.
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding the podway program: %w", err)
	}
	if err := l.dev.checkPorts(ctx); err != nil {
		return err
	}
	logs := filepath.Join(l.dev.dir, "logs")
	if err := os.MkdirAll(logs, 0o700); err != nil {
		return fmt.Errorf("making the log folder: %w", err)
	}
	edgeEnv, err := l.dev.edgeEnv()
	if err != nil {
		return err
	}
	fmt.Fprintf(l.out, "Starting Podway, state in %s …\n", l.dev.dir)

	children := []*child{
		{
			name: "control plane", argv: []string{self, "dev"}, log: filepath.Join(logs, "podway.log"),
			env: append(os.Environ(), launchedVariable+"=1"), ready: l.dev.apiReady,
		},
		{
			name: "edge", argv: []string{l.edgeBin, "run", "--config", l.edgeConfig, "--adapter", "caddyfile"},
			log: filepath.Join(logs, "edge.log"), env: append(os.Environ(), edgeEnv...), ready: l.dev.edgeReady,
		},
	}

	// Children must outlive ctx for the moment it takes to stop them in order.
	running, stopAll := context.WithCancel(context.WithoutCancel(ctx))
	defer stopAll()
	var wg sync.WaitGroup
	failed := make(chan error, len(children))
	for _, c := range children {
		wg.Go(func() {
			if err := c.supervise(running, l.out); err != nil {
				failed <- err
			}
		})
	}

	ready := make(chan error, 1)
	go func() { ready <- waitReady(ctx, children) }()

	err = nil
	for waiting := true; waiting; {
		select {
		case rerr := <-ready:
			if rerr != nil {
				err, waiting = rerr, false
			} else {
				l.dev.banner(l.out)
			}
			ready = nil
		case err = <-failed:
			waiting = false
		case <-ctx.Done():
			fmt.Fprintln(l.out, "\nStopping …")
			waiting = false
		}
	}
	stopAll()
	wg.Wait()
	if ctx.Err() != nil {
		return nil // stopped on request, whatever was under way
	}
	return err
}

// child is a process the launcher keeps running.
type child struct {
	name  string
	argv  []string
	env   []string
	log   string // file the output goes to
	ready func(context.Context) error

	wasReady atomic.Bool
}

// supervise runs the child until ctx ends, again after a second whenever it
// ends by itself. A child that ends before it was ready once is not tried again.
func (c *child) supervise(ctx context.Context, out io.Writer) error {
	for {
		err := c.runOnce(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // stopped on request
		}
		if !c.wasReady.Load() {
			return fmt.Errorf("the %s ended at its start (%w); the end of %s:\n%s", c.name, err, c.log, lastLines(c.log, 8))
		}
		fmt.Fprintf(out, "The %s ended (%v). Starting it again; see %s.\n", c.name, err, c.log)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil
		}
	}
}

// runOnce starts the child in a process group of its own, so that the Ctrl-C of
// a terminal reaches the launcher only, and waits for its end. When ctx ends,
// the child gets SIGTERM, and SIGKILL at the limit.
func (c *child) runOnce(ctx context.Context) error {
	f, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	cmd := exec.CommandContext(ctx, c.argv[0], c.argv[1:]...)
	cmd.Env, cmd.Stdout, cmd.Stderr = c.env, f, f
	cmd.SysProcAttr = childAttr()
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopWithin
	if err := startChild(cmd); err != nil {
		return err
	}
	return cmd.Wait()
}

func waitReady(ctx context.Context, children []*child) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	for _, c := range children {
		var last error
		for {
			if last = c.ready(ctx); last == nil {
				c.wasReady.Store(true)
				break
			}
			select {
			case <-time.After(50 * time.Millisecond):
				continue
			case <-ctx.Done():
				return fmt.Errorf("the %s was not ready within %v (%w); see %s", c.name, readyWithin, last, c.log)
			}
		}
	}
	return nil
}

// apiReady asks the API's health check.
func (d devConfig) apiReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.apiURL()+"/v3/healthcheck", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the health check answers %s", resp.Status)
	}
	return nil
}

// edgeReady makes a TLS handshake with the edge as a client of a pod would,
// with the edge's own root certificate.
func (d devConfig) edgeReady(ctx context.Context) error {
	pem, err := os.ReadFile(d.caFile())
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	dialer := tls.Dialer{Config: &tls.Config{
		RootCAs: roots, ServerName: "ready.pods." + d.tenantDomain(), NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12,
	}}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(d.edgePort)))
	if err != nil {
		return err
	}
	return conn.Close()
}

// lastLines returns the last n lines of a file, indented, for an error message.
func lastLines(path string, n int) string {
	f, err := os.Open(path)
	if err != nil {
		return "  (no log: " + err.Error() + ")"
	}
	defer f.Close()
	var lines []string
	for sc := bufio.NewScanner(f); sc.Scan(); {
		lines = append(lines, "  "+sc.Text())
		if len(lines) > n {
			lines = lines[1:]
		}
	}
	return strings.Join(lines, "\n")
}
