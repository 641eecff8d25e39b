package redisroutes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// How edges and those who look after them meet in Redis:
//
//	podway:{<namespace>}:edges:status        hash: edge → [EdgeStatus], renewed by each edge
//	podway:{<namespace>}:edges:commands      stream of [EdgeCommand], which edges read
//	podway:{<namespace>}:edges:answers:<id>  stream of [EdgeAnswer] to one command; for a minute
//
// Edges may be anywhere, so nobody calls them: they ask. Nothing depends on it for
// serving: an edge without the right to write there serves as any other.
const (
	// AnnounceEvery is how often an edge renews its status.
	AnnounceEvery = 5 * time.Second

	// EdgeSilentAfter is for how long an edge that is up may be silent.
	EdgeSilentAfter = 20 * time.Second

	// EdgeGoneAfter is after how long of silence an edge is no longer listed.
	EdgeGoneAfter = 24 * time.Hour

	commandsLength = 1000        // of the stream of commands, about
	answersLive    = time.Minute // how long answers are kept
	commandLive    = time.Minute // how long a command that nobody read counts
)

// EdgeStatus is what an edge says about itself.
type EdgeStatus struct {
	Edge        string    `json:"edge"`     // name/instance, see [EdgeLink]
	Software    string    `json:"software"` // version of the program
	Started     time.Time `json:"started"`
	At          time.Time `json:"at"`       // by the clock of Redis
	SkewMS      int64     `json:"skew_ms"`  // how far the edge's clock is ahead of that of Redis
	Ready       bool      `json:"ready"`    // serves as published
	Draining    bool      `json:"draining"` // accepts no connections
	Synced      bool      `json:"synced"`
	Epoch       string    `json:"epoch"`
	Version     uint64    `json:"version"` // of the route table
	Routes      int       `json:"routes"`
	Bad         int       `json:"bad"`  // hosts whose record can't be used
	Held        int       `json:"held"` // served although Redis lacks them
	Connections int       `json:"connections"`
	Sessions    int       `json:"sessions"`

	// Certificates says for each name the edge keeps certificates for whether it has
	// one.
	Certificates map[string]bool `json:"certificates,omitempty"`
}

// Name is the edge's name without its instance.
func (s EdgeStatus) Name() string {
	name, _, _ := strings.Cut(s.Edge, "/")
	return name
}

// What edges can be told to do.
const (
	// CommandRoutes asks for routes: that of Host, or the first Limit after After.
	CommandRoutes = "routes"
	// CommandSessions asks for sessions: those of Host, or the oldest Limit.
	CommandSessions = "sessions"
	// CommandDrain makes an edge accept no more connections.
	CommandDrain = "drain"
	// CommandKick ends the sessions of Host, or the one with the id Session.
	CommandKick = "kick"
)

// EdgeCommand is what edges are told to do.
type EdgeCommand struct {
	// Edge is the name of those that shall do it, with or without its instance. "*"
	// is all of them.
	Edge string `json:"edge"`

	Do      string `json:"do"`
	Host    string `json:"host,omitempty"`
	Session uint64 `json:"session,omitempty"`
	After   string `json:"after,omitempty"`
	Limit   int    `json:"limit,omitempty"`
}

// For reports whether the command is for an edge, given as name/instance.
func (c EdgeCommand) For(edge string) bool {
	name, _, _ := strings.Cut(edge, "/")
	return c.Edge == "*" || c.Edge == edge || c.Edge == name
}

// EdgeAnswer is what one edge answers.
type EdgeAnswer struct {
	Edge   string          `json:"edge"`
	Error  string          `json:"error,omitempty"` // "" if it was done
	Result json.RawMessage `json:"result,omitempty"`
}

// edgeKeys are the names of the keys by which edges are spoken to.
type edgeKeys struct{ status, commands, answers string }

func newEdgeKeys(namespace string) (edgeKeys, error) {
	base, err := Key(namespace, "edges:")
	if err != nil {
		return edgeKeys{}, err
	}
	return edgeKeys{status: base + "status", commands: base + "commands", answers: base + "answers:"}, nil
}

