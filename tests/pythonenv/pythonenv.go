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
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/tapis-project/podway/tests/parts"
)

// Cache returns the folder in which environments are kept.
func Cache() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", ".cache", "python")
}

// Make returns the interpreter of an environment that has what a requirements
// file lists. It may be called from several test processes at once.
func Make(t testing.TB, requirements string) string {
	t.Helper()
	base := parts.Require(t, "python3")
	list, err := os.ReadFile(requirements)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(list)
	dir := filepath.Join(Cache(), hex.EncodeToString(sum[:6]))
	if err := os.MkdirAll(Cache(), 0o755); err != nil {
		t.Fatal(err)
	}
	defer lock(t, filepath.Join(Cache(), "lock"))()

	interpreter, complete := filepath.Join(dir, "bin", "python"), filepath.Join(dir, "complete")
	if _, err := os.Stat(complete); err == nil {
		return interpreter
	}
	run(t, base, "-m", "venv", "--clear", dir)
	run(t, interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements)
	if err := os.WriteFile(complete, list, 0o600); err != nil {
		t.Fatal(err)
	}
	return interpreter
}

// lock waits until no other process makes an environment.
func lock(t testing.TB, path string) (unlock func()) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	return func() { f.Close() }
}

func run(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", filepath.Base(name), args, err, out)
	}
}
