package certs

import (
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/caddymodules/certs/redisstorage"
	"github.com/tapis-project/podway/routes/keytext"
	"github.com/tapis-project/podway/tests/parts"
)

// ticketKeys returns the provider of an edge that shares a Redis.
func ticketKeys(t *testing.T, addr string, ring *redisstorage.Keyring) *TicketKeys {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1})
	storage, err := redisstorage.New(redisstorage.Options{Client: client, Keyring: ring})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = storage.Close()
		_ = client.Close()
	})
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	t.Cleanup(cancel)
	return &TicketKeys{ctx: ctx, log: slog.New(slog.DiscardHandler), storage: storage}
}

func TestEdgesShareTheKeysOfSessionTickets(t *testing.T) {
	r := parts.StartRedis(t)
	ring, err := redisstorage.ParseKeyring(keytext.New())
	if err != nil {
		t.Fatal(err)
	}
	service := &caddytls.SessionTicketService{RotationInterval: caddy.Duration(2 * time.Second), MaxKeys: 3}
	a, b := ticketKeys(t, r.Addr, ring), ticketKeys(t, r.Addr, ring)
	first, err := a.Initialize(service)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := b.Initialize(service); err != nil || !slices.Equal(got, first) {
		t.Fatalf("got %d other keys, %v", len(got), err)
	}
	done := make(chan struct{})
	defer close(done)
	fromA, fromB := a.Next(done), b.Next(done)
	for range 2 { // rotations
		nowA, nowB := receive(t, fromA), receive(t, fromB)
		if !slices.Equal(nowA, nowB) || slices.Equal(nowA, first) || !slices.Contains(nowA, first[0]) {
			t.Error("the edges have other keys, no new one, or forgot the one before")
		}
	}
}

func receive(t *testing.T, keys <-chan [][32]byte) [][32]byte {
	t.Helper()
	select {
	case k := <-keys:
		return k
	case <-time.After(limit):
		t.Fatal("no new keys")
		return nil
	}
}

func TestAnEdgeStartsWithoutSharedKeys(t *testing.T) {
	r := parts.StartRedis(t)
	ring, err := redisstorage.ParseKeyring(keytext.New())
	if err != nil {
		t.Fatal(err)
	}
	r.Kill()
	k := ticketKeys(t, r.Addr, ring)
	own, err := k.Initialize(&caddytls.SessionTicketService{RotationInterval: caddy.Duration(4 * time.Second), MaxKeys: 3})
	if err != nil || len(own) == 0 {
		t.Fatalf("got %d keys, %v", len(own), err)
	}
	r.Start()
	done := make(chan struct{})
	defer close(done)
	if shared := receive(t, k.Next(done)); len(shared) == 0 {
		t.Error("got no keys")
	}
	parts.Eventually(t, limit, func() error {
		if !k.storage.Exists(t.Context(), ticketsKey) {
			return errors.New("no keys are stored")
		}
		return nil
	})
}
