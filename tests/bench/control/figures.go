package main

import (
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// The targets.
const (
	targetAvailable = 5 * time.Second // p99 of create → AVAILABLE, at targetRate
	targetRate      = 20              // creates a second
	targetIdle      = 5               // requests a second, of targetIdlePods
	targetIdlePods  = 1000
)

// figures are the result of a run.
type figures struct {
	options

	Machine machine

	Answered, Available    quantiles     // from when a create was due
	CreatedIn, AvailableIn time.Duration // from the first create to the last

	Created, Idled, Deleted span
}

// row is a line of a table.
type row []string

// table returns the figures as a Markdown table, which a terminal shows as well.
func (f figures) table() string {
	return aligned(row{"", "median", "p90", "p99", "max"}, f.latencies()) + "\n" +
		aligned(row{"", "measured", "target"}, f.rows()) + "\n" +
		aligned(row{"requests of the control plane", "create", "idle", "delete"}, f.requests())
}

func (f figures) latencies() []row {
	line := func(name string, q quantiles) row {
		return row{name, seconds(q.P50), seconds(q.P90), seconds(q.P99), seconds(q.Max)}
	}
	return []row{line("create → answer of the API", f.Answered), line("create → `AVAILABLE`", f.Available)}
}

func (f figures) rows() []row {
	n := float64(f.pods)
	return []row{
		{"creates per second, asked for", fmt.Sprintf("%g", f.rate), ""},
		{"creates per second, answered", perSecond(n, f.CreatedIn), ""},
		{"pods per second, `AVAILABLE`", perSecond(n, f.AvailableIn), ""},
		{"create → `AVAILABLE`, p99", seconds(f.Available.P99), f.availableTarget()},
		{"API server requests per created pod", fmt.Sprintf("%.1f", float64(f.Created.Calls.total())/n), ""},
		{"API server requests per deleted pod", fmt.Sprintf("%.1f", float64(f.Deleted.Calls.total())/n), ""},
		{fmt.Sprintf("API server requests per second, %d idle pods", f.pods), fmt.Sprintf("%.2f", f.idleRate()), f.idleTarget()},
		{"CPU of the control plane per created pod", milliseconds(f.Created.CPU, n), ""},
		{"CPU of the control plane per deleted pod", milliseconds(f.Deleted.CPU, n), ""},
		{"CPU of the control plane while creating", share(f.Created), ""},
		{"CPU of the control plane while idle", share(f.Idled), ""},
		{fmt.Sprintf("memory of the control plane, %d idle pods", f.pods), mebibytes(f.Idled.RSS), ""},
		{"memory of the control plane, at most", mebibytes(f.Deleted.Peak), ""},
		{"all deleted and nothing left after", seconds(f.Deleted.Took), ""},
	}
}

func (f figures) availableTarget() string {
	verdict := met(f.Available.P99 < targetAvailable)
	if f.rate < targetRate {
		verdict = "not tried"
	}
	return fmt.Sprintf("under %g s at %d/s: %s", targetAvailable.Seconds(), targetRate, verdict)
}

func (f figures) idleRate() float64 { return float64(f.Idled.Calls.total()) / f.Idled.Took.Seconds() }

func (f figures) idleTarget() string {
	verdict := met(f.idleRate() < targetIdle)
	if f.pods < targetIdlePods {
		verdict = "not tried"
	}
	return fmt.Sprintf("under %d of %d pods: %s", targetIdle, targetIdlePods, verdict)
}

func met(ok bool) string {
	if ok {
		return "met"
	}
	return "**missed**"
}

// requests counts, by what they do.
func (f figures) requests() []row {
	all := calls{}
	for _, s := range []span{f.Created, f.Idled, f.Deleted} {
		maps.Copy(all, s.Calls)
	}
	var rows []row
	for _, what := range slices.Sorted(maps.Keys(all)) {
		rows = append(rows, row{what, count(f.Created, what), count(f.Idled, what), count(f.Deleted, what)})
	}
	return rows
}

func count(s span, what string) string { return fmt.Sprint(s.Calls[what]) }

func seconds(d time.Duration) string              { return fmt.Sprintf("%.3f s", d.Seconds()) }
func mebibytes(kib int) string                    { return fmt.Sprintf("%d MiB", kib>>10) }
func share(s span) string                         { return fmt.Sprintf("%.1f %%", 100*s.CPU.Seconds()/s.Took.Seconds()) }
func perSecond(n float64, d time.Duration) string { return fmt.Sprintf("%.1f", n/d.Seconds()) }

func milliseconds(d time.Duration, n float64) string {
	return fmt.Sprintf("%.1f ms", float64(d.Milliseconds())/n)
}

// aligned returns a Markdown table whose columns line up.
func aligned(head row, rows []row) string {
	widths := make([]int, len(head))
	for _, r := range append([]row{head}, rows...) {
		for i, cell := range r {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	rule := make(row, len(head))
	for i, w := range widths {
		rule[i] = strings.Repeat("-", w)
	}
	var b strings.Builder
	for _, r := range append([]row{head, rule}, rows...) {
		for i, cell := range r {
			fmt.Fprintf(&b, "| %-*s ", widths[i], cell)
		}
		b.WriteString("|\n")
	}
	return b.String()
}

//go:embed report.md.tmpl
var reportText string

// section returns the part of the report about pods in a cluster.
func (f figures) section() (section, error) { return newSection("cluster", reportText, f.reportData()) }

func (f figures) reportData() map[string]any {
	return map[string]any{
		"Pods": f.pods, "Rate": f.rate, "Idle": f.idle, "Delay": f.delay, "Settle": settle,
		"Processors": f.Machine.Processors, "Memory": fmt.Sprintf("%.0f", f.Machine.MemoryGiB), "Load": fmt.Sprintf("%.1f", f.Machine.Load),
		"Table": f.table(),
	}
}
