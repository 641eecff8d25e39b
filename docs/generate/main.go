// Command generate writes the pages of docs/reference from the programs and their
// source, so that they say what is there:
//
//	go run ./docs/generate -podway bin/podway -podctl bin/podctl
//
// With -check it writes nothing, and fails if a page is not up to date. `make
// reference` runs it, and a test in tests/docs runs it with -check.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

// note is at the top of each page.
const note = "<!-- Written by `make reference`; don't change it by hand. -->\n\n"

// sources is where pages are made from.
type sources struct {
	root           string // of the checkout
	podway, podctl string // programs
}

// pages are made by these, by their names in docs/reference.
var pages = map[string]func(context.Context, sources) ([]byte, error){
	"api.md":       apiPage,
	"metrics.md":   metricsPage,
	"podctl.md":    podctlPage,
	"podway.md":    podwayPage,
	"variables.md": variablesPage,
}

func main() {
	var s sources
	flag.StringVar(&s.root, "root", ".", "root of the checkout")
	flag.StringVar(&s.podway, "podway", "bin/podway", "the control plane")
	flag.StringVar(&s.podctl, "podctl", "bin/podctl", "the command line client")
	check := flag.Bool("check", false, "write nothing; fail if a page is not up to date")
	flag.Parse()
	if err := run(context.Background(), s, *check); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, s sources, check bool) error {
	var errs []error
	for name, make := range pages {
		body, err := make(ctx, s)
		if err != nil {
			errs = append(errs, fmt.Errorf("making %s: %w", name, err))
			continue
		}
		file := filepath.Join(s.root, "docs", "reference", name)
		old, err := os.ReadFile(file)
		switch body = append([]byte(note), body...); {
		case err == nil && bytes.Equal(old, body):
		case check:
			errs = append(errs, fmt.Errorf("docs/reference/%s is not up to date; run: make reference", name))
		default:
			errs = append(errs, os.WriteFile(file, body, 0o644)) //nolint:gosec // a page for everyone
		}
	}
	return errors.Join(errs...)
}
