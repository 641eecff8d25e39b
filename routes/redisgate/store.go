package redisgate

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/routes/redisroutes"
)

// ErrNotFound is returned for what does not exist, or not any more.
var ErrNotFound = errors.New("not found")

// SecretBytes is the length of the secrets made here: codes, states, links.
const SecretBytes = 32

// Options are the settings of a [Store].
type Options struct {
	// Client of Redis. Required; the store does not close it.
	Client redis.UniversalClient

	// Namespace of the keys. Default: [redisroutes.DefaultNamespace].
	Namespace string

	// Keyring that seals. Required.
	Keyring *Keyring
}

// Store reads and writes what the halves of the gate share. Errors other than
// [ErrNotFound] mean that Redis did not answer. It is safe for concurrent use.
type Store struct {
	client redis.UniversalClient
	ring   *Keyring
	prefix string
}

// New returns a store. It opens no connection.
func New(o Options) (*Store, error) {
	if o.Client == nil || o.Keyring == nil {
		return nil, errors.New("creating gate store: it needs a client and a keyring")
	}
	prefix, err := redisroutes.Key(o.Namespace, "gate:")
	if err != nil {
		return nil, fmt.Errorf("creating gate store: %w", err)
	}
	return &Store{client: o.Client, ring: o.Keyring, prefix: prefix}, nil
}

// Keyring returns the keys of the store.
func (s *Store) Keyring() *Keyring { return s.ring }

// key returns the name of a key. Its parts must hold no colon, but the last.
func (s *Store) key(parts ...string) string { return s.prefix + strings.Join(parts, ":") }

// NewSecret returns 256 random bits in base64url: 43 characters.
func NewSecret() string {
	b := make([]byte, SecretBytes)
	_, _ = rand.Read(b) // it never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// Hash returns the SHA-256 of parts in base64url. Parts hold no NUL.
func Hash(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
