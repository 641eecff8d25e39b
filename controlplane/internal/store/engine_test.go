package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/routes/keytext"
)

// engineTests hold for both engines. Each gets the address of a new database.
var engineTests = map[string]func(t *testing.T, address string){
	"an empty database is not ready, which names the command":       testReadyEmpty,
	"a newer schema is refused":                                     testNewerSchema,
	"migrating twice does nothing the second time":                  testMigrateTwice,
	"several processes can migrate at once":                         testMigrateAtOnce,
	"each earlier schema is brought up to date":                     testEarlierSchemas,
	"a migration that fails leaves the version":                     testMigrateCanceled,
	"a deleted pod leaves no row in any table":                      testDeleteLeavesNothing,
	"a list of a user's pods is answered from indexes":              testPlans,
	"no password is readable in the database":                       testSealed,
	"credentials moved to another pod do not open":                  testMovedCredentials,
	"a store with another key is not ready, which names the key":    testWrongKey,
	"rekeying lets the old key go":                                  testRekey,
	"rekeying seals secrets again, wherever they are":               testRekeyOfSecrets,
	"rekeying that ends halfway loses nothing":                      testRekeyEndsHalfway,
	"no secret is readable in the database":                         testSecretsAreSealed,
	"lists of volumes and secrets are answered from indexes":        testOutsidePlans,
	"many writers in several processes never see a locked database": testManyWriters,
	"a transaction that met another one runs again":                 testTransactionRunsAgain,
	"an open store stays usable after a canceled call":              testCanceledCalls,
}

