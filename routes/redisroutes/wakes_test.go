package redisroutes

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/tests/parts"
)

// waker is the wake-ups of one control plane.
type waker struct {
	*Wakes

	mu  sync.Mutex
	got []string
}

func startWaker(t *testing.T, addr string) *waker {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr})
	w, err := NewWakes(client, "", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	k := &waker{Wakes: w}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = w.Run(ctx, func(tenant, pod string) { // it returns nil
			k.mu.Lock()
			defer k.mu.Unlock()
			k.got = append(k.got, tenant+"/"+pod)
		})
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		client.Close()
	})
	return k
}

// hears sends a wake-up again and again until the other one has it.
func (w *waker) hears(t *testing.T, from *waker, pod string) {
	t.Helper()
	parts.Eventually(t, limit, func() error {
		from.Send("tacc", pod)
		w.mu.Lock()
		defer w.mu.Unlock()
		if !slices.Contains(w.got, "tacc/"+pod) {
			return fmt.Errorf("got %v, want %s among them", w.got, pod)
		}
		return nil
	})
}

func TestControlPlanesWakeEachOther(t *testing.T) {
	rs := parts.StartRedis(t)
	a, b := startWaker(t, rs.Addr), startWaker(t, rs.Addr)
	b.hears(t, a, "one")
	a.hears(t, b, "two")
	rs.Kill()
	a.Send("tacc", "lost")
	rs.Start()
	b.hears(t, a, "three")
	a.hears(t, b, "four")
	a.mu.Lock()
	defer a.mu.Unlock()
	if slices.Contains(a.got, "tacc/one") {
		t.Error("a control plane has woken itself")
	}
}

// Send never waits, however long Redis is away.
func TestWakesDoNotBlock(t *testing.T) {
	w, err := NewWakes(nil, "", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for n := range 2 * wakesKept {
		w.Send("tacc", fmt.Sprint(n))
	}
}
