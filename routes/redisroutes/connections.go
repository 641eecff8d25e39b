package redisroutes

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// ConnectionLog is what edges say about the connections that have ended: the stream
// podway:{<namespace>}:connections. It is safe for concurrent use.
type ConnectionLog struct {
	client redis.UniversalClient
	key    string
}

// NewConnectionLog returns the stream of a namespace. It opens no connection before
// it is used; Close closes them.
func NewConnectionLog(opts *redis.UniversalOptions, namespace string) (*ConnectionLog, error) {
	k, err := newKeys(namespace)
	if err != nil {
		return nil, err
	}
	o := *opts
	o.ContextTimeoutEnabled = true // else only a client's own timeouts end a wait
	return &ConnectionLog{client: redis.NewUniversalClient(&o), key: k.connections}, nil
}

// Add appends entries, each a list of names and values, and keeps about most of
// them in the stream.
func (l *ConnectionLog) Add(ctx context.Context, most int, entries [][]any) error {
	_, err := l.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, values := range entries {
			if err := p.XAdd(ctx, &redis.XAddArgs{Stream: l.key, MaxLen: int64(most), Approx: true, Values: values}).Err(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("writing %d records of connections: %w", len(entries), err)
	}
	return nil
}

// Close closes the connections.
func (l *ConnectionLog) Close() error { return l.client.Close() }
