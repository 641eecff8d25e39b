package redisstorage

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/routes/keytext"
	"github.com/tapis-project/podway/routes/redisroutes"
	"github.com/tapis-project/podway/tests/parts"
)

const limit = 20 * time.Second

func keyring(t *testing.T, words ...string) *Keyring {
	t.Helper()
	if len(words) == 0 {
		words = []string{keytext.New()}
	}
	k, err := ParseKeyring(strings.Join(words, "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func open(t *testing.T, url string, ring *Keyring, adjust ...func(*Options)) *Storage {
	t.Helper()
	o, err := redisroutes.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewUniversalClient(o)
	opts := Options{Client: client, Keyring: ring}
	for _, f := range adjust {
		f(&opts)
	}
	s, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.Close()
		_ = client.Close()
	})
	return s
}

// storages are what has to behave alike.
func storages(t *testing.T) map[string]certmagic.Storage {
	r := parts.StartRedis(t)
	mirrored := func(o *Options) { o.Namespace, o.Mirror = "mirrored", t.TempDir() }
	return map[string]certmagic.Storage{
		"certmagic's own files": &certmagic.FileStorage{Path: t.TempDir()},
		"redis":                 open(t, "redis://"+r.Addr, keyring(t)),
		"redis with a mirror":   open(t, "redis://"+r.Addr, keyring(t), mirrored),
	}
}

func TestStorageDoesWhatCertmagicExpects(t *testing.T) {
	for name, s := range storages(t) {
		t.Run(name, func(t *testing.T) { expectations(t, s) })
	}
}

func expectations(t *testing.T, s certmagic.Storage) {
	for name, f := range map[string]func(*testing.T, certmagic.Storage){
		"values are stored, replaced and loaded":       testValues,
		"folders exist as long as they hold something": testFolders,
		"lists are those of a file system":             testLists,
		"deleting a folder deletes what is below it":   testDelete,
		"a lock excludes":                              testLock,
		"a cancelled context ends a wait":              testCancelled,
	} {
		t.Run(name, func(t *testing.T) { f(t, s) })
	}
}

func put(t *testing.T, s certmagic.Storage, keys ...string) {
	t.Helper()
	for _, k := range keys {
		if err := s.Store(t.Context(), k, []byte("value of "+k)); err != nil {
			t.Fatal(err)
		}
	}
}

func testValues(t *testing.T, s certmagic.Storage) {
	ctx := t.Context()
	if _, err := s.Load(ctx, "v/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("loading what does not exist: got %v, want %v", err, fs.ErrNotExist)
	}
	if _, err := s.Stat(ctx, "v/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("state of what does not exist: got %v, want %v", err, fs.ErrNotExist)
	}
	for _, value := range [][]byte{{}, []byte("one"), bytes.Repeat([]byte{0, 255}, 40000)} {
		if err := s.Store(ctx, "v/a", value); err != nil {
			t.Fatal(err)
		}
		got, err := s.Load(ctx, "v/a")
		if err != nil || !bytes.Equal(got, value) {
			t.Errorf("got %d bytes, %v, want %d", len(got), err, len(value))
		}
		info, err := s.Stat(ctx, "v/a")
		if err != nil || info.Key != "v/a" || !info.IsTerminal || info.Size != int64(len(value)) || time.Since(info.Modified).Abs() > time.Minute {
			t.Errorf("got %+v, %v", info, err)
		}
	}
}

func testFolders(t *testing.T, s certmagic.Storage) {
	ctx := t.Context()
	put(t, s, "f/dir/file", "f/dirt")
	for key, want := range map[string]bool{"f": true, "f/dir": true, "f/dir/file": true, "f/dirt": true, "f/di": false, "f/dir/fil": false, "f/none": false} {
		if got := s.Exists(ctx, key); got != want {
			t.Errorf("%s exists: got %v, want %v", key, got, want)
		}
	}
	if info, err := s.Stat(ctx, "f/dir"); err != nil || info.IsTerminal {
		t.Errorf("state of a folder: got %+v, %v", info, err)
	}
	if err := s.Delete(ctx, "f/dir/file"); err != nil {
		t.Fatal(err)
	}
	if s.Exists(ctx, "f/dir/file") {
		t.Error("the file exists after its deletion")
	}
}

