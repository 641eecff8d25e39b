package doctor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/tapis-project/podway/controlplane/internal/config"
	"github.com/tapis-project/podway/controlplane/internal/store"
	"github.com/tapis-project/podway/podctl/diagnose"
	"github.com/tapis-project/podway/routes/keytext"
)

// checkStore looks at the key file and at the database.
func checkStore(ctx context.Context, c config.Config) []diagnose.Finding {
	keys, f := checkKeyFile(c.KeyFile)
	return append([]diagnose.Finding{f}, checkDatabase(ctx, c.Store, keys))
}

// checkKeyFile returns the keys, or nil.
func checkKeyFile(path string) (*store.Keyring, diagnose.Finding) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault("key file", FaultKeyFile, path+" is not there",
			"restore it from where you keep its copy (PODWAY_KEY_FILE); for a new installation only: openssl rand -base64 32 > FILE")
	}
	keys, loadErr := store.LoadKeyFile(path)
	switch {
	case loadErr != nil:
		return nil, fault("key file", FaultKeyFile, loadErr.Error(), "correct the file or its permissions, or restore it from its copy; docs/store.md tells its form")
	case err == nil && info.Mode().Perm()&0o007 != 0:
		return keys, fault("key file", FaultKeyFileMode, fmt.Sprintf("%s has mode %#o", path, info.Mode().Perm()), "chmod 600 "+path)
	}
	return keys, diagnose.OK("key file", "", path+" can be read")
}

// checkDatabase opens the store. Without keys it does not look what sealed things.
func checkDatabase(ctx context.Context, address string, keys *store.Keyring) diagnose.Finding {
	if path, ok := strings.CutPrefix(address, "sqlite:"); ok { // opening would create it
		if _, err := os.Stat(strings.TrimPrefix(path, "//")); err != nil {
			return fault("store", FaultStoreUnreachable, err.Error(), "correct PODWAY_STORE, or make a new store with `podway migrate`")
		}
	}
	known := keys != nil
	if !known {
		key := make([]byte, keytext.Size)
		_, _ = rand.Read(key)                // never fails
		keys, _ = store.NewKeyring(key, key) // of the right size
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	s, err := store.Open(ctx, address, store.Options{Keyring: keys, MaxConns: 1})
	if err != nil {
		return fault("store", FaultStoreUnreachable, err.Error(), "start the database server, or correct PODWAY_STORE and the password; edges go on serving meanwhile")
	}
	defer s.Close()
	have, want, err := s.Version(ctx)
	switch {
	case err != nil:
		return fault("store", FaultStoreUnreachable, err.Error(), "look at the database server and at the rights of its user")
	case have < want:
		return fault("store", FaultStoreSchema, fmt.Sprintf("its schema has version %d, this program needs %d", have, want), "run `podway migrate` of this release")
	case have > want:
		return fault("store", FaultStoreSchema, fmt.Sprintf("its schema has version %d, this program knows only %d", have, want), "run the release that migrated it, or a later one")
	}
	if err := s.Ready(ctx); known && err != nil {
		return fault("store", FaultStoreKey, err.Error(), "add the key behind the first line of the key file on every control plane; docs/store.md tells what is lost without it")
	}
	return diagnose.OK("store", "", fmt.Sprintf("answers, its schema has version %d", have))
}
