package docs

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/text"

	"github.com/tapis-project/podway/tests/parts"
)

// page is one document.
type page struct {
	path   string // from the root of the checkout
	source []byte
	root   ast.Node
}

// outside docs/ there are these documents.
var outside = []string{"README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"}

// pages reads every document, in the order of their paths.
func pages(t *testing.T) []page {
	t.Helper()
	paths := slices.Clone(outside)
	err := filepath.WalkDir(filepath.Join(parts.Repo(), "docs"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && filepath.Ext(path) == ".md" {
			rel, relErr := filepath.Rel(parts.Repo(), path)
			paths, err = append(paths, filepath.ToSlash(rel)), relErr
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(paths)
	var all []page
	for _, path := range paths {
		all = append(all, read(t, path))
	}
	return all
}

// read reads the document at a path from the root of the checkout.
func read(t *testing.T, path string) page {
	t.Helper()
	source, err := os.ReadFile(filepath.Join(parts.Repo(), path))
	if err != nil {
		t.Fatal(err)
	}
	md := goldmark.New(goldmark.WithExtensions(extension.GFM))
	return page{path, source, md.Parser().Parse(text.NewReader(source))}
}

// line is the number of the line that a block of the page begins in.
func (p page) line(n ast.Node) int {
	for ; n != nil; n = n.Parent() {
		if n.Type() == ast.TypeBlock && n.Lines().Len() > 0 {
			return 1 + bytes.Count(p.source[:n.Lines().At(0).Start], []byte("\n"))
		}
	}
	return 1
}

// raw is the text of a block as it is written.
func (p page) raw(n ast.Node) string {
	var b strings.Builder
	for i := range n.Lines().Len() {
		s := n.Lines().At(i)
		b.Write(s.Value(p.source))
	}
	return b.String()
}

// comment is the text of a block of HTML, its last line included.
func (p page) comment(h *ast.HTMLBlock) string {
	all := p.raw(h)
	if h.HasClosure() {
		all += string(h.ClosureLine.Value(p.source))
	}
	return strings.TrimSpace(all)
}

// each calls f for the nodes of a type.
func each[N ast.Node](p page, f func(N)) {
	_ = ast.Walk(p.root, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if m, ok := n.(N); ok && entering {
			f(m)
		}
		return ast.WalkContinue, nil
	})
}
