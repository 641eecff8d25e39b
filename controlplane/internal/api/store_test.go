package api

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

// newStore returns an empty store in a file of its own.
func newStore(t *testing.T) Store {
	t.Helper()
	empty, err := emptyStore()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "test.db")
	if err := os.WriteFile(path, empty, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := openStore(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// emptyStore is the file of an empty store. Making it takes longer than most
// tests, so it is made once.
var emptyStore = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "podway-api-test-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "empty.db")
	s, err := openStore(context.Background(), path)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(s.Migrate(context.Background()), s.Close()); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

func openStore(ctx context.Context, path string) (*store.Store, error) {
	keys, err := store.NewKeyring(bytes.Repeat([]byte{7}, keytext.Size))
	if err != nil {
		return nil, err
	}
	return store.Open(ctx, "sqlite:"+path, store.Options{Keyring: keys})
}
