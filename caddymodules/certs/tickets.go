package certs

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"github.com/caddyserver/certmagic"
)

func init() { caddy.RegisterModule(new(TicketKeys)) }

const (
	// ticketsKey is where the keys are stored, ticketsLock who may replace them.
	ticketsKey  = "podway/session_tickets.json"
	ticketsLock = "podway_session_tickets"

	// ticketsTimeout bounds how long a start waits for shared keys.
	ticketsTimeout = 3 * time.Second

	// ticketsInterval is how often an edge looks for new keys.
	ticketsInterval = time.Minute
)

// TicketKeys shares the keys of TLS session tickets by the storage, so that clients
// resume sessions at any edge. One edge replaces the oldest key after each rotation
// interval of the session tickets. Without the storage an edge uses keys of its own
// until the storage answers: clients then make full handshakes.
type TicketKeys struct {
	ctx     caddy.Context
	log     *slog.Logger
	storage certmagic.Storage
	service *caddytls.SessionTicketService
	now     sharedKeys
}

// sharedKeys are the keys as they are stored, the one in use first.
type sharedKeys struct {
	Keys [][32]byte `json:"keys"`
	Next time.Time  `json:"next"` // when a new one is due
}

// CaddyModule returns the Caddy module information.
func (*TicketKeys) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "tls.stek.podway", New: func() caddy.Module { return new(TicketKeys) }}
}

// Provision finds the storage.
func (k *TicketKeys) Provision(ctx caddy.Context) error {
	k.ctx, k.log, k.storage = ctx, ctx.Slogger(), ctx.Storage()
	return nil
}

// Initialize implements [caddytls.STEKProvider].
func (k *TicketKeys) Initialize(service *caddytls.SessionTicketService) ([][32]byte, error) {
	k.service = service
	if err := k.refresh(); err != nil {
		k.log.Warn("reading shared keys of session tickets failed; using own ones for now", "error", err)
		own, err := service.RotateSTEKs(nil)
		if err != nil {
			return nil, fmt.Errorf("making keys of session tickets: %w", err)
		}
		k.now = sharedKeys{Keys: own}
	}
	return k.now.Keys, nil
}

// Next implements [caddytls.STEKProvider].
func (k *TicketKeys) Next(done <-chan struct{}) <-chan [][32]byte {
	keys := make(chan [][32]byte)
	go k.follow(done, keys)
	return keys
}

// follow sends new keys until done is closed.
func (k *TicketKeys) follow(done <-chan struct{}, keys chan<- [][32]byte) {
	tick := time.NewTicker(min(ticketsInterval, max(time.Second, time.Duration(k.service.RotationInterval)/4)))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-done:
			return
		}
		before := k.now.Next
		if err := k.refresh(); err != nil {
			k.log.Debug("reading shared keys of session tickets failed", "error", err)
			continue
		}
		if k.now.Next.Equal(before) {
			continue
		}
		select {
		case keys <- k.now.Keys:
		case <-done:
			return
		}
	}
}

// refresh reads the shared keys, and replaces the oldest if a new one is due.
func (k *TicketKeys) refresh() error {
	ctx, cancel := context.WithTimeout(k.ctx, ticketsTimeout)
	defer cancel()
	if fresh, err := k.load(ctx); err != nil || fresh {
		return err
	}
	if err := k.storage.Lock(ctx, ticketsLock); err != nil {
		return err
	}
	defer func() { _ = k.storage.Unlock(context.WithoutCancel(ctx), ticketsLock) }() // it ends by itself
	if fresh, err := k.load(ctx); err != nil || fresh {
		return err // another edge was first
	}
	return k.rotate(ctx)
}

// load reads the shared keys. It reports whether they are good for now.
func (k *TicketKeys) load(ctx context.Context) (fresh bool, err error) {
	b, err := k.storage.Load(ctx, ticketsKey)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var shared sharedKeys
	if err := json.Unmarshal(b, &shared); err != nil || len(shared.Keys) == 0 {
		k.log.Warn("the shared keys of session tickets can't be read; they are replaced")
		return false, nil //nolint:nilerr // see above
	}
	k.now = shared
	return time.Now().Before(shared.Next), nil
}

// rotate stores a new key in front of the others. The lock is held.
func (k *TicketKeys) rotate(ctx context.Context) error {
	var first [32]byte
	_, _ = rand.Read(first[:]) // it never fails
	next := sharedKeys{Keys: append([][32]byte{first}, k.now.Keys...), Next: time.Now().Add(time.Duration(k.service.RotationInterval))}
	next.Keys = next.Keys[:min(len(next.Keys), max(1, k.service.MaxKeys))]
	b, err := json.Marshal(next)
	if err != nil {
		return err
	}
	if err := k.storage.Store(ctx, ticketsKey, b); err != nil {
		return err
	}
	k.now = next
	return nil
}

// Interface guards
var (
	_ caddytls.STEKProvider = (*TicketKeys)(nil)
	_ caddy.Provisioner     = (*TicketKeys)(nil)
)
