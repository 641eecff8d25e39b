package docs

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/yuin/goldmark/ast"
)

// block is a piece of code in a page.
type block struct {
	line     int
	language string
	text     string
	mark     mark
	given    string // commands for what the page takes for granted
}

// mark is what the comment ahead of a block says.
type mark struct {
	kind string // "run", "not run", "prints", or "" for none
	text string // until when it runs, or why it does not
}

// commands are the languages of blocks that somebody may paste and run.
var commands = []string{"sh", "bash", "shell", "console", "python"}

func (b block) isCommands() bool { return slices.Contains(commands, b.language) }

var comment = regexp.MustCompile(`^<!-- (not run|run|prints|given)(?:, until|)(?:: (.+?))? -->\s*$`)

// blocks lists the fenced code of a page.
func blocks(p page) []block {
	var found []block
	each(p, func(f *ast.FencedCodeBlock) {
		b := block{line: p.line(f), language: string(f.Language(p.source)), text: p.raw(f)}
		for h, ok := f.PreviousSibling().(*ast.HTMLBlock); ok; h, ok = h.PreviousSibling().(*ast.HTMLBlock) {
			switch m := comment.FindStringSubmatch(p.comment(h)); {
			case m == nil:
			case m[1] == "given":
				b.given = m[2] + "\n" + b.given
			default:
				b.mark = mark{m[1], m[2]}
			}
		}
		found = append(found, b)
	})
	return found
}

// TestEveryCommandIsMarked keeps commands out of the documents that nobody has decided
// about: they are run by a test, or the page's source says why not.
func TestEveryCommandIsMarked(t *testing.T) {
	var run, shown int
	for _, p := range pages(t) {
		each(p, func(c *ast.CodeBlock) {
			t.Errorf("%s:%d: indented code has no language; put it between ``` lines", p.path, p.line(c))
		})
		for _, b := range blocks(p) {
			switch {
			case b.language == "":
				t.Errorf("%s:%d: the block has no language; say `text` if it is none", p.path, b.line)
			case b.isCommands() && b.mark.kind == "run":
				run++
			case b.isCommands() && b.mark.kind == "not run" && b.mark.text != "":
				shown++
			case b.isCommands():
				t.Errorf("%s:%d: put <!-- run --> or <!-- not run: why not --> ahead of the block", p.path, b.line)
			case b.mark.kind == "run":
				t.Errorf("%s:%d: a block of %s can't be run", p.path, b.line, b.language)
			}
		}
	}
	t.Logf("%d blocks are run, %d are not", run, shown)
	if run < shown/2 {
		t.Errorf("got %d blocks that are run and %d that are not: too few", run, shown)
	}
}

// prints tells whether an output has the lines that a page promises, in their order.
func prints(output, promised string) (missing string, ok bool) {
	lines := strings.Split(output, "\n")
	for want := range strings.Lines(promised) {
		want = strings.TrimSpace(want)
		at := slices.IndexFunc(lines, func(line string) bool { return alike(line, want) })
		if at < 0 {
			return want, false
		}
		lines = lines[at+1:]
	}
	return "", true
}

// alike compares a line with what a page has of it: … stands for anything, and so many
// spaces for any number of them.
func alike(line, want string) bool {
	parts := strings.Split(squeeze(want), "…")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(strings.TrimSpace(parts[i]))
	}
	return regexp.MustCompile("^" + strings.Join(parts, ".*") + "$").MatchString(squeeze(line))
}

func squeeze(s string) string { return strings.Join(strings.Fields(s), " ") }

func TestPromisedLines(t *testing.T) {
	for name, c := range map[string]struct {
		output, promised string
		want             bool
	}{
		"the same":                                  {"a b\nc\n", "a b\nc\n", true},
		"lines in between":                          {"x\na\ny\nc\n", "a\nc\n", true},
		"another order":                             {"c\na\n", "a\nc\n", false},
		"something in place of the dots":            {"until 2026-01-01, UTC", "until …", true},
		"nothing in place of the dots":              {"until", "until …", true},
		"more than the line":                        {"a b", "a", false},
		"other widths of columns":                   {"web   AVAILABLE", "web AVAILABLE", true},
		"a sign that patterns know, taken as it is": {"(1 row)", "(1 row)", true},
	} {
		t.Run(name, func(t *testing.T) {
			if missing, got := prints(c.output, c.promised); got != c.want {
				t.Errorf("got %v, want %v; missing %q", got, c.want, missing)
			}
		})
	}
}
