// Command control measures the control plane at scale. It starts a real API
// server of Kubernetes with fake nodes, and the real podway program; creates pods
// by REST at a fixed rate, waits until all are AVAILABLE, leaves them alone for a
// while, deletes all and looks whether anything is left.
//
//	make kube                                  # once: the API server
//	make bench-control                         # 2,000 pods, writes docs/benchmarks-control.md
//	go run ./tests/bench/control -pods 100     # a short one; prints only
//
// Everything is on loopback, on free ports, and ended with the command, also by
// Ctrl-C. It exits 1 if a pod could not be created, did not become AVAILABLE or
// left something behind; a target that was missed is told and is no failure.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// options are what the command line sets.
type options struct {
	pods    int
	rate    float64       // creates a second
	idle    time.Duration // how long the pods are left alone
	delay   time.Duration // from a pod's schedule to Ready on the fake nodes
	timeout time.Duration // of everything
	report  string        // file to write; "": none
}

// Bounds of what can be asked: the service addresses of the API server, and what
// one sender can send.
const (
	maxPods = 20_000
	maxRate = 1000
)

func main() {
	var o options
	flag.IntVar(&o.pods, "pods", 2000, "number of pods")
	flag.Float64Var(&o.rate, "rate", 20, "creates per second")
	flag.DurationVar(&o.idle, "idle", time.Minute, "how long requests of idle pods are counted")
	flag.DurationVar(&o.delay, "delay", 0, "time a fake node takes to start a pod")
	flag.DurationVar(&o.timeout, "timeout", 20*time.Minute, "limit of the whole run")
	flag.StringVar(&o.report, "report", "", "Markdown file to write the figures to")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-control:", err)
		os.Exit(1)
	}
}

func (o options) check() error {
	switch {
	case flag.NArg() > 0:
		return fmt.Errorf("unknown argument %q", flag.Arg(0))
	case o.pods < 1 || o.pods > maxPods:
		return fmt.Errorf("-pods has to be from 1 to %d", maxPods)
	case o.rate <= 0 || o.rate > maxRate:
		return fmt.Errorf("-rate has to be above 0 and at most %d", maxRate)
	case o.idle < time.Second:
		return errors.New("-idle has to be a second or more")
	}
	return nil
}

// run measures once, and tells and writes the figures.
func run(ctx context.Context, o options) error {
	if err := o.check(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.timeout, fmt.Errorf("it took longer than -timeout, %v", o.timeout))
	defer cancel()
	dir, err := os.MkdirTemp("", "podway-bench-")
	if err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()

	machine, err := readMachine()
	if err != nil {
		return err
	}
	f, err := measure(ctx, o, dir)
	if err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	f.Machine = machine
	fmt.Print("\n", f.table())
	if o.report == "" {
		return nil
	}
	return f.write(o.report)
}
