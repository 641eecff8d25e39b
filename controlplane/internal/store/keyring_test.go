package store

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/tapis-project/podway/routes/keytext"
)

func TestSealAndOpen(t *testing.T) {
	keys := testKeys(t, 1, 2)
	rapid.Check(t, func(t *rapid.T) {
		plain := rapid.SliceOf(rapid.Byte()).Draw(t, "plain")
		context := rapid.String().Draw(t, "context")
		got, err := keys.Open(keys.Seal(plain, context), context)
		if err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("got %q, %v, want %q", got, err, plain)
		}
	})
	if one, two := keys.Seal([]byte("a"), "x"), keys.Seal([]byte("a"), "x"); one == two {
		t.Error("sealing twice gave one text: the nonce is not random")
	}
}

func TestOpenRefusesAltered(t *testing.T) {
	keys := testKeys(t, 1, 2)
	sealed := keys.Seal([]byte("secret"), "dev/web")
	if _, err := keys.Open(sealed, "dev/db"); err == nil {
		t.Error("opened with another context")
	}
	for i := range sealed {
		b := []byte(sealed)
		b[i] ^= 4
		if got, err := keys.Open(string(b), "dev/web"); err == nil && string(got) != "secret" {
			t.Errorf("opened %q as %q", b, got)
		}
		if _, err := keys.Open(sealed[:i], "dev/web"); err == nil {
			t.Errorf("opened the first %d of %d bytes", i, len(sealed))
		}
	}
	_, err := testKeys(t, 3).Open(sealed, "dev/web")
	wantError(t, err, keys.current, "not in the keyring")
}

func TestParseKeyring(t *testing.T) {
	b64 := func(b byte, n int) string { return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, n)) }
	one, two := b64(1, keytext.Size), b64(2, keytext.Size)
	for _, c := range []struct {
		name, text string
		want       int    // keys
		err        string // instead
	}{
		{"one key", one, 1, ""},
		{"one key and a newline", one + "\n", 1, ""},
		{"the current and an older key", two + "\n" + one + "\n", 2, ""},
		{"commas, as in an environment variable", two + "," + one, 2, ""},
		{"the same key twice", one + " " + one, 1, ""},
		{"nothing", " \n", 0, "there is none"},
		{"a short key", b64(1, 16), 0, "has 32 bytes, this has 16"},
		{"an older key that is short", one + "," + b64(1, 31), 0, "key 2"},
		{"no base64", "hunter2!", 0, "key 1: not base64"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := ParseKeyring(c.text)
			if c.err != "" {
				wantError(t, err, c.err, "openssl rand -base64 32")
				if strings.Contains(err.Error(), "hunter2") {
					t.Errorf("the error tells the key: %v", err)
				}
				return
			}
			if err != nil || len(r.keys) != c.want {
				t.Errorf("got %v, %v, want %d keys", r, err, c.want)
			}
		})
	}
}

func TestKeyringSealsWithTheFirstKey(t *testing.T) {
	if got, want := testKeys(t, 2, 1).current, testKeys(t, 2).current; got != want {
		t.Errorf("got current key %s, want %s", got, want)
	}
	if testKeys(t, 1).current == testKeys(t, 2).current {
		t.Error("two keys have one id")
	}
}

func TestKeyFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "store.key")
	if _, err := LoadKeyFile(path); err == nil {
		t.Fatal("loaded a file that is not there")
	}

	// Several processes that start at once agree on one key.
	ids := make([]string, 4)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			r, err := LoadOrCreateKeyFile(path)
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = r.current
		})
	}
	wg.Wait()
	for _, id := range ids[1:] {
		if id != ids[0] {
			t.Errorf("got keys %v, want one", ids)
		}
	}
	checkFiles(t, dir, "store.key")
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 1 {
		t.Errorf("got files %v, want one", left)
	}
	if hidden, _ := filepath.Glob(filepath.Join(dir, ".*")); len(hidden) != 0 {
		t.Errorf("left %v behind", hidden)
	}

	raw := filepath.Join(dir, "raw.key")
	if err := os.WriteFile(raw, bytes.Repeat([]byte{1}, keytext.Size), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := LoadKeyFile(raw)
	if err != nil || r.current != testKeys(t, 1).current {
		t.Errorf("got %v, %v, want the key of 32 raw bytes", r, err)
	}

	bad := filepath.Join(dir, "bad.key")
	if err := os.WriteFile(bad, []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = LoadOrCreateKeyFile(bad)
	wantError(t, err, bad)
	_, err = LoadOrCreateKeyFile(filepath.Join(dir, "no", "store.key"))
	wantError(t, err, "creating key file")
}

func TestKeyringTellsNoKey(t *testing.T) {
	r := testKeys(t, 'k')
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if text := fmt.Sprintf(format, r); strings.Contains(text, "kkkk") || strings.Contains(text, "107, 107") || strings.Contains(text, "107 107") {
			t.Errorf("%s prints the key: %s", format, text)
		}
	}
}
