package gate

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tapis-project/podway/tests/parts"
	"github.com/tapis-project/podway/tests/system"
)

// TestDatabasesBehindTheLogin has clients that know nothing of Tapis reach gated
// databases through podctl connect.
func TestDatabasesBehindTheLogin(t *testing.T) {
	psql, redisCLI := parts.Require(t, "psql"), parts.Require(t, "redis-cli")
	parts.Require(t, "/usr/lib/postgresql/*/bin/initdb")
	parts.Require(t, "redis-server")
	s, u := start(t)
	other := s.Login("otheruser")
	create(u, "db", "postgres", `"protocol":"postgres","port":5432,"tapis_auth":true,"tapis_auth_allowed_users":["AUTHORIZED_READS"]`)
	create(u, "cache", "redis", `"protocol":"tcp","port":6379,"tapis_auth":true,"tapis_auth_allowed_users":["AUTHORIZED_READS"]`)
	create(u, "echo", "podway/hello", `"protocol":"tcp","port":5000`)
	u.Call(http.MethodPost, "/v3/pods", `{"pod_id":"many","image":"podway/hello","networking":{
		"page":{"protocol":"http","port":5000},
		"mine":{"protocol":"tcp","port":5001,"tapis_auth":true,"tapis_auth_allowed_users":["testuser"]},
		"theirs":{"protocol":"tcp","port":5002,"tapis_auth":true,"tapis_auth_allowed_users":["otheruser"]}}}`)
	s.WaitLive("db", "cache", "echo", "many-mine", "many-theirs")
	p := newPodctl(t, s, u)

	t.Run("psql by the command that is printed", func(t *testing.T) {
		_, lines, stop := p.connect(nil, "db", "--password")
		defer stop()
		command := strings.TrimPrefix(line(t, lines, "Try: psql "), "Try: ")
		parts.Eventually(t, limit, func() error {
			out, err := try(t, limit, nil, "sh", "-c", command+" -X -A -t -c 'select current_user'")
			if err != nil || strings.TrimSpace(out) != "db" {
				return fmt.Errorf("got %q, %w", out, err)
			}
			return nil
		})
	})
	t.Run("psql without podctl is told of it", func(t *testing.T) {
		out, err := try(t, limit, nil, psql, "host="+system.Host("db")+" hostaddr=127.0.0.1 port="+strconv.Itoa(s.EdgePort)+
			" user=db dbname=postgres sslmode=verify-full sslrootcert="+s.CAFile(), "-X", "-c", "select 1")
		if err == nil || !strings.Contains(out, "asks for a login") || !strings.Contains(out, "podctl connect db") {
			t.Errorf("got %q, %v", out, err)
		}
	})
	t.Run("redis-cli without a server name", func(t *testing.T) {
		port, lines, stop := p.connect(nil, "cache")
		defer stop()
		line(t, lines, "Try: redis-cli -h 127.0.0.1 -p "+port)
		for _, args := range [][]string{{"set", "word", "found"}, {"get", "word"}} {
			out := runFor(t, limit, nil, redisCLI, append([]string{"-h", "127.0.0.1", "-p", port}, args...)...)
			if args[0] == "get" && strings.TrimSpace(out) != "found" {
				t.Errorf("got %q, want what was set", out)
			}
		}
	})
	t.Run("redis-cli where only HTTP passes", func(t *testing.T) {
		proxy := startProxy(t, s.EdgePort)
		port, lines, stop := p.connect([]string{"HTTPS_PROXY=" + proxy.url, "NO_PROXY="}, "cache", "--edge-port", "443")
		defer stop()
		if out, err := try(t, limit, nil, redisCLI, "-h", "127.0.0.1", "-p", port, "get", "word"); err != nil || strings.TrimSpace(out) != "found" {
			stop()
			for l := range lines {
				t.Log(l)
			}
			t.Errorf("got %q, want what was set before", out)
		}
		if proxy.used.Load() == 0 {
			t.Error("the proxy was not used")
		}
	})
	t.Run("an open pod too", func(t *testing.T) {
		port, _, stop := p.connect(nil, "echo")
		defer stop()
		echoes(t, dial(t, port), "hello")
	})
	t.Run("one of several entries", func(t *testing.T) {
		out, err := try(t, limit, p.env, p.bin, "connect", "many")
		if err == nil || !strings.Contains(out, "which one? --net mine, --net theirs") {
			t.Errorf("got %q, %v, want to be asked which", out, err)
		}
		out, err = try(t, limit, p.env, p.bin, "connect", "many", "--net", "page")
		if err == nil || !strings.Contains(out, "page is http: open https://"+system.Host("many-page")) {
			t.Errorf("got %q, %v, want the address of the page", out, err)
		}
		u.Call(http.MethodPost, "/v3/pods/many/permissions", `{"user":"otheruser","level":"READ"}`)
		for entry, user := range map[string]*podctl{"mine": p, "theirs": newPodctl(t, s, other)} {
			port, _, stop := user.connect(nil, "many", "--net", entry)
			defer stop()
			echoes(t, dial(t, port), entry)
		}
		port, lines, stop := p.connect(nil, "many", "--net", "theirs")
		defer stop()
		dial(t, port)
		line(t, lines, "you may not use this pod")
	})
	t.Run("somebody who may not use the pod is told so", func(t *testing.T) {
		u.Call(http.MethodPost, "/v3/pods/db/permissions", `{"user":"otheruser","level":"READ"}`)
		q := newPodctl(t, s, other)
		port, lines, stop := q.connect(nil, "db")
		defer stop()
		u.Call(http.MethodDelete, "/v3/pods/db/permissions/otheruser", "")
		parts.Eventually(t, limit, func() error {
			out, err := try(t, limit, nil, psql, "host=127.0.0.1 user=db dbname=postgres port="+port, "-w", "-X", "-c", "select 1")
			if err == nil || strings.Contains(out, "password") {
				return fmt.Errorf("got %q, %w, want that it ended", out, err)
			}
			return nil
		})
		line(t, lines, "you may not use this pod")
	})
	t.Run("what is open ends with the permission", func(t *testing.T) {
		u.Call(http.MethodPost, "/v3/pods/cache/permissions", `{"user":"otheruser","level":"READ"}`)
		port, _, stop := newPodctl(t, s, other).connect(nil, "cache")
		defer stop()
		var c net.Conn
		parts.Eventually(t, limit, func() (err error) { // the edge may not know of the permission yet
			if c, err = net.Dial("tcp", "127.0.0.1:"+port); err != nil {
				return err
			}
			return ping(c)
		})
		defer c.Close()
		mine, _, stopMine := p.connect(nil, "cache")
		defer stopMine()
		owner, err := net.Dial("tcp", "127.0.0.1:"+mine)
		if err != nil {
			t.Fatal(err)
		}
		defer owner.Close()
		if err := ping(owner); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		u.Call(http.MethodDelete, "/v3/pods/cache/permissions/otheruser", "")
		if err := c.SetReadDeadline(began.Add(soon)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
			t.Errorf("got %v after %v, want the end of the connection", err, time.Since(began))
		}
		t.Logf("the connection ended %v after the call that took the permission away began", time.Since(began).Round(time.Millisecond))
		if err := ping(owner); err != nil {
			t.Errorf("the owner's connection: %v", err)
		}
	})
}

