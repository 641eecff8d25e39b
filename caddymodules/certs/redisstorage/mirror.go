package redisstorage

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// refillInterval is how often a storage with a mirror looks whether Redis was
// emptied.
const refillInterval = 2 * time.Second

// sealedExt ends the names of the mirror's files.
const sealedExt = ".sealed"

// mirror is a folder with sealed values, one file each. Nil is a mirror that keeps
// nothing.
type mirror struct {
	root *os.Root

	mu   sync.Mutex
	kept map[string][sha256.Size]byte // by key: what is in its file
}

func openMirror(folder string) (*mirror, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("making mirror: %w", err)
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, fmt.Errorf("opening mirror: %w", err)
	}
	return &mirror{root: root, kept: map[string][sha256.Size]byte{}}, nil
}

func (m *mirror) close() error {
	if m == nil {
		return nil
	}
	return m.root.Close()
}

// fileOf returns the name of a key's file: the key itself in base64url. Keys are
// short, unless somebody asks for a name of unusual length: then there is none.
func fileOf(key string) (string, bool) {
	name := base64.RawURLEncoding.EncodeToString([]byte(key)) + sealedExt
	return name, len(name) <= 250
}

// put keeps a value, if it is not kept already.
func (m *mirror) put(key string, sealed []byte, log *slog.Logger) {
	if m == nil {
		return
	}
	name, ok := fileOf(key)
	if !ok || isPassing(key) {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	sum := sha256.Sum256(sealed)
	if m.kept[key] == sum {
		return
	}
	if err := m.replace(name, sealed); err != nil {
		log.Warn("writing the mirror of certificates failed", "key", key, "error", err)
		return
	}
	m.kept[key] = sum
}

// isPassing reports whether a key is of use for some seconds only.
func isPassing(key string) bool {
	return strings.HasPrefix(key, "acme/") && strings.Contains(key, "/challenge_tokens/") || strings.HasPrefix(key, "rw_test_")
}

// replace writes a file in one step.
func (m *mirror) replace(name string, content []byte) error {
	const temporary = "new"
	if err := m.root.WriteFile(temporary, content, 0o600); err != nil {
		return err
	}
	return m.root.Rename(temporary, name)
}

func (m *mirror) get(key string) ([]byte, bool) {
	if m == nil {
		return nil, false
	}
	name, ok := fileOf(key)
	if !ok {
		return nil, false
	}
	b, err := m.root.ReadFile(name)
	return b, err == nil
}

func (m *mirror) remove(key string) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.kept, key)
	if name, ok := fileOf(key); ok {
		_ = m.root.Remove(name) // most were never there
	}
}

// historyFile names the file with the history that the mirror belongs to.
const historyFile = "history"

func (m *mirror) history() string {
	b, _ := m.root.ReadFile(historyFile) // a mirror without belongs to none
	return string(b)
}

func (m *mirror) setHistory(history string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.replace(historyFile, []byte(history))
}

// all returns everything that is kept.
func (m *mirror) all() (map[string][]byte, error) {
	entries, err := fs.ReadDir(m.root.FS(), ".")
	if err != nil {
		return nil, err
	}
	values := map[string][]byte{}
	for _, e := range entries {
		encoded, ok := strings.CutSuffix(e.Name(), sealedExt)
		if !ok {
			continue
		}
		key, err := base64.RawURLEncoding.DecodeString(encoded)
		if err != nil {
			continue
		}
		if b, err := m.root.ReadFile(e.Name()); err == nil {
			values[string(key)] = b
		}
	}
	return values, nil
}

// keepFilled looks from time to time whether Redis was emptied, until ctx ends. An
// edge that has everything in memory would not notice.
func (s *Storage) keepFilled(ctx context.Context) {
	tick := time.NewTicker(refillInterval)
	defer tick.Stop()
	for {
		_ = s.refill(ctx) // without Redis: later
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// refill puts back what the mirror keeps if Redis was emptied since the mirror was
// written. All of it is there again when it returns nil, whoever put it back.
func (s *Storage) refill(ctx context.Context) error {
	if s.mirror == nil {
		return nil
	}
	s.refilling.Lock()
	defer s.refilling.Unlock()
	history, err := s.history(ctx)
	if err != nil || history == s.mirror.history() {
		return err
	}
	restored, err := s.putBack(ctx)
	if restored > 0 {
		s.log.Warn("redis lost certificates; they were put back from the mirror", "values", restored)
	}
	if err == nil {
		err = s.mirror.setHistory(history)
	}
	if err != nil {
		s.log.Warn("filling redis from the mirror of certificates failed", "error", err)
		return fmt.Errorf("filling redis from the mirror of certificates: %w", err)
	}
	return nil
}

// history returns what tells a Redis from the same one emptied.
func (s *Storage) history(ctx context.Context) (string, error) {
	known, err := s.client.Get(ctx, s.keys.marker).Result()
	if !errors.Is(err, redis.Nil) {
		return known, err
	}
	if err := s.client.SetNX(ctx, s.keys.marker, rand.Text(), 0).Err(); err != nil {
		return "", err
	}
	return s.client.Get(ctx, s.keys.marker).Result()
}

// putBack adds the values of the mirror that are missing, as far as they can be opened.
func (s *Storage) putBack(ctx context.Context) (restored int, err error) {
	values, err := s.mirror.all()
	if err != nil {
		return 0, err
	}
	for key, sealed := range values {
		if _, _, err := s.ring.open(key, sealed); err != nil {
			continue
		}
		added, err := s.client.HSetNX(ctx, s.keys.values, key, sealed).Result()
		if err != nil {
			return restored, err
		}
		if err := s.client.ZAdd(ctx, s.keys.index, redis.Z{Member: key}).Err(); err != nil {
			return restored, err
		}
		if added {
			restored++
		}
	}
	return restored, nil
}

// reseal replaces a value that an older key sealed, unless it changed meanwhile.
func (s *Storage) reseal(ctx context.Context, key string, sealed, plain []byte) {
	modified, _, err := s.ring.modified(sealed)
	if err != nil {
		return
	}
	now := s.ring.seal(key, modified, plain)
	err = resealScript.Run(ctx, s.client, []string{s.keys.values}, key, sealed, now).Err()
	if err != nil && !errors.Is(err, redis.Nil) {
		s.log.Warn("sealing a value with the new key failed", "key", key, "error", err)
	}
}

var resealScript = redis.NewScript(`
if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then
  return redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
end
return 0`)

// Reseal seals everything with the first key of the ring that another one sealed.
// It returns how many values there are. After it an old key can be taken away.
func (s *Storage) Reseal(ctx context.Context) (values int, err error) {
	var all []string
	if err := s.walk(ctx, "", func(key string) { all = append(all, key) }); err != nil {
		return 0, fmt.Errorf("sealing with the new key: %w", err)
	}
	for _, key := range all {
		if _, err := s.Load(ctx, key); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return values, fmt.Errorf("sealing with the new key: %w", err)
		}
		values++
	}
	return values, nil
}
