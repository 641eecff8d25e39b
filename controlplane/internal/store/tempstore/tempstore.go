// Package tempstore opens stores for the tests of other packages: SQLite, empty, with
// every table, in a file that is gone after the test.
package tempstore

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/tapis-project/podway/controlplane/internal/store"
	"github.com/tapis-project/podway/routes/keytext"
)

// New returns an empty store in a file of its own.
func New(t testing.TB) *store.Store {
	t.Helper()
	content, err := empty()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "podway.db")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// empty is the file of an empty store. Making it takes longer than most tests, so it
// is made once.
var empty = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "podway-store-test-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "empty.db")
	s, err := open(context.Background(), path)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(s.Migrate(context.Background()), s.Close()); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

func open(ctx context.Context, path string) (*store.Store, error) {
	keys, err := store.NewKeyring(bytes.Repeat([]byte{7}, keytext.Size))
	if err != nil {
		return nil, err
	}
	return store.Open(ctx, "sqlite:"+path, store.Options{Keyring: keys})
}
