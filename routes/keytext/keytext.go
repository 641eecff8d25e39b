// Package keytext reads and makes the text of secret keys: 32 random bytes in
// base64, one or more of them, the one in use first. It is the form of every key
// file and key variable of Podway, and what `openssl rand -base64 32` prints:
//
//	keys, err := keytext.ReadFile("gate key", "/etc/podway/gate.key")
//
// Errors name a key by its place and say how to make one. They never hold a key.
package keytext

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"
	"strings"
)

// Size is the length of a key in bytes.
const Size = 32

const hint = "make one with `openssl rand -base64 32`"

// New returns a new random key as text, without a line's end.
func New() string {
	b := make([]byte, Size)
	_, _ = rand.Read(b) // it never fails
	return base64.StdEncoding.EncodeToString(b)
}

// Parse reads keys, separated by white space or commas: at least one. What they are,
// such as "gate key", is for errors.
func Parse(what, text string) ([][]byte, error) {
	var keys [][]byte
	separates := func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) }
	for i, word := range strings.FieldsFunc(text, separates) {
		key, err := base64.StdEncoding.DecodeString(word)
		if err != nil {
			// Not err: it could quote a part of the key.
			return nil, fmt.Errorf("reading %s %d: not base64: %s", what, i+1, hint)
		}
		if err := Check(key); err != nil {
			return nil, fmt.Errorf("reading %s %d: %w", what, i+1, err)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("reading %s: there is none: %s", what, hint)
	}
	return keys, nil
}

// ReadFile reads the keys in a file, see [Parse].
func ReadFile(what, file string) ([][]byte, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", what, err)
	}
	keys, err := Parse(what, string(b))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return keys, nil
}

// Check refuses a key of another length.
func Check(key []byte) error {
	if len(key) != Size {
		return fmt.Errorf("a key has %d bytes, this has %d: %s", Size, len(key), hint)
	}
	return nil
}
