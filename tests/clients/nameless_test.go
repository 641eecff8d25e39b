package clients

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/tapis-project/podway/tests/parts"
)

// psqlWithoutName runs a psql that sends no name in TLS, and says it nowhere else.
func psqlWithoutName(t *testing.T, m *machine) {
	got := failureOf(t, m, "psql", m.here(strings.Replace(dsn, "?", "?sslsni=0&", 1)), "--command", "select 1")
	for _, want := range []string{"your client does not say which pod it wants", "HINT:", "options=pod%3D<pod id>"} {
		if !strings.Contains(got, want) {
			t.Errorf("got %q, want a message with %q", got, want)
		}
	}
}

// redisWithoutName runs redis-cli as it is by default, without a name in TLS.
func redisWithoutName(t *testing.T, m *machine) {
	got := failureOf(t, m, "redis-cli", "--tls", "-h", "cache."+zone, "-p", fmt.Sprint(m.port), "ping")
	if !strings.Contains(got, "SSL_connect failed") {
		t.Errorf("got %q, want that TLS failed", got)
	}
}

// mariadbWithoutTunnel runs a client that waits for the server's first word.
func mariadbWithoutTunnel(t *testing.T, m *machine) {
	got := failureOf(t, m, "mariadb", "--no-defaults", "--host=127.0.0.1", fmt.Sprint("--port=", m.port), "--user=jane")
	if !strings.Contains(got, "1043") || !strings.Contains(got, "stunnel") {
		t.Errorf("got %q, want error 1043 with a hint", got)
	}
}

// failureOf runs a client that is to fail, and returns what it says.
func failureOf(t *testing.T, m *machine, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := m.command(ctx, parts.Require(t, name), args...)
	cmd.Env = append(cmd.Env, m.trust(trustOpenSSL))
	out, err := cmd.CombinedOutput()
	if err == nil || ctx.Err() != nil {
		t.Errorf("got %v from %s, want that it fails by itself", err, name)
	}
	return string(out)
}
