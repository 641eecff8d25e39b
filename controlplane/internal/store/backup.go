package store

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

// BackupFormat is the version of the form of backups that this program writes, and
// the newest it reads.
const BackupFormat = 1

// manifestName is the last file of a backup, so that one that was cut short has none.
const manifestName = "manifest.json"

// Manifest says what is in a backup.
type Manifest struct {
	Format  int       `json:"format"`
	Created time.Time `json:"created"`
	Program string    `json:"program"` // version of the program that wrote it
	Schema  int64     `json:"schema"`  // version of the schema
	Engine  string    `json:"engine"`  // what it was taken of; it can be restored into any

	// Keys are the ids of the keys that sealed what is in it. The keys themselves are
	// not there.
	Keys []string `json:"keys"`

	// Tables in the order in which they can be filled.
	Tables []BackupTable `json:"tables"`
}

// BackupTable is one table of a backup.
type BackupTable struct {
	Name    string   `json:"name"`
	File    string   `json:"file"` // a JSON array for each row
	Columns []string `json:"columns"`
	Kinds   []kind   `json:"kinds"` // of the columns: int, bool, text or bytes
	Rows    int64    `json:"rows"`
	SHA256  string   `json:"sha256"` // of the file, in hex
}

// Rows is how many rows all tables have.
func (m Manifest) Rows() (n int64) {
	for _, t := range m.Tables {
		n += t.Rows
	}
	return n
}

// Backup writes everything that the store holds, as of one moment, to w: a tar
// archive, compressed with gzip, with a file for each table and a manifest with their
// checksums. Others may read and write meanwhile. What is sealed stays sealed. The
// program's version is noted in the manifest.
func (s *Store) Backup(ctx context.Context, w io.Writer, program string) (Manifest, error) {
	if err := s.Ready(ctx); err != nil {
		return Manifest{}, err // nobody could use it
	}
	m := Manifest{Format: BackupFormat, Created: time.Now().UTC(), Program: program, Engine: string(s.engine.dialect)}
	var err error
	if m.Keys, err = s.usedKeys(ctx); err != nil {
		return Manifest{}, fmt.Errorf("reading ids of used keys: %w", err)
	}
	if err := s.writeBackup(ctx, w, &m); err != nil {
		return Manifest{}, fmt.Errorf("backing the store up: %w", err)
	}
	return m, nil
}

// writeBackup writes all tables, and the manifest, which it completes.
func (s *Store) writeBackup(ctx context.Context, w io.Writer, m *Manifest) error {
	z := gzip.NewWriter(w)
	archive := tar.NewWriter(z)
	if err := s.snapshot(ctx, func(tx *sql.Tx) error { return s.backUp(ctx, tx, archive, m) }); err != nil {
		return err
	}
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding manifest: %w", err)
	}
	if err := addFile(archive, manifestName, m.Created, b); err != nil {
		return err
	}
	if err := archive.Close(); err != nil {
		return err
	}
	return z.Close()
}

// snapshot runs f in a transaction that sees one state of the store, whatever is
// written meanwhile. In SQLite every transaction of a reader does.
func (s *Store) snapshot(ctx context.Context, f func(tx *sql.Tx) error) error {
	options := &sql.TxOptions{ReadOnly: true}
	if s.engine.snapshotIsolation {
		options.Isolation = sql.LevelRepeatableRead
	}
	tx, err := s.reader.BeginTx(ctx, options)
	if err != nil {
		return fmt.Errorf("beginning transaction: %w", err)
	}
	defer tx.Rollback() // it has only read
	return f(tx)
}

func (s *Store) backUp(ctx context.Context, tx *sql.Tx, archive *tar.Writer, m *Manifest) error {
	err := tx.QueryRowContext(ctx, "select coalesce(max(version_id), 0) from "+versionTable).Scan(&m.Schema)
	if err != nil {
		return fmt.Errorf("reading schema version: %w", err)
	}
	tables, err := s.tables(ctx, tx)
	if err != nil {
		return err
	}
	for _, name := range tables {
		t, err := backUpTable(ctx, tx, archive, name, m.Created)
		if err != nil {
			return fmt.Errorf("copying table %s: %w", name, err)
		}
		m.Tables = append(m.Tables, t)
	}
	return nil
}

