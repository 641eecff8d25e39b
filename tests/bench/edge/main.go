// Command edge measures the edge beside its peers: HAProxy and nginx as Debian
// ships them, and a stock Caddy. All of them run on this machine, on loopback, in
// turns, with the same certificate, upstream and load.
//
//	make bench                                     # everything, writes docs/benchmarks.md
//	make bench BENCH=-quick                        # short, only prints
//	make bench BENCH="-only handshake,h1 -rounds 9"
//	make bench BENCH="-only handshake -profile /tmp/profiles"
//	make bench BENCH="-quick -json -"
//
// A target that was missed is told and is no failure; it exits 1 if something
// could not be measured. To measure more, add a row in rows.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"
)

// options are what the command line sets.
type options struct {
	only     []string      // names of rows; nil: all
	peers    []string      // names of peers; nil: all
	rounds   int           // of each row, at most
	duration time.Duration // of each load
	idle     int           // connections of the row idle
	settle   time.Duration // before memory is read
	writes   int           // routes written one by one
	certs    int           // hosts with a certificate each, of the row certificates
	reloads  int
	quick    bool
	report   string // file; "" for none
	json     string // file, "-" for the standard output; "" for none
	profile  string // folder; "" for none
	edge     string // program; "" to build it
}

func main() {
	o, err := parse(os.Args[1:])
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		err = run(ctx, o)
		stop()
	}
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	o := options{idle: 5000, settle: 6 * time.Second, writes: 300, certs: 20_000, reloads: 20}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	only := f.String("only", "", "rows to measure, of "+strings.Join(rowNames(), ","))
	peers := f.String("peers", "", "peers to measure besides the edge, of "+strings.Join(peerNames(), ","))
	f.IntVar(&o.rounds, "rounds", 0, "rounds of each row (default 5, 3 with -quick)")
	f.DurationVar(&o.duration, "duration", 0, "time of each load (default 2s, 0.7s with -quick)")
	f.BoolVar(&o.quick, "quick", false, "measure less, in less than three minutes; figures are rough")
	f.StringVar(&o.report, "report", "", "Markdown file to write, if everything was measured and without -quick")
	f.StringVar(&o.json, "json", "", "JSON file to write, - for the standard output")
	f.StringVar(&o.profile, "profile", "", "folder to write a CPU profile of the edge to, for each row")
	f.StringVar(&o.edge, "edge", "", "program of the edge to measure (default: built from this checkout)")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unknown argument %q", f.Arg(0))
	}
	if o.quick {
		o.idle, o.settle, o.writes, o.certs, o.reloads = 1000, 4*time.Second, 100, 5000, 5
	}
	o.fillDefaults()
	var err1, err2 error
	o.only, err1 = oneOf("-only", *only, rowNames())
	o.peers, err2 = oneOf("-peers", *peers, peerNames())
	return o, errors.Join(err1, err2)
}

func (o *options) fillDefaults() {
	rounds, duration := 5, 2*time.Second
	if o.quick {
		rounds, duration = 3, 700*time.Millisecond
	}
	if o.rounds <= 0 {
		o.rounds = rounds
	}
	if o.duration <= 0 {
		o.duration = duration
	}
}

// oneOf splits a list of names, each of which has to be known. Nil for none.
func oneOf(name, list string, known []string) ([]string, error) {
	if list == "" {
		return nil, nil
	}
	names := strings.Split(list, ",")
	for _, n := range names {
		if !slices.Contains(known, n) {
			return nil, fmt.Errorf("%s: %q is not one of %s", name, n, strings.Join(known, ", "))
		}
	}
	return names, nil
}

// whole reports whether everything is measured as it should be.
func (o options) whole() bool { return o.only == nil && o.peers == nil && !o.quick }

// run measures what was asked for, and tells and writes the figures.
func run(ctx context.Context, o options) error {
	machine, err := readMachine(ctx) // before our own work is part of its load
	if err != nil {
		return err
	}
	l, err := openLab(ctx, o)
	if err != nil {
		return err
	}
	defer l.close()
	res := result{Machine: machine, Rounds: o.rounds, Duration: o.duration.String(), Quick: o.quick}
	start := time.Now()
	for _, r := range rows {
		if o.only != nil && !slices.Contains(o.only, r.name) {
			continue
		}
		f, err := l.measure(ctx, r)
		if err != nil {
			return errors.Join(fmt.Errorf("measuring %s: %w", r.name, err), context.Cause(ctx))
		}
		res.Rows = append(res.Rows, f)
		tell("\n%s", f.text())
	}
	res.Took = time.Since(start).Round(time.Second).String()
	tell("\n%s\nIt took %s.", res.targets(), res.Took)
	return res.write(o)
}

// tell tells people something; figures for programs go to -json.
func tell(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// progress shows what goes on in one line of a terminal; "" clears it.
func progress(format string, args ...any) {
	if term.IsTerminal(int(os.Stderr.Fd())) {
		fmt.Fprintf(os.Stderr, "\r\033[K"+format, args...)
	}
}
