package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tapis-project/podway/tests/bench/edge/load"
	"github.com/tapis-project/podway/tests/bench/edge/peer"
	"github.com/tapis-project/podway/tests/parts"
)

// built is the folder of what is built once for all tests.
var built string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if built, err = os.MkdirTemp("", "podway-bench-test-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = os.RemoveAll(built) }()
		if err := parts.DependsOn(append(parts.Product(), ".")...); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

var edgeProgram = sync.OnceValues(func() (string, error) { return buildEdge(context.Background(), built) })

// tiny measures next to nothing, so that it can be seen to work.
func tiny(t *testing.T) options {
	t.Helper()
	if testing.Short() {
		t.Skip("builds and starts a whole edge")
	}
	parts.Require(t, "redis-server")
	program, err := edgeProgram()
	if err != nil {
		t.Fatal(err)
	}
	return options{
		edge:  program,
		peers: []string{direct}, rounds: 2, duration: 50 * time.Millisecond,
		idle: 20, settle: time.Millisecond, writes: 3, certs: 30, reloads: 1,
	}
}

func TestARunMeasuresAndWritesFigures(t *testing.T) {
	o := tiny(t)
	o.only = []string{"handshake", "down", "up", "roundtrip", "pg-connect", "idle", "reload", "certificates"}
	if _, err := exec.LookPath("h2load"); err == nil { // only the benchmark itself installs it
		o.only = append(o.only, "h1", "h2")
	}
	o.json = filepath.Join(t.TempDir(), "figures.json")
	if err := run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(o.json)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Rows    []jsonRow
		Targets []outcome
	}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Rows) != len(o.only) || len(got.Targets) == 0 {
		t.Errorf("got %d rows and %d targets, want %d and some", len(got.Rows), len(got.Targets), len(o.only))
	}
	for _, r := range got.Rows {
		i := slices.IndexFunc(rows, func(have row) bool { return have.name == r.Name })
		for _, m := range rows[i].metrics {
			if len(r.Samples[edge][m]) == 0 {
				t.Errorf("%s: got no %q of the edge", r.Name, m)
			}
		}
	}
}

func TestARouteTableIsMeasured(t *testing.T) {
	l, err := openLab(t.Context(), tiny(t))
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	got, err := routeTable(250)(t.Context(), l, edge)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range routeMetrics {
		if _, ok := got[m]; !ok {
			t.Errorf("got no %q", m)
		}
	}
	if got[servingP50] <= 0 || got[connectP50] <= 0 {
		t.Errorf("got %v, want times above 0", got)
	}

	t.Run("stock Caddy answers for the upstream", func(t *testing.T) {
		p, err := peer.Caddy(t.Context(), l.setup)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Stop()
		if err := load.CheckAnswer(t.Context(), l.target(p.HTTPS, webHost)); err != nil {
			t.Error(err)
		}
	})
}

func TestTheReportHoldsTargetsAndTables(t *testing.T) {
	f := measured()
	f.row = row{
		name: "handshake", title: "Handshakes", metrics: []metric{perSecond, cpuEach},
		targets: []target{{text: "CPU", of: cpuEach, against: "haproxy", atMost: 1}},
	}
	r := result{Rows: []figures{f}, Rounds: 3, Duration: "2s", Machine: machine{Versions: map[string]string{"Go": "1"}}}
	path := filepath.Join(t.TempDir(), "report.md")
	if err := r.write(options{report: path}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| CPU: at most 1 × haproxy | haproxy-1 ", "**not met**", "### Handshakes", "| caddy "} {
		if !strings.Contains(string(b), want) {
			t.Errorf("got a report without %q", want)
		}
	}
	other := filepath.Join(t.TempDir(), "other.md")
	if err := r.write(options{report: other, quick: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(other); err == nil {
		t.Error("got a report of a quick run, want none")
	}
}
