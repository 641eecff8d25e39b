package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// openPostgres connects to the server that dsn names. Reads and writes share one
// pool of at most conns connections. Transactions are READ COMMITTED: each locks
// the row of its pod first, and every statement after that sees what the holder
// before it committed.
func openPostgres(ctx context.Context, dsn string, conns int) (*Store, error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("reading postgres address: %w", err) // pgx hides the password
	}
	cfg.RuntimeParams["application_name"] = cmp.Or(cfg.RuntimeParams["application_name"], "podway")
	db := stdlib.OpenDB(*cfg)
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	// After a failover or behind a balancer, connections find their way to the
	// new server.
	db.SetConnMaxIdleTime(5 * time.Minute)
	db.SetConnMaxLifetime(time.Hour)
	s := &Store{engine: postgresEngine(), writer: db, reader: db}
	if err := s.engine.retry(ctx, func() error { return db.PingContext(ctx) }); err != nil {
		return nil, errors.Join(fmt.Errorf("connecting to postgres: %w", err), db.Close())
	}
	return s, nil
}

func postgresEngine() *engine {
	return &engine{
		dialect:     goose.DialectPostgres,
		permissions: "coalesce(json_object_agg(username, level), '{}')",
		forUpdate:   " for update",
		tableExists: "select to_regclass($1) is not null",
		references: `
			select t.relname, coalesce(p.relname, '') from pg_class t
			left join pg_constraint c on c.conrelid = t.oid and c.contype = 'f'
			left join pg_class p on p.oid = c.confrelid
			where t.relkind = 'r' and t.relnamespace = current_schema()::regnamespace`,
		snapshotIsolation: true,
		retryable:         postgresRetryable,
		migrationLock: func() (goose.ProviderOption, error) {
			// An advisory lock of the session, tried each second; it ends with the
			// connection.
			l, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 300), lock.WithUnlockTimeout(1, 60))
			return goose.WithSessionLocker(l), err
		},
	}
}

// postgresRetryable reports whether Postgres rolled a transaction back because
// of another one (serialization_failure, deadlock_detected), or is starting and
// did not begin it (cannot_connect_now).
func postgresRetryable(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (e.Code == "40001" || e.Code == "40P01" || e.Code == "57P03")
}
