package store

import (
	"context"
	"embed"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// versionTable remembers which migrations ran.
const versionTable = "schema_version"

// Migrate brings the schema to the version of this program. It does nothing if
// it is there already, and never goes back: a schema that is newer than the
// program is an error. Processes that migrate at once wait for each other.
func (s *Store) Migrate(ctx context.Context) error {
	have, want, err := s.Version(ctx)
	if err != nil {
		return err
	}
	if have > want {
		return newerSchema(have, want)
	}
	if have == want {
		return nil
	}
	// Each migration is one transaction with the record that it ran, so that what
	// failed can be tried again.
	err = s.engine.retry(ctx, func() error { return s.up(ctx) })
	if err != nil {
		return fmt.Errorf("migrating store from version %d to %d: %w", have, want, err)
	}
	return nil
}

func (s *Store) up(ctx context.Context) error {
	p, err := s.provider()
	if err != nil {
		return err
	}
	_, err = p.Up(ctx)
	return err
}

func (s *Store) provider() (*goose.Provider, error) {
	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		return nil, err
	}
	lock, err := s.engine.migrationLock()
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(s.engine.dialect, s.writer, files, lock,
		goose.WithTableName(versionTable), goose.WithDisableGlobalRegistry(true))
}

// Version returns the version of the schema in the database, 0 if it is empty,
// and the one this program works with. It changes nothing.
func (s *Store) Version(ctx context.Context) (have, want int64, err error) {
	p, err := s.provider()
	if err != nil {
		return 0, 0, fmt.Errorf("reading migrations: %w", err)
	}
	sources := p.ListSources()
	want = sources[len(sources)-1].Version
	err = s.read(ctx, func() (err error) {
		have, err = s.schemaVersion(ctx)
		return err
	})
	if err != nil {
		return 0, 0, fmt.Errorf("reading schema version: %w", err)
	}
	return have, want, nil
}

// schemaVersion does not ask goose, which would create its table.
func (s *Store) schemaVersion(ctx context.Context) (v int64, err error) {
	var exists bool
	if err := s.reader.QueryRowContext(ctx, s.engine.tableExists, versionTable).Scan(&exists); err != nil || !exists {
		return 0, err
	}
	err = s.reader.QueryRowContext(ctx, "select coalesce(max(version_id), 0) from "+versionTable).Scan(&v)
	return v, err
}

// Ready reports whether this program can work with what the database holds: its
// schema has the right version, and its credentials were sealed with keys of the
// keyring. The error says what to do.
func (s *Store) Ready(ctx context.Context) error {
	have, want, err := s.Version(ctx)
	switch {
	case err != nil:
		return err
	case have < want:
		return fmt.Errorf("the schema of the store has version %d, this program needs %d: run `podway migrate`", have, want)
	case have > want:
		return newerSchema(have, want)
	}
	return s.checkKeys(ctx)
}

func newerSchema(have, want int64) error {
	return fmt.Errorf("the schema of the store has version %d, this program knows only %d: "+
		"`podway migrate` of a newer release changed it; run that release or a later one", have, want)
}

// checkKeys finds a wrong key file now, and not when a pod's owner asks for a
// password.
func (s *Store) checkKeys(ctx context.Context) error {
	ids, err := s.usedKeys(ctx)
	if err != nil {
		return fmt.Errorf("reading ids of used keys: %w", err)
	}
	for _, id := range ids {
		if s.keys.keys[id] == nil {
			return fmt.Errorf("checking keys: stored secrets were %w", unknownKey(id))
		}
	}
	return nil
}
