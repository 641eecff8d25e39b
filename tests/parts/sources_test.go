package parts_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tapis-project/podway/tests/parts"
)

// The log is what `go test` looks at before it takes a result from its cache.
func TestResultsDependOnTheProduct(t *testing.T) {
	const inside = "PODWAY_TEST_INSIDE"
	if os.Getenv(inside) != "" {
		if err := parts.DependsOn(parts.Product()...); err != nil {
			t.Fatal(err)
		}
		return
	}
	log := filepath.Join(t.TempDir(), "testlog")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.testlogfile="+log)
	cmd.Env = append(os.Environ(), inside+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"sni", "controlplane/internal/api", "deploy/chart/templates"} {
		if want := "open " + filepath.Join(parts.Repo(), path) + "\n"; !strings.Contains(string(text), want) {
			t.Errorf("the log of the tests does not have %q", want)
		}
	}
	if err := parts.DependsOn("no/such/folder"); err == nil {
		t.Error("a folder that is not there: got no error")
	}
}
