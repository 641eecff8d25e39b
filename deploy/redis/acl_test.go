// Package redis tests the users of Redis that admins are told to make.
package redis

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// users reads the lines "user NAME on >PASSWORD RULES..." of a text.
func users(t *testing.T, file string) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		if words := strings.Fields(line); len(words) > 3 && words[0] == "user" && words[2] == "on" {
			all[words[1]] = words[4:]
		}
	}
	return all
}

// docs/routes.md tells the rights that routes need. The users in this folder have those
// and more, and nothing is allowed to them by a pattern that is not theirs.
func TestUsersHaveTheRightsOfTheDocumentation(t *testing.T) {
	have, documented := users(t, "users.acl"), users(t, "../../docs/routes.md")
	for _, name := range []string{"edge", "control"} {
		if len(have[name]) == 0 || len(documented[name]) == 0 {
			t.Fatalf("the user %s is missing", name)
		}
		for _, right := range documented[name] {
			if !slices.Contains(have[name], right) {
				t.Errorf("%s: users.acl lacks %s of docs/routes.md", name, right)
			}
		}
		for _, right := range have[name] {
			if slices.Contains([]string{"+@all", "allcommands", "~*", "allkeys", "&*", "allchannels", "nopass", "+acl", "+config", "+keys", "+flushall", "+debug"}, right) {
				t.Errorf("%s has %s", name, right)
			}
			if strings.ContainsAny(right[:1], "~&%") && !strings.Contains(right, "podway:{default}:") {
				t.Errorf("%s: %s is not of our keys", name, right)
			}
		}
	}
	for _, right := range have["edge"] {
		if right == "~podway:{default}:*" || right == "%RW~podway:{default}:*" || strings.HasPrefix(right, "%W~podway:{default}:routes") {
			t.Errorf("an edge may write routes: %s", right)
		}
	}
}
