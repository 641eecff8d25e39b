package upgrade

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/tapis-project/podway/tests/parts"
)

// takes matches what the version before can't go on with: it reads and writes what it
// knows by name, and knows nothing of what is new.
var takes = regexp.MustCompile(`(?im)^\s*(drop|truncate|delete|update|rename)\b|\b(drop|rename|alter)\s+(table|column|constraint|index)\b.*\b(drop|rename|alter|type|set\s+not\s+null)\b|\badd\s+constraint\b`)

// added matches a new column.
var added = regexp.MustCompile(`(?i)\badd\s+column\b[^;]*;`)

// optional matches a column that need not be given.
var optional = regexp.MustCompile(`(?i)\bdefault\b`)

// required matches a column that may not be null.
var required = regexp.MustCompile(`(?i)\bnot\s+null\b`)

// Each migration only adds, so that control planes of the version before serve on while,
// and after, it runs. docs/operations/upgrade.md promises that.
func TestMigrationsOnlyAdd(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(parts.Repo(), "controlplane/internal/store/migrations/*.sql"))
	if err != nil || len(files) == 0 {
		t.Fatalf("got %v, %v, want migrations", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, problem := range incompatible(string(text)) {
			t.Errorf("%s: %q: the version before can't go on with it", filepath.Base(file), problem)
		}
	}
}

// incompatible returns the statements of a migration that do not only add.
func incompatible(text string) []string {
	problems := takes.FindAllString(text, -1)
	for _, column := range added.FindAllString(text, -1) {
		if required.MatchString(column) && !optional.MatchString(column) {
			problems = append(problems, column)
		}
	}
	return problems
}

func TestIncompatibleStatementsAreFound(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		bad  bool
	}{
		"a table is added":                      {"create table x (a text not null);", false},
		"an index is added":                     {"create index x on pods (a);", false},
		"a column with a default is added":      {"alter table pods add column a text not null default '';", false},
		"a column that may be null is added":    {"alter table pods add column a text;", false},
		"rows go with those they belong to":     {"create table x (\n  references pods (id) on delete cascade\n);", false},
		"a column that has to be given":         {"alter table pods add column a text not null;", true},
		"a column is dropped":                   {"alter table pods drop column a;", true},
		"a column is renamed":                   {"alter table pods rename column a to b;", true},
		"a type is changed":                     {"alter table pods alter column a type bigint;", true},
		"a table is dropped":                    {"drop table pods;", true},
		"rows are changed":                      {"update pods set a = 1;", true},
		"a rule is added for rows of before":    {"alter table pods add constraint x check (a > 0);", true},
		"a value is demanded of rows of before": {"alter table pods alter column a set not null;", true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := incompatible(tt.text); (len(got) > 0) != tt.bad {
				t.Errorf("got %q, want a problem: %v", got, tt.bad)
			}
		})
	}
}
