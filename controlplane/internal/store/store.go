package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// Store implements pods.Store. Make one with [Open]. It is safe for concurrent
// use.
type Store struct {
	engine *engine
	writer *sql.DB // transactions that write
	reader *sql.DB // everything else; the writer itself on Postgres
	keys   *Keyring

	statements *statements // nil on Postgres
}

var _ pods.Store = (*Store)(nil)

// Options configures a Store.
type Options struct {
	// Keyring seals the pods' credentials. Required.
	Keyring *Keyring

	// MaxConns bounds the connections to Postgres. Default: 16. SQLite does not
	// use it.
	MaxConns int
}

const defaultMaxConns = 16

// Open connects to the database at dsn:
//
//	sqlite:/path/to/file.db                    a file; created if it is not there
//	postgres://user@host:5432/name?sslmode=... any form that pgx reads; also postgresql://
//
// It does not create or change tables: see [Store.Migrate] and [Store.Ready].
func Open(ctx context.Context, dsn string, o Options) (*Store, error) {
	if o.Keyring == nil {
		return nil, errors.New("opening store: a keyring is required")
	}
	if o.MaxConns <= 0 {
		o.MaxConns = defaultMaxConns
	}
	s, err := open(ctx, dsn, o)
	if err != nil {
		return nil, fmt.Errorf("opening store: %w", err)
	}
	s.keys = o.Keyring
	return s, nil
}

func open(ctx context.Context, dsn string, o Options) (*Store, error) {
	scheme, rest, _ := strings.Cut(dsn, ":")
	switch scheme {
	case "sqlite":
		return openSQLite(ctx, strings.TrimPrefix(rest, "//"))
	case "postgres", "postgresql":
		return openPostgres(ctx, dsn, o.MaxConns)
	}
	// Not the whole address: it may hold a password.
	return nil, errors.New("unknown kind of database address: use sqlite:/path/to/file.db or postgres://user@host/name")
}

// Close closes all connections. Calls under way fail.
func (s *Store) Close() error {
	var err error
	for _, db := range []*sql.DB{s.writer, s.reader} {
		if db != nil {
			err = errors.Join(err, db.Close())
		}
	}
	return err
}

// Ping reports whether the database answers and has its tables.
func (s *Store) Ping(ctx context.Context) error {
	var ok bool
	err := s.read(ctx, func() error {
		return s.reader.QueryRowContext(ctx, "select exists (select 1 from pods)").Scan(&ok)
	})
	if err != nil {
		return fmt.Errorf("asking the store: %w", err)
	}
	return nil
}

// read runs f, which reads on s.reader.
func (s *Store) read(ctx context.Context, f func() error) error { return s.engine.retry(ctx, f) }

// write runs f in a transaction.
func (s *Store) write(ctx context.Context, f func(tx *sql.Tx) error) error {
	return s.engine.transact(ctx, s.writer, f)
}

// writePod runs f in a transaction that holds the row of a pod. NotFound if
// there is no such pod or it has another uid.
func (s *Store) writePod(ctx context.Context, k pods.Key, uid string, f func(tx *sql.Tx, held heldPod) error) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		held, err := s.hold(ctx, tx, k)
		if err != nil {
			return err
		}
		if held.uid != uid {
			return notFound(k)
		}
		return f(tx, held)
	})
}

// heldPod is the user's part of a pod whose row is locked.
type heldPod struct {
	uid        string
	version    int64
	requested  pods.Requested
	definition string
}

// hold locks the row of a pod until the end of the transaction.
func (s *Store) hold(ctx context.Context, tx *sql.Tx, k pods.Key) (heldPod, error) {
	var h heldPod
	if !storable(k.Tenant, string(k.ID)) {
		return h, notFound(k)
	}
	err := tx.QueryRowContext(ctx, `
		select uid, version, requested, definition from pods
		where tenant = $1 and id = $2`+s.engine.forUpdate, k.Tenant, k.ID,
	).Scan(&h.uid, &h.version, &h.requested, &h.definition)
	return h, orNotFound(err, k)
}

func notFound(k pods.Key) error {
	return pods.Errorf(pods.NotFound, "Pod with identifier pod_id: '%s' not found", k.ID)
}

func conflict(k pods.Key) error {
	return pods.Errorf(pods.Conflict, "Pod with identifier pod_id: '%s' was changed meanwhile. Please try again.", k.ID)
}

// orNotFound turns "no row" into NotFound.
func orNotFound(err error, k pods.Key) error {
	if errors.Is(err, sql.ErrNoRows) {
		return notFound(k)
	}
	return err
}

// orNoRow returns none if a statement changed no row.
func orNoRow(res sql.Result, none error) error {
	n, err := res.RowsAffected()
	if err != nil {
		return fmt.Errorf("counting changed rows: %w", err)
	}
	if n == 0 {
		return none
	}
	return nil
}

// doing says what failed with which object, unless err is an answer to the caller.
func doing(what string, object any, err error) error {
	if err == nil {
		return nil
	}
	if _, coded := errors.AsType[*pods.Error](err); coded {
		return err
	}
	return fmt.Errorf("%s %v: %w", what, object, err)
}

// storable reports whether all strings can be in a text column: Postgres takes
// UTF-8 without NUL only. No pod is found by a key that can't be stored.
func storable(ss ...string) bool {
	for _, s := range ss {
		if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
			return false
		}
	}
	return true
}
