package sdk

import (
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/tapis-project/podway/tests/parts"
	"github.com/tapis-project/podway/tests/pythonenv"
	"github.com/tapis-project/podway/tests/system"
)

// password returns the one that was made for the user named like a pod.
func password(t *testing.T, u system.User, pod string) string {
	t.Helper()
	var made struct {
		Username string `json:"user_username"`
		Password string `json:"user_password"`
	}
	u.Call(http.MethodGet, "/v3/pods/"+pod+"/credentials", "").Into(t, &made)
	if made.Username != pod || made.Password == "" {
		t.Fatalf("got credentials of %q, want a user named like the pod with a password", made.Username)
	}
	return made.Password
}

// TestPostgresSnippet runs what the documents print against a pod of the template
// postgres, through the edge, as the user that the pod has for everyone.
func TestPostgresSnippet(t *testing.T) {
	parts.Require(t, "/usr/lib/postgresql/*/bin/initdb")
	python := pythonenv.Make(t, "requirements-databases.txt")
	s := system.Start(t)
	s.StartEdge()
	u := s.Login("testuser")
	u.Call(http.MethodPost, "/v3/pods", `{"pod_id":"mydb","template":"postgres"}`)
	s.WaitLive("mydb")
	_, blocks := snippets(t, "postgres.py",
		replacement{"podId.pods.tacc.tapis.io", system.Host("mydb"), "the service is another one"},
		replacement{"443", strconv.Itoa(s.EdgePort), "its edge listens elsewhere"},
		replacement{"podId", "mydb", "so is the pod"},
		replacement{"autoRandomizedPassword", password(t, u, "mydb"), "so is the password"},
	)
	// The certificate is checked, against the root of the edge; and the name of the
	// host is in no DNS.
	blocks = append(blocks, "pg_cursor.execute('select current_user, (select rolsuper from pg_roles where rolname = current_user)')", "print(pg_cursor.fetchall())")
	cmd := exec.CommandContext(t.Context(), python, "-c", strings.Join(blocks, "\n"))
	cmd.Env = append(os.Environ(), "PGHOSTADDR=127.0.0.1", "PGSSLMODE=verify-full", "PGSSLROOTCERT="+s.CAFile(), "PGCONNECT_TIMEOUT=20")
	out, err := cmd.CombinedOutput()
	if got, want := string(out), "[]\n[('mydb', True)]\n"; err != nil || got != want {
		t.Errorf("got %q and %v, want %q", got, err, want)
	}
}
