package redisgate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// Times that a login may take.
const (
	// AttemptTTL is from the redirect to the login until the return from it.
	AttemptTTL = 10 * time.Minute

	// HandoffTTL is from the callback at the control plane to the one at the pod's
	// host.
	HandoffTTL = time.Minute
)

// Handoff says at the pod's host who has logged in at the control plane. It holds
// no token.
type Handoff struct {
	// Host of the pod that was asked for.
	Host string `json:"host"`

	// Attempt is the hash of the attempt id that the browser holds at Host: the
	// parameter attempt that the edge sent to the login page, unchanged.
	Attempt string `json:"attempt"`

	Username string `json:"username"`
	Tenant   string `json:"tenant"` // of the user

	// TokenExpires is when the user's token ends.
	TokenExpires time.Time `json:"token_expires"`
}

// PutHandoff stores h for [HandoffTTL] and returns the code to send the browser to
// https://<host>/.podway/callback?code=... with.
func (s *Store) PutHandoff(ctx context.Context, h Handoff) (code string, err error) {
	code = NewSecret()
	key := s.key("handoff", Hash(code))
	sealed, err := SealJSON(s.ring, "handoff", key, h)
	if err != nil {
		return "", err
	}
	if err := s.client.Set(ctx, key, sealed, HandoffTTL).Err(); err != nil {
		return "", fmt.Errorf("storing handoff: %w", err)
	}
	return code, nil
}

// TakeHandoff returns the handoff of a code and removes it. It returns
// [ErrNotFound] for a code that is unknown, used, or too old.
func (s *Store) TakeHandoff(ctx context.Context, code string) (Handoff, error) {
	key := s.key("handoff", Hash(code))
	sealed, err := s.client.GetDel(ctx, key).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return Handoff{}, ErrNotFound
	case err != nil:
		return Handoff{}, fmt.Errorf("taking handoff: %w", err)
	}
	h, err := OpenJSON[Handoff](s.ring, "handoff", key, sealed)
	if err != nil {
		return Handoff{}, ErrNotFound // sealed by a key we don't have: as good as none
	}
	return h, nil
}

// UseState marks the state of a login as used and reports whether it was the
// first use.
func (s *Store) UseState(ctx context.Context, state string) (first bool, err error) {
	err = s.client.SetArgs(ctx, s.key("state", Hash(state)), "1", redis.SetArgs{Mode: "NX", TTL: AttemptTTL}).Err()
	switch {
	case errors.Is(err, redis.Nil):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("using login state: %w", err)
	}
	return true, nil
}
