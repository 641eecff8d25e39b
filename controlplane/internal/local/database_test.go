package local

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/tests/parts"
)

func postgresWorkload(id string) pods.Workload {
	w := workload(id, "postgres:15")
	w.Ports = map[string]pods.Port{"default": {Protocol: pods.NetPostgres, Number: 5432}}
	return w
}

// query runs a statement and returns its one value as text. The connection is
// tried once: a pod that is ready takes clients.
func query(ctx context.Context, addr, user, password, database, statement string) (string, error) {
	dsn := url.URL{Scheme: "postgres", User: url.UserPassword(user, password), Host: addr, Path: database, RawQuery: "sslmode=disable"}
	conn, err := pgx.Connect(ctx, dsn.String())
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	rows, err := conn.Query(ctx, statement)
	if err != nil {
		return "", err
	}
	values, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return strings.Join(values, ","), err
}

func mustQuery(t *testing.T, addr, user, password, database, statement string) string {
	t.Helper()
	got, err := query(t.Context(), addr, user, password, database, statement)
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	return got
}

func TestPostgres(t *testing.T) {
	parts.Require(t, "/usr/lib/postgresql/*/bin/postgres", "postgres")
	for _, place := range []struct {
		name string
		mode os.FileMode
	}{
		{"in a folder its user reaches", 0o711},
		{"in a folder its user does not reach", 0o700},
	} {
		t.Run(place.name, func(t *testing.T) {
			dir := stateDir(t)
			if err := os.Chmod(dir, place.mode); err != nil {
				t.Fatal(err)
			}
			c := open(t, dir)
			w := postgresWorkload("db")
			o := ready(t, c, w)
			addr := o.Addresses["default"][0]
			for _, database := range []string{"db", "postgres"} {
				if got := mustQuery(t, addr, "db", "generated-db", database, "select current_user || '/' || current_database()"); got != "db/"+database {
					t.Errorf("got %q, want db/%s", got, database)
				}
			}
			if _, err := query(t.Context(), addr, "db", "wrong", "db", "select '1'"); err == nil {
				t.Error("a wrong password is accepted")
			}
			mustQuery(t, addr, "db", "generated-db", "db", "create table t as select 'kept' as v")
			storage := c.runOf(c.pod(w.Key)).spec.Dir
			secretIsNowhere(t, c, w.Key, "generated-db")

			// Over a stop and a start, and an adoption in between.
			if err := c.Remove(t.Context(), w.Key); err != nil {
				t.Fatal(err)
			}
			await(t, c, w.Key, "absent", isAbsent)
			c.Close()
			c = open(t, dir)
			addr = ready(t, c, w).Addresses["default"][0]
			if got := mustQuery(t, addr, "db", "generated-db", "db", "select v from t"); got != "kept" {
				t.Errorf("got %q, want kept", got)
			}

			shim := shimState(t, c, w.Key)
			if err := c.Purge(t.Context(), w.Key); err != nil {
				t.Fatal(err)
			}
			await(t, c, w.Key, "nothing", isNothing)
			awaitGone(t, "the shim", shim.ShimPID)
			awaitGone(t, "the server", shim.PID)
			if left := files(t, dir); len(left) > 0 || exists(storage) {
				t.Errorf("files are left: %v, storage: %v", left, exists(storage))
			}
		})
	}
}

// secretIsNowhere checks that a secret is in no command line, in no log, and in
// no file that others can read.
func secretIsNowhere(t *testing.T, c *Cluster, k pods.Key, secret string) {
	t.Helper()
	if log := logText(c, k); strings.Contains(log, secret) {
		t.Errorf("the log holds the secret:\n%s", log)
	}
	lines, _ := filepath.Glob("/proc/*/cmdline")
	for _, path := range lines {
		if b, _ := os.ReadFile(path); bytes.Contains(b, []byte(secret)) {
			t.Errorf("a command line holds the secret: %s", b)
		}
	}
	dir := string(c.pod(k).folder)
	for _, rel := range files(t, dir) {
		info, err := os.Lstat(dir + rel)
		if err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o077 == 0 {
			continue
		}
		if b, _ := os.ReadFile(dir + rel); bytes.Contains(b, []byte(secret)) {
			t.Errorf("%s holds the secret and has mode %v", rel, info.Mode())
		}
	}
}

