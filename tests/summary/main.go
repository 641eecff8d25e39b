// Command summary reads the output of `go test -json` and prints a line per
// package, the output of each test that failed, why in short, and the totals. It exits 1
// if anything failed, or if no test ran.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
)

// event is a line of `go test -json`; see `go doc test2json`.
type event struct {
	Action, Package, Test, Output, ImportPath string
	Elapsed                                   float64
}

func main() {
	s := summarise(os.Stdin, os.Stdout)
	for _, f := range s.failures {
		fmt.Printf("\n%s", f)
	}
	fmt.Printf("\n%d passed, %d failed, %d skipped\n", s.passed, s.failed, s.skipped)
	if s.failed > 0 || s.passed == 0 {
		os.Exit(1)
	}
}

type totals struct {
	passed, failed, skipped int

	failures []string        // each test's name and why it failed, a line each
	told     map[string]bool // packages of which a test has failed
}

// The output of a test ends with that of all it started, which may be thousands of lines.
// These say why it failed.
var reason = regexp.MustCompile(`^\s+\w+\.go:\d+: |^panic: |^WARNING: DATA RACE|^fatal error: `)

const (
	reasonsTold  = 8
	reasonLength = 300
)

// reasons returns the lines of an output that say why a test failed.
func reasons(name, output string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "FAIL  %s\n", name)
	told := 0
	for line := range strings.Lines(output) {
		if told < reasonsTold && reason.MatchString(line) && !strings.Contains(line, ": output of ") {
			fmt.Fprintf(&b, "      %.*s\n", reasonLength, strings.TrimSpace(line))
			told++
		}
	}
	return b.String()
}

func summarise(r io.Reader, w io.Writer) totals {
	var (
		sum     = totals{told: map[string]bool{}}
		outputs = map[string]*strings.Builder{} // by package and test
		dec     = bufio.NewScanner(r)
	)
	dec.Buffer(nil, 64<<20)
	for dec.Scan() {
		var e event
		if err := json.Unmarshal(dec.Bytes(), &e); err != nil {
			fmt.Fprintln(w, dec.Text()) // not of test2json: say it as it is
			continue
		}
		key := e.Package + e.ImportPath + "\x00" + e.Test
		switch e.Action {
		case "output", "build-output":
			b := outputs[key]
			if b == nil {
				b = new(strings.Builder)
				outputs[key] = b
			}
			b.WriteString(e.Output)
			continue
		case "build-fail":
			fmt.Fprintf(w, "FAIL  %s does not build\n%s", e.ImportPath, text(outputs[key]))
		case "pass", "fail", "skip":
			sum.count(w, e, text(outputs[key]))
		default:
			continue
		}
		delete(outputs, key)
	}
	return sum
}

func (s *totals) count(w io.Writer, e event, output string) {
	switch {
	case e.Test == "" && e.Action == "skip": // a package without tests
	case e.Test == "" && e.Action == "pass":
		fmt.Fprintf(w, "ok    %-70s %6.1f s\n", e.Package, e.Elapsed)
	case e.Test == "": // the failed tests were told; a crash outside of them was not
		fmt.Fprintf(w, "FAIL  %-70s %6.1f s\n%s", e.Package, e.Elapsed, output)
		if !s.told[e.Package] {
			s.fail(e.Package, output)
		}
	case e.Action == "pass":
		s.passed++
	case e.Action == "skip":
		s.skipped++
		fmt.Fprintf(w, "skip  %s %s\n%s", e.Package, e.Test, output)
	default:
		s.fail(e.Package+" "+e.Test, output)
		s.told[e.Package] = true
		fmt.Fprintf(w, "FAIL  %s %s\n%s", e.Package, e.Test, output)
	}
}

func (s *totals) fail(name, output string) {
	s.failed++
	s.failures = append(s.failures, reasons(name, output))
}

func text(b *strings.Builder) string {
	if b == nil {
		return ""
	}
	return b.String()
}
