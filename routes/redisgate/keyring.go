package redisgate

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tapis-project/podway/routes/keytext"
)

// ErrSeal is returned for what was not sealed by one of the keys for this purpose
// and place, or was changed since.
var ErrSeal = errors.New("the seal does not hold")

// Keyring holds the gate keys of an installation: the first one seals and signs,
// all of them open and verify, so that a key is replaced by putting the new one in
// front and taking the old one away a day later. It is safe for concurrent use.
type Keyring struct{ keys []gateKey }

// gateKey is what is derived from one key. Its parts have nothing in common that
// an attacker could use.
type gateKey struct {
	seal cipher.AEAD
	mac  []byte
	sign ed25519.PrivateKey
	id   string // of sign
}

// ReadKeyring reads the keys in a file, see [keytext.Parse].
func ReadKeyring(file string) (*Keyring, error) {
	return newKeyring(keytext.ReadFile(keyName, file))
}

// ParseKeyring reads keys as text, see [keytext.Parse].
func ParseKeyring(text string) (*Keyring, error) {
	return newKeyring(keytext.Parse(keyName, text))
}

const keyName = "gate key" // in errors

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

func derive(secret []byte) (gateKey, error) {
	var k gateKey
	part := func(info string) ([]byte, error) {
		return hkdf.Key(sha256.New, secret, nil, "podway gate "+info, keytext.Size)
	}
	seal, err := part("seal")
	if err != nil {
		return k, err
	}
	block, err := aes.NewCipher(seal)
	if err != nil {
		return k, err
	}
	// The nonce is random. 2^32 seals with one key are safe, and few are made: one
	// for each login.
	if k.seal, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		return k, err
	}
	if k.mac, err = part("mac"); err != nil {
		return k, err
	}
	seed, err := part("sign")
	if err != nil {
		return k, err
	}
	k.sign = ed25519.NewKeyFromSeed(seed)
	k.id = keyID(k.sign.Public().(ed25519.PublicKey))
	return k, nil
}

func keyID(public ed25519.PublicKey) string {
	sum := sha256.Sum256(public)
	return base64.RawURLEncoding.EncodeToString(sum[:9])
}

// bind joins a purpose and a place unambiguously.
func bind(purpose, place string) []byte { return []byte(purpose + "\x00" + place) }

// Seal encrypts plain for one purpose and place, such as the name of a cookie and
// a host. It can be opened for the same two only. The result is base64url.
func (k *Keyring) Seal(purpose, place string, plain []byte) string {
	b := k.keys[0].seal.Seal(nil, nil, plain, bind(purpose, place)) //nolint:gosec // it makes a random nonce itself
	return base64.RawURLEncoding.EncodeToString(b)
}

// Open returns what was sealed, or [ErrSeal].
func (k *Keyring) Open(purpose, place, sealed string) ([]byte, error) {
	b, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil {
		return nil, ErrSeal
	}
	for _, key := range k.keys {
		if plain, err := key.seal.Open(nil, nil, b, bind(purpose, place)); err == nil {
			return plain, nil
		}
	}
	return nil, ErrSeal
}

// SealJSON seals a value as JSON, see [Keyring.Seal].
func SealJSON(k *Keyring, purpose, place string, v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("sealing %s: %w", purpose, err)
	}
	return k.Seal(purpose, place, b), nil
}

// OpenJSON opens what [SealJSON] sealed, or returns [ErrSeal].
func OpenJSON[T any](k *Keyring, purpose, place, sealed string) (T, error) {
	var v T
	b, err := k.Open(purpose, place, sealed)
	if err != nil {
		return v, err
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return v, fmt.Errorf("%w: %w", ErrSeal, err)
	}
	return v, nil
}

func (k gateKey) sum(purpose, place string, message []byte) []byte {
	h := hmac.New(sha256.New, k.mac)
	h.Write(bind(purpose, place))
	h.Write([]byte{0})
	h.Write(message)
	return h.Sum(nil)
}

// MAC authenticates a message for one purpose and place: 32 bytes.
func (k *Keyring) MAC(purpose, place string, message []byte) []byte {
	return k.keys[0].sum(purpose, place, message)
}

// CheckMAC reports whether mac is what [Keyring.MAC] returned, or the beginning of
// it of at least 16 bytes.
func (k *Keyring) CheckMAC(purpose, place string, message, mac []byte) bool {
	if len(mac) < 16 || len(mac) > sha256.Size {
		return false
	}
	for _, key := range k.keys {
		if hmac.Equal(key.sum(purpose, place, message)[:len(mac)], mac) {
			return true
		}
	}
	return false
}

// SigningKey returns the key that assertions are signed with (Ed25519), and its id.
func (k *Keyring) SigningKey() (id string, key ed25519.PrivateKey) {
	return k.keys[0].id, k.keys[0].sign
}

// PublicKey verifies assertions.
type PublicKey struct {
	ID  string
	Key ed25519.PublicKey
}

// PublicKeys returns the public parts of all signing keys, the one in use first.
func (k *Keyring) PublicKeys() []PublicKey {
	var all []PublicKey
	for _, key := range k.keys {
		all = append(all, PublicKey{key.id, key.sign.Public().(ed25519.PublicKey)})
	}
	return all
}
