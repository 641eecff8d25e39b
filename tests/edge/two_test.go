package edge

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni/snitest"
	"github.com/tapis-project/podway/tests/parts"
)

// startTwo starts two edges with the rights of docs/routes.md on a Redis that
// asks for TLS, a password and a client certificate.
func startTwo(t *testing.T) (a, b *edge, pub *publisher) {
	t.Helper()
	rs := parts.StartRedisTLS(t)
	admin := redis.NewClient(&redis.Options{Addr: rs.Addr})
	defer admin.Close()
	args := []any{"acl", "setuser", "edge", "on", ">pw"}
	for r := range strings.FieldsSeq("%R~podway:{default}:* %RW~podway:{default}:cancel:* -@all +hello +auth +ping +select " +
		"+mget +hscan +xread +xrange +get +set +expire +del +eval +evalsha") {
		args = append(args, r)
	}
	if err := admin.Do(t.Context(), args...).Err(); err != nil {
		t.Fatal(err)
	}
	redisURL := rs.URL("edge", "pw")
	return startEdge(t, redisURL), startEdge(t, redisURL), newPublisher(t, "redis://"+rs.Addr)
}

// R1, E10: a change of a route reaches every edge, and ends sessions on each.
func TestR1TwoEdges(t *testing.T) {
	a, b, pub := startTwo(t)
	r := snitest.Route("echo.pods.test", routes.TCP, snitest.Echo(t).Addr)
	pub.set(r)
	var open []*live
	for _, e := range []*edge{a, b} {
		e.serves(r)
		l, err := openTCP(e, "127.0.0.4", r.Host)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		open = append(open, l)
	}
	r.Instance = "2"
	pub.set(r)
	for _, l := range open {
		if err := l.ended(soon); err != nil {
			t.Error(err)
		}
	}
	a.serves(r)
	b.serves(r)
}

// D2: Ctrl-C of psql on a connection of its own, without TLS and without a name,
// that comes to the edge that does not have the session. A key that was guessed
// does nothing, and no request leaves a connection open.
func TestD2CancelThroughTheOtherEdge(t *testing.T) {
	a, b, pub := startTwo(t)
	pg := parts.StartPostgres(t)
	db := snitest.Route("db.pods.test", routes.Postgres, fmt.Sprintf("127.0.0.1:%d", pg.Port))
	pub.set(db)
	a.serves(db)
	b.serves(db)

	c, err := pgx.ConnectConfig(t.Context(), a.pgConfig(t, db.Host))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background()) //nolint:errcheck // the test is over then
	failed := make(chan error, 1)
	go func() {
		_, err := c.Exec(context.Background(), "select pg_sleep(600)")
		failed <- err
	}()
	pid, secret := c.PgConn().PID(), c.PgConn().SecretKey()
	wrong := append([]byte{secret[0] ^ 1}, secret[1:]...)
	for _, key := range [][]byte{wrong, {}, make([]byte, 300)} {
		if err := b.cancel(pid, key); err != nil {
			t.Errorf("a guessed key: %v", err)
		}
	}
	select {
	case err := <-failed:
		t.Fatalf("a guessed key had an effect: %v", err)
	default:
	}
	parts.Eventually(t, limit, func() error { // the key may not be shared yet, or the statement not begun
		if err := b.cancel(pid, secret); err != nil {
			return err
		}
		select {
		case err := <-failed:
			if pe, ok := errors.AsType[*pgconn.PgError](err); !ok || pe.Code != "57014" {
				t.Errorf("got %v, want query_canceled", err)
			}
			return nil
		case <-time.After(200 * time.Millisecond):
			return errors.New("the statement goes on")
		}
	})
}

// cancel sends a CancelRequest as libpq does, and waits until it is disconnected.
func (e *edge) cancel(pid uint32, secret []byte) error {
	raw, err := e.dialRaw("127.0.0.4")
	if err != nil {
		return err
	}
	defer raw.Close()
	// int32 length, int32 code 80877102, int32 pid, key
	m := binary.BigEndian.AppendUint32(nil, uint32(12+len(secret)))
	m = binary.BigEndian.AppendUint32(m, 80877102)
	m = binary.BigEndian.AppendUint32(m, pid)
	if _, err := raw.Write(append(m, secret...)); err != nil {
		return err
	}
	_ = raw.SetReadDeadline(time.Now().Add(limit))
	b, err := io.ReadAll(raw)
	if len(b) > 0 {
		return fmt.Errorf("got the answer %q, want none", b)
	}
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		return errors.New("the connection stays open")
	}
	return nil
}

// pgConfig is for a client that checks the edge's certificate.
func (e *edge) pgConfig(t *testing.T, host string) *pgx.ConnConfig {
	t.Helper()
	u := url.URL{Scheme: "postgres", User: url.User("postgres"), Host: host + ":" + e.port, Path: "/postgres", RawQuery: url.Values{
		"sslmode": {"verify-full"}, "sslrootcert": {e.file("caddy/pki/authorities/local/root.crt")}, "connect_timeout": {"20"},
	}.Encode()}
	cfg, err := pgx.ParseConfig(u.String())
	if err != nil {
		t.Fatal(err)
	}
	cfg.LookupFunc = func(context.Context, string) ([]string, error) { return []string{"127.0.0.1"}, nil }
	return cfg
}
