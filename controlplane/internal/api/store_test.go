package api

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/tapis-project/podway/controlplane/internal/store"
)

// newStore returns an empty store in a file of its own.
func newStore(t *testing.T) Store {
	t.Helper()
	keys, err := store.NewKeyring(bytes.Repeat([]byte{7}, store.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "test.db"), store.Options{Keyring: keys})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}
