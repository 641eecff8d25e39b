package clients

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/tests/javaenv"
	"github.com/tapis-project/podway/tests/parts"
	"github.com/tapis-project/podway/tests/toolcache"
)

func startPostgres(t *testing.T) string {
	pg := parts.StartPostgres(t)
	c, err := pgx.Connect(t.Context(), pg.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(t.Context()) }()
	for _, statement := range []string{"create role jane login", "create table seen (word text)", "grant select, insert on seen to jane"} {
		if _, err := c.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	return fmt.Sprintf("127.0.0.1:%d", pg.Port)
}

func landedInPostgres(ctx context.Context, addr, word string) error {
	c, err := pgx.Connect(ctx, "postgres://postgres@"+addr+"/postgres?sslmode=disable")
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(ctx) }()
	var n int
	if err := c.QueryRow(ctx, "select count(*) from seen where word = $1", word).Scan(&n); err != nil {
		return err
	}
	if n != 1 {
		return fmt.Errorf("the server has the word %d times, want once", n)
	}
	return nil
}

func startRedis(t *testing.T) string { return parts.StartRedis(t).Addr }

func landedInRedis(ctx context.Context, addr, word string) error {
	c := redis.NewClient(&redis.Options{Addr: addr})
	defer c.Close()
	return c.Get(ctx, word).Err()
}

func startNeo4j(t *testing.T) string {
	classpath := javaenv.Make(t, filepath.Join("java", "neo4j", "pom.xml"))
	return serve(t, exec.Command(javaenv.Java(t), "-Xmx512m", "-cp", classpath, filepath.Join("java", "neo4j", "Neo4j.java"),
		t.TempDir(), "password-of-the-pod"))
}

func startMongo(t *testing.T) string {
	classpath := javaenv.Make(t, filepath.Join("java", "mongo", "pom.xml"))
	return serve(t, exec.Command(javaenv.Java(t), "-Xmx256m", "-cp", classpath, filepath.Join("java", "mongo", "MongoWire.java")))
}

func startMariaDB(t *testing.T) string {
	dir := t.TempDir()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	setup := filepath.Join(dir, "setup.sql")
	// The server reads one statement from each line.
	statements := []string{"create database pod;", "create table pod.seen (word varchar(64));"}
	for _, jane := range []string{"jane@localhost", "jane@'%'"} {
		statements = append(statements, "create user "+jane+";", "grant all on pod.* to "+jane+";")
	}
	if err := os.WriteFile(setup, []byte(strings.Join(statements, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	toolcache.Run(t, dir, parts.Require(t, "mariadb-install-db"), "--no-defaults", "--user="+me.Username, "--datadir="+filepath.Join(dir, "data"),
		"--auth-root-authentication-method=normal", "--skip-test-db")
	port := strconv.Itoa(parts.FreePort(t))
	start(t, exec.Command(parts.Require(t, "mariadbd", "/usr/sbin/mariadbd"), "--no-defaults", "--user="+me.Username, "--datadir="+filepath.Join(dir, "data"),
		"--socket="+filepath.Join(dir, "s"), "--pid-file="+filepath.Join(dir, "pid"), "--bind-address=127.0.0.1", "--port="+port, "--init-file="+setup))
	addr := net.JoinHostPort("127.0.0.1", port)
	accepts(t, addr)
	return addr
}