// Fleet is the edges of a namespace, for those who look after them. It is safe for
// concurrent use.
type Fleet struct {
	client redis.UniversalClient
	keys   edgeKeys
	head   source
}

// NewFleet returns the edges of a namespace. It does not close the client.
func NewFleet(client redis.UniversalClient, namespace string) (*Fleet, error) {
	k, err := newEdgeKeys(namespace)
	if err != nil {
		return nil, err
	}
	all, err := newKeys(namespace)
	if err != nil {
		return nil, err
	}
	return &Fleet{client: client, keys: k, head: source{client: client, keys: all}}, nil
}

// Published says what is in Redis.
type Published struct {
	Epoch    string `json:"epoch"` // "" if nothing was ever published
	Version  uint64 `json:"version"`
	Complete bool   `json:"complete"` // every pod was published in this epoch
}

// Published reads which state of the table edges should have.
func (f *Fleet) Published(ctx context.Context) (Published, error) {
	h, err := f.head.head(ctx)
	return Published{Epoch: h.epoch, Version: h.version, Complete: h.complete}, err
}

// Records calls put for every record that is published, in no order. A record that
// changes meanwhile may come twice.
func (f *Fleet) Records(ctx context.Context, put func(host, record string)) error {
	return f.head.scan(ctx, put)
}

// Now is the time of Redis.
func (f *Fleet) Now(ctx context.Context) (time.Time, error) {
	now, err := f.client.Time(ctx).Result()
	if err != nil {
		return time.Time{}, fmt.Errorf("asking redis for the time: %w", err)
	}
	return now, nil
}

// Edges lists the edges that said something within [EdgeGoneAfter] of now, the time
// of Redis, in no order. What can't be read, which an older edge may have written,
// is passed over.
func (f *Fleet) Edges(ctx context.Context, now time.Time) ([]EdgeStatus, error) {
	all, err := f.client.HGetAll(ctx, f.keys.status).Result()
	if err != nil {
		return nil, fmt.Errorf("reading the status of edges: %w", err)
	}
	var edges []EdgeStatus
	for name, text := range all {
		var s EdgeStatus
		if json.Unmarshal([]byte(text), &s) != nil || now.Sub(s.At) > EdgeGoneAfter {
			continue
		}
		s.Edge = name
		edges = append(edges, s)
	}
	return edges, nil
}

// Send tells edges to do something and returns their answers: once the expected
// number of them is there, or when ctx ends, which is no error.
func (f *Fleet) Send(ctx context.Context, c EdgeCommand, expected int) ([]EdgeAnswer, error) {
	b, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encoding a command for edges: %w", err)
	}
	id, err := f.client.XAdd(ctx, &redis.XAddArgs{Stream: f.keys.commands, MaxLen: commandsLength, Approx: true, Values: []any{"command", b}}).Result()
	if err != nil {
		return nil, fmt.Errorf("sending a command to edges: %w", err)
	}
	answers, last := map[string]EdgeAnswer{}, "0-0"
	for len(answers) < expected && ctx.Err() == nil {
		streams, err := f.client.XRead(ctx, &redis.XReadArgs{Streams: []string{f.keys.answers + id, last}, Block: 250 * time.Millisecond}).Result()
		if errors.Is(err, redis.Nil) {
			continue
		}
		if err != nil {
			if ctx.Err() != nil {
				break
			}
			return nil, fmt.Errorf("reading answers of edges: %w", err)
		}
		for _, m := range streams[0].Messages {
			last = m.ID
			var a EdgeAnswer
			if text, ok := m.Values["answer"].(string); ok && json.Unmarshal([]byte(text), &a) == nil {
				answers[a.Edge] = a
			}
		}
	}
	list := make([]EdgeAnswer, 0, len(answers))
	for _, a := range answers {
		list = append(list, a)
	}
	return list, nil
}
