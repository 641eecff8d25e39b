package podway

import (
	"fmt"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/routes/redisroutes"
	"github.com/tapis-project/podway/sni"
	"github.com/tapis-project/podway/tests/parts"
)

func TestCancelKeysAreSharedThroughRedis(t *testing.T) {
	rs := miniredis.RunT(t)
	open := func() *sharedCancels {
		keys, err := redisroutes.NewCancelKeys(&redis.UniversalOptions{Addrs: []string{rs.Addr()}}, "")
		if err != nil {
			t.Fatal(err)
		}
		s := newSharedCancels(keys, newCurrentLog())
		s.run()
		t.Cleanup(s.close)
		return s
	}
	a, b := open(), open()
	want := sni.CancelTarget{Host: "db.pods.test", Instance: "1", Upstream: "10.0.0.1:5432"}
	found := func(exists bool) {
		t.Helper()
		parts.Eventually(t, 20*time.Second, func() error {
			got, ok, err := b.Get(t.Context(), "id")
			if err != nil || ok != exists || (ok && got != want) {
				return fmt.Errorf("got %+v, %v, %w, want %v", got, ok, err, exists)
			}
			return nil
		})
	}
	a.Put("id", want)
	found(true)
	a.Remove("id", want)
	found(false)

	a.Put("id", want)
	found(true)
	rs.FlushAll()
	found(false)
	a.refresh(t.Context()) // of no session at all
	found(false)
}

func TestCancelKeysDoNotWaitForRedis(t *testing.T) {
	keys, err := redisroutes.NewCancelKeys(&redis.UniversalOptions{Addrs: []string{"127.0.0.1:1"}}, "")
	if err != nil {
		t.Fatal(err)
	}
	s := newSharedCancels(keys, newCurrentLog()) // and nobody writes
	defer s.close()
	before := stats.CancelsDropped.Load()
	for range maxCancelChanges + 3 {
		s.Put("id", sni.CancelTarget{})
	}
	if n := stats.CancelsDropped.Load() - before; n != 3 {
		t.Errorf("got %d changes dropped, want 3", n)
	}
	if _, ok, err := s.Get(t.Context(), "id"); ok || err == nil {
		t.Errorf("got %v, %v, want an error", ok, err)
	}
}
