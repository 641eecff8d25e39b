package main

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"text/template"
)

// result is everything that was measured.
type result struct {
	Machine  machine
	Rounds   int
	Duration string // of each load
	Quick    bool
	Took     string
	Rows     []figures
}

// cells is a line of a table.
type cells []string

// text returns the figures as a Markdown table under its title, which a terminal
// shows as well.
func (f figures) text() string { return "## " + f.title + "\n\n" + f.table() }

// table has a line for each peer, and for each metric its median with spread and
// the edge's value by the peer's.
func (f figures) table() string {
	head := cells{""}
	for _, m := range f.metrics {
		head = append(head, string(m))
		if len(f.peers) > 1 {
			head = append(head, "edge ÷ it")
		}
	}
	var lines []cells
	for _, p := range f.peers {
		line := cells{p}
		for _, m := range f.metrics {
			line = append(line, withSpread(f.of(p, m)))
			switch {
			case len(f.peers) == 1:
			case p == edge:
				line = append(line, "")
			default:
				line = append(line, withSpread(f.ratios(p, m)))
			}
		}
		lines = append(lines, line)
	}
	return aligned(head, lines)
}

// outcomes judges every target of what was measured.
func (r result) outcomes() []outcome {
	var all []outcome
	for _, f := range r.Rows {
		for _, t := range f.targets {
			if o, ok := f.judge(t); ok {
				all = append(all, o)
			}
		}
	}
	return all
}

// targets returns a table of the targets.
func (r result) targets() string {
	var lines []cells
	for _, o := range r.outcomes() {
		value, verdict := number(o.Value), "met"
		if o.Spread != "" {
			value += " [" + o.Spread + "]"
		}
		if !o.Met {
			verdict = "**not met**"
		}
		lines = append(lines, cells{o.Text, o.Peer, value, verdict})
	}
	return aligned(cells{"target", "compared with", "measured", ""}, lines)
}

// aligned returns a Markdown table whose columns line up.
func aligned(head cells, lines []cells) string {
	widths := make([]int, len(head))
	for _, l := range append([]cells{head}, lines...) {
		for i, cell := range l {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	rule := make(cells, len(head))
	for i, w := range widths {
		rule[i] = strings.Repeat("-", w)
	}
	var b strings.Builder
	for _, l := range append([]cells{head, rule}, lines...) {
		for i, cell := range l {
			fmt.Fprintf(&b, "| %-*s ", widths[i], cell)
		}
		b.WriteString("|\n")
	}
	return b.String()
}

// write writes the report and the JSON that were asked for.
func (r result) write(o options) error {
	if o.json != "" {
		if err := r.writeJSON(o.json); err != nil {
			return err
		}
	}
	switch {
	case o.report == "":
		return nil
	case !o.whole():
		tell("%s was not written: not everything was measured in full.", o.report)
		return nil
	}
	return r.writeReport(o.report)
}

// jsonRow is a row in JSON.
type jsonRow struct {
	Name    string                          `json:"name"`
	Title   string                          `json:"title"`
	Samples map[string]map[metric][]float64 `json:"samples"` // by peer; a value for each round
}

func (r result) writeJSON(path string) error {
	rows := make([]jsonRow, 0, len(r.Rows))
	for _, f := range r.Rows {
		row := jsonRow{Name: f.name, Title: f.title, Samples: map[string]map[metric][]float64{}}
		for _, p := range f.peers {
			row.Samples[p] = map[metric][]float64{}
			for _, m := range f.metrics {
				if values := f.of(p, m); values != nil {
					row.Samples[p][m] = values
				}
			}
		}
		rows = append(rows, row)
	}
	b, err := json.MarshalIndent(map[string]any{
		"machine": r.Machine, "rounds": r.Rounds, "duration": r.Duration, "quick": r.Quick,
		"rows": rows, "targets": r.outcomes(),
	}, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the figures: %w", err)
	}
	b = append(b, '\n')
	if path == "-" {
		_, err = os.Stdout.Write(b)
	} else {
		err = os.WriteFile(path, b, 0o600)
	}
	if err != nil {
		return fmt.Errorf("writing the figures: %w", err)
	}
	return nil
}

//go:embed report.md.tmpl
var reportText string

// writeReport writes the page of documentation.
func (r result) writeReport(path string) error {
	t, err := template.New("report").Parse(reportText)
	if err != nil {
		return fmt.Errorf("parsing the report: %w", err)
	}
	var tables strings.Builder
	for _, f := range r.Rows {
		tables.WriteString("#" + f.text() + "\n")
	}
	var b strings.Builder
	if err := t.Execute(&b, map[string]any{"R": r, "Targets": r.targets(), "Tables": tables.String()}); err != nil {
		return fmt.Errorf("making the report: %w", err)
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	tell("Wrote %s.", path)
	return nil
}
