package importer

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Outcome says what became of an object.
type Outcome string

// The outcomes.
const (
	Imported Outcome = "imported" // or would be, in a dry run
	Exists   Outcome = "exists"   // imported earlier, or the same is there
	Skipped  Outcome = "skipped"  // not imported; the reason says why
)

// Item is an object of the source.
type Item struct {
	Kind    string   `json:"kind"` // "pod", "volume", "snapshot", "template", "template tag", "image", "secret", "table"
	Tenant  string   `json:"tenant,omitempty"`
	ID      string   `json:"id"`
	Outcome Outcome  `json:"outcome"`
	Reason  string   `json:"reason,omitempty"` // why it is skipped
	Notes   []string `json:"notes,omitempty"`  // what to know, or to do
}

// Report is what became of everything in the source.
type Report struct {
	DryRun bool   `json:"dry_run"` // nothing was written
	Items  []Item `json:"items"`   // in the order in which they were looked at
}

func (r *Report) add(i Item) { r.Items = append(r.Items, i) }

// Count returns how many objects of a kind had an outcome.
func (r Report) Count(kind string, o Outcome) int {
	n := 0
	for _, i := range r.Items {
		if i.Kind == kind && i.Outcome == o {
			n++
		}
	}
	return n
}

// Print writes the report for people: counts, then what was skipped, then notes.
func (r Report) Print(w io.Writer) error {
	var b strings.Builder
	done := "imported"
	if r.DryRun {
		b.WriteString("Nothing is written: this is a dry run.\n")
		done = "to import"
	}
	fmt.Fprintf(&b, "%-14s %9s %9s %9s\n", "", done, "there", "skipped")
	for _, kind := range r.kinds() {
		fmt.Fprintf(&b, "%-14s %9d %9d %9d\n", kind, r.Count(kind, Imported), r.Count(kind, Exists), r.Count(kind, Skipped))
	}
	section := func(title string, lines []string) {
		if len(lines) > 0 {
			b.WriteString("\n" + title + ":\n  " + strings.Join(lines, "\n  ") + "\n")
		}
	}
	var skipped, notes []string
	for _, i := range r.Items {
		if i.Outcome == Skipped {
			skipped = append(skipped, i.name()+": "+i.Reason)
		}
		for _, note := range i.Notes {
			notes = append(notes, i.name()+": "+note)
		}
	}
	section("Skipped", skipped)
	section("To know", notes)
	_, err := io.WriteString(w, b.String())
	return err
}

// kinds returns the kinds that are in the report, in its order.
func (r Report) kinds() []string {
	var kinds []string
	for _, i := range r.Items {
		if !slices.Contains(kinds, i.Kind) {
			kinds = append(kinds, i.Kind)
		}
	}
	return kinds
}

func (i Item) name() string {
	if i.Tenant == "" {
		return i.Kind + " " + i.ID
	}
	return i.Kind + " " + i.Tenant + "/" + i.ID
}
