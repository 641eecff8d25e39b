package redisroutes

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	scanBatch = 1000 // records per HSCAN
	readBatch = 2000 // log entries per XREAD

	// replyTimeout is how long an answer may take beyond the time Redis was asked
	// to wait.
	replyTimeout = 5 * time.Second
)

// errGap says that the log does not continue what was read before: entries were
// trimmed, or Redis lost some, or a new epoch began. All has to be read again.
var errGap = errors.New("the log does not continue")

// head says where a namespace stands.
type head struct {
	epoch    string // "" if nothing was ever published
	version  uint64
	complete bool // every pod was published in this epoch
}

// change is an entry of the log. Entries of kinds it does not know have neither
// host nor epoch nor complete set.
type change struct {
	version  uint64
	host     string
	record   string // "" if the host was removed
	epoch    string // the epoch that begins here
	complete string // the epoch that is complete
}

// castagnoli is the polynomial of all checksums of this package.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// digest tells one entry from another of the same version in another history.
func (c change) digest() uint32 {
	return crc32.Checksum([]byte(strings.Join([]string{c.host, c.record, c.epoch, c.complete}, "\x00")), castagnoli)
}

// source reads a namespace. It writes nothing.
type source struct {
	client redis.UniversalClient
	keys   keys
}

// head reads where the namespace stands, in one round trip.
func (s source) head(ctx context.Context) (head, error) {
	v, err := s.client.MGet(ctx, s.keys.epoch, s.keys.version, s.keys.complete).Result()
	if err != nil {
		return head{}, fmt.Errorf("reading epoch and version: %w", err)
	}
	return parseHead(v)
}

func parseHead(v []any) (head, error) {
	if len(v) != 3 {
		return head{}, fmt.Errorf("reading epoch and version: got %d values", len(v))
	}
	var h head
	h.epoch, _ = v[0].(string)
	if s, ok := v[1].(string); ok {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			return head{}, fmt.Errorf("reading version: %q is not a number", s)
		}
		h.version = n
	}
	complete, _ := v[2].(string)
	h.complete = h.epoch != "" && complete == h.epoch
	return h, nil
}

// after returns the changes that follow a version, oldest first. It waits up to
// block for the first one; 0 does not wait. Nothing new is no error; errGap if
// the log does not go on at version+1.
func (s source) after(ctx context.Context, version uint64, block time.Duration) ([]change, error) {
	ctx, cancel := context.WithTimeout(ctx, block+replyTimeout)
	defer cancel()
	args := &redis.XReadArgs{Streams: []string{s.keys.log, entryID(version)}, Count: readBatch, Block: -1}
	if block > 0 {
		args.Block = max(block, time.Millisecond) // BLOCK 0 would wait without end
	}
	streams, err := s.client.XRead(ctx, args).Result()
	if errors.Is(err, redis.Nil) || (err == nil && len(streams) == 0) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading log: %w", err)
	}
	changes := make([]change, 0, len(streams[0].Messages))
	for _, m := range streams[0].Messages {
		c, err := parseChange(m)
		if err != nil {
			return nil, err
		}
		if c.version != version+1 {
			return nil, fmt.Errorf("version %d is followed by %d: %w", version, c.version, errGap)
		}
		version = c.version
		changes = append(changes, c)
	}
	return changes, nil
}

// at returns the log entry of a version, or false if the log no longer has it.
func (s source) at(ctx context.Context, version uint64) (change, bool, error) {
	id := entryID(version)
	msgs, err := s.client.XRangeN(ctx, s.keys.log, id, id, 1).Result()
	if err != nil {
		return change{}, false, fmt.Errorf("reading log entry %s: %w", id, err)
	}
	if len(msgs) == 0 {
		return change{}, false, nil
	}
	c, err := parseChange(msgs[0])
	return c, err == nil, err
}

// readAll calls put for every record, as of the head it returns: first for what
// the hash holds, then for what the log brought meanwhile, with an empty record
// for a removed host. The last call for a host counts. errGap, with the head it
// began at, if no such state could be had.
func (s source) readAll(ctx context.Context, put func(host, record string)) (head, error) {
	h, err := s.head(ctx)
	if err != nil {
		return head{}, err
	}
	if err := s.scan(ctx, put); err != nil {
		return head{}, err
	}
	at := h
	for {
		changes, err := s.after(ctx, at.version, 0)
		if err != nil {
			return h, err
		}
		for _, c := range changes {
			if c.host != "" {
				put(c.host, c.record)
			}
			at.version = c.version
		}
		if len(changes) > 0 {
			continue
		}
		now, err := s.head(ctx)
		if err != nil {
			return h, err
		}
		at.complete = now.complete
		if now == at {
			return at, nil
		}
		// What was written since the last read of the log is fine, all else is not.
		if err := s.continues(ctx, at, now); err != nil {
			return h, err
		}
	}
}

// continues returns errGap unless the log leads from one head to a later one.
func (s source) continues(ctx context.Context, from, to head) error {
	if to.epoch != from.epoch {
		return fmt.Errorf("epoch %q became %q: %w", from.epoch, to.epoch, errGap)
	}
	if to.version < from.version {
		return fmt.Errorf("version %d is behind %d: %w", to.version, from.version, errGap)
	}
	if to.version == from.version {
		return nil
	}
	if _, ok, err := s.at(ctx, from.version+1); err != nil || ok {
		return err
	}
	return fmt.Errorf("version %d is not in the log: %w", from.version+1, errGap)
}

func (s source) scan(ctx context.Context, put func(host, record string)) error {
	var cursor uint64
	for {
		page, next, err := s.client.HScan(ctx, s.keys.routes, cursor, "", scanBatch).Result()
		if err != nil {
			return fmt.Errorf("reading routes: %w", err)
		}
		for i := 0; i+1 < len(page); i += 2 {
			put(page[i], page[i+1])
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

func entryID(version uint64) string { return strconv.FormatUint(version, 10) + "-0" }

func parseChange(m redis.XMessage) (change, error) {
	id, ok := strings.CutSuffix(m.ID, "-0")
	version, err := strconv.ParseUint(id, 10, 64)
	if !ok || err != nil {
		return change{}, fmt.Errorf("log entry %q is not one of ours: %w", m.ID, errGap)
	}
	c := change{version: version}
	c.host, _ = m.Values["host"].(string)
	c.record, _ = m.Values["route"].(string)
	c.epoch, _ = m.Values["epoch"].(string)
	c.complete, _ = m.Values["complete"].(string)
	return c, nil
}
