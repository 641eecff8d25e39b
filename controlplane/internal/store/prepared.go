package store

import (
	"context"
	"database/sql"
	"sync"
)

// statements keeps statements that are run often as SQLite compiled them, which
// takes it nearly as long as running them. The driver of Postgres keeps its own, so
// there it is nil. There are as many as the code has texts, so none is closed
// before the database is. It is safe for concurrent use.
type statements struct {
	db *sql.DB

	mu     sync.Mutex
	byText map[string]*sql.Stmt
}

func newStatements(db *sql.DB) *statements {
	return &statements{db: db, byText: map[string]*sql.Stmt{}}
}

// of returns the compiled statement of a text.
func (s *statements) of(ctx context.Context, text string) (*sql.Stmt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if stmt, ok := s.byText[text]; ok {
		return stmt, nil
	}
	stmt, err := s.db.PrepareContext(ctx, text) //nolint:sqlclosecheck // it is kept, see statements
	if err != nil {
		return nil, err
	}
	s.byText[text] = stmt
	return stmt, nil
}

// query runs a statement that is run often on the reader.
func (s *Store) query(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	if s.statements == nil {
		return s.reader.QueryContext(ctx, text, args...)
	}
	stmt, err := s.statements.of(ctx, text) //nolint:sqlclosecheck // as above
	if err != nil {
		return nil, err
	}
	return stmt.QueryContext(ctx, args...)
}
