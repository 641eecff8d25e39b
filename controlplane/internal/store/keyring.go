package store

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tapis-project/podway/routes/keytext"
)

// Keyring encrypts small secrets with AES-256-GCM. It seals with its current key
// and opens with that and older ones; what it seals names its key. To replace a
// key, put a new one first, keep the old one behind it, run [Store.Rekey], and
// take the old one away. A Keyring is safe for concurrent use.
type Keyring struct {
	current string // id
	keys    map[string]cipher.AEAD
}

// NewKeyring returns a keyring with keys of [keytext.Size] bytes.
func NewKeyring(current []byte, older ...[]byte) (*Keyring, error) {
	r := &Keyring{current: keyID(current), keys: map[string]cipher.AEAD{}}
	for i, key := range append([][]byte{current}, older...) {
		aead, err := newAEAD(key)
		if err != nil {
			return nil, fmt.Errorf("reading key %d: %w", i+1, err)
		}
		r.keys[keyID(key)] = aead
	}
	return r, nil
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	if err := keytext.Check(key); err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// keyID names a key without telling anything of it.
func keyID(key []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("podway key id"))
	return hex.EncodeToString(mac.Sum(nil)[:8])
}

// ParseKeyring reads keys as text, see [keytext.Parse]: the form of an environment
// variable and of a key file.
func ParseKeyring(text string) (*Keyring, error) {
	keys, err := keytext.Parse("key", text)
	if err != nil {
		return nil, err
	}
	return NewKeyring(keys[0], keys[1:]...)
}

// LoadKeyFile reads a key file: the text that [ParseKeyring] reads, or the 32
// bytes of one key.
func LoadKeyFile(path string) (*Keyring, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading key file: %w", err)
	}
	if len(b) == keytext.Size {
		return NewKeyring(b)
	}
	r, err := ParseKeyring(string(b))
	if err != nil {
		return nil, fmt.Errorf("reading key file %s: %w", path, err)
	}
	return r, nil
}

// LoadOrCreateKeyFile reads a key file, and first writes one with a new random
// key, readable by its owner only, if there is none. It is for development and
// single machines: who starts with an empty folder by mistake gets a new key and
// can't read the credentials that the old one sealed.
func LoadOrCreateKeyFile(path string) (*Keyring, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if err := createKeyFile(path); err != nil {
			return nil, fmt.Errorf("creating key file: %w", err)
		}
	}
	return LoadKeyFile(path)
}

// createKeyFile writes a new key to path, whole or not at all. It leaves a file
// that somebody else created meanwhile.
func createKeyFile(path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".key-*") // has mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = fmt.Fprintln(f, keytext.New())
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	// Unlike a rename, a link does not replace.
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// Sealed text is "v1.", the key's id, ".", and in base64 nonce and ciphertext.
const sealVersion = "v1"

// prefix starts everything that the current key seals.
func (r *Keyring) prefix() string { return sealVersion + "." + r.current + "." }

// Seal encrypts plain. The result opens only with the same context, which names
// the place where it is stored.
func (r *Keyring) Seal(plain []byte, context string) string {
	sealed := r.keys[r.current].Seal(nil, nil, plain, []byte(context)) //nolint:gosec // G407: this AEAD draws its nonce itself
	return r.prefix() + base64.RawURLEncoding.EncodeToString(sealed)
}

// Open decrypts what Seal returned for the same context.
func (r *Keyring) Open(sealed, context string) ([]byte, error) {
	version, rest, _ := strings.Cut(sealed, ".")
	id, text, ok := strings.Cut(rest, ".")
	if version != sealVersion || !ok {
		return nil, errors.New("opening sealed text: unknown format")
	}
	aead := r.keys[id]
	if aead == nil {
		return nil, unknownKey(id)
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("opening sealed text: %w", err)
	}
	plain, err := aead.Open(nil, nil, b, []byte(context))
	if err != nil {
		return nil, fmt.Errorf("opening sealed text of key %s: %w", id, err)
	}
	return plain, nil
}

func unknownKey(id string) error {
	return fmt.Errorf("sealed with key %s, which is not in the keyring: add it behind the current key", id)
}
