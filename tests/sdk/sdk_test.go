package sdk

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tapis-project/podway/tests/pythonenv"
	"github.com/tapis-project/podway/tests/system"
)

func TestMain(m *testing.M) { system.Main(m) }

// run runs a program in this folder and returns what it wrote.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1") // nothing beside the sources
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(name), strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestEveryOperationOfTheSDK(t *testing.T) {
	python := pythonenv.Make(t, "requirements.txt")
	s := system.Start(t)
	t.Log(run(t, python, "operations.py", s.BaseURL()))
}

func TestTheSDKReadsOurSpecification(t *testing.T) {
	python := pythonenv.Make(t, "requirements.txt")
	s := system.Start(t)
	file := filepath.Join(t.TempDir(), "openapi.yaml")
	spec := run(t, system.Program(t, "controlplane"), "openapi", "--yaml")
	if err := os.WriteFile(file, []byte(spec), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Log(run(t, python, "ourspec.py", s.BaseURL(), file))
}
