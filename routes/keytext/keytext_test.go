package keytext_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tapis-project/podway/routes/keytext"
)

func text(b byte, size int) string {
	return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, size))
}

func TestParse(t *testing.T) {
	one, two := text(1, keytext.Size), text(2, keytext.Size)
	for _, tt := range []struct {
		name, text string
		keys       int
		err        string
	}{
		{"one key", one, 1, ""},
		{"a line each", one + "\n" + two + "\n", 2, ""},
		{"commas, spaces, tabs and the lines of Windows", one + ", " + two + "\t" + one + "\r\n", 3, ""},
		{"nothing", " \n", 0, "reading test key: there is none"},
		{"no base64", one + " hunter2!", 0, "reading test key 2: not base64"},
		{"a key that is too short", text(1, 16), 0, "reading test key 1: a key has 32 bytes, this has 16"},
		{"a key that is too long", text(1, 64), 0, "this has 64"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			keys, err := keytext.Parse("test key", tt.text)
			if len(keys) != tt.keys {
				t.Errorf("got %d keys, want %d", len(keys), tt.keys)
			}
			if tt.err == "" {
				if err != nil {
					t.Errorf("got %v, want no error", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.err) || !strings.Contains(err.Error(), "openssl rand -base64 32") {
				t.Fatalf("got %v, want %q and how to make one", err, tt.err)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error %q holds a key", err)
			}
		})
	}
}

func TestNewKeysAreReadBack(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(keytext.New()+"\n"+keytext.New()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	keys, err := keytext.ReadFile("test key", file)
	if err != nil || len(keys) != 2 || bytes.Equal(keys[0], keys[1]) {
		t.Errorf("got %d keys and %v, want two different ones", len(keys), err)
	}
	if _, err := keytext.ReadFile("test key", file+".gone"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want that it does not exist", err)
	}
	if err := os.WriteFile(file, []byte("%"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := keytext.ReadFile("test key", file); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("got %v, want an error that names the file", err)
	}
}
