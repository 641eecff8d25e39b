package upgrade

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/tapis-project/podway/tests/parts"
	"github.com/tapis-project/podway/tests/system"
)

// The next version has a schema of its own. It may do what docs/store.md allows: the
// version before has to go on with it.
const nextMigration = `-- +goose Up
alter table pods add column next_note text;
create table next_things (name text not null, constraint next_things_pkey primary key (name));
`

// next is what the next version calls itself.
const next = "v99.0.0-next"

// programs are those of one version.
type programs struct{ control, edge string }

// present returns the programs as they are.
func present(t *testing.T) programs {
	t.Helper()
	return programs{control: system.Program(t, "controlplane"), edge: system.Program(t, "edge")}
}

// upcoming builds the programs of the next version.
func upcoming(t *testing.T) programs {
	t.Helper()
	dir := t.TempDir()
	p := programs{control: filepath.Join(dir, "podway"), edge: filepath.Join(dir, "podway-edge")}
	migration := filepath.Join(dir, "next.sql")
	if err := os.WriteFile(migration, []byte(nextMigration), 0o600); err != nil {
		t.Fatal(err)
	}
	repo, err := filepath.Abs(parts.Repo())
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{
		filepath.Join(repo, "controlplane/internal/store/migrations/99999_next.sql"): migration,
	}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	var both sync.WaitGroup
	both.Go(func() {
		build(t, repo, "-overlay", file, "-ldflags", "-X main.version="+next, "-o", p.control, "./controlplane")
	})
	both.Go(func() {
		build(t, repo, "-ldflags", "-X github.com/caddyserver/caddy/v2.CustomVersion="+next, "-o", p.edge, "./edge")
	})
	both.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return p
}

func build(t *testing.T, dir string, args ...string) {
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"build"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as `make build`, so that its cache serves
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("building the next version: %v\n%s", err, out)
	}
}
