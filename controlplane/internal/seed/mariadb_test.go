package seed

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/tests/parts"
)

// TestMariaDBHasTheUserOfThePod runs a real server with what the template gives to
// a pod, by the entry point that the images of the cluster of this repository have.
func TestMariaDBHasTheUserOfThePod(t *testing.T) {
	parts.Require(t, "mariadb")
	w := workloads(t)["mariadb:11"]
	port := startMariaDB(t, w)
	id := string(w.ID)
	as := func(name, password, sql string) (string, error) {
		c := exec.CommandContext(t.Context(), "mariadb", "--no-defaults", "--protocol=tcp", "--host=127.0.0.1", "--port="+strconv.Itoa(port),
			"--user="+name, "--batch", "--skip-column-names", "--execute="+sql, id)
		c.Env = append(os.Environ(), "MYSQL_PWD="+password)
		out, err := c.CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	parts.Eventually(t, time.Minute, func() error {
		out, err := as(w.Credentials.UserUsername, w.Credentials.UserPassword, "select 1")
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	for _, tt := range []struct{ name, user, password, sql, want string }{
		{"it is named like the pod", id, w.Credentials.UserPassword, "select user(), database()", id + "@localhost\t" + id},
		{"it may do everything in its database", id, w.Credentials.UserPassword, "create table t (n int); insert into t values (42); select n from t", "42"},
		{"it may do nothing elsewhere", id, w.Credentials.UserPassword, "select user from mysql.user", "denied"},
		{"no other password will do", id, "another", "select 1", "denied"},
		{"no name does without one", "", "", "select 1", "denied"},
		{"the service has the root password", "root", w.Credentials.AdminPassword, "select count(*) from mysql.user where user = '" + id + "'", "1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := as(tt.user, tt.password, tt.sql)
			switch {
			case tt.want == "denied" && (err == nil || !strings.Contains(got, "denied")):
				t.Errorf("got %q, %v, want it denied", got, err)
			case tt.want != "denied" && (err != nil || got != tt.want):
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

// startMariaDB runs a workload with the MariaDB of this machine and returns its
// port.
func startMariaDB(t *testing.T, w pods.Workload) int {
	t.Helper()
	server := parts.Require(t, "mariadbd", "/usr/sbin/mariadbd")
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	// The server takes --no-defaults in the first place only, and runs as root only
	// if it is told to.
	write(t, filepath.Join(dir, "mariadbd"), "#!/bin/sh\nfirst=$1\nshift\nexec "+server+` "$first" --user=`+me.Username+` "$@"`+"\n")
	script, err := os.ReadFile(filepath.Join("..", "..", "..", "deploy", "cluster", "images", "mariadb-entrypoint.sh"))
	if err != nil {
		t.Fatal(err)
	}
	here := strings.NewReplacer("/var/lib/mysql", filepath.Join(dir, "data"), "/run/mysqld/mysqld.sock", filepath.Join(dir, "s"))
	write(t, filepath.Join(dir, "entrypoint"), here.Replace(string(script)))
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}

	port := parts.FreePort(t)
	cmd := exec.Command(filepath.Join(dir, "entrypoint"), "mariadbd", "--bind-address=127.0.0.1", "--port="+strconv.Itoa(port))
	cmd.Env = []string{"PATH=" + dir + ":/usr/sbin:/usr/bin:/bin"}
	for name, value := range w.Env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		if t.Failed() {
			_, _ = log.Seek(0, io.SeekStart)
			out, _ := io.ReadAll(log)
			t.Logf("what the server says:\n%s", out)
		}
		log.Close()
	})
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	parts.Eventually(t, time.Minute, func() error {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			return err
		}
		return c.Close()
	})
	return port
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
}
