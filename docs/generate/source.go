package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"iter"
	"path/filepath"
	"strconv"
	"strings"
)

// source is a Go file of the product.
type source struct {
	path string // from the root of the checkout
	ast  *ast.File
}

func (s source) folder() string { return filepath.Dir(s.path) }

// parse reads the Go files below a folder, but for tests.
func parse(root, folder string) ([]source, error) {
	var files []source
	set := token.NewFileSet()
	err := filepath.WalkDir(filepath.Join(root, folder), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(set, path, nil, parser.ParseComments)
		if err != nil {
			return fmt.Errorf("reading %s: %w", path, err)
		}
		rel, err := filepath.Rel(root, path)
		files = append(files, source{rel, f})
		return err
	})
	return files, err
}

// calls are those of a function or method of a name, with arguments.
func calls(n ast.Node, name string) iter.Seq[*ast.CallExpr] {
	return func(yield func(*ast.CallExpr) bool) {
		for c := range ast.Preorder(n) {
			call, ok := c.(*ast.CallExpr)
			if ok && len(call.Args) > 0 && called(call) == name && !yield(call) {
				return
			}
		}
	}
}

// called is the name of the function or method that is called.
func called(call *ast.CallExpr) string {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name
	default:
		return ""
	}
}

// text is the value of a string in the source; "" for anything else.
func text(e ast.Expr) string {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return ""
	}
	s, err := strconv.Unquote(lit.Value)
	if err != nil {
		return ""
	}
	return s
}
