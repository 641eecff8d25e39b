// Package pythonenv makes Python environments for tests that drive Podway with
// programs from PyPI.
//
//	python := pythonenv.Make(t, "requirements.txt")
//	out, err := exec.CommandContext(t.Context(), python, "script.py").CombinedOutput()
//
// An environment is made once, into .cache/python of the checkout, and again when
// its requirements change.
package pythonenv

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/tapis-project/podway/tests/parts"
	"github.com/tapis-project/podway/tests/toolcache"
)

// Cache returns the folder in which environments are kept.
func Cache() string { return toolcache.Dir("python") }

// Make returns the interpreter of an environment that has what a requirements
// file lists. It may be called from several test processes at once.
func Make(t testing.TB, requirements string) string {
	t.Helper()
	base := parts.Require(t, "python3")
	list, err := os.ReadFile(requirements)
	if err != nil {
		t.Fatal(err)
	}
	dir := toolcache.Make(t, "python", list, func(dir string) {
		toolcache.Run(t, dir, base, "-m", "venv", "--clear", dir)
		path := filepath.Join(dir, "requirements.txt")
		if err := os.WriteFile(path, list, 0o600); err != nil {
			t.Fatal(err)
		}
		toolcache.Run(t, dir, interpreter(dir), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", path)
	})
	return interpreter(dir)
}

func interpreter(dir string) string { return filepath.Join(dir, "bin", "python") }