func testKeys(t testing.TB, current byte, older ...byte) *Keyring {
	t.Helper()
	key := func(b byte) []byte { return bytes.Repeat([]byte{b}, keytext.Size) }
	var old [][]byte
	for _, b := range older {
		old = append(old, key(b))
	}
	r, err := NewKeyring(key(current), old...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// opened returns a store that is closed with the test.
func opened(t testing.TB, address string, keys *Keyring) *Store {
	t.Helper()
	s, err := Open(t.Context(), address, Options{Keyring: keys, MaxConns: 8})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return s
}

func migrated(t testing.TB, address string) *Store {
	t.Helper()
	s := opened(t, address, testKeys(t, 1))
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// openDB opens a database of a test server past the store.
func openDB(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func testPod(id pods.ID) (pods.Pod, pods.Credentials) {
	now := time.Now()
	p := pods.Pod{
		Key: pods.Key{Tenant: "dev", ID: id}, UID: "uid-" + string(id), Site: "site", Owner: "ann",
		Requested: pods.On, Permissions: pods.Permissions{"ann": pods.LevelAdmin}, CreatedAt: now, UpdatedAt: now,
		State: pods.State{Status: pods.StatusRequested, Since: now},
	}
	return p, pods.Credentials{AdminPassword: "secret-admin-" + string(id), UserPassword: "secret-user-" + string(id)}
}

func createPod(t testing.TB, s *Store, id pods.ID) pods.Pod {
	t.Helper()
	p, c := testPod(id)
	if err := s.CreatePod(t.Context(), p, c, pods.Event{At: time.Now(), Text: "created"}); err != nil {
		t.Fatal(err)
	}
	p, err := s.Pod(t.Context(), p.Key)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// wantError fails the test unless err has all words.
func wantError(t testing.TB, err error, words ...string) {
	t.Helper()
	for _, w := range words {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Fatalf("got error %v, want one with %q", err, w)
		}
	}
}

// number returns the number that a query selects.
func number(t testing.TB, s *Store, query string, args ...any) (n int) {
	t.Helper()
	if err := s.reader.QueryRowContext(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

func mustExec(t testing.TB, s *Store, query string, args ...any) {
	t.Helper()
	if _, err := s.writer.ExecContext(t.Context(), query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func testReadyEmpty(t *testing.T, address string) {
	s := opened(t, address, testKeys(t, 1))
	wantError(t, s.Ready(t.Context()), "version 0", "podway migrate")
	if s.Ping(t.Context()) == nil {
		t.Error("Ping of a store without tables answered")
	}
	if _, err := s.Pod(t.Context(), pods.Key{Tenant: "dev", ID: "web"}); pods.ErrorCode(err) != pods.Internal {
		t.Errorf("got %v, want an internal error", err)
	}
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func testNewerSchema(t *testing.T, address string) {
	s := migrated(t, address)
	mustExec(t, s, "update schema_version set version_id = 99 where version_id = 1")
	wantError(t, s.Ready(t.Context()), "version 99", "podway migrate", "newer")
	wantError(t, s.Migrate(t.Context()), "version 99", "newer")
}

func testMigrateTwice(t *testing.T, address string) {
	s := migrated(t, address)
	createPod(t, s, "web")
	before := number(t, s, "select count(*) from schema_version")
	for range 2 {
		if err := s.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	have, want, err := s.Version(t.Context())
	if err != nil || have != want || have == 0 {
		t.Errorf("got version %d of %d, %v", have, want, err)
	}
	if after := number(t, s, "select count(*) from schema_version"); after != before {
		t.Errorf("got %d records of migrations, want %d", after, before)
	}
	if got := number(t, s, "select count(*) from pods"); got != 1 {
		t.Errorf("got %d pods, want 1", got)
	}
}

func testMigrateAtOnce(t *testing.T, address string) {
	var wg sync.WaitGroup
	for range 6 {
		s := opened(t, address, testKeys(t, 1)) // pools of their own, as processes have
		wg.Go(func() {
			if err := errors.Join(s.Migrate(t.Context()), s.Ready(t.Context())); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	s := opened(t, address, testKeys(t, 1))
	if got := number(t, s, "select count(*) from schema_version where version_id = 1"); got != 1 {
		t.Errorf("got %d records of the first migration, want 1", got)
	}
}

func testMigrateCanceled(t *testing.T, address string) {
	s := opened(t, address, testKeys(t, 1))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Migrate(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want %v", err, context.Canceled)
	}
	if have, _, err := s.Version(t.Context()); have != 0 || err != nil {
		t.Fatalf("got version %d, %v, want 0", have, err)
	}
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
}

var podTables = []string{"pods", "pod_state", "pod_permissions", "pod_credentials", "pod_events", "pod_logs"}

func testDeleteLeavesNothing(t *testing.T, address string) {
	s := migrated(t, address)
	p := createPod(t, s, "web")
	if err := s.SaveLogs(t.Context(), p.Key, p.UID, []byte("logs")); err != nil {
		t.Fatal(err)
	}
	for _, table := range podTables {
		if got := number(t, s, "select count(*) from "+table); got != 1 {
			t.Errorf("got %d rows in %s before, want 1", got, table)
		}
	}
	if err := s.DeletePod(t.Context(), p.Key); err != nil {
		t.Fatal(err)
	}
	for _, table := range podTables {
		if got := number(t, s, "select count(*) from "+table); got != 0 {
			t.Errorf("got %d rows in %s after, want 0", got, table)
		}
	}
}

func testSealed(t *testing.T, address string) {
	s := migrated(t, address)
	p := createPod(t, s, "web")
	var sealed string
	err := s.reader.QueryRowContext(t.Context(), "select sealed from pod_credentials").Scan(&sealed)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(sealed, "secret") || !strings.HasPrefix(sealed, s.keys.prefix()) {
		t.Errorf("got %q, want a text sealed with %s", sealed, s.keys.prefix())
	}
	if c, err := s.Credentials(t.Context(), p.Key); err != nil || c.UserPassword != "secret-user-web" {
		t.Errorf("got %+v, %v", c, err)
	}
}

func testMovedCredentials(t *testing.T, address string) {
	s := migrated(t, address)
	createPod(t, s, "web")
	mallory := createPod(t, s, "mallory")
	mustExec(t, s, `update pod_credentials set sealed = (select sealed from pod_credentials where pod_id = 'web')
		where pod_id = 'mallory'`)
	c, err := s.Credentials(t.Context(), mallory.Key)
	wantError(t, err, "opening credentials of dev/mallory")
	if c != (pods.Credentials{}) {
		t.Errorf("got credentials %+v with the error", c)
	}
}

func testWrongKey(t *testing.T, address string) {
	s := migrated(t, address)
	p := createPod(t, s, "web")
	other := opened(t, address, testKeys(t, 2))
	wantError(t, other.Ready(t.Context()), s.keys.current, "keyring")
	_, err := other.Credentials(t.Context(), p.Key)
	wantError(t, err, s.keys.current, "keyring")

	both := opened(t, address, testKeys(t, 2, 1))
	if err := both.Ready(t.Context()); err != nil {
		t.Error(err)
	}
}

func testRekey(t *testing.T, address string) {
	s := migrated(t, address)
	for _, id := range []pods.ID{"web", "db"} {
		createPod(t, s, id)
	}
	both := opened(t, address, testKeys(t, 2, 1))
	createPod(t, both, "new")
	for _, want := range []int{2, 0} {
		if n, err := both.Rekey(t.Context()); n != want || err != nil {
			t.Fatalf("got %d, %v, want %d", n, err, want)
		}
	}
	only := opened(t, address, testKeys(t, 2))
	if err := only.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, id := range []pods.ID{"web", "db", "new"} {
		c, err := only.Credentials(t.Context(), pods.Key{Tenant: "dev", ID: id})
		if err != nil || c.UserPassword != "secret-user-"+string(id) {
			t.Errorf("%s: got %+v, %v", id, c, err)
		}
	}
	if _, err := s.Rekey(t.Context()); err == nil {
		t.Error("rekeying without the key that sealed succeeded")
	}
}

func testManyWriters(t *testing.T, address string) {
	stores := []*Store{migrated(t, address), opened(t, address, testKeys(t, 1)), opened(t, address, testKeys(t, 1))}
	const writers, each = 4, 10
	var wg sync.WaitGroup
	for i, s := range stores {
		for j := range writers {
			wg.Go(func() {
				for n := range each {
					p, c := testPod(pods.ID(fmt.Sprintf("pod%dx%dx%d", i, j, n)))
					if err := s.CreatePod(t.Context(), p, c, pods.Event{Text: "created"}); err != nil {
						t.Error(err)
					}
					if _, err := s.Pods(t.Context(), pods.PodQuery{Tenant: "dev", User: "ann", Limit: 5}); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	wg.Wait()
	if got, want := number(t, stores[0], "select count(*) from pods"), len(stores)*writers*each; got != want {
		t.Errorf("got %d pods, want %d", got, want)
	}
}

func testTransactionRunsAgain(t *testing.T, address string) {
	s := migrated(t, address)
	errMet := errors.New("met another one")
	retryable := s.engine.retryable
	s.engine.retryable = func(err error) bool { return errors.Is(err, errMet) || retryable(err) }
	runs := 0
	err := s.write(t.Context(), func(tx *sql.Tx) error {
		runs++
		p, _ := testPod(pods.ID(fmt.Sprint("run", runs)))
		if err := insertPod(t.Context(), tx, p); err != nil {
			return err
		}
		if runs < 3 {
			return errMet
		}
		return nil
	})
	if err != nil || runs != 3 {
		t.Fatalf("got %v after %d runs, want none after 3", err, runs)
	}
	if got := number(t, s, "select count(*) from pods"); got != 1 {
		t.Errorf("got %d pods, want that of the last run only", got)
	}
}

func testCanceledCalls(t *testing.T, address string) {
	s := migrated(t, address)
	p := createPod(t, s, "web")
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*200*time.Microsecond)
			defer cancel()
			err := s.SaveLogs(ctx, p.Key, p.UID, bytes.Repeat([]byte("x"), 100_000))
			if err != nil && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, want nothing or %v", err, context.DeadlineExceeded)
			}
		})
	}
	wg.Wait()
	if err := s.SaveLogs(t.Context(), p.Key, p.UID, []byte("end")); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Logs(t.Context(), p.Key); string(got) != "end" || err != nil {
		t.Errorf("got %q, %v, want end", got, err)
	}
}

func TestRetry(t *testing.T) {
	errBusy, errOther := errors.New("busy"), errors.New("other")
	e := &engine{retryable: func(err error) bool { return errors.Is(err, errBusy) }}

	t.Run("goes on until it succeeds", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n := 0
			err := e.retry(t.Context(), func() error {
				if n++; n < 50 {
					return errBusy
				}
				return nil
			})
			if err != nil || n != 50 {
				t.Errorf("got %v after %d calls", err, n)
			}
		})
	})
	t.Run("stops at another error", func(t *testing.T) {
		n := 0
		err := e.retry(t.Context(), func() error { n++; return errOther })
		if !errors.Is(err, errOther) || n != 1 {
			t.Errorf("got %v after %d calls", err, n)
		}
	})
	t.Run("gives up after a while", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			err := e.retry(t.Context(), func() error { return errBusy })
			took := time.Since(start)
			if !errors.Is(err, errBusy) || took < retryLimit || took > retryLimit+2*retryMaxPause {
				t.Errorf("got %v after %v, want %v after %v", err, took, errBusy, retryLimit)
			}
		})
	})
	t.Run("ends with its context, in the middle of a pause", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			start := time.Now()
			err := e.retry(ctx, func() error { return errBusy })
			if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errBusy) || time.Since(start) != time.Second {
				t.Errorf("got %v after %v", err, time.Since(start))
			}
		})
	})
}

func TestPostgresRetryable(t *testing.T) {
	for code, want := range map[string]bool{"40001": true, "40P01": true, "57P03": true, "23505": false, "57014": false} {
		err := fmt.Errorf("updating: %w", &pgconn.PgError{Code: code})
		if got := postgresRetryable(err); got != want {
			t.Errorf("%s: got %v, want %v", code, got, want)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	keys := testKeys(t, 1)
	for _, c := range []struct {
		name, dsn string
		keys      *Keyring
		want      string
	}{
		{"no address", "", keys, "sqlite:/path/to/file.db or postgres://"},
		{"another database", "mysql://root:hunter2@host/db", keys, "sqlite:/path/to/file.db or postgres://"},
		{"a path without scheme", "/var/lib/podway.db", keys, "sqlite:/path/to/file.db or postgres://"},
		{"a password without scheme", "hunter2@host", keys, "sqlite:/path/to/file.db or postgres://"},
		{"sqlite without a path", "sqlite:", keys, "without a path"},
		{"sqlite in memory", "sqlite::memory:", keys, "use a file"},
		{"sqlite with options", "sqlite:" + t.TempDir() + "/a.db?mode=ro", keys, "only a path"},
		{"sqlite in a folder that is not there", "sqlite:" + t.TempDir() + "/no/a.db", keys, "no such file"},
		{"sqlite in a file that is none", "sqlite:" + t.TempDir(), keys, "opening database file"},
		{"postgres that is not there", "postgres://ann:hunter2@127.0.0.1:1/db?connect_timeout=1", keys, "connecting to postgres"},
		{"postgres with a bad address", "postgres://ann:hunter2@127.0.0.1:notaport/db", keys, "reading postgres address"},
		{"no keyring", "sqlite:" + t.TempDir() + "/a.db", nil, "keyring is required"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := Open(t.Context(), c.dsn, Options{Keyring: c.keys})
			if err == nil {
				_ = s.Close()
			}
			wantError(t, err, c.want)
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error tells the password: %v", err)
			}
		})
	}
}
