// Package diagnose says what is wrong on the way to a host and what to do about
// it: `podway doctor` and `podctl doctor` are made of it.
//
//	var report diagnose.Report
//	report.Add(diagnose.Host(ctx, diagnose.Target{Host: "db.pods.example.org", Protocol: "postgres"})...)
//	report.Print(os.Stdout)
//
// It looks from outside, as a client does, and changes nothing.
package diagnose

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Finding is the result of one check.
type Finding struct {
	// Check is what was looked at, such as "dns" or "redis".
	Check string `json:"check"`

	// Subject is the one of several that was looked at: a host, an edge. "" if there
	// is one only.
	Subject string `json:"subject,omitempty"`

	// Fault names what is wrong, in a word that stays the same between releases. ""
	// if all is well.
	Fault string `json:"fault,omitempty"`

	// Found is what was seen, for people.
	Found string `json:"found"`

	// Remedy is what to do. "" if nothing has to be done.
	Remedy string `json:"remedy,omitempty"`
}

// OK is a finding of what is well.
func OK(check, subject, found string) Finding {
	return Finding{Check: check, Subject: subject, Found: found}
}

// FaultsError is the error of a command that has printed a report with faults.
type FaultsError int

func (n FaultsError) Error() string { return fmt.Sprintf("%d faults were found", int(n)) }

// Report is the result of an examination. Its zero value is ready for use.
type Report struct {
	Findings []Finding `json:"findings"`
	Faults   int       `json:"faults"`
}

// Add appends findings.
func (r *Report) Add(fs ...Finding) {
	for _, f := range fs {
		r.Findings = append(r.Findings, f)
		if f.Fault != "" {
			r.Faults++
		}
	}
}

// Write prints the report, for people or as JSON. The error is [FaultsError] if
// there are any.
func (r *Report) Write(w io.Writer, asJSON bool) error {
	if !asJSON {
		if err := r.Print(w); err != nil {
			return err
		}
	} else {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		if err := enc.Encode(r); err != nil {
			return fmt.Errorf("printing the report: %w", err)
		}
	}
	if r.Faults > 0 {
		return FaultsError(r.Faults)
	}
	return nil
}

// Print writes the report for people: a line for each finding, and below a fault
// what to do.
func (r *Report) Print(w io.Writer) error {
	var b strings.Builder
	for _, f := range r.Findings {
		mark := "ok   "
		if f.Fault != "" {
			mark = "FAULT"
		}
		what := f.Check
		if f.Subject != "" {
			what += " " + f.Subject
		}
		fmt.Fprintf(&b, "%s  %s: %s\n", mark, what, f.Found)
		if f.Fault != "" {
			fmt.Fprintf(&b, "       %s: %s\n", f.Fault, f.Remedy)
		}
	}
	switch r.Faults {
	case 0:
		b.WriteString("\nNothing wrong was found.\n")
	case 1:
		b.WriteString("\n1 fault was found.\n")
	default:
		fmt.Fprintf(&b, "\n%d faults were found.\n", r.Faults)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("printing the report: %w", err)
	}
	return nil
}
