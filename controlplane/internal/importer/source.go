package importer

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// siteSchema is the schema of what all tenants share.
const siteSchema = "siteadmintable"

// source is the database of the other service, as of one moment.
type source struct {
	conn    *pgx.Conn
	tx      pgx.Tx
	schemas []string            // of tenants and of the site, in order
	tables  map[string][]string // of each schema, in order
}

// openSource connects and finds the schemas.
func openSource(ctx context.Context, url string) (*source, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("connecting to the source: %w", err) // pgx hides the password
	}
	s := &source{conn: conn, tables: map[string][]string{}}
	s.tx, err = conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err == nil {
		err = s.findSchemas(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("looking at the source: %w", err), conn.Close(ctx))
	}
	return s, nil
}

func (s *source) close(ctx context.Context) {
	_ = s.tx.Rollback(ctx) // it wrote nothing
	_ = s.conn.Close(ctx)
}

// findSchemas finds the schemas that have tables for pods and their passwords.
func (s *source) findSchemas(ctx context.Context) error {
	rows, err := s.tx.Query(ctx, `
		select table_schema, table_name from information_schema.tables
		where table_type = 'BASE TABLE' and table_schema not in ('pg_catalog', 'information_schema')
		order by table_schema, table_name`)
	if err != nil {
		return err
	}
	var schema, table string
	_, err = pgx.ForEachRow(rows, []any{&schema, &table}, func() error {
		s.tables[schema] = append(s.tables[schema], table)
		return nil
	})
	if err != nil {
		return err
	}
	for schema, tables := range s.tables {
		if slices.Contains(tables, "pod") && slices.Contains(tables, "password") {
			s.schemas = append(s.schemas, schema)
		}
	}
	if len(s.schemas) == 0 {
		return errors.New("no schema has the tables pod and password: is this the database of a Pods service?")
	}
	slices.Sort(s.schemas)
	return nil
}

// row is what all rows have.
type row interface {
	// at names the row's tenant and object; the tenant may be "".
	at() (tenant, id string)
}

// read returns the rows of a table by tenant and id; none if there is no such
// table. Rows are read as JSON, in which releases of the other service differ least.
func read[R row](ctx context.Context, s *source, schema, table string) ([]R, error) {
	if !slices.Contains(s.tables[schema], table) {
		return nil, nil
	}
	name := pgx.Identifier{schema, table}.Sanitize()
	rows, err := s.tx.Query(ctx, "select to_jsonb(t)::text from "+name+" t")
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	var all []R
	var text string
	_, err = pgx.ForEachRow(rows, []any{&text}, func() error {
		var r R
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			return err
		}
		all = append(all, r)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	slices.SortStableFunc(all, func(a, b R) int {
		aTenant, aID := a.at()
		bTenant, bID := b.at()
		return cmp.Or(cmp.Compare(aTenant, bTenant), cmp.Compare(aID, bID))
	})
	return all, nil
}

// count returns how many rows a table has.
func (s *source) count(ctx context.Context, schema, table string) (n int, err error) {
	name := pgx.Identifier{schema, table}.Sanitize()
	if err := s.tx.QueryRow(ctx, "select count(*) from "+name).Scan(&n); err != nil {
		return 0, fmt.Errorf("counting rows of %s: %w", name, err)
	}
	return n, nil
}
