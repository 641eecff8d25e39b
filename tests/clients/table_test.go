package clients

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tapis-project/podway/tests/parts"
)

// row is one client of docs/clients.md.
type row struct {
	client  string // its name
	connect string // a command, an expression or an address
	tried   string // the version, as the client tells it
}

// rowPattern is a row: | client | `connect` | tried |
var rowPattern = regexp.MustCompile("(?m)^\\| ([^|`]+) \\| `([^`]+)` \\| ([^|]*) \\|$")

// table returns the rows of docs/clients.md.
func table(t *testing.T) []row {
	t.Helper()
	var rows []row
	for _, m := range rowPattern.FindAllStringSubmatch(page(t), -1) {
		rows = append(rows, row{client: m[1], connect: m[2], tried: strings.TrimSpace(m[3])})
	}
	return rows
}

func page(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(parts.Repo(), "docs", "clients.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// hostPattern finds the pod that is connected to.
var hostPattern = regexp.MustCompile(`([a-z]+)\.pods\.example\.org`)

// pod returns the name of the pod that the row connects to.
func (r row) pod(t *testing.T) string {
	t.Helper()
	m := hostPattern.FindStringSubmatch(r.connect)
	if m == nil { // it connects to a tunnel
		m = hostPattern.FindStringSubmatch(tunnel(t))
	}
	return m[1]
}

// tunnelPattern is the configuration of stunnel.
var tunnelPattern = regexp.MustCompile("(?s)```ini\n(.*?)```")

// tunnel returns the configuration of stunnel in docs/clients.md.
func tunnel(t *testing.T) string {
	t.Helper()
	m := tunnelPattern.FindStringSubmatch(page(t))
	if m == nil || !hostPattern.MatchString(m[1]) {
		t.Fatal("docs/clients.md has no configuration of stunnel that names a pod")
	}
	return m[1]
}