// backUpTable adds a table to the archive, by way of a file: an archive says how long
// a file is before its content.
func backUpTable(ctx context.Context, tx *sql.Tx, archive *tar.Writer, name string, at time.Time) (BackupTable, error) {
	file, err := os.CreateTemp("", "podway-backup-*") // mode 0600
	if err != nil {
		return BackupTable{}, err
	}
	defer os.Remove(file.Name()) //nolint:errcheck // it is of no use to anyone
	defer file.Close()
	t := BackupTable{Name: name, File: "tables/" + name + ".jsonl"}
	sum := sha256.New()
	buffer := bufio.NewWriter(io.MultiWriter(file, sum))
	if err := writeRows(ctx, tx, &t, buffer); err != nil {
		return BackupTable{}, err
	}
	if err := buffer.Flush(); err != nil {
		return BackupTable{}, err
	}
	t.SHA256 = hex.EncodeToString(sum.Sum(nil))
	size, err := file.Seek(0, io.SeekCurrent)
	if err != nil {
		return BackupTable{}, err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return BackupTable{}, err
	}
	if err := archive.WriteHeader(&tar.Header{Name: t.File, Mode: 0o600, Size: size, ModTime: at}); err != nil {
		return BackupTable{}, err
	}
	_, err = io.Copy(archive, file)
	return t, err
}

// writeRows writes the rows of a table, and what its columns are into t. Table names
// come from the database itself.
func writeRows(ctx context.Context, tx *sql.Tx, t *BackupTable, w io.Writer) error {
	rows, err := tx.QueryContext(ctx, "select * from "+t.Name) //nolint:gosec // the name is the database's own
	if err != nil {
		return err
	}
	defer rows.Close()
	types, err := rows.ColumnTypes()
	if err != nil {
		return err
	}
	for _, c := range types {
		k, err := kindOf(c.DatabaseTypeName())
		if err != nil {
			return fmt.Errorf("column %s: %w", c.Name(), err)
		}
		t.Columns, t.Kinds = append(t.Columns, c.Name()), append(t.Kinds, k)
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	values := make([]any, len(types))
	for rows.Next() {
		for i, k := range t.Kinds {
			values[i] = k.scanned()
		}
		if err := rows.Scan(values...); err != nil {
			return err
		}
		if err := enc.Encode(values); err != nil {
			return err
		}
		t.Rows++
	}
	return rows.Err()
}

func addFile(archive *tar.Writer, name string, at time.Time, content []byte) error {
	err := archive.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(content)), ModTime: at})
	if err == nil {
		_, err = archive.Write(content)
	}
	return err
}

// querier is a *sql.DB or *sql.Tx.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// tables lists the tables of the store in an order in which each comes behind those
// that it refers to.
func (s *Store) tables(ctx context.Context, q querier) ([]string, error) {
	rows, err := q.QueryContext(ctx, s.engine.references)
	if err != nil {
		return nil, fmt.Errorf("listing tables: %w", err)
	}
	defer rows.Close()
	parents := map[string][]string{}
	for rows.Next() {
		var table, parent string
		if err := rows.Scan(&table, &parent); err != nil {
			return nil, fmt.Errorf("listing tables: %w", err)
		}
		if table == versionTable {
			continue
		}
		parents[table] = append(parents[table], parent) // "" for none
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("listing tables: %w", err)
	}
	return parentsFirst(parents), nil
}

func parentsFirst(parents map[string][]string) []string {
	var order []string
	var add func(table string)
	add = func(table string) {
		list, known := parents[table]
		if !known || slices.Contains(order, table) {
			return
		}
		for _, p := range list {
			if p != table {
				add(p)
			}
		}
		order = append(order, table)
	}
	names := make([]string, 0, len(parents))
	for t := range parents {
		names = append(names, t)
	}
	slices.Sort(names)
	for _, t := range names {
		add(t)
	}
	return order
}
