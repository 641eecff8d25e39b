// Package systemd tests the unit of the edge with systemd's own tools.
package systemd

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// instance writes an instance of the unit, whose program is one that is here.
func instance(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		const missing = "systemd-analyze is not installed; `make test` installs what tests need"
		if os.Getenv("PODWAY_TEST_PARTS") == "required" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	text, err := os.ReadFile("podway-edge@.service")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "podway-edge@a.service")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(text), "/usr/local/bin/podway-edge", "/bin/true")), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestUnitIsValid(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "systemd-analyze", "verify", "--man=no", instance(t)).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("got %v\n%s", err, out)
	}
}

// The edge that an enrolment makes has what the unit counts on.
func TestUnitAndCaddyfileBelongTogether(t *testing.T) {
	unit, err := os.ReadFile("podway-edge@.service")
	if err != nil {
		t.Fatal(err)
	}
	caddyfile, err := os.ReadFile("../../controlplane/internal/enrol/Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(unit)) {
		rest, ok := strings.CutPrefix(line, "Environment=")
		if !ok {
			continue
		}
		for setting := range strings.FieldsSeq(rest) {
			name, _, _ := strings.Cut(setting, "=")
			if strings.HasPrefix(name, "PODWAY_") && !strings.Contains(string(caddyfile), "{$"+name) {
				t.Errorf("the Caddyfile of an enrolment does not read %s", name)
			}
		}
	}
}

// 10 is a service that may do all, 0 one that may do nothing.
func TestUnitIsHardened(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20", instance(t)).CombinedOutput()
	if err != nil {
		t.Errorf("the exposure is above 2.0: %v\n%s", err, out)
	}
}
