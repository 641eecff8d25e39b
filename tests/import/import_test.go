package imports

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tapis-project/podway/tests/parts"
	"github.com/tapis-project/podway/tests/system"
)

// report is what `podway import --json` prints.
type report struct {
	DryRun bool `json:"dry_run"`
	Items  []struct{ Kind, Tenant, ID, Outcome, Reason string }
}

func (r report) count(outcome string) int {
	n := 0
	for _, i := range r.Items {
		if i.Outcome == outcome {
			n++
		}
	}
	return n
}

// source starts a Postgres with the database of the other service.
func source(t *testing.T) string {
	t.Helper()
	server := parts.StartPostgres(t)
	dump, err := os.ReadFile("pods.sql")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), server.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	if _, err := conn.Exec(t.Context(), string(dump)); err != nil {
		t.Fatal(err)
	}
	return server.DSN
}

// runImport runs `podway import` on the store of a system and returns what it
// prints.
func runImport(t *testing.T, s *system.System, from string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), system.Program(t, "controlplane"), append([]string{"import"}, args...)...)
	cmd.Env = append(slices.Clone(s.Env), "PODWAY_STORE=sqlite:"+filepath.Join(s.Dir, "podway.db"), "PODWAY_KEY_FILE="+filepath.Join(s.Dir, "secret.key"),
		"PODWAY_IMPORT_FROM="+from)
	var told strings.Builder
	cmd.Stderr = &told
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("importing: %v\n%s", err, told.String())
	}
	return string(out)
}

func reportOf(t *testing.T, text string) (r report) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return r
}

func TestAServiceMovesOver(t *testing.T) {
	s := system.Start(t)
	s.Control.Stop()
	from := source(t)
	// The files come by another way.
	folder := filepath.Join(s.Dir, "volumes", "dev", "volumes", "mydata")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "note.txt"), []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}

	dry := reportOf(t, runImport(t, s, from, "--dry-run", "--json"))
	if !dry.DryRun || dry.count("imported") < 10 {
		t.Errorf("got %+v, want what would be imported", dry)
	}
	if text := runImport(t, s, from); !strings.Contains(text, "secret dev/dbpass: its value is in the Security Kernel") {
		t.Errorf("got\n%s\nwant the secret named", text)
	}
	again := reportOf(t, runImport(t, s, from, "--json"))
	if again.count("imported") > 0 || again.count("exists") != dry.count("imported")+dry.count("exists") {
		t.Errorf("got %+v, want all that was imported to be there", again)
	}

	s.StartControl()
	u := s.Login("testuser")
	u.WaitStatus("web", "ERROR") // until its secret is there
	u.Call(http.MethodPost, "/v3/pods/secrets", `{"secret_id":"dbpass","secret_value":"new"}`)
	u.Call(http.MethodGet, "/v3/pods/web/restart", "")
	u.WaitStatus("web", "AVAILABLE")

	var credentials struct {
		Username string `json:"user_username"`
		Password string `json:"user_password"`
	}
	u.Call(http.MethodGet, "/v3/pods/web/credentials", "").Into(t, &credentials)
	if credentials.Username != "web" || credentials.Password != "user-password-of-web" {
		t.Errorf("got %+v, want the password as it was", credentials)
	}
	var logs struct {
		ActionLogs []string `json:"action_logs"`
	}
	u.Call(http.MethodGet, "/v3/pods/web/logs", "").Into(t, &logs)
	for i, want := range []string{"24/06/10 17:20: Pod object created by 'testuser'", "24/06/10 17:21: health set status to AVAILABLE"} {
		if i >= len(logs.ActionLogs) || logs.ActionLogs[i] != want {
			t.Errorf("got %q, want it to begin with %q", logs.ActionLogs, want)
			break
		}
	}
	var files []struct{ Name string }
	u.Call(http.MethodGet, "/v3/pods/volumes/mydata/list", "").Into(t, &files)
	if len(files) != 1 || files[0].Name != "note.txt" {
		t.Errorf("got %v, want the file that was there", files)
	}
	var tags []struct {
		TagTimestamp string `json:"tag_timestamp"`
	}
	u.Call(http.MethodGet, "/v3/pods/templates/webbase/tags", "").Into(t, &tags)
	if len(tags) != 2 || tags[1].TagTimestamp != "latest@2025-01-30-17:14:14" {
		t.Errorf("got %v, want both versions with their timestamps", tags)
	}

	u.Call(http.MethodGet, "/v3/pods/templated/start", "")
	u.WaitStatus("templated", "AVAILABLE")
}
