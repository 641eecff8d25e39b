// Command control measures the control plane at scale. It starts a real API
// server of Kubernetes with fake nodes, and the real podway program; creates pods
// by REST at a fixed rate, waits until all are AVAILABLE, leaves them alone for a
// while, deletes all and looks whether anything is left.
//
//	make kube                                  # once: the API server
//	make bench-control                         # 2,000 pods, writes docs/benchmarks-control.md
//	go run ./tests/bench/control -pods 100     # a short one; prints only
//	go run ./tests/bench/control -api 10000    # the API alone; needs no Kubernetes
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
	api     int           // pods in the store when the API alone is measured; 0: not
	rate    float64       // creates a second
	idle    time.Duration // how long the pods are left alone
	delay   time.Duration // from a pod's schedule to Ready on the fake nodes
	timeout time.Duration // of everything
	report  string        // file to write; "": none
}

// Bounds of what can be asked: the service addresses of the API server, what one
// sender can send, and the ids of pods.
const (
	maxPods   = 20_000
	maxRate   = 1000
	maxStored = 1_000_000 // what ids have digits for
)

func main() {
	var o options
	flag.IntVar(&o.pods, "pods", 2000, "number of pods")
	flag.IntVar(&o.api, "api", 0, "measure the API alone, with so many pods in the store, on SQLite and Postgres")
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
	case o.api < 0 || o.api > maxStored:
		return fmt.Errorf("-api has to be from 1 to %d", maxStored)
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
	text, err := part(ctx, o, machine, dir)
	if err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	if o.report == "" {
		return nil
	}
	return text.write(o.report)
}

// part measures what was asked for, tells the figures, and returns the part of the
// report that is about it.
func part(ctx context.Context, o options, m machine, dir string) (section, error) {
	if o.api > 0 {
		figures, err := measureAPI(ctx, o, dir)
		if err != nil {
			return section{}, err
		}
		fmt.Print("\n", apiTable(figures))
		return apiSection(o, m, figures)
	}
	f, err := measure(ctx, o, dir)
	if err != nil {
		return section{}, err
	}
	f.Machine = m
	fmt.Print("\n", f.table())
	return f.section()
}
