package redisgate

import (
	"context"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/tapis-project/podway/routes/keytext"
	"github.com/tapis-project/podway/tests/parts"
)

func TestMain(m *testing.M) {
	redis.SetLogger(silence{}) // its pool reports each server that a test has killed
	// The pool of a closed client tries a server that is gone for a last time.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

// limit is for things that take milliseconds, on a machine that is busy.
const limit = 30 * time.Second

// onServers runs a test on every kind of Redis.
func onServers(t *testing.T, f func(t *testing.T, s *Store, client *redis.Client)) {
	for kind, start := range map[string]func(t *testing.T) string{
		"in process": func(t *testing.T) string { return miniredis.RunT(t).Addr() },
		"real":       func(t *testing.T) string { return parts.StartRedis(t).Addr },
	} {
		t.Run(kind, func(t *testing.T) {
			client := newClient(t, start(t))
			f(t, newStore(t, client, keytext.New()), client)
		})
	}
}

func newClient(t *testing.T, addr string) *redis.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true})
	t.Cleanup(func() { client.Close() })
	return client
}

func newStore(t *testing.T, client redis.UniversalClient, keys string) *Store {
	t.Helper()
	ring, err := ParseKeyring(keys)
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Options{Client: client, Keyring: ring})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
