package redisroutes

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// wakesKept is how many wake-ups wait for Redis. Further ones are lost.
	wakesKept = 1024

	// wakeTimeout bounds the sending of one.
	wakeTimeout = 2 * time.Second

	// wakesAgain is the time between two tries to listen.
	wakesAgain = 2 * time.Second
)

// Wakes tells the other control planes of an installation that a pod was written, so
// that the one that leads looks at it now and not with its next full pass. Nothing
// depends on a wake-up: those that are sent while Redis is away are lost. It is safe for
// concurrent use.
//
//	w, err := redisroutes.NewWakes(client, namespace, logger)
//	go w.Run(ctx, func(tenant, pod string) { … })
//	w.Send("tacc", "db")
type Wakes struct {
	client  redis.UniversalClient
	channel string
	self    string // tells our own wake-ups from those of others
	log     *slog.Logger
	out     chan wake
	warned  atomic.Bool
}

// wake is a wake-up in Redis.
type wake struct {
	From   string `json:"from"`
	Tenant string `json:"tenant"`
	Pod    string `json:"pod"`
}

// NewWakes returns the wake-ups of a namespace; empty means [DefaultNamespace]. The
// client stays the caller's.
func NewWakes(client redis.UniversalClient, namespace string, log *slog.Logger) (*Wakes, error) {
	channel, err := Key(namespace, "wakes")
	if err != nil {
		return nil, err
	}
	return &Wakes{client: client, channel: channel, self: rand.Text(), log: log, out: make(chan wake, wakesKept)}, nil
}

// Send tells the others of a pod. It does not block.
func (w *Wakes) Send(tenant, pod string) {
	select {
	case w.out <- wake{From: w.self, Tenant: tenant, Pod: pod}:
	default: // the next full pass sees it
	}
}

// Run sends what Send is given, and calls received for what others send, until ctx ends.
// It returns nil.
func (w *Wakes) Run(ctx context.Context, received func(tenant, pod string)) error {
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		w.send(ctx)
	}()
	for ctx.Err() == nil {
		w.report(ctx, w.listen(ctx, received))
		select {
		case <-ctx.Done():
		case <-time.After(wakesAgain):
		}
	}
	<-sent
	return nil
}

func (w *Wakes) send(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-w.out:
			w.report(ctx, w.publish(ctx, m))
		}
	}
}

func (w *Wakes) publish(ctx context.Context, m wake) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, wakeTimeout)
	defer cancel()
	if err := w.client.Publish(ctx, w.channel, b).Err(); err != nil {
		return fmt.Errorf("sending: %w", err)
	}
	return nil
}

// listen calls received until ctx ends or the connection breaks.
func (w *Wakes) listen(ctx context.Context, received func(tenant, pod string)) error {
	sub := w.client.Subscribe(ctx, w.channel)
	defer sub.Close()
	// What waits for a message does not see the end of ctx.
	defer context.AfterFunc(ctx, func() { _ = sub.Close() })()
	for {
		m, err := sub.ReceiveMessage(ctx)
		if err != nil {
			return fmt.Errorf("listening: %w", err)
		}
		var x wake
		if err := json.Unmarshal([]byte(m.Payload), &x); err != nil || x.From == w.self {
			continue // what can't be read is of another release
		}
		received(x.Tenant, x.Pod)
	}
}

// report logs the first failure: a user without the right to fails each time.
func (w *Wakes) report(ctx context.Context, err error) {
	if err == nil || ctx.Err() != nil || w.warned.Swap(true) {
		return
	}
	w.log.Warn("control planes can't wake each other; changes may wait for a full pass", "error", err)
}
