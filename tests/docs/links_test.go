package docs

import (
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/yuin/goldmark/ast"

	"github.com/tapis-project/podway/tests/parts"
)

// TestLinksLeadSomewhere checks the files and the headings that documents link to.
// Other machines are not asked.
func TestLinksLeadSomewhere(t *testing.T) {
	all := pages(t)
	anchors := map[string]map[string]bool{}
	for _, p := range all {
		anchors[p.path] = headings(p)
	}
	for _, p := range all {
		check := func(n ast.Node, destination []byte) {
			if err := follow(p, string(destination), anchors); err != nil {
				t.Errorf("%s:%d: %v", p.path, p.line(n), err)
			}
		}
		each(p, func(l *ast.Link) { check(l, l.Destination) })
		each(p, func(i *ast.Image) { check(i, i.Destination) })
	}
}

// follow looks for what a link of a page leads to.
func follow(p page, destination string, anchors map[string]map[string]bool) error {
	u, err := url.Parse(destination)
	if err != nil {
		return fmt.Errorf("reading the link %q: %w", destination, err)
	}
	if u.Scheme != "" {
		return nil
	}
	target := p.path
	if u.Path != "" {
		target = path.Join(path.Dir(p.path), u.Path)
	}
	if _, err := os.Stat(filepath.Join(parts.Repo(), target)); err != nil {
		return fmt.Errorf("following the link %q: %w", destination, err)
	}
	if u.Fragment != "" && !anchors[target][u.Fragment] {
		return fmt.Errorf("%s has no heading #%s", target, u.Fragment)
	}
	return nil
}

// named is an anchor that a page gives a place by itself.
var named = regexp.MustCompile(`<a (?:id|name)="([^"]+)"`)

// headings are the anchors of a page.
func headings(p page) map[string]bool {
	found := map[string]bool{}
	each(p, func(h *ast.Heading) { found[anchor(words(p, h))] = true })
	for _, m := range named.FindAllSubmatch(p.source, -1) {
		found[string(m[1])] = true
	}
	return found
}

// words is the text of a node without its marks.
func words(p page, n ast.Node) string {
	var b strings.Builder
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		if s, ok := c.(*ast.Text); ok {
			b.Write(s.Value(p.source))
		} else {
			b.WriteString(words(p, c))
		}
	}
	return b.String()
}

// anchor is the name that GitHub, and our site, give a heading.
func anchor(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			return unicode.ToLower(r)
		default:
			return -1
		}
	}, heading)
}