func ping(c net.Conn) error {
	if err := c.SetDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	b := make([]byte, 7)
	n, err := c.Read(b)
	if err != nil || string(b[:n]) != "+PONG\r\n" {
		return fmt.Errorf("got %q, %w", b[:n], err)
	}
	return nil
}

// dial connects to a port of podctl until the end of the test.
func dial(t *testing.T, port string) net.Conn {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func echoes(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte(text + "\n")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, len(text)+1)
	if n, err := c.Read(b); err != nil || string(b[:n]) != text+"\n" {
		t.Errorf("got %q, %v, want %q", b[:n], err, text)
	}
}

// TestMariaDBBehindTheLogin: its server speaks first, so it can't be asked for by
// name in TLS at all.
func TestMariaDBBehindTheLogin(t *testing.T) {
	client := parts.Require(t, "mariadb")
	e := startEdge(t)
	e.publish("sql", "tcp", startMariaDB(t), "ada")
	bin, env := system.Program(t, "podctl"), e.podctl(t, "sql", "mariadb:11")
	lines, _ := background(t, env, bin, "connect", "sql", "--port", "0", "--edge-port", strconv.Itoa(e.port), "--ca", e.ca)
	_, port, err := net.SplitHostPort(strings.TrimSuffix(strings.TrimPrefix(line(t, lines, " is at "), "sql is at "), " until Ctrl-C."))
	if err != nil {
		t.Fatal(err)
	}
	line(t, lines, "Try: mariadb --host 127.0.0.1 --port "+port+" --user sql")
	out := runFor(t, limit, nil, client, "--no-defaults", "--host=127.0.0.1", "--port="+port, "--user=jane", "--skip-ssl", "pod",
		"--skip-column-names", "--batch", "--execute", "insert into seen values ('found'); select word from seen")
	if strings.TrimSpace(out) != "found" {
		t.Errorf("got %q", out)
	}
}

func startMariaDB(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	setup := filepath.Join(dir, "setup.sql")
	// The server reads one statement from each line.
	statements := "create database pod;\ncreate table pod.seen (word varchar(64));\ncreate user jane@'%';\ncreate user jane@localhost;\n" +
		"grant all on pod.* to jane@'%';\ngrant all on pod.* to jane@localhost;\n"
	if err := os.WriteFile(setup, []byte(statements), 0o600); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	runFor(t, 2*time.Minute, nil, parts.Require(t, "mariadb-install-db"), "--no-defaults", "--user="+me.Username, "--datadir="+data,
		"--auth-root-authentication-method=normal", "--skip-test-db")
	port := strconv.Itoa(parts.FreePort(t))
	serve(t, exec.Command(parts.Require(t, "mariadbd", "/usr/sbin/mariadbd"), "--no-defaults", "--user="+me.Username, "--datadir="+data,
		"--socket="+filepath.Join(dir, "s"), "--pid-file="+filepath.Join(dir, "pid"), "--bind-address=127.0.0.1", "--port="+port, "--init-file="+setup))
	accepts(t, "127.0.0.1:"+port)
	return "127.0.0.1:" + port
}
