//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/tapis-project/podway/tests/parts"
)

func TestPostgresKeepsItsDataOnKubernetes(t *testing.T) {
	s := start(t, "postgres")
	u := s.Login("testuser")
	create(t, u, `{"pod_id":"db","image":"postgres","networking":{"default":{"protocol":"postgres","port":5432}},
		"environment_variables":{"POSTGRES_USER":"<<TAPIS_user_username>>","POSTGRES_PASSWORD":"<<TAPIS_user_password>>","POSTGRES_DB":"postgres",
			"PGDATA":"/var/lib/postgresql/data/pgdata"},
		"volume_mounts":{"data":{"type":"pvc","mount_path":"/var/lib/postgresql/data"}}}`)
	var c struct {
		Password string `json:"user_password"`
	}
	u.Call(http.MethodGet, "/v3/pods/db/credentials", "").Into(t, &c)

	query := func(sql string) (string, error) { return psql(t, s, "db", c.Password, sql) }
	parts.Eventually(t, startWithin, func() error { _, err := query("select 1"); return err })
	if _, err := query("create table kept(n int); insert into kept values (42)"); err != nil {
		t.Fatal(err)
	}
	u.Call(http.MethodGet, "/v3/pods/db/stop", "")
	u.WaitStatus("db", "STOPPED")
	if _, err := query("select 1"); err == nil || !strings.Contains(err.Error(), "this pod is stopped") {
		t.Errorf("psql to a stopped pod: got %v, want it told in psql's own words", err)
	}
	u.Call(http.MethodGet, "/v3/pods/db/start", "")
	u.WaitStatus("db", "AVAILABLE")
	parts.Eventually(t, startWithin, func() error {
		out, err := query("select n from kept")
		if err == nil && out != "42" {
			err = fmt.Errorf("got %q, want 42", out)
		}
		return err
	})

	t.Run("upload and download", func(t *testing.T) {
		upload(t, s, u, "db", "/tmp/note.txt", "a note")
		got, err := download(t, s, u, "db", "/tmp/note.txt")
		if err != nil || got != "a note" {
			t.Errorf("got %q, %v", got, err)
		}
	})
	remove(t, u, "db")
}
