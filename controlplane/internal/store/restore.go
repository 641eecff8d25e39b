package store

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// maxManifest bounds the manifest of a backup.
const maxManifest = 1 << 20

// ErrBadBackup is the error of a file that is no backup, or is damaged.
var ErrBadBackup = errors.New("the backup can't be used")

// CheckBackup reads a whole backup, compares it with its checksums and returns its
// manifest. The error is [ErrBadBackup] if anything is amiss.
func CheckBackup(r io.Reader) (Manifest, error) {
	sums := map[string]string{}
	var m Manifest
	found := false
	err := eachFile(r, func(name string, content io.Reader) error {
		if name == manifestName {
			found = true
			return json.NewDecoder(io.LimitReader(content, maxManifest)).Decode(&m)
		}
		sum := sha256.New()
		if _, err := io.Copy(sum, content); err != nil {
			return err
		}
		sums[name] = hex.EncodeToString(sum.Sum(nil))
		return nil
	})
	switch {
	case err != nil:
		return Manifest{}, fmt.Errorf("%w: %w", ErrBadBackup, err)
	case !found:
		return Manifest{}, fmt.Errorf("%w: it has no manifest", ErrBadBackup)
	case m.Format > BackupFormat:
		return Manifest{}, fmt.Errorf("%w: its format %d is newer than this program", ErrBadBackup, m.Format)
	case len(sums) != len(m.Tables):
		return Manifest{}, fmt.Errorf("%w: it has %d tables, its manifest %d", ErrBadBackup, len(sums), len(m.Tables))
	}
	for _, t := range m.Tables {
		if sums[t.File] != t.SHA256 || len(t.Kinds) != len(t.Columns) {
			return Manifest{}, fmt.Errorf("%w: the table %s is damaged", ErrBadBackup, t.Name)
		}
	}
	return m, nil
}

// eachFile calls f with the files of an archive. It reads up to its end, so that the
// checksum of gzip is compared too.
func eachFile(r io.Reader, f func(name string, content io.Reader) error) error {
	z, err := gzip.NewReader(r)
	if err != nil {
		return err
	}
	archive := tar.NewReader(z)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			_, err = io.Copy(io.Discard, z) //nolint:gosec // nothing of it is kept
			return err
		}
		if err != nil {
			return err
		}
		if err := f(h.Name, archive); err != nil {
			return fmt.Errorf("reading %s: %w", h.Name, err)
		}
	}
}

// Restore fills an empty store, of either engine, with a backup: all of it or
// nothing. It makes the tables as they were when the backup was taken and then
// brings them to the version of this program. It is an error if the backup is damaged,
// was made by a newer release, needs keys that the keyring lacks, or if the store
// holds anything.
func (s *Store) Restore(ctx context.Context, r io.ReadSeeker) (Manifest, error) {
	m, err := CheckBackup(r)
	if err != nil {
		return Manifest{}, err
	}
	if err := s.prepareRestore(ctx, m); err != nil {
		return Manifest{}, fmt.Errorf("restoring the store: %w", err)
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return Manifest{}, fmt.Errorf("reading the backup again: %w", err)
	}
	// Once only: a second try would go on where the first one stopped reading.
	tx, err := s.writer.BeginTx(ctx, nil)
	if err != nil {
		return Manifest{}, fmt.Errorf("beginning transaction: %w", err)
	}
	defer tx.Rollback() // does nothing after Commit
	if err := s.fill(ctx, tx, m, r); err != nil {
		return Manifest{}, fmt.Errorf("restoring the store: %w", err)
	}
	if err := tx.Commit(); err != nil {
		return Manifest{}, fmt.Errorf("committing transaction: %w", err)
	}
	if err := s.Migrate(ctx); err != nil {
		return Manifest{}, err
	}
	return m, s.Ready(ctx)
}

// prepareRestore makes the tables that the backup has.
func (s *Store) prepareRestore(ctx context.Context, m Manifest) error {
	for _, id := range m.Keys {
		if s.keys.keys[id] == nil {
			return fmt.Errorf("the backup holds what was %w", unknownKey(id))
		}
	}
	have, want, err := s.Version(ctx)
	switch {
	case err != nil:
		return err
	case m.Schema > want:
		return newerSchema(m.Schema, want)
	case have > m.Schema:
		return fmt.Errorf("the schema of the store has version %d already, the backup %d: restore into an empty database", have, m.Schema)
	}
	p, err := s.provider()
	if err != nil {
		return err
	}
	if _, err := p.UpTo(ctx, m.Schema); err != nil {
		return fmt.Errorf("making tables: %w", err)
	}
	return nil
}

// fill inserts all rows.
func (s *Store) fill(ctx context.Context, tx *sql.Tx, m Manifest, r io.Reader) error {
	tables, err := s.tables(ctx, tx)
	if err != nil {
		return err
	}
	for _, t := range tables {
		var exists bool
		if err := tx.QueryRowContext(ctx, "select exists (select 1 from "+t+")").Scan(&exists); err != nil {
			return fmt.Errorf("looking into table %s: %w", t, err)
		}
		if exists {
			return fmt.Errorf("the store is not empty, its table %s has rows: restore into an empty database", t)
		}
	}
	return eachFile(r, func(name string, content io.Reader) error {
		i := slices.IndexFunc(m.Tables, func(t BackupTable) bool { return t.File == name })
		if i < 0 {
			return nil // the manifest
		}
		t := m.Tables[i]
		if !slices.Contains(tables, t.Name) {
			return fmt.Errorf("%w: there is no table %q", ErrBadBackup, t.Name)
		}
		return fillTable(ctx, tx, t, content)
	})
}

func fillTable(ctx context.Context, tx *sql.Tx, t BackupTable, r io.Reader) error {
	columns, places := make([]string, len(t.Columns)), make([]string, len(t.Columns))
	for i, c := range t.Columns {
		columns[i], places[i] = `"`+strings.ReplaceAll(c, `"`, "")+`"`, "$"+strconv.Itoa(i+1)
	}
	insert, err := tx.PrepareContext(ctx, "insert into "+t.Name+" ("+strings.Join(columns, ", ")+") values ("+strings.Join(places, ", ")+")") //nolint:gosec // a table that exists
	if err != nil {
		return err
	}
	defer insert.Close()
	dec := json.NewDecoder(r)
	var n int64
	for dec.More() {
		values := make([]any, len(t.Kinds))
		for i, k := range t.Kinds {
			values[i] = k.scanned()
		}
		if err := dec.Decode(&values); err != nil {
			return fmt.Errorf("row %d: %w", n+1, err)
		}
		if len(values) != len(t.Columns) {
			return fmt.Errorf("row %d: %w: it has %d values", n+1, ErrBadBackup, len(values))
		}
		if _, err := insert.ExecContext(ctx, values...); err != nil {
			return fmt.Errorf("row %d: %w", n+1, err)
		}
		n++
	}
	if n != t.Rows {
		return fmt.Errorf("%w: it has %d rows, its manifest %d", ErrBadBackup, n, t.Rows)
	}
	return nil
}
