package edge

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	ruleRow   = regexp.MustCompile(`^\| ([A-Z]\d+) \|`)
	testNames = regexp.MustCompile("`([a-z/]+)`|\\b((?:Test|Fuzz)[A-Za-z0-9]+)")
	testFuncs = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Za-z0-9]+)\(`)
)

// Every test that docs/security-tests.md names exists in the folder it names, and
// every test here that carries the name of a rule is in the table.
func TestEveryRuleHasItsTests(t *testing.T) {
	const root = "../.."
	page, err := os.ReadFile(filepath.Join(root, "docs", "security-tests.md"))
	if err != nil {
		t.Fatal(err)
	}
	rules := map[string]bool{}
	for line := range strings.Lines(string(page)) {
		m := ruleRow.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		rules[m[1]] = true
		cells := strings.Split(strings.TrimSpace(line), "|")
		if n := checkTests(t, root, m[1], cells[len(cells)-2]); n == 0 {
			t.Errorf("%s has no test", m[1])
		}
	}
	for _, want := range []string{"E1", "E2", "E3", "E4", "E5", "E6", "E7", "E8", "E9", "E10", "D1", "D2", "D3", "D4", "D6", "R1", "R2", "R3", "R4"} {
		if !rules[want] {
			t.Errorf("%s is not in the table", want)
		}
	}
	for name := range testsIn(t, ".") {
		if regexp.MustCompile(`^Test[EDR]\d`).MatchString(name) && !strings.Contains(string(page), name) {
			t.Errorf("%s is not in the table", name)
		}
	}
}

// checkTests checks the tests of one rule and returns how many there are.
func checkTests(t *testing.T, root, rule, cell string) int {
	t.Helper()
	n, known := 0, map[string]bool(nil)
	for _, m := range testNames.FindAllStringSubmatch(cell, -1) {
		if m[1] != "" {
			known = testsIn(t, filepath.Join(root, m[1]))
			continue
		}
		n++
		if !known[m[2]] {
			t.Errorf("%s: there is no %s", rule, m[2])
		}
	}
	return n
}

// testsIn returns the names of the tests in a folder.
func testsIn(t *testing.T, dir string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no tests in %s (%v)", dir, err)
	}
	names := map[string]bool{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range testFuncs.FindAllSubmatch(b, -1) {
			names[string(m[1])] = true
		}
	}
	return names
}
