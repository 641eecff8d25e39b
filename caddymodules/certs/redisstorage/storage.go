package redisstorage

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/routes/redisroutes"
)

// DefaultLockTTL is how long a lock outlives its owner.
const DefaultLockTTL = 20 * time.Second

// batch is how many keys one exchange with Redis lists or deletes.
const batch = 1000

// Options are the settings of a [Storage].
type Options struct {
	// Client of Redis. Required; the storage does not close it.
	Client redis.UniversalClient

	// Namespace of the keys. Default: [redisroutes.DefaultNamespace].
	Namespace string

	// Keyring that seals. Required.
	Keyring *Keyring

	// How long a lock outlives its owner. Default: [DefaultLockTTL].
	LockTTL time.Duration

	// Folder that keeps what was read for times without Redis. Default: none.
	Mirror string

	// Logger of what nobody waits for. Default: none.
	Logger *slog.Logger
}

// Storage is a [certmagic.Storage] in Redis. It is safe for concurrent use.
type Storage struct {
	client redis.UniversalClient
	ring   *Keyring
	keys   keys
	mirror *mirror // nil without
	log    *slog.Logger
	ttl    time.Duration

	refilling sync.Mutex

	stop  context.CancelFunc
	mu    sync.Mutex
	holds map[string]*hold // by the name of the lock
	tasks sync.WaitGroup
}

type keys struct{ values, index, fence, marker, lock string }

//go:embed store.lua
var storeSource string

var storeScript = redis.NewScript(storeSource)

