package redisroutes

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/routes"
)

// Lookup reads the published route of one host, for the few who ask for a host now
// and then and need no [Watcher]. It is safe for concurrent use.
type Lookup struct {
	client redis.UniversalClient
	keys   keys
}

// NewLookup returns a Lookup that uses a client, which stays the caller's.
func NewLookup(client redis.UniversalClient, namespace string) (*Lookup, error) {
	k, err := newKeys(namespace)
	if err != nil {
		return nil, fmt.Errorf("creating route lookup: %w", err)
	}
	return &Lookup{client: client, keys: k}, nil
}

// Route returns the route of a host, and false if there is none that can be used.
func (l *Lookup) Route(ctx context.Context, host string) (routes.Route, bool, error) {
	raw, err := l.client.HGet(ctx, l.keys.routes, host).Result()
	if errors.Is(err, redis.Nil) {
		return routes.Route{}, false, nil
	}
	if err != nil {
		return routes.Route{}, false, fmt.Errorf("reading route: %w", err)
	}
	r, err := decode(host, raw)
	return r, err == nil, nil // a record that can't be used is as good as none
}
