package docs

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/yuin/goldmark/ast"
	"go.yaml.in/yaml/v3"

	"github.com/tapis-project/podway/tests/parts"
	"github.com/tapis-project/podway/tests/system"
)

// TestEveryPageIsOnTheMap compares the navigation of the site and the map of
// docs/README.md, which is the one on GitHub, with the pages there are.
func TestEveryPageIsOnTheMap(t *testing.T) {
	nav, linked := navigation(t), links(t, "docs/README.md")
	for _, p := range pages(t) {
		file, inDocs := strings.CutPrefix(p.path, "docs/")
		if !inDocs {
			continue
		}
		if n := count(nav, file); n != 1 {
			t.Errorf("%s is %d times in the nav of mkdocs.yml, want once", p.path, n)
		}
		if strings.HasPrefix(file, "caddyfile/") {
			file = "caddyfile/README.md" // which lists them
		}
		if file != "README.md" && !slices.Contains(linked, file) {
			t.Errorf("docs/README.md has no link to %s", file)
		}
	}
	for _, file := range nav {
		if _, err := os.Stat(filepath.Join(parts.Repo(), "docs", file)); err != nil {
			t.Errorf("nav of mkdocs.yml: %v", err)
		}
	}
}

// TestEveryModuleHasAPage compares the list of modules with those of the edge, and with
// the pages beside it.
func TestEveryModuleHasAPage(t *testing.T) {
	list, linked := read(t, "docs/caddyfile/README.md"), links(t, "docs/caddyfile/README.md")
	out, err := exec.CommandContext(t.Context(), system.Program(t, "edge"), "list-modules", "--skip-standard").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		id := strings.TrimSpace(line)
		if id != "" && !strings.Contains(id, " ") && !strings.Contains(string(list.source), "`"+id+"`") {
			t.Errorf("docs/caddyfile/README.md lacks the module %s", id)
		}
	}
	for _, p := range pages(t) {
		if file, ok := strings.CutPrefix(p.path, "docs/caddyfile/"); ok && file != "README.md" && !slices.Contains(linked, file) {
			t.Errorf("docs/caddyfile/README.md has no link to %s", file)
		}
	}
}

func count(list []string, one string) (n int) {
	for _, s := range list {
		if s == one {
			n++
		}
	}
	return n
}

// links are the documents that a document links to, relative to its folder.
func links(t *testing.T, file string) []string {
	t.Helper()
	var found []string
	each(read(t, file), func(l *ast.Link) {
		target, _, _ := strings.Cut(string(l.Destination), "#")
		found = append(found, path.Clean(target))
	})
	return found
}

// navigation lists the pages in the nav of mkdocs.yml.
func navigation(t *testing.T) []string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(parts.Repo(), "mkdocs.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var site struct {
		Nav any `yaml:"nav"`
	}
	if err := yaml.Unmarshal(b, &site); err != nil {
		t.Fatal(err)
	}
	var found []string
	collect(site.Nav, &found)
	return found
}

func collect(entry any, found *[]string) {
	switch e := entry.(type) {
	case string:
		*found = append(*found, e)
	case []any:
		for _, v := range e {
			collect(v, found)
		}
	case map[string]any:
		for _, v := range e {
			collect(v, found)
		}
	}
}