func TestPostgresTakesTheVariablesOfItsImage(t *testing.T) {
	parts.Require(t, "/usr/lib/postgresql/*/bin/postgres", "postgres")
	c := open(t, stateDir(t))
	w := postgresWorkload("db")
	w.Ports = map[string]pods.Port{"default": {Protocol: pods.NetTCP, Number: 6543}}
	w.Env = map[string]string{"POSTGRES_USER": `odd-user`, "POSTGRES_PASSWORD": `it's \odd`, "POSTGRES_DB": "shop"}
	w.Arguments = []string{"postgres", "-c", "max_connections=17"}
	addr := ready(t, c, w).Addresses["default"][0]
	if !strings.HasSuffix(addr, ":6543") {
		t.Errorf("got %s, want port 6543", addr)
	}
	if got := mustQuery(t, addr, `odd-user`, `it's \odd`, "shop", "show max_connections"); got != "17" {
		t.Errorf("got %s connections, want 17", got)
	}
	secretIsNowhere(t, c, w.Key, `it's \odd`)
}

func TestPostgresRefusesVariablesThatCanNotBe(t *testing.T) {
	parts.Require(t, "/usr/lib/postgresql/*/bin/postgres", "postgres")
	c := open(t, stateDir(t))
	w := postgresWorkload("db")
	w.Env = map[string]string{"POSTGRES_DB": "a\nb"}
	if err := c.Apply(t.Context(), w); pods.ErrorCode(err) != pods.Invalid || !strings.Contains(err.Error(), "POSTGRES_DB") {
		t.Fatalf("got %v, want code invalid and the name of the variable", err)
	}
}

func TestPostgresSetupThatWasInterruptedIsDoneAgain(t *testing.T) {
	parts.Require(t, "/usr/lib/postgresql/*/bin/postgres", "postgres")
	c := open(t, stateDir(t))
	w := postgresWorkload("db")
	apply(t, c, w)
	run := c.runOf(c.pod(w.Key))
	parts.Eventually(t, limit, func() error { // initdb has begun
		_, err := os.Stat(run.spec.Setup.Making)
		return err
	})
	if err := syscall.Kill(shimState(t, c, w.Key).ShimPID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	o := await(t, c, w.Key, "terminated or ready", func(o pods.Observation) bool { return o.Terminated != "" || o.Ready })
	if o.Ready {
		t.Skip("the machine was too fast to be interrupted")
	}
	if err := c.Remove(t.Context(), w.Key); err != nil {
		t.Fatal(err)
	}
	await(t, c, w.Key, "absent", isAbsent)
	addr := ready(t, c, w).Addresses["default"][0]
	mustQuery(t, addr, "db", "generated-db", "db", "select '1'")
}

func TestPostgresThatCanNotBeSetUpFails(t *testing.T) {
	parts.Require(t, "/usr/lib/postgresql/*/bin/postgres", "postgres")
	c := open(t, stateDir(t))
	w := postgresWorkload("db")
	w.Env = map[string]string{"POSTGRES_USER": "pg_reserved"}
	apply(t, c, w)
	o := await(t, c, w.Key, "terminated", isTerminated)
	if o.Phase != pods.PhaseFailed || !strings.Contains(o.Message, "initdb failed") {
		t.Fatalf("got %#v, want it to say that initdb failed", o)
	}
	if log := logText(c, w.Key); !strings.Contains(log, "pg_reserved") {
		t.Errorf("got the log %q, want the reason in it", log)
	}
}

func TestRedis(t *testing.T) {
	parts.Require(t, "redis-server")
	dir := stateDir(t)
	c := open(t, dir)
	w := workload("cache", "redis:7")
	w.Ports = map[string]pods.Port{"default": {Protocol: pods.NetTCP, Number: 6379}}
	w.Env = map[string]string{"REDIS_PASSWORD": `a "secret" one`}
	do := func(addr, password string, f func(*redis.Client) error) error {
		client := redis.NewClient(&redis.Options{Addr: addr, Password: password, MaxRetries: -1, DisableIdentity: true})
		defer client.Close()
		return f(client)
	}
	addr := ready(t, c, w).Addresses["default"][0]
	err := do(addr, `a "secret" one`, func(r *redis.Client) error { return r.Set(t.Context(), "k", "kept", 0).Err() })
	if err != nil {
		t.Fatalf("SET: %v", err)
	}
	err = do(addr, "", func(r *redis.Client) error { return r.Get(t.Context(), "k").Err() })
	if err == nil || !strings.Contains(err.Error(), "NOAUTH") {
		t.Errorf("without password: got %v, want NOAUTH", err)
	}
	secretIsNowhere(t, c, w.Key, `a "secret" one`)
	if err := c.Remove(t.Context(), w.Key); err != nil {
		t.Fatal(err)
	}
	await(t, c, w.Key, "absent", isAbsent)
	addr = ready(t, c, w).Addresses["default"][0]
	err = do(addr, `a "secret" one`, func(r *redis.Client) error {
		got, err := r.Get(t.Context(), "k").Result()
		if err == nil && got != "kept" {
			err = fmt.Errorf("got %q, want kept", got)
		}
		return err
	})
	if err != nil {
		t.Errorf("GET after a restart: %v", err)
	}
}
