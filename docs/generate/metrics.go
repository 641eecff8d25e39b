package main

import (
	"context"
	"fmt"
	"go/ast"
	"maps"
	"slices"
	"strings"
)

// metricsPage lists what the edge exports, as its packages describe it.
func metricsPage(_ context.Context, s sources) ([]byte, error) {
	rows := map[string]string{}
	prefixes := map[string]string{} // of the names, by package folder
	files, err := parse(s.root, "caddymodules")
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		for call := range calls(f.ast, "NewDesc") {
			if sum, ok := call.Args[0].(*ast.BinaryExpr); ok {
				prefixes[f.folder()] = text(sum.X)
			}
		}
	}
	for _, f := range files {
		for call := range calls(f.ast, "desc") {
			name := prefixes[f.folder()] + text(call.Args[0])
			rows[name] = metricRow(name, call.Args[1:])
		}
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("no metrics found in %s", s.root)
	}
	var b strings.Builder
	b.WriteString(`# Metrics of the edge

Every metric of our own; Caddy's come beside them. [Watching edges](../observability.md) says where they are served, what the
values of the labels mean and which are worth an alert.

| metric | kind | labels | meaning |
|---|---|---|---|
`)
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		b.WriteString(rows[name])
	}
	return []byte(b.String()), nil
}

func metricRow(name string, args []ast.Expr) string {
	kind := "gauge"
	if strings.HasSuffix(name, "_total") {
		kind = "counter"
	}
	var labels []string
	for _, l := range args[1:] {
		labels = append(labels, "`"+text(l)+"`")
	}
	return fmt.Sprintf("| `%s` | %s | %s | %s |\n", name, kind, strings.Join(labels, ", "), cell(text(args[0])))
}
