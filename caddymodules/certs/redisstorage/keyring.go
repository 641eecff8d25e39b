package redisstorage

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// KeyBytes is the length of a storage key.
const KeyBytes = 32

// ErrSeal is returned for a value that none of the keys opens, or that was moved
// or changed.
var ErrSeal = errors.New("the seal does not hold")

// A sealed value is: 3 bytes magic, 4 bytes key id, int64 Unix nanoseconds of its
// last change, nonce and ciphertext. All before the nonce is authenticated.
const (
	magic       = "pc1"
	keyIDBytes  = 4
	headerBytes = len(magic) + keyIDBytes + 8
)

// Keyring holds the keys that values are sealed with: the first one seals, all of
// them open. It is safe for concurrent use.
type Keyring struct{ keys []sealKey }

type sealKey struct {
	id   [keyIDBytes]byte
	aead cipher.AEAD
}

// NewKey returns a new random key, as [ParseKeyring] reads it.
func NewKey() string {
	b := make([]byte, KeyBytes)
	_, _ = rand.Read(b) // it never fails
	return base64.StdEncoding.EncodeToString(b)
}

// ReadKeyring reads the keys in a file, see [ParseKeyring].
func ReadKeyring(file string) (*Keyring, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading certificate storage key: %w", err)
	}
	k, err := ParseKeyring(string(b))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return k, nil
}

// ParseKeyring reads keys of 32 bytes in base64, separated by spaces, commas or
// lines. Errors never hold a key.
func ParseKeyring(text string) (*Keyring, error) {
	ring := new(Keyring)
	for i, word := range strings.Fields(strings.ReplaceAll(text, ",", " ")) {
		secret, err := base64.StdEncoding.DecodeString(word)
		if err != nil || len(secret) != KeyBytes {
			return nil, fmt.Errorf("parsing certificate storage key %d: it is not %d bytes in base64; make one with: openssl rand -base64 %d", i+1, KeyBytes, KeyBytes)
		}
		k, err := derive(secret)
		if err != nil {
			return nil, fmt.Errorf("deriving from certificate storage key %d: %w", i+1, err)
		}
		ring.keys = append(ring.keys, k)
	}
	if len(ring.keys) == 0 {
		return nil, fmt.Errorf("parsing certificate storage key: there is none; make one with: openssl rand -base64 %d", KeyBytes)
	}
	return ring, nil
}

func derive(secret []byte) (k sealKey, err error) {
	seal, err := hkdf.Key(sha256.New, secret, nil, "podway certificates seal", KeyBytes)
	if err != nil {
		return k, err
	}
	id, err := hkdf.Key(sha256.New, secret, nil, "podway certificates id", keyIDBytes)
	if err != nil {
		return k, err
	}
	copy(k.id[:], id)
	block, err := aes.NewCipher(seal)
	if err != nil {
		return k, err
	}
	// The nonce is random: 2^32 values are safe with one key.
	k.aead, err = cipher.NewGCMWithRandomNonce(block)
	return k, err
}

// ID tells keyrings apart, for example in the identity of a configuration.
func (k *Keyring) ID() string {
	var b []byte
	for _, key := range k.keys {
		b = append(b, key.id[:]...)
	}
	return fmt.Sprintf("%x", b)
}

// seal returns a sealed value for a key of the storage.
func (k *Keyring) seal(key string, modified time.Time, plain []byte) []byte {
	first := k.keys[0]
	b := make([]byte, 0, headerBytes+len(plain)+first.aead.Overhead())
	b = append(b, magic...)
	b = append(b, first.id[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(modified.UnixNano()))
	return first.aead.Seal(b, nil, plain, bind(b, key)) //nolint:gosec // it makes a random nonce itself
}

// open returns what was sealed, when, and whether an older key did it.
func (k *Keyring) open(key string, sealed []byte) (plain []byte, old bool, err error) {
	if len(sealed) < headerBytes || string(sealed[:len(magic)]) != magic {
		return nil, false, ErrSeal
	}
	header, rest := sealed[:headerBytes], sealed[headerBytes:]
	id := header[len(magic) : len(magic)+keyIDBytes]
	for i, candidate := range k.keys {
		if !bytes.Equal(id, candidate.id[:]) {
			continue
		}
		if plain, err := candidate.aead.Open(nil, nil, rest, bind(header, key)); err == nil {
			return plain, i > 0, nil
		}
	}
	return nil, false, ErrSeal
}

// modified returns when a sealed value was changed, and the size of its content.
func (k *Keyring) modified(sealed []byte) (time.Time, int64, error) {
	if len(sealed) < headerBytes || string(sealed[:len(magic)]) != magic {
		return time.Time{}, 0, ErrSeal
	}
	nano := binary.BigEndian.Uint64(sealed[len(magic)+keyIDBytes:])
	size := len(sealed) - headerBytes - k.keys[0].aead.Overhead()
	return time.Unix(0, int64(nano)), int64(size), nil
}

func bind(header []byte, key string) []byte {
	return append(bytes.Clone(header), key...)
}
