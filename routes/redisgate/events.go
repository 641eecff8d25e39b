package redisgate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
)

// EventKind says what an [Event] is about.
type EventKind string

// The kinds of events.
const (
	SessionEnded   EventKind = "session" // Session
	UserLoggedOut  EventKind = "logout"  // Tenant, Username, Until
	SharesChanged  EventKind = "shares"  // Host
	TenantsChanged EventKind = "tenants"

	// Resync is not published: it says that a subscription has just begun, and that
	// any event may have been missed before.
	Resync EventKind = "resync"
)

// Event is something that edges have to know at once.
type Event struct {
	Kind     EventKind `json:"kind"`
	Session  string    `json:"session,omitempty"` // see [SessionKey]
	Tenant   string    `json:"tenant,omitempty"`
	Username string    `json:"username,omitempty"`
	Until    time.Time `json:"until,omitzero"` // sessions that began until then are over
	Host     string    `json:"host,omitempty"`
}

// Publish tells every edge.
func (s *Store) Publish(ctx context.Context, e Event) error {
	b, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("publishing gate event: %w", err)
	}
	if err := s.client.Publish(ctx, s.key("revoked"), b).Err(); err != nil {
		return fmt.Errorf("publishing gate event: %w", err)
	}
	return nil
}

// checkInterval is how long a subscription may be silent before it is asked
// whether it still lives.
const checkInterval = 3 * time.Second

// Watch calls f for each event until ctx ends; Redis may come and go. Each
// subscription that succeeds begins with [Resync]. Messages that are no events are
// taken for it too. Calls of f do not overlap.
func (s *Store) Watch(ctx context.Context, f func(Event)) {
	retry := time.NewTicker(200 * time.Millisecond)
	defer retry.Stop()
	for {
		s.watchOnce(ctx, f)
		select {
		case <-ctx.Done():
			return
		case <-retry.C:
		}
	}
}

// watchOnce reads one subscription until it fails.
func (s *Store) watchOnce(ctx context.Context, f func(Event)) {
	sub := s.client.Subscribe(ctx, s.key("revoked"))
	defer sub.Close()
	defer context.AfterFunc(ctx, func() { _ = sub.Close() })() // ends a read
	asked := false
	for {
		m, err := sub.ReceiveTimeout(ctx, checkInterval)
		if t, ok := errors.AsType[net.Error](err); ok && t.Timeout() && !asked {
			asked, err = true, sub.Ping(ctx)
			if err == nil {
				continue
			}
		}
		if err != nil {
			return
		}
		asked = false
		if _, pong := m.(*redis.Pong); !pong {
			f(decodeEvent(m))
		}
	}
}

func decodeEvent(m any) Event {
	msg, ok := m.(*redis.Message)
	if !ok {
		return Event{Kind: Resync}
	}
	var e Event
	if json.Unmarshal([]byte(msg.Payload), &e) != nil || e.Kind == "" {
		return Event{Kind: Resync}
	}
	return e
}
