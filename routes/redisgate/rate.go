package redisgate

import (
	"context"
	_ "embed" // for the script
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

//go:embed rate.lua
var rateSource string

var rateScript = redis.NewScript(rateSource)

// Limit bounds how often something may happen within a window, at all edges
// together.
type Limit struct {
	Name   string // no colon
	Most   int
	Window time.Duration
}

// The limits of the gate.
var (
	// LoginStarts of one client.
	LoginStarts = Limit{"login", 20, time.Minute}

	// ShareTries that fail, of one client at one host.
	ShareTries = Limit{"share", 5, time.Minute}
)

// Allow counts an attempt of who and reports whether it is within the limit.
func (s *Store) Allow(ctx context.Context, l Limit, who string) (bool, error) {
	n, err := rateScript.Run(ctx, s.client, []string{s.key("rate", l.Name, who)}, l.Window.Milliseconds()).Int()
	if err != nil {
		return false, fmt.Errorf("counting attempts of %s: %w", l.Name, err)
	}
	return n <= l.Most, nil
}

// Forgive forgets the attempts of who, after one that succeeded.
func (s *Store) Forgive(ctx context.Context, l Limit, who string) error {
	if err := s.client.Del(ctx, s.key("rate", l.Name, who)).Err(); err != nil {
		return fmt.Errorf("forgetting attempts of %s: %w", l.Name, err)
	}
	return nil
}
