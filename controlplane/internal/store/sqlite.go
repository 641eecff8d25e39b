package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// readers is the number of connections that read an SQLite file at once.
const readers = 4

// Settings of every SQLite connection.
//
//   - WAL: readers and the writer do not block each other.
//   - synchronous=NORMAL: with WAL the file is never corrupt, and a commit
//     survives the end of the process, kill -9 included. Power loss may undo the
//     last commits; the reconciler works from what is there.
//   - busy_timeout: how long SQLite itself waits for another process. Short,
//     since that wait does not heed a context; engine.retry continues it.
//   - journal_size_limit: gives the space back that a burst of logs took.
var sqlitePragmas = []string{
	"busy_timeout(250)", "journal_mode(wal)", "synchronous(normal)", "foreign_keys(on)",
	"journal_size_limit(67108864)",
}

// openSQLite opens the file at path, which is created if it is not there,
// readable by its owner only.
//
// There are two pools. SQLite has one writer at a time; a pool of one connection
// makes writers of this process queue in Go, in order and with their contexts,
// where in SQLite they would poll for the lock and some would fail with
// "database is locked". Its transactions begin with BEGIN IMMEDIATE: one that
// began as a reader can't always become the writer. Readers have a pool of their
// own and never wait.
func openSQLite(ctx context.Context, path string) (*Store, error) {
	if err := checkSQLitePath(path); err != nil {
		return nil, err
	}
	if err := createPrivate(path); err != nil {
		return nil, fmt.Errorf("creating database file: %w", err)
	}
	s := &Store{engine: sqliteEngine(path)}
	var err error
	if s.writer, err = s.connectSQLite(ctx, path, "immediate", 1, sqlitePragmas); err != nil {
		return nil, err
	}
	s.reader, err = s.connectSQLite(ctx, path, "deferred", readers, slices.Concat(sqlitePragmas, []string{"query_only(on)"}))
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.statements = newStatements(s.reader)
	return s, nil
}

func checkSQLitePath(path string) error {
	switch {
	case path == "":
		return errors.New("sqlite address without a path: use sqlite:/path/to/file.db")
	case strings.HasPrefix(path, ":memory:"):
		return errors.New("sqlite in memory is not supported: use a file")
	case strings.Contains(path, "?"):
		return errors.New("sqlite address with options: only a path is accepted, sqlite:/path/to/file.db")
	}
	return nil
}

// createPrivate makes sure that there is a file, which SQLite itself would
// create readable for everyone. SQLite gives its -wal and -shm files the mode of
// the main file. An existing file is not opened: closing it again would drop the
// locks that connections of this process hold on it.
func createPrivate(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return f.Close()
}

func (s *Store) connectSQLite(ctx context.Context, path, txlock string, conns int, pragmas []string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", sqliteURI(path, txlock, pragmas))
	if err != nil {
		return nil, fmt.Errorf("opening database file %s: %w", path, err)
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	// The first connection switches the file to WAL, for which it must be alone.
	if err := s.engine.retry(ctx, func() error { return db.PingContext(ctx) }); err != nil {
		return nil, errors.Join(fmt.Errorf("opening database file %s: %w", path, err), db.Close())
	}
	return db, nil
}

func sqliteURI(path, txlock string, pragmas []string) string {
	u := url.URL{
		Scheme:   "file",
		Opaque:   (&url.URL{Path: path}).EscapedPath(),
		RawQuery: url.Values{"_txlock": {txlock}, "_pragma": pragmas}.Encode(),
	}
	return u.String()
}

func sqliteEngine(path string) *engine {
	e := &engine{
		dialect:     goose.DialectSQLite3,
		permissions: "json_group_object(username, level)",
		byKey:       "indexed by sqlite_autoindex_%s_1",
		forUpdate:   "", // BEGIN IMMEDIATE locked the whole file
		tableExists: "select exists (select 1 from sqlite_master where type = 'table' and name = $1)",
		references: `
			select m.name, coalesce(f."table", '') from sqlite_master m left join pragma_foreign_key_list(m.name) f
			where m.type = 'table' and m.name not like 'sqlite\_%' escape '\'`,
		retryable: sqliteBusy,
	}
	e.migrationLock = func() (goose.ProviderOption, error) {
		return goose.WithLocker(&fileLock{engine: e, path: path + ".lock"}), nil
	}
	return e
}

// sqliteBusy reports whether another process holds the lock that was needed.
func sqliteBusy(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && e.Code()&0xff == sqlite3.SQLITE_BUSY
}

// fileLock is a lock between processes that ends with its holder: an exclusive
// transaction on an empty SQLite file of its own. The database can't be its own
// lock, since each migration is a transaction in it. The file stays, because
// removing a lock file while another process waits for it breaks the lock.
type fileLock struct {
	engine *engine
	path   string
	db     *sql.DB
	tx     *sql.Tx
}

// Lock waits for the lock until ctx ends. It implements goose's lock.Locker; db
// is not used.
func (l *fileLock) Lock(ctx context.Context, _ *sql.DB) error {
	if err := createPrivate(l.path); err != nil {
		return fmt.Errorf("creating lock file: %w", err)
	}
	db, err := sql.Open("sqlite", sqliteURI(l.path, "exclusive", []string{"busy_timeout(50)"}))
	if err != nil {
		return fmt.Errorf("opening lock file: %w", err)
	}
	// The transaction outlives this call, and with a context that ends it would
	// be rolled back early.
	hold := context.WithoutCancel(ctx)
	err = l.engine.retry(ctx, func() error {
		l.tx, err = db.BeginTx(hold, nil)
		return err
	})
	if err != nil {
		return errors.Join(fmt.Errorf("waiting for lock file %s: %w", l.path, err), db.Close())
	}
	l.db = db
	return nil
}

// Unlock releases the lock.
func (l *fileLock) Unlock(context.Context, *sql.DB) error {
	return errors.Join(l.tx.Rollback(), l.db.Close())
}
