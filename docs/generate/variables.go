package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// group is a kind of variables of the environment.
type group struct {
	title, about string
	find         func(root string) (map[string]variable, error) // by name
}

// variable is one of the environment.
type variable struct {
	def string // the default
	in  string // link to what explains it; "": to be looked for
}

var groups = []group{
	{"Control plane", "What `podway serve` and its other commands read.", controlPlaneVariables},
	{"Edge", "What the Caddyfiles of this repository take from the environment. One of your own may use others.", edgeVariables},
	{"podctl", "What the command line client reads.", podctlVariables},
}

// explains are pages that explain variables, best first; the others come after them.
var explains = []string{"configuration.md", "kubernetes.md", "certificates.md", "deploy-edge.md", "podctl.md"}

// variablesPage lists the variables of the environment, and the page that explains each.
func variablesPage(_ context.Context, s sources) ([]byte, error) {
	var b strings.Builder
	b.WriteString("# Environment variables\n\nEverything that the programs read from their environment, and where it is explained. " +
		"Where no default is shown there is none, or that page tells. `make run` and the tests have more: [development mode](../development.md).\n")
	var errs []error
	for _, g := range groups {
		found, err := g.find(s.root)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| variable | default | explained in |\n|---|---|---|\n", g.title, g.about)
		for _, name := range slices.Sorted(maps.Keys(found)) {
			v := found[name]
			if v.in == "" {
				v.in, err = explanation(s.root, name)
				errs = append(errs, err)
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", name, value(v.def), v.in)
		}
	}
	return []byte(b.String()), errors.Join(errs...)
}

// value is the cell of a default.
func value(def string) string {
	if def == "" {
		return ""
	}
	return "`" + cell(def) + "`"
}

// explanation links to the page that explains a variable.
func explanation(root, name string) (string, error) {
	others, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		return "", err
	}
	candidates := slices.Clone(explains)
	for _, path := range others {
		candidates = append(candidates, filepath.Base(path))
	}
	mentions := regexp.MustCompile(`\b` + name + `\b`)
	for _, page := range candidates {
		b, err := os.ReadFile(filepath.Join(root, "docs", page))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		if mentions.Match(b) {
			return fmt.Sprintf("[%s](../%s)", heading(b), page), nil
		}
	}
	return "", fmt.Errorf("no page explains %s", name)
}

// heading is the first one of a page.
func heading(page []byte) string {
	line, _, _ := strings.Cut(strings.TrimPrefix(string(page), "# "), "\n")
	return line
}

// controlPlaneVariables are those that package config reads, and the few that commands
// read by themselves.
func controlPlaneVariables(root string) (map[string]variable, error) {
	found := map[string]variable{"PODWAY_REDIS_ADMIN_URL": {}}
	files, err := parse(root, "controlplane/internal/config")
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		for n := range ast.Preorder(f.ast) {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) == 0 {
				continue
			}
			if name := text(call.Args[0]); isVariable(name) && called(call) != "bad" {
				found[name] = variable{def: cmp.Or(found[name].def, defaultOf(call))}
			}
		}
	}
	return found, nil
}

// defaultOf is the default that a variable is read with: the second argument, if that is
// a constant.
func defaultOf(call *ast.CallExpr) string {
	if len(call.Args) < 2 {
		return ""
	}
	v, err := types.Eval(token.NewFileSet(), nil, token.NoPos, types.ExprString(call.Args[1]))
	switch {
	case err != nil || v.Value == nil:
		return ""
	case v.Value.Kind() == constant.String:
		return constant.StringVal(v.Value)
	default:
		return v.Value.ExactString()
	}
}

func isVariable(name string) bool {
	return strings.HasPrefix(name, "PODWAY_") || strings.HasPrefix(name, "PODCTL_")
}

// word is one that a Caddyfile takes from the environment: {$NAME:default}.
var word = regexp.MustCompile(`\{\$(PODWAY_[A-Z_]+)(?::([^}]*))?\}`)

func edgeVariables(root string) (map[string]variable, error) {
	found := map[string]variable{}
	for _, file := range []string{"Caddyfile.example", "Caddyfile.acme.example"} {
		b, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			return nil, err
		}
		for _, m := range word.FindAllStringSubmatch(string(b), -1) {
			link := cmp.Or(found[m[1]].in, fmt.Sprintf("[%s](../../%s)", file, file))
			found[m[1]] = variable{cmp.Or(found[m[1]].def, m[2]), link}
		}
	}
	return found, nil
}

func podctlVariables(root string) (map[string]variable, error) {
	found := map[string]variable{}
	files, err := parse(root, "podctl")
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		for call := range calls(f.ast, "getenv") {
			if name := text(call.Args[0]); isVariable(name) {
				found[name] = variable{}
			}
		}
	}
	return found, nil
}
