package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/pressly/goose/v3"
)

// engine is what differs between SQLite and Postgres. Placeholders do not: both
// know $1.
type engine struct {
	dialect goose.Dialect

	// permissions is an aggregate of the columns username and level: one JSON
	// object, "{}" for no rows.
	permissions string

	// byKey follows the name of a table with %s in it, and makes the engine find rows
	// by the primary key. SQLite, which has no statistics, would rather read all
	// entries of a tenant from an index that holds the selected columns as well.
	byKey string

	// forUpdate ends a select that locks the rows it returns until the end of the
	// transaction.
	forUpdate string

	// tableExists selects true if there is a table named $1.
	tableExists string

	// references selects each table, with each of those it refers to, or ''.
	references string

	// snapshotIsolation says that a transaction sees one state of the database only if
	// it asks for that.
	snapshotIsolation bool

	// retryable reports whether the transaction that met err may succeed when it
	// is run again, having changed nothing.
	retryable func(err error) bool

	// migrationLock makes goose run one migration at a time, whoever starts it.
	migrationLock func() (goose.ProviderOption, error)
}

// keyed returns a table, by the name x, whose rows shall be found by its primary key.
func (e *engine) keyed(table string) string {
	if e.byKey == "" {
		return table + " x"
	}
	return table + " x " + fmt.Sprintf(e.byKey, table)
}

// How long a transaction that meets other writers is tried again, and the
// longest pause between two attempts. Nobody holds a lock for long; the limit is
// for an operator's session that was left open.
const (
	retryLimit    = 30 * time.Second
	retryMaxPause = 250 * time.Millisecond
)

// retry runs f until it succeeds, fails for good, ctx ends or retryLimit is over.
func (e *engine) retry(ctx context.Context, f func() error) error {
	deadline := time.Now().Add(retryLimit)
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, retryMaxPause) {
		err := f()
		switch {
		case err == nil:
			return nil
		case ended(ctx) != nil:
			return withCause(ended(ctx), err)
		case !e.retryable(err) || time.Now().After(deadline):
			return err
		}
		// Writers that met once shall not meet again at the same moment.
		select {
		case <-time.After(pause/2 + rand.N(pause)): //nolint:gosec // spreads load, protects nothing
		case <-ctx.Done():
			return withCause(ctx.Err(), err)
		}
	}
}

// ended is ctx.Err, told from the deadline: a dial stops at the deadline of its
// context, which may be a moment before the context notices.
func ended(ctx context.Context) error {
	if d, ok := ctx.Deadline(); ok && !time.Now().Before(d) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// withCause makes errors.Is find cause in err: a driver that is interrupted says
// so in words of its own.
func withCause(cause, err error) error {
	if errors.Is(err, cause) {
		return err
	}
	return fmt.Errorf("%w: %w", cause, err)
}

// transact runs f in a transaction on db and commits it if f returns nil. f may
// run more than once and must not keep anything from a run that failed.
func (e *engine) transact(ctx context.Context, db *sql.DB, f func(tx *sql.Tx) error) error {
	return e.retry(ctx, func() error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return fmt.Errorf("beginning transaction: %w", err)
		}
		defer tx.Rollback() // does nothing after Commit
		if err := f(tx); err != nil {
			return err
		}
		if err := tx.Commit(); err != nil {
			return fmt.Errorf("committing transaction: %w", err)
		}
		return nil
	})
}
