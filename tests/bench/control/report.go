package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"text/template"
	"time"
)

// section is one part of the report, which is written without the others.
type section struct{ name, text string }

func newSection(name, text string, data map[string]any) (section, error) {
	t, err := template.New(name).Parse(text)
	if err != nil {
		return section{}, fmt.Errorf("parsing the report: %w", err)
	}
	var b strings.Builder
	if err := t.Execute(&b, data); err != nil {
		return section{}, fmt.Errorf("making the report: %w", err)
	}
	return section{name: name, text: b.String()}, nil
}

// The report before anything was measured: each section stands between its marks.
const emptyReport = `# The control plane at scale

Written by ` + "`make bench-control`" + `; run it to get the figures of your machine.

<!-- begin cluster -->
<!-- end cluster -->

<!-- begin api -->
<!-- end api -->
`

// write replaces the section in the report, which is made if it is not there.
func (s section) write(path string) error {
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading the report: %w", err)
	}
	text, err := s.into(string(b))
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	tell("\nWrote %s.", path)
	return nil
}

// into returns a report with the section replaced.
func (s section) into(report string) (string, error) {
	if strings.TrimSpace(report) == "" {
		report = emptyReport
	}
	begin, end := "<!-- begin "+s.name+" -->\n", "<!-- end "+s.name+" -->"
	before, rest, found := strings.Cut(report, begin)
	_, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		return "", fmt.Errorf("the report has no place for the section %q: delete it and measure all again", s.name)
	}
	return before + begin + "\n" + strings.TrimSpace(s.text) + "\n\n" + end + after, nil
}

func milli(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }
