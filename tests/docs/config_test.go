package docs

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/tapis-project/podway/tests/system"
)

// TestCaddyfilesAreUnderstood gives the edge every whole Caddyfile of the documents.
// Syntax with <names> in it is none, nor are a few lines of one.
func TestCaddyfilesAreUnderstood(t *testing.T) {
	edge := system.Program(t, "edge")
	tried := 0
	for _, p := range pages(t) {
		for _, b := range blocks(p) {
			whole := strings.HasPrefix(b.text, "{") || strings.HasPrefix(b.text, ":")
			if b.language != "caddyfile" || !whole || strings.Contains(b.text, "<") {
				continue
			}
			tried++
			file := filepath.Join(t.TempDir(), "Caddyfile")
			if err := os.WriteFile(file, []byte(b.text), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), edge, "adapt", "--adapter", "caddyfile", "--config", file)
			cmd.Dir = t.TempDir()
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s:%d: %v\n%s", p.path, b.line, err, out)
			}
		}
	}
	if tried == 0 {
		t.Error("found no Caddyfile in the documents")
	}
	t.Logf("tried %d", tried)
}

// TestDataIsWellFormed reads the blocks of JSON and YAML.
func TestDataIsWellFormed(t *testing.T) {
	for _, p := range pages(t) {
		for _, b := range blocks(p) {
			var v any
			switch b.language {
			case "json":
				if err := json.Unmarshal([]byte(b.text), &v); err != nil {
					t.Errorf("%s:%d: %v", p.path, b.line, err)
				}
			case "yaml":
				if err := yaml.Unmarshal([]byte(b.text), &v); err != nil {
					t.Errorf("%s:%d: %v", p.path, b.line, err)
				}
			}
		}
	}
}