func testLists(t *testing.T, s certmagic.Storage) {
	put(t, s, "l/a", "l/b/c", "l/b/d/e", "l/bb", "lx")
	for _, tc := range []struct {
		folder    string
		recursive bool
		want      []string
	}{
		{"l", false, []string{"l/a", "l/b", "l/bb"}},
		{"l", true, []string{"l/a", "l/b", "l/b/c", "l/b/d", "l/b/d/e", "l/bb"}},
		{"l/b", false, []string{"l/b/c", "l/b/d"}},
		{"l/b/d", true, []string{"l/b/d/e"}},
	} {
		got, err := s.List(t.Context(), tc.folder, tc.recursive)
		slices.Sort(got)
		if err != nil || !slices.Equal(got, tc.want) {
			t.Errorf("%s, recursive %v: got %v, %v, want %v", tc.folder, tc.recursive, got, err, tc.want)
		}
	}
	if _, err := s.List(t.Context(), "l/none", true); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("listing what does not exist: got %v, want %v", err, fs.ErrNotExist)
	}
}

func testDelete(t *testing.T, s certmagic.Storage) {
	ctx := t.Context()
	put(t, s, "d/x/1", "d/x/y/2", "d/xx")
	if err := s.Delete(ctx, "d/x"); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(ctx, "d/x"); err != nil {
		t.Errorf("deleting twice: %v", err)
	}
	for key, want := range map[string]bool{"d/x/1": false, "d/x/y/2": false, "d/x": false, "d/xx": true} {
		if got := s.Exists(ctx, key); got != want {
			t.Errorf("%s exists: got %v, want %v", key, got, want)
		}
	}
}

