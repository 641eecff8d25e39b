package redisroutes

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// EdgeLinkOptions are the settings of an [EdgeLink].
type EdgeLinkOptions struct {
	// Redis to meet in. Required.
	Redis *redis.UniversalOptions

	// Namespace of the edge. Default: [DefaultNamespace].
	Namespace string

	// Name of the edge. Default: the name of the machine.
	Name string

	// Status is what the edge says about itself; Edge, At and SkewMS are filled in.
	// Required.
	Status func() EdgeStatus

	// Do carries a command out and returns what can be encoded as JSON. Required.
	Do func(EdgeCommand) (any, error)

	// Every is how often the status is renewed. Default: [AnnounceEvery].
	Every time.Duration

	// Logger, [slog.Default] if nil.
	Logger *slog.Logger
}

// EdgeLink is an edge's end of the line to those who look after it: it announces
// the edge and carries out commands. An edge is called name/instance there; the
// instance tells processes of one name apart.
type EdgeLink struct {
	o        EdgeLinkOptions
	edge     string
	keys     edgeKeys
	client   redis.UniversalClient
	commands redis.UniversalClient // for reading commands, which blocks
	quiet    bool                  // a failure was logged, and nothing has worked since
	mu       sync.Mutex
}

// instance is that of the process, whatever configurations it runs.
var instance = strings.ToLower(rand.Text()[:6])

// NewEdgeLink returns a link. It opens no connection before Run.
func NewEdgeLink(o EdgeLinkOptions) (*EdgeLink, error) {
	k, err := newEdgeKeys(o.Namespace)
	if err != nil {
		return nil, err
	}
	if o.Name == "" {
		o.Name, _ = os.Hostname() // a name is nice to have
	}
	o.Name = strings.ReplaceAll(cmp.Or(o.Name, "edge"), "/", "-")
	o.Every = cmp.Or(o.Every, AnnounceEvery)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	opts := *o.Redis
	opts.ContextTimeoutEnabled = true
	opts.PoolSize = 2
	return &EdgeLink{
		o: o, edge: o.Name + "/" + instance, keys: k,
		client: redis.NewUniversalClient(&opts), commands: redis.NewUniversalClient(&opts),
	}, nil
}

// Run announces the edge and carries out commands until ctx ends. Then it takes the
// announcement back if leaving, which is asked then, is true, and closes its
// connections.
func (l *EdgeLink) Run(ctx context.Context, leaving func() bool) {
	var tasks sync.WaitGroup
	tasks.Go(func() { l.announceUntil(ctx) })
	tasks.Go(func() { l.obeyUntil(ctx) })
	// A read that blocks ends with its connection, not with a context.
	stop := context.AfterFunc(ctx, func() { _ = l.commands.Close() })
	defer stop()
	tasks.Wait()
	if leaving() {
		short, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = l.client.HDel(short, l.keys.status, l.edge).Err() // else it is seen as silent
	}
	_ = l.client.Close() // nothing is under way
}

func (l *EdgeLink) announceUntil(ctx context.Context) {
	tick := time.NewTicker(l.o.Every)
	defer tick.Stop()
	for {
		l.note(ctx, "announcing the edge", l.announce(ctx))
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// announce writes the status, with the time of Redis, so that the clocks of those
// who read it do not matter.
func (l *EdgeLink) announce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, replyTimeout)
	defer cancel()
	before := time.Now()
	at, err := l.client.Time(ctx).Result()
	if err != nil {
		return fmt.Errorf("asking redis for the time: %w", err)
	}
	middle := before.Add(time.Since(before) / 2) // when Redis looked at its clock, about
	s := l.o.Status()
	s.Edge, s.At, s.SkewMS = l.edge, at.UTC(), middle.Sub(at).Milliseconds()
	b, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encoding the status: %w", err)
	}
	return l.client.HSet(ctx, l.keys.status, l.edge, b).Err()
}

// note logs the first of a series of failures: the watcher of routes complains
// about a Redis that is away, and rights that lack are told once.
func (l *EdgeLink) note(ctx context.Context, what string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		l.quiet = false
		return
	}
	if l.quiet || ctx.Err() != nil {
		return
	}
	l.quiet = true
	l.o.Logger.Warn("the edge can't be seen by podway admin", "doing", what, "error", err)
}

// obeyUntil carries out commands that are sent from now on.
func (l *EdgeLink) obeyUntil(ctx context.Context) {
	last := ""
	for ctx.Err() == nil {
		next, err := l.obey(ctx, last)
		last = next
		if err == nil {
			continue
		}
		l.note(ctx, "reading commands", err)
		select {
		case <-time.After(l.o.Every):
		case <-ctx.Done():
		}
	}
}

// obey waits for commands behind the entry last, "" for those that come from now
// on, and carries them out. It returns the last one it has seen.
func (l *EdgeLink) obey(ctx context.Context, last string) (string, error) {
	if last == "" {
		now, err := l.client.Time(ctx).Result()
		if err != nil {
			return "", fmt.Errorf("asking redis for the time: %w", err)
		}
		last = strconv.FormatInt(now.UnixMilli()-1, 10) // ids of entries begin with the time
	}
	wait := l.o.Every
	short, cancel := context.WithTimeout(ctx, wait+replyTimeout)
	defer cancel()
	streams, err := l.commands.XRead(short, &redis.XReadArgs{Streams: []string{l.keys.commands, last}, Count: 100, Block: wait}).Result()
	if errors.Is(err, redis.Nil) {
		return last, nil
	}
	if err != nil {
		// The entries of a Redis that comes back empty are behind any that were seen.
		return last, fmt.Errorf("reading commands: %w", err)
	}
	for _, m := range streams[0].Messages {
		last = m.ID
		if err := l.carryOut(ctx, m); err != nil {
			return last, err
		}
	}
	return last, nil
}

func (l *EdgeLink) carryOut(ctx context.Context, m redis.XMessage) error {
	text, _ := m.Values["command"].(string)
	var c EdgeCommand
	if err := json.Unmarshal([]byte(text), &c); err != nil || !c.For(l.edge) || l.late(ctx, m.ID) {
		return nil // a command that can't be read is for nobody
	}
	a := EdgeAnswer{Edge: l.edge}
	result, err := l.o.Do(c)
	if err == nil {
		a.Result, err = json.Marshal(result)
	}
	if err != nil {
		a.Error = err.Error()
	}
	b, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("encoding the answer to a command: %w", err)
	}
	key := l.keys.answers + m.ID
	short, cancel := context.WithTimeout(ctx, replyTimeout)
	defer cancel()
	_, err = l.client.Pipelined(short, func(p redis.Pipeliner) error {
		p.XAdd(short, &redis.XAddArgs{Stream: key, Values: []any{"answer", b}})
		p.Expire(short, key, answersLive)
		return nil
	})
	if err != nil {
		return fmt.Errorf("answering a command: %w", err)
	}
	return nil
}

// late reports whether a command has waited for so long, while Redis could not be
// reached, that whoever sent it went away.
func (l *EdgeLink) late(ctx context.Context, id string) bool {
	ms, _, _ := strings.Cut(id, "-")
	n, err := strconv.ParseInt(ms, 10, 64)
	if err != nil {
		return true
	}
	now, err := l.client.Time(ctx).Result()
	return err != nil || now.Sub(time.UnixMilli(n)) > commandLive
}
