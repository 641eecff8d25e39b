package main

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"testing"
)

func TestFlagRows(t *testing.T) {
	for name, c := range map[string]struct{ line, want string }{
		"with a short form and a value": {"  -f, --file string    file with the pod", "| `-f`, `--file string` | file with the pod |\n"},
		"without a value":               {"      --off            do not start it", "| `--off` | do not start it |\n"},
		"with signs that pages know":    {"      --net a           KEY=<a|b>", "| `--net a` | KEY=&lt;a\\|b> |\n"},
		"the help itself":               {"  -h, --help           help for create", ""},
		"no flag":                       {"podctl create POD", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := flagRows(c.line); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestParagraphs(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"plain":                       {"Makes a pod.\nAnd waits.", "Makes a pod.\nAnd waits."},
		"what is indented is a list":  {"Forms:\n  bolt   url\n  http   curl, url", "Forms:\n\n- `bolt`: url\n- `http`: curl, url"},
		"a < is no tag":               {"as <pod>-<key>", "as &lt;pod>-&lt;key>"},
		"between backquotes it stays": {"as `<pod>` or <pod>", "as `<pod>` or &lt;pod>"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := paragraphs(c.text); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestDefaults(t *testing.T) {
	for source, want := range map[string]string{
		`r.str("PODWAY_SITE", "dev")`:                          "dev",
		`r.integer("PODWAY_VOLUME_MAX_MB", 100<<10, 1, 1<<30)`: "102400",
		`r.integer("PODWAY_MUTATIONS", 60, 0, 1_000_000)`:      "60",
		`r.list("PODWAY_IMAGES")`:                              "",
		`r.str("PODWAY_X", other)`:                             "",
	} {
		t.Run(source, func(t *testing.T) {
			e, err := parser.ParseExpr(source)
			if err != nil {
				t.Fatal(err)
			}
			call, ok := e.(*ast.CallExpr)
			if !ok {
				t.Fatalf("got %T, want a call", e)
			}
			if got := defaultOf(call); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestPropertiesKeepTheirOrder(t *testing.T) {
	var s schema
	if err := json.Unmarshal([]byte(`{"properties":{"b":{"type":"string"},"a":{"type":"object","properties":{"z":{}}},"c":{}}}`), &s); err != nil {
		t.Fatal(err)
	}
	var got string
	for _, p := range s.Properties {
		got += p.name
	}
	if got != "bac" {
		t.Errorf("got %s, want bac", got)
	}
}
