package redisroutes

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// CancelKeyTTL is how long Redis keeps a [CancelKeys] entry that is not put
// again: after an edge has crashed, for example.
const CancelKeyTTL = 10 * time.Minute

// CancelKeys is what edges share about the cancel keys of PostgreSQL sessions:
// for the id of each key, which does not reveal it, a value that says where the
// session is. Entries are keys of their own, podway:{<namespace>}:cancel:<id>. It
// is safe for concurrent use.
type CancelKeys struct {
	client redis.UniversalClient
	prefix string
}

// NewCancelKeys returns the entries of a namespace. It opens no connection before
// it is used; Close closes them.
func NewCancelKeys(opts *redis.UniversalOptions, namespace string) (*CancelKeys, error) {
	k, err := newKeys(namespace)
	if err != nil {
		return nil, err
	}
	o := *opts
	o.ContextTimeoutEnabled = true // else only a client's own timeouts end a wait
	return &CancelKeys{client: redis.NewUniversalClient(&o), prefix: k.cancel}, nil
}

// Put writes entries, or keeps them for another [CancelKeyTTL]. An id that has
// another value already keeps it: the first owner of a key stays its owner.
func (c *CancelKeys) Put(ctx context.Context, values map[string]string) error {
	_, err := c.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for id, v := range values {
			if err := p.SetNX(ctx, c.prefix+id, v, CancelKeyTTL).Err(); err != nil {
				return err
			}
			if err := p.Expire(ctx, c.prefix+id, CancelKeyTTL).Err(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("writing %d cancel keys: %w", len(values), err)
	}
	return nil
}

// removeEqual deletes a key unless somebody else has taken it meanwhile.
var removeEqual = redis.NewScript(`if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0`)

// Remove deletes an entry if it has this value.
func (c *CancelKeys) Remove(ctx context.Context, id, value string) error {
	if err := removeEqual.Run(ctx, c.client, []string{c.prefix + id}, value).Err(); err != nil {
		return fmt.Errorf("removing cancel key: %w", err)
	}
	return nil
}

// Get returns the value of an entry, false if there is none.
func (c *CancelKeys) Get(ctx context.Context, id string) (string, bool, error) {
	v, err := c.client.Get(ctx, c.prefix+id).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return "", false, nil
	case err != nil:
		return "", false, fmt.Errorf("looking up cancel key: %w", err)
	}
	return v, true, nil
}

// Close closes the connections.
func (c *CancelKeys) Close() error { return c.client.Close() }
