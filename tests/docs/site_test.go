package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/tapis-project/podway/tests/nodeenv"
	"github.com/tapis-project/podway/tests/parts"
	"github.com/tapis-project/podway/tests/pythonenv"
)

// TestSite makes the site, strictly, and opens every page of it in Chromium, from the
// disk, on a phone's screen and in the dark; some on a wide and light one, too.
// PODWAY_TEST_SHOTS names a folder for pictures of these.
func TestSite(t *testing.T) {
	chromium, node := parts.Require(t, "chromium"), nodeenv.Node(t)
	python := pythonenv.Make(t, "../../docs/site/requirements.txt")
	site := t.TempDir()
	build := exec.CommandContext(t.Context(), python, "-m", "mkdocs", "build", "--quiet", "--site-dir", site)
	build.Dir = parts.Repo()
	build.Env = append(os.Environ(), "NO_MKDOCS_2_WARNING=1", "PYTHONDONTWRITEBYTECODE=1")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("making the site: %v\n%s", err, out)
	}
	if left, _ := filepath.Glob(filepath.Join(site, "site", "*.py")); len(left) > 0 {
		t.Errorf("the site has %v", left)
	}
	look := exec.CommandContext(t.Context(), node, "site.js", chromium, site, os.Getenv("PODWAY_TEST_SHOTS"))
	look.Env = append(os.Environ(), "NODE_PATH="+nodeenv.Make(t, "../gate/package.json"))
	if out, err := look.CombinedOutput(); err != nil {
		t.Errorf("looking at the site: %v\n%s", err, out)
	}
}
