package main

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/controlplane/internal/store"
	"github.com/tapis-project/podway/routes/keytext"
)

// keyFile writes a key file with keys of one repeated byte each.
func keyFile(t *testing.T, path string, keys ...byte) {
	t.Helper()
	var lines strings.Builder
	for _, b := range keys {
		lines.WriteString(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, keytext.Size)) + "\n")
	}
	if err := os.WriteFile(path, []byte(lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

// podwayCommand runs a command of the program and returns what it prints.
func podwayCommand(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := command()
	var out bytes.Buffer
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func TestRekeyLetsTheOldKeyGo(t *testing.T) {
	dir := t.TempDir()
	key, address := filepath.Join(dir, "store.key"), "sqlite:"+filepath.Join(dir, "podway.db")
	t.Setenv("PODWAY_KEY_FILE", key)
	t.Setenv("PODWAY_STORE", address)

	keyFile(t, key, 1)
	if out, err := podwayCommand(t, "migrate"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	credentialsOf := func() (pods.Credentials, error) {
		keys, err := store.LoadKeyFile(key)
		if err != nil {
			t.Fatal(err)
		}
		s, err := store.Open(t.Context(), address, store.Options{Keyring: keys})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		k := pods.Key{Tenant: "dev", ID: "web"}
		if c, err := s.Credentials(t.Context(), k); pods.ErrorCode(err) != pods.NotFound {
			return c, err
		}
		p := pods.Pod{Key: k, UID: "uid", CreatedAt: time.Now(), UpdatedAt: time.Now(), State: pods.State{Since: time.Now()}}
		c := pods.NewCredentials(k.ID)
		return c, s.CreatePod(t.Context(), p, c, pods.Event{At: time.Now(), Text: "made"})
	}
	want, err := credentialsOf()
	if err != nil {
		t.Fatal(err)
	}

	keyFile(t, key, 2)
	if out, err := podwayCommand(t, "rekey"); err == nil {
		t.Errorf("got %q without the old key, want an error", out)
	}
	keyFile(t, key, 2, 1)
	for _, line := range []string{"Encrypted 1 rows", "Encrypted 0 rows"} {
		if out, err := podwayCommand(t, "rekey"); err != nil || !strings.Contains(out, line) {
			t.Errorf("got %q and %v, want %q", out, err, line)
		}
	}
	keyFile(t, key, 2)
	if got, err := credentialsOf(); err != nil || got != want {
		t.Errorf("got other credentials and %v, want those of before", err)
	}
}