func testLock(t *testing.T, s certmagic.Storage) {
	var inside, most int
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if err := s.Lock(t.Context(), "exclusive"); err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			inside++
			most = max(most, inside)
			mu.Unlock()
			mu.Lock()
			inside--
			mu.Unlock()
			if err := s.Unlock(t.Context(), "exclusive"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if most != 1 {
		t.Errorf("got %d inside at once, want 1", most)
	}
}

func testCancelled(t *testing.T, s certmagic.Storage) {
	if err := s.Lock(t.Context(), "taken"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := s.Lock(ctx, "taken"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
	}
	if ok, err := s.(certmagic.TryLocker).TryLock(t.Context(), "taken"); ok || err != nil {
		t.Errorf("trying: got %v, %v, want false", ok, err)
	}
	if err := s.Unlock(t.Context(), "taken"); err != nil {
		t.Error(err)
	}
}

func TestCopyOfRedisHoldsNoReadableKey(t *testing.T) {
	r := parts.StartRedis(t)
	s := open(t, "redis://"+r.Addr, keyring(t))
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pem, err := certmagic.PEMEncodePrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	key := certmagic.StorageKeys.SitePrivateKey("ca", "db.example.org")
	if err := s.Store(t.Context(), key, pem); err != nil {
		t.Fatal(err)
	}
	all := s.client.HGetAll(t.Context(), s.keys.values).Val()
	if len(all) != 1 {
		t.Fatalf("got %d values, want 1", len(all))
	}
	der := pem[30:60] // some of its base64
	for _, v := range all {
		if strings.Contains(v, "PRIVATE KEY") || strings.Contains(v, string(der)) {
			t.Error("the key can be read")
		}
	}
	t.Run("a value that was moved does not open", func(t *testing.T) {
		s.client.HSet(t.Context(), s.keys.values, "elsewhere", all[key])
		if _, err := s.Load(t.Context(), "elsewhere"); !errors.Is(err, ErrSeal) {
			t.Errorf("got %v, want %v", err, ErrSeal)
		}
	})
	t.Run("a value that was changed does not open", func(t *testing.T) {
		for i := range all[key] {
			b := []byte(all[key])
			b[i] ^= 1
			if _, _, err := s.ring.open(key, b); !errors.Is(err, ErrSeal) {
				t.Fatalf("byte %d: got %v, want %v", i, err, ErrSeal)
			}
		}
	})
}

func TestKeysAreReplacedWithoutALoss(t *testing.T) {
	r := parts.StartRedis(t)
	before, after := keytext.New(), keytext.New()
	old := open(t, "redis://"+r.Addr, keyring(t, before))
	put(t, old, "a", "b/c")
	info, err := old.Stat(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	both := open(t, "redis://"+r.Addr, keyring(t, after, before))
	if n, err := both.Reseal(t.Context()); n != 2 || err != nil {
		t.Fatalf("got %d, %v, want 2", n, err)
	}
	now := open(t, "redis://"+r.Addr, keyring(t, after))
	if got, err := now.Load(t.Context(), "b/c"); string(got) != "value of b/c" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if again, err := now.Stat(t.Context(), "a"); err != nil || !again.Modified.Equal(info.Modified) {
		t.Errorf("got %v, %v, want the time of the last change, %v", again.Modified, err, info.Modified)
	}
	if _, err := old.Load(t.Context(), "a"); !errors.Is(err, ErrSeal) {
		t.Errorf("with the old key: got %v, want %v", err, ErrSeal)
	}
}

func TestKeyFiles(t *testing.T) {
	good := keytext.New()
	for text, want := range map[string]string{
		good:                "",
		good + "," + good:   "",
		"":                  "there is none",
		"c2hvcnQ=":          "a key has 32 bytes, this has",
		good + "\nnonsense": "key 2",
	} {
		_, err := ParseKeyring(text)
		switch {
		case want == "" && err != nil, want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("got %v, want %q", err, want)
		case err != nil && strings.Contains(err.Error(), "nonsense"):
			t.Errorf("the error holds a key: %v", err)
		}
	}
}

// ttl is long enough for a loaded machine to extend a lock in time.
const ttl = 2 * time.Second

func short(o *Options) { o.LockTTL = ttl }

func TestLockOfAKilledHolderIsTakenWithinTwiceItsTTL(t *testing.T) {
	r := parts.StartRedis(t)
	ring := keyring(t)
	dead, next := open(t, "redis://"+r.Addr, ring, short), open(t, "redis://"+r.Addr, ring, short)
	if err := dead.Lock(t.Context(), certLock+"db.example.org"); err != nil {
		t.Fatal(err)
	}
	dead.holds[certLock+"db.example.org"].end() // as if the process was killed
	begin := time.Now()
	if err := next.Lock(t.Context(), certLock+"db.example.org"); err != nil {
		t.Fatal(err)
	}
	if waited := time.Since(begin); waited > 2*ttl {
		t.Errorf("got the lock after %v, want less than %v", waited, 2*ttl)
	}

	key := certmagic.StorageKeys.SiteCert("ca", "db.example.org")
	t.Run("what the earlier holder stores is refused", func(t *testing.T) {
		if err := dead.Store(t.Context(), key, []byte("late")); !errors.Is(err, ErrLockLost) {
			t.Errorf("got %v, want %v", err, ErrLockLost)
		}
		if err := dead.RenewLockLease(t.Context(), certLock+"db.example.org", time.Hour); !errors.Is(err, ErrLockLost) {
			t.Errorf("extending: got %v, want %v", err, ErrLockLost)
		}
		if err := next.Store(t.Context(), key, []byte("new")); err != nil {
			t.Error(err)
		}
	})
	t.Run("the earlier holder does not release it", func(t *testing.T) {
		if err := dead.Unlock(t.Context(), certLock+"db.example.org"); err != nil {
			t.Error(err)
		}
		if ok, err := dead.TryLock(t.Context(), certLock+"db.example.org"); ok || err != nil {
			t.Errorf("got %v, %v, want it still taken", ok, err)
		}
	})
	t.Run("after it was released it is free at once", func(t *testing.T) {
		if err := next.Unlock(t.Context(), certLock+"db.example.org"); err != nil {
			t.Fatal(err)
		}
		if ok, err := dead.TryLock(t.Context(), certLock+"db.example.org"); !ok || err != nil {
			t.Errorf("got %v, %v, want it", ok, err)
		}
	})
}

func TestLockIsExtendedWhileItIsHeld(t *testing.T) {
	r := parts.StartRedis(t)
	ring := keyring(t)
	a, b := open(t, "redis://"+r.Addr, ring, short), open(t, "redis://"+r.Addr, ring, short)
	if err := a.Lock(t.Context(), "long"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*ttl)
	defer cancel()
	if err := b.Lock(ctx, "long"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
	}
	if err := a.RenewLockLease(t.Context(), "long", time.Hour); err != nil {
		t.Error(err)
	}
	if err := a.Unlock(t.Context(), "long"); err != nil {
		t.Error(err)
	}
	if err := a.Unlock(t.Context(), "long"); err == nil {
		t.Error("releasing twice is no error")
	}
}

func TestLockSurvivesAnEmptiedRedis(t *testing.T) {
	r := parts.StartRedis(t)
	s := open(t, "redis://"+r.Addr, keyring(t), short)
	name := certLock + "db.example.org"
	if err := s.Lock(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	s.client.FlushAll(t.Context())
	parts.Eventually(t, limit, func() error {
		if s.client.Exists(t.Context(), s.keys.lock+name).Val() == 0 {
			return errors.New("the lock was not taken again")
		}
		return nil
	})
	if err := s.Store(t.Context(), certmagic.StorageKeys.SiteCert("ca", "db.example.org"), []byte("x")); err != nil {
		t.Error(err)
	}
}

func TestMirror(t *testing.T) {
	r := parts.StartRedis(t)
	ring := keyring(t)
	folder := t.TempDir()
	mirrored := func(o *Options) { o.Mirror = folder }
	s := open(t, "redis://"+r.Addr, ring, mirrored)
	put(t, s, "certificates/ca/a/a.key", "gone")
	if err := s.Delete(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.List(t.Context(), "", true); err != nil { // remembers whose mirror it is
		t.Fatal(err)
	}
	before, err := s.history(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	r.Kill()
	t.Run("without Redis what was read once is there", func(t *testing.T) {
		fresh := open(t, "redis://"+r.Addr, ring, mirrored)
		if got, err := fresh.Load(t.Context(), "certificates/ca/a/a.key"); string(got) != "value of certificates/ca/a/a.key" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		if _, err := fresh.Load(t.Context(), "gone"); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v, want an error that does not say it is gone", err)
		}
	})
	r.Start() // empty, until s fills it, which it may do before anything is asked for
	t.Run("an emptied Redis is filled again", func(t *testing.T) {
		other := open(t, "redis://"+r.Addr, ring)
		if now, err := other.history(t.Context()); now == before || err != nil {
			t.Fatalf("Redis is not empty: its history is still %q, %v", now, err)
		}
		if got, err := s.Load(t.Context(), "certificates/ca/a/a.key"); err != nil || len(got) == 0 {
			t.Fatalf("got %q, %v", got, err)
		}
		if got, err := other.List(t.Context(), "", false); !slices.Equal(got, []string{"certificates"}) || err != nil {
			t.Errorf("got %v, %v", got, err)
		}
	})
	t.Run("the mirror can't be read without the key", func(t *testing.T) {
		values, err := s.mirror.all()
		if err != nil || len(values) != 1 {
			t.Fatalf("got %v, %v", slices.Collect(maps.Keys(values)), err)
		}
		for key, v := range values {
			if bytes.Contains(v, []byte("value of")) {
				t.Errorf("%s can be read", key)
			}
		}
	})
}

// hook calls a function after each command of a client to Redis.
type hook func(ctx context.Context, cmd redis.Cmder, err error) error

func (h hook) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h hook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error { return h(ctx, cmd, next(ctx, cmd)) }
}

func (h hook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// What was read from an emptied Redis is out of date as soon as it is filled again: a
// value that the mirror keeps is not gone because of that.
func TestAReadWhileRedisIsFilledAgain(t *testing.T) {
	const key = "certificates/ca/a/a.key"
	emptied := func(t *testing.T) *Storage {
		r := parts.StartRedis(t)
		s := open(t, "redis://"+r.Addr, keyring(t), func(o *Options) { o.Mirror = t.TempDir() })
		put(t, s, key)
		if err := s.refill(t.Context()); err != nil { // remembers whose mirror it is
			t.Fatal(err)
		}
		s.refilling.Lock() // by nobody but this test
		defer s.refilling.Unlock()
		if err := s.client.FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		return s
	}
	t.Run("by another goroutine, behind its back", func(t *testing.T) {
		s := emptied(t)
		var once sync.Once
		s.client.AddHook(hook(func(ctx context.Context, cmd redis.Cmder, err error) error {
			if cmd.Name() == "hget" {
				once.Do(func() {
					if err := s.refill(ctx); err != nil {
						t.Error(err)
					}
				})
			}
			return err
		}))
		if got, err := s.Load(t.Context(), key); string(got) != "value of "+key || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
	})
	t.Run("which fails", func(t *testing.T) {
		s := emptied(t)
		full := errors.New("OOM command not allowed when used memory > 'maxmemory'")
		s.client.AddHook(hook(func(_ context.Context, cmd redis.Cmder, err error) error {
			if cmd.Name() == "hsetnx" {
				cmd.SetErr(full)
				return full
			}
			return err
		}))
		for range 2 { // the mirror still has it
			if got, err := s.Load(t.Context(), key); string(got) != "value of "+key || err != nil {
				t.Errorf("got %q, %v", got, err)
			}
		}
	})
}

func TestSentinelAndTLS(t *testing.T) {
	t.Run("Sentinel", func(t *testing.T) {
		r := parts.StartRedis(t)
		sentinel := parts.StartSentinel(t, r)
		expectations(t, open(t, fmt.Sprintf("redis://%s?master=main", sentinel), keyring(t)))
	})
	t.Run("TLS", func(t *testing.T) {
		r := parts.StartRedisTLS(t)
		expectations(t, open(t, r.URL("default", ""), keyring(t)))
	})
}