// New returns a storage. It opens no connection.
func New(o Options) (*Storage, error) {
	if o.Client == nil || o.Keyring == nil {
		return nil, errors.New("creating certificate storage: it needs a client and a keyring")
	}
	prefix, err := redisroutes.Key(o.Namespace, "certs:")
	if err != nil {
		return nil, fmt.Errorf("creating certificate storage: %w", err)
	}
	s := &Storage{
		client: o.Client, ring: o.Keyring, ttl: o.LockTTL, log: o.Logger, holds: map[string]*hold{}, stop: func() {},
		keys: keys{values: prefix + "values", index: prefix + "index", fence: prefix + "fence", marker: prefix + "marker", lock: prefix + "lock:"},
	}
	if s.ttl <= 0 {
		s.ttl = DefaultLockTTL
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if o.Mirror != "" {
		if s.mirror, err = openMirror(o.Mirror); err != nil {
			return nil, fmt.Errorf("creating certificate storage: %w", err)
		}
		ctx, stop := context.WithCancel(context.Background())
		s.stop = stop
		s.tasks.Go(func() { s.keepFilled(ctx) })
	}
	return s, nil
}

// Close stops to extend the locks that are still held, so that others get them
// soon, and closes the mirror.
func (s *Storage) Close() error {
	s.stop()
	s.mu.Lock()
	for _, h := range s.holds {
		h.end()
	}
	s.mu.Unlock()
	s.tasks.Wait()
	return s.mirror.close()
}

// Store implements [certmagic.Storage]. The error is [ErrLockLost] if this process
// held the lock of the certificate and another has it now.
func (s *Storage) Store(ctx context.Context, key string, value []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	key = clean(key)
	if key == "" {
		return errors.New("storing certificate data: the key is empty")
	}
	sealed := s.ring.seal(key, time.Now(), value)
	lock, fence := s.guard(key)
	ok, err := storeScript.Run(ctx, s.client, []string{s.keys.values, s.keys.index, s.keys.lock + lock}, key, sealed, fence).Bool()
	if err != nil {
		return fmt.Errorf("storing %q: %w", key, err)
	}
	if !ok {
		return fmt.Errorf("storing %q: %w", key, ErrLockLost)
	}
	s.mirror.put(key, sealed, s.log)
	return nil
}

// Load implements [certmagic.Storage].
func (s *Storage) Load(ctx context.Context, key string) ([]byte, error) {
	key = clean(key)
	sealed, err := s.read(ctx, key)
	if err != nil {
		return nil, err
	}
	plain, old, err := s.ring.open(key, sealed)
	if err != nil {
		return nil, fmt.Errorf("loading %q: %w", key, err)
	}
	if old {
		s.reseal(ctx, key, sealed, plain)
	}
	return plain, nil
}

// read returns a sealed value, from the mirror if Redis does not answer.
func (s *Storage) read(ctx context.Context, key string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	sealed, err := s.client.HGet(ctx, s.keys.values, key).Bytes()
	var kept []byte
	isKept := false
	if err != nil {
		kept, isKept = s.mirror.get(key)
	}
	if errors.Is(err, redis.Nil) && isKept {
		// Somebody deleted it, or Redis was emptied, and may have been filled since.
		if err = s.refill(ctx); err == nil {
			sealed, err = s.client.HGet(ctx, s.keys.values, key).Bytes()
		}
	}
	switch {
	case err == nil:
		s.mirror.put(key, sealed, s.log)
		return sealed, nil
	case errors.Is(err, redis.Nil):
		s.mirror.remove(key)
		return nil, notExist("loading", key)
	case ctx.Err() != nil:
		return nil, fmt.Errorf("loading %q: %w", key, ctx.Err())
	case isKept:
		s.log.Warn("certificate data read from the mirror", "key", key, "error", err)
		return kept, nil
	}
	return nil, fmt.Errorf("loading %q: %w", key, err)
}

// Delete implements [certmagic.Storage].
func (s *Storage) Delete(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	key = clean(key)
	gone := []string{key}
	if err := s.walk(ctx, key, func(k string) { gone = append(gone, k) }); err != nil {
		return fmt.Errorf("deleting %q: %w", key, err)
	}
	for len(gone) > 0 {
		part := gone[:min(batch, len(gone))]
		members := make([]any, len(part))
		for i, k := range part {
			members[i] = k
		}
		if _, err := s.client.TxPipelined(ctx, func(tx redis.Pipeliner) error {
			tx.HDel(ctx, s.keys.values, part...)
			tx.ZRem(ctx, s.keys.index, members...)
			return nil
		}); err != nil {
			return fmt.Errorf("deleting %q: %w", key, err)
		}
		for _, k := range part {
			s.mirror.remove(k)
		}
		gone = gone[len(part):]
	}
	return nil
}

// Exists implements [certmagic.Storage].
func (s *Storage) Exists(ctx context.Context, key string) bool {
	_, err := s.Stat(ctx, key)
	return err == nil
}

// Stat implements [certmagic.Storage].
func (s *Storage) Stat(ctx context.Context, key string) (certmagic.KeyInfo, error) {
	key = clean(key)
	sealed, err := s.read(ctx, key)
	if err == nil {
		modified, size, err := s.ring.modified(sealed)
		if err != nil {
			return certmagic.KeyInfo{}, fmt.Errorf("reading state of %q: %w", key, err)
		}
		return certmagic.KeyInfo{Key: key, Modified: modified, Size: size, IsTerminal: true}, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return certmagic.KeyInfo{}, err
	}
	begin, end := within(key)
	below, err := s.client.ZRangeArgs(ctx, redis.ZRangeArgs{Key: s.keys.index, ByLex: true, Start: begin, Stop: end, Count: 1}).Result()
	if err != nil {
		return certmagic.KeyInfo{}, fmt.Errorf("reading state of %q: %w", key, err)
	}
	if len(below) == 0 {
		return certmagic.KeyInfo{}, notExist("reading state of", key)
	}
	return certmagic.KeyInfo{Key: key}, nil
}

// List implements [certmagic.Storage]. Like [certmagic.FileStorage] it lists
// folders too, and the error is [fs.ErrNotExist] for a folder that holds nothing.
func (s *Storage) List(ctx context.Context, folder string, recursive bool) ([]string, error) {
	folder = clean(folder)
	var found []string
	seen := map[string]bool{}
	add := func(key string) {
		if !seen[key] {
			seen[key] = true
			found = append(found, key)
		}
	}
	if err := s.refill(ctx); err != nil {
		return nil, fmt.Errorf("listing %q: %w", folder, err)
	}
	err := s.walk(ctx, folder, func(key string) {
		for i := range key {
			if key[i] != '/' || i <= len(folder) {
				continue
			}
			if add(key[:i]); !recursive {
				return
			}
		}
		add(key)
	})
	if err != nil {
		return nil, fmt.Errorf("listing %q: %w", folder, err)
	}
	if len(found) == 0 && folder != "" {
		if _, err := s.read(ctx, folder); err != nil {
			return nil, notExist("listing", folder)
		}
	}
	return found, nil
}

// walk calls f for each value below a folder, in the order of their keys.
func (s *Storage) walk(ctx context.Context, folder string, f func(key string)) error {
	begin, end := within(folder)
	for {
		part, err := s.client.ZRangeArgs(ctx, redis.ZRangeArgs{Key: s.keys.index, ByLex: true, Start: begin, Stop: end, Count: batch}).Result()
		if err != nil {
			return err
		}
		for _, key := range part {
			f(key)
		}
		if len(part) < batch {
			return nil
		}
		begin = "(" + part[len(part)-1]
	}
}

// within returns the range of the keys below a folder.
func within(folder string) (begin, end string) {
	if folder == "" {
		return "-", "+"
	}
	return "[" + folder + "/", "(" + folder + "0" // '0' comes after '/'
}

// clean returns a key without slashes around it.
func clean(key string) string {
	return strings.Trim(path.Clean("/"+key), "/")
}

func notExist(doing, key string) error { return fmt.Errorf("%s %q: %w", doing, key, fs.ErrNotExist) }

// String names the storage in logs. It holds no address: that may have a password.
func (s *Storage) String() string { return "podway_redis:" + s.keys.values }

// Interface guards
var (
	_ certmagic.Storage          = (*Storage)(nil)
	_ certmagic.TryLocker        = (*Storage)(nil)
	_ certmagic.LockLeaseRenewer = (*Storage)(nil)
	_ fmt.Stringer               = (*Storage)(nil)
)
