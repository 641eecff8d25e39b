package docs

import (
	"os/exec"
	"testing"

	"github.com/tapis-project/podway/tests/parts"
	"github.com/tapis-project/podway/tests/system"
)

// TestReferenceIsUpToDate makes the pages of docs/reference again and compares them.
func TestReferenceIsUpToDate(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "run", "./docs/generate", "-check",
		"-podway", system.Program(t, "controlplane"), "-podctl", system.Program(t, "podctl"))
	cmd.Dir = parts.Repo()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
