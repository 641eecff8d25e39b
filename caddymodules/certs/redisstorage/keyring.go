package redisstorage

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/tapis-project/podway/routes/keytext"
)

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

// ReadKeyring reads the keys in a file, see [keytext.Parse].
func ReadKeyring(file string) (*Keyring, error) {
	return newKeyring(keytext.ReadFile(keyName, file))
}

// ParseKeyring reads keys as text, see [keytext.Parse].
func ParseKeyring(text string) (*Keyring, error) {
	return newKeyring(keytext.Parse(keyName, text))
}

const keyName = "certificate storage key" // in errors

func newKeyring(secrets [][]byte, err error) (*Keyring, error) {
	if err != nil {
		return nil, err
	}
	ring := new(Keyring)
	for i, secret := range secrets {
		k, err := derive(secret)
		if err != nil {
			return nil, fmt.Errorf("deriving from %s %d: %w", keyName, i+1, err)
		}
		ring.keys = append(ring.keys, k)
	}
	return ring, nil
}

func derive(secret []byte) (k sealKey, err error) {
	seal, err := hkdf.Key(sha256.New, secret, nil, "podway certificates seal", keytext.Size)
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
