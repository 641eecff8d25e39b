package system

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/tapis-project/podway/tests/parts"
)

// built holds the programs of this test process.
var built struct {
	sync.Mutex

	dir   string
	paths map[string]string
}

// Main runs the tests of a package and removes the programs that were built for
// them. The tests depend on the product, on the folder of the package, and on what
// else is named. It does not return.
func Main(m *testing.M, dependsOn ...string) {
	dir, err := os.MkdirTemp("", "podway-system-")
	if err == nil {
		// PostgreSQL gives up root's rights, and its pods run below this folder.
		err = os.Chmod(dir, 0o711)
	}
	if err == nil {
		err = parts.DependsOn(append(append(parts.Product(), "."), dependsOn...)...)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "preparing the tests of programs:", err)
		os.Exit(1)
	}
	built.dir, built.paths = dir, map[string]string{}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// Program builds a program of this repository, given by its folder such as
// "controlplane", and returns the path of it.
func Program(t testing.TB, folder string) string {
	t.Helper()
	built.Lock()
	defer built.Unlock()
	if built.dir == "" {
		t.Fatal("TestMain of this package has to call system.Main")
	}
	if path, ok := built.paths[folder]; ok {
		return path
	}
	path := filepath.Join(built.dir, filepath.Base(folder)+".bin")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", path, "./"+folder)
	cmd.Dir = parts.Repo()
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as `make build`, so that its cache serves
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v\n%s", folder, err, out)
	}
	built.paths[folder] = path
	return path
}
