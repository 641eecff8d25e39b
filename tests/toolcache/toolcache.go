// Package toolcache keeps what tests install from package registries, in .cache
// of the checkout, so that it is fetched once.
//
//	dir := toolcache.Make(t, "python", list, func(dir string) { install(dir) })
package toolcache

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/tapis-project/podway/tests/parts"
)

// Dir returns the folder that keeps what is of a kind, such as "python".
func Dir(kind string) string { return filepath.Join(parts.Repo(), ".cache", kind) }

// Make returns a folder that install has filled for a list of requirements. It
// does that once for each list, and again only if it failed; the folder may hold
// what the failed one left. Make may be called from several test processes at once.
func Make(t testing.TB, kind string, list []byte, install func(dir string)) string {
	t.Helper()
	sum := sha256.Sum256(list)
	dir := filepath.Join(Dir(kind), hex.EncodeToString(sum[:6]))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	defer lock(t, filepath.Join(Dir(kind), "lock"))()

	complete := filepath.Join(dir, "complete")
	if _, err := os.Stat(complete); err == nil {
		return dir
	}
	install(dir)
	if err := os.WriteFile(complete, list, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Run runs a program of an installation, and fails the test with its output.
func Run(t testing.TB, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", filepath.Base(name), args, err, out)
	}
}

// lock waits until no other process installs anything of a kind.
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
