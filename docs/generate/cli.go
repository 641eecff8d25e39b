package main

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

func podctlPage(ctx context.Context, s sources) ([]byte, error) {
	return commandPage(ctx, s.podctl, "podctl", "[From a terminal](../podctl.md) shows how they are used together.")
}

func podwayPage(ctx context.Context, s sources) ([]byte, error) {
	return commandPage(ctx, s.podway, "podway", "Settings of `podway serve` are [environment variables](variables.md); "+
		"[development mode](../development.md) explains `podway dev`, and the guides of *Run Podway* the rest.")
}

// commandPage describes every command of a program as its --help does.
func commandPage(ctx context.Context, program, name, intro string) ([]byte, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "# Commands of %s\n\nWhat `%s COMMAND --help` prints. %s\n", name, name, intro)
	root, err := readHelp(ctx, program)
	if err != nil {
		return nil, err
	}
	if err := describe(ctx, &b, program, []string{name}, root); err != nil {
		return nil, err
	}
	return []byte(b.String()), nil
}

// describe writes a command, and those below it.
func describe(ctx context.Context, b *strings.Builder, program string, words []string, h help) error {
	if len(words) > 1 {
		fmt.Fprintf(b, "\n## %s\n\n%s\n", strings.Join(words, " "), h.about)
	}
	if text := h.runs(words); text != "" {
		fmt.Fprintf(b, "\n```text\n%s\n```\n", text)
	}
	flags := h.sections["Flags"]
	if len(words) == 1 {
		flags += "\n" + h.sections["Global Flags"]
	}
	if rows := flagRows(flags); rows != "" {
		fmt.Fprintf(b, "\n| flag | meaning |\n|---|---|\n%s", rows)
	}
	for _, sub := range h.commands() {
		below, err := readHelp(ctx, program, append(slices.Clone(words[1:]), sub)...)
		if err != nil {
			return err
		}
		if err := describe(ctx, b, program, append(slices.Clone(words), sub), below); err != nil {
			return err
		}
	}
	return nil
}

// help is what a command prints about itself.
type help struct {
	about    string
	sections map[string]string // such as "Usage", without the indent of the first line
}

var section = regexp.MustCompile(`(?m)^(Usage|Examples|Available Commands|Flags|Global Flags):\n`)

func readHelp(ctx context.Context, program string, words ...string) (help, error) {
	out, err := exec.CommandContext(ctx, program, append(words, "--help")...).Output()
	if err != nil {
		return help{}, fmt.Errorf("asking %s %v for help: %w", program, words, err)
	}
	text, _, _ := strings.Cut(string(out), "\nUse \"")
	h := help{sections: map[string]string{}}
	at := section.FindAllStringSubmatchIndex(text, -1)
	for i, m := range at {
		end := len(text)
		if i+1 < len(at) {
			end = at[i+1][0]
		}
		h.sections[text[m[2]:m[3]]] = strings.Trim(text[m[1]:end], "\n")
	}
	if len(at) > 0 {
		text = text[:at[0][0]]
	}
	h.about = paragraphs(strings.TrimSpace(text))
	return h, nil
}

var (
	indented = regexp.MustCompile(`(?m)^(\S.*)\n((?:  .*(?:\n|$))+)`)
	item     = regexp.MustCompile(`(?m)^  +(\S+) +`)
)

// paragraphs makes text for a terminal that of a page: what is indented there is a list.
func paragraphs(text string) string {
	text = indented.ReplaceAllStringFunc(prose(text), func(s string) string {
		return strings.Replace(s, "\n  ", "\n\n  ", 1)
	})
	return item.ReplaceAllString(text, "- `$1`: ")
}

// runs is how the command is written, and examples of it.
func (h help) runs(words []string) string {
	var lines []string
	for line := range strings.Lines(h.sections["Usage"]) {
		// The line of a command that only has others is of no use.
		if line = strings.TrimSpace(line); line != strings.Join(words, " ")+" [command]" {
			lines = append(lines, line)
		}
	}
	if examples := h.sections["Examples"]; examples != "" {
		lines = append(lines, "")
		for line := range strings.Lines(examples) {
			lines = append(lines, strings.TrimPrefix(strings.TrimRight(line, "\n"), "  "))
		}
	}
	return strings.Join(lines, "\n")
}

// commands are the names of those below the command.
func (h help) commands() []string {
	var names []string
	for line := range strings.Lines(h.sections["Available Commands"]) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name != "completion" && name != "help" && name != "" {
			names = append(names, name)
		}
	}
	return names
}

// flagLine is a line such as "  -f, --file string   file with the pod".
var flagLine = regexp.MustCompile(`^\s+(?:(-\w), )?(--[\w-]+)(?: (\S+))?\s{2,}(.*)$`)

func flagRows(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		m := flagLine.FindStringSubmatch(strings.TrimRight(line, "\n"))
		if m == nil || m[2] == "--help" || m[2] == "--version" {
			continue
		}
		name := "`" + strings.TrimSpace(m[2]+" "+m[3]) + "`"
		if m[1] != "" {
			name = "`" + m[1] + "`, " + name
		}
		fmt.Fprintf(&b, "| %s | %s |\n", name, cell(m[4]))
	}
	return b.String()
}

// cell makes text that of a cell of a table.
func cell(text string) string {
	return prose(strings.NewReplacer("|", `\|`, "\n", " ").Replace(text))
}

// prose makes text that of a page, in which < begins a tag, but not between backquotes.
func prose(text string) string {
	parts := strings.Split(text, "`")
	for i := 0; i < len(parts); i += 2 {
		parts[i] = strings.NewReplacer("<", "&lt;", "*", `\*`).Replace(parts[i])
	}
	return strings.Join(parts, "`")
}
