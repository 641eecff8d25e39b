package clients

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tapis-project/podway/tests/parts"
	"github.com/tapis-project/podway/tests/pythonenv"
)

// dsn is how libpq connects to the pod with PostgreSQL.
const dsn = "postgresql://jane@db." + zone + ":443/postgres?sslmode=verify-full&sslrootcert=/etc/ssl/certs/ca-certificates.crt"

// interruptPsql interrupts psql in a query that would take an hour. Its request to
// cancel comes on a connection of its own, without TLS and without a name.
func interruptPsql(t *testing.T, m *machine, addr string) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*limit)
	defer cancel()
	cmd := m.command(ctx, parts.Require(t, "psql"), "--no-psqlrc", m.here(dsn), "--command", "select pg_sleep(3600)")
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	parts.Eventually(t, limit, func() error { return sleeps(ctx, addr) })
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	err := cmd.Wait()
	if err == nil || ctx.Err() != nil || !strings.Contains(log.String(), "canceling statement due to user request") {
		t.Errorf("got %v, want that the query was canceled\n%s", err, log.String())
	}
}

// sleeps returns nil if a query of the server at addr sleeps.
func sleeps(ctx context.Context, addr string) error {
	c, err := pgx.Connect(ctx, "postgres://postgres@"+addr+"/postgres?sslmode=disable")
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(ctx) }()
	var n int
	if err := c.QueryRow(ctx, "select count(*) from pg_stat_activity where query like 'select pg_sleep%' and state = 'active'").Scan(&n); err != nil {
		return err
	}
	if n == 0 {
		return errors.New("no query sleeps")
	}
	return nil
}

// cancelInTLS runs a driver that cancels with TLS, as libpq does since version 17.
func cancelInTLS(t *testing.T, m *machine) {
	python := pythonenv.Make(t, filepath.Join("python", "requirements.txt"))
	if got, _ := told(t, m, nil, python, source(t, "python", "cancel.py"), m.here(dsn)); got != "QueryCanceled" {
		t.Errorf("got %q, want %q", got, "QueryCanceled")
	}
}
