// Package nodeenv installs programs and libraries from npm, for tests that drive
// Podway with them.
//
//	modules := nodeenv.Make(t, "package.json")
//	cmd := exec.CommandContext(t.Context(), nodeenv.Node(t), "script.js")
//	cmd.Env = append(os.Environ(), "NODE_PATH="+modules)
//
// An installation is made once, into .cache/node of the checkout, and again when
// its package.json changes. Scripts of packages don't run.
package nodeenv

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/tapis-project/podway/tests/parts"
	"github.com/tapis-project/podway/tests/toolcache"
)

// Node returns the program that runs JavaScript.
func Node(t testing.TB) string {
	t.Helper()
	return parts.Require(t, "node", "nodejs")
}

// Make returns the folder node_modules with what a package.json lists. It may be
// called from several test processes at once.
func Make(t testing.TB, packageJSON string) string {
	t.Helper()
	npm := parts.Require(t, "npm")
	list, err := os.ReadFile(packageJSON)
	if err != nil {
		t.Fatal(err)
	}
	dir := toolcache.Make(t, "node", list, func(dir string) {
		if err := os.WriteFile(filepath.Join(dir, "package.json"), list, 0o600); err != nil {
			t.Fatal(err)
		}
		toolcache.Run(t, dir, npm, "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--omit=optional")
	})
	return filepath.Join(dir, "node_modules")
}
