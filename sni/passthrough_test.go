package sni

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni/pgwire"
	"github.com/tapis-project/podway/sni/snitest"
	"github.com/tapis-project/podway/tests/parts"
)

// own returns a route whose TLS ends in the pod.
func own(host string, p routes.Protocol, upstreams ...string) routes.Route {
	r := snitest.Route(host, p, upstreams...)
	r.TLS = routes.Passthrough
	return r
}

func TestPassthrough(t *testing.T) {
	e := startEdge(t, nil)
	cert, pool := snitest.Certificate(t, "own.pods.test")
	up := snitest.Serve(t, func(c *net.TCPConn) {
		tc := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"own-protocol"}})
		defer tc.Close()
		_, _ = io.Copy(tc, tc)
	})
	stopped := own("stopped.pods.test", routes.TCP)
	stopped.State = routes.Stopped
	denied := own("denied.pods.test", routes.TCP, up.Addr)
	denied.IPAllow = []string{"192.0.2.1"}
	terminated := snitest.Route("echo.pods.test", routes.TCP, snitest.Echo(t).Addr)
	snitest.Set(t, e.table, own("own.pods.test", routes.TCP, up.Addr), stopped, denied, terminated)
	dial := func(host string, size int, cfg *tls.Config) (*tls.Conn, error) {
		cfg.ServerName = host
		c := tls.Client(chunkConn{e.dial(t), size}, cfg)
		return c, c.Handshake()
	}
	for _, tt := range []struct {
		name string
		size int
		cfg  *tls.Config
	}{
		{"with TLS 1.3", 1 << 20, &tls.Config{}},
		{"with TLS 1.2", 1 << 20, &tls.Config{MaxVersion: tls.VersionTLS12}},
		{"with a protocol that only the pod knows", 1 << 20, &tls.Config{NextProtos: []string{"own-protocol"}}},
		{"with a curve that is not the first choice", 1 << 20, &tls.Config{CurvePreferences: []tls.CurveID{tls.CurveP521}}},
		{"in pieces", 3, &tls.Config{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.cfg.RootCAs = pool // the pod's, not the edge's
			c, err := dial("own.pods.test", tt.size, tt.cfg)
			if err != nil {
				t.Fatal(err)
			}
			if err := echo(c, "hello"); err != nil {
				t.Error(err)
			}
			if err := c.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(c); len(b) > 0 || err != nil {
				t.Errorf("got %q, %v, want the end of the pod's side", b, err)
			}
		})
	}
	for host, want := range map[string]string{
		"stopped.pods.test": "internal error", "denied.pods.test": "access denied", "none.pods.test": "unrecognized name",
	} {
		if _, err := dial(host, 1<<20, &tls.Config{RootCAs: pool}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", host, err, want)
		}
	}
	t.Run("beside it, the edge ends TLS", func(t *testing.T) {
		if err := echo(e.connect(t, "echo.pods.test"), "hello"); err != nil {
			t.Error(err)
		}
	})
	t.Run("a route that is removed ends its sessions", func(t *testing.T) {
		c, err := dial("own.pods.test", 1<<20, &tls.Config{RootCAs: pool})
		if err != nil {
			t.Fatal(err)
		}
		e.table.Remove("own.pods.test")
		wantClosed(t, c, soon)
	})
	e.quiet(t)
	e.table.Remove("stopped.pods.test")
	e.table.Remove("denied.pods.test")
	if e.preface.Passthrough.any() {
		t.Error("handshakes are recorded without a route that needs it")
	}
}

// A client that comes with the change that makes a route one of a pod's own TLS.
func TestPassthroughIsCountedAsSoonAsItIsFound(t *testing.T) {
	var (
		table   = routes.NewTable()
		through PassthroughCount
		told    []bool
	)
	table.OnChange(func(string, *routes.Entry, *routes.Entry) { told = append(told, through.any()) })
	through.Watch(table)
	table.OnChange(func(string, *routes.Entry, *routes.Entry) { told = append(told, through.any()) })
	snitest.Set(t, table, snitest.Route("own.pods.test", routes.TCP, "127.0.0.1:1"))
	snitest.Set(t, table, own("own.pods.test", routes.TCP, "127.0.0.1:1"))
	snitest.Set(t, table, own("own.pods.test", routes.TCP, "127.0.0.1:2"))
	table.Remove("own.pods.test")
	want := []bool{
		false, false, // it ends at the edge
		true, true, // in the pod: a reader found it before any observer was told
		true, true,
		true, false, // gone
	}
	if !slices.Equal(told, want) {
		t.Errorf("got %v, want %v", told, want)
	}
}

// PostgreSQL with a certificate of its own, and SCRAM bound to it.
func TestPassthroughPostgres(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "podway-test-key-") //nolint:usetesting // PostgreSQL runs as another user
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	openssl := parts.Require(t, "openssl")
	key, crt := filepath.Join(dir, "key.pem"), filepath.Join(dir, "crt.pem")
	for _, args := range [][]string{
		{openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", crt, "-days", "1", "-subj", "/CN=db.pods.test", "-addext", "subjectAltName=DNS:db.pods.test"},
		{"chmod", "755", dir},
		{"chmod", "600", key},
	} {
		if out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", args[0], err, out)
		}
	}
	if os.Geteuid() == 0 {
		if out, err := exec.CommandContext(t.Context(), "chown", "postgres", key, crt).CombinedOutput(); err != nil {
			t.Skipf("no user postgres to own a key: %s", out)
		}
	}
	pg := parts.StartPostgres(t, "ssl=on", "ssl_cert_file="+crt, "ssl_key_file="+key)
	e := startEdge(t, nil)
	snitest.Set(t, e.table, own("db.pods.test", routes.Postgres, fmt.Sprintf("127.0.0.1:%d", pg.Port)))
	_, port, _ := net.SplitHostPort(e.addr)
	cfg, err := pgx.ParseConfig("host=db.pods.test port=" + port + " user=postgres dbname=postgres sslmode=verify-full connect_timeout=20 sslrootcert=" + crt)
	if err != nil {
		t.Fatal(err)
	}
	cfg.LookupFunc = loopbackOnly
	c, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := c.QueryRow(t.Context(), "select count(*) from generate_series(1, 10000)").Scan(&n); err != nil || n != 10000 {
		t.Errorf("got %d, %v", n, err)
	}
	_ = c.Close(t.Context())
	e.quiet(t)
}

func TestPassthroughToPostgresWithoutTLS(t *testing.T) {
	e := startEdge(t, nil)
	for name, answer := range map[string]string{"declines": "N", "closes": "", "makes no sense": "E"} {
		up := snitest.Serve(t, func(c *net.TCPConn) {
			if s, err := pgwire.ReadStartup(c); err == nil && s.Code == pgwire.SSLRequest {
				_, _ = io.WriteString(c, answer)
			}
		})
		snitest.Set(t, e.table, own("db.pods.test", routes.Postgres, up.Addr))
		err := e.postgresTLS(t, "db.pods.test").Handshake()
		if a, ok := errors.AsType[tls.AlertError](err); err == nil || ok && a != alertInternalError {
			t.Errorf("a pod that %s: got %v, want an alert", name, err)
		}
	}
	e.outcome(t, UpstreamFailed, 3)
	e.quiet(t)
}
