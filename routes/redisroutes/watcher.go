package redisroutes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/routes"
)

const (
	// minBackoff and maxBackoff bound the wait between two attempts to reach Redis.
	minBackoff = 50 * time.Millisecond
	maxBackoff = 2 * time.Second
)

// WatcherOptions are the settings of a [Watcher].
type WatcherOptions struct {
	// Redis to read from, see [ParseURL]. Required. The watcher opens one
	// connection of its own and closes it; it needs the right to read only.
	Redis *redis.UniversalOptions

	// Namespace of the publisher. Default: [DefaultNamespace].
	Namespace string

	// SnapshotFile keeps the table for a start without Redis. It is written 0600,
	// in one step, at most once per second. Empty keeps none.
	SnapshotFile string

	// HoldTime is how long routes are served on that Redis does not have any more,
	// when nothing tells that they are meant to be gone: after Redis lost writes,
	// or when more than half of the table is missing at once. It ends earlier when
	// the control plane has published everything ([Publisher.Complete]) or an
	// operator agrees ([Watcher.Confirm]), and it does not begin while nothing at
	// all is published. Default: 10m.
	HoldTime time.Duration

	// CheckInterval is how often a connection without news is checked. News do not
	// wait for it. Default: 5s.
	CheckInterval time.Duration

	// Logger, [slog.Default] if nil.
	Logger *slog.Logger

	// When the snapshot is written after a change: once it has been quiet for, or
	// at the latest.
	snapshotQuiet, snapshotLatest time.Duration
}

// Watcher keeps a table equal to what is published in Redis, and keeps it as it
// is while Redis is away. It is safe for concurrent use. Make one with
// [NewWatcher]; nothing else may write to its table, and observers of the table
// ([routes.Table.OnChange]) must not call the watcher.
type Watcher struct {
	opts     WatcherOptions
	keys     keys
	table    *routes.Table
	log      *slog.Logger
	snapshot snapshotFile
	restore  sync.Once
	changed  chan struct{} // tells the writer of the snapshot

	src source // of Run's goroutine, as is what only Run calls

	mu  sync.Mutex // guards what follows, and is held while the table is written
	pos position

	// sums of the records that the routes of the table came from, by host. Routes
	// from the snapshot have none.
	sums map[string]uint64

	bad       map[string]struct{} // hosts whose record can't be used
	held      map[string]struct{} // hosts that are served on, see HoldTime
	heldSince time.Time
	heldFrom  position // of the table when it began to hold, see hold

	following      bool
	loaded         bool
	created        time.Time
	contact        time.Time
	resyncs        uint64
	snapshotErrors uint64
	unsaved        bool
}

// position is up to where a table follows a namespace.
type position struct {
	epoch   string // "" if unknown
	version uint64
	digest  uint32 // of the log entry of version
}

// Status is what a watcher knows about itself.
type Status struct {
	// Synced says that the table is as published, as far as Redis told.
	Synced bool
	// Loaded says that there is a table at all, from Redis or from the snapshot.
	Loaded bool

	Epoch   string
	Version uint64
	Routes  int

	// LastContact is when Redis last answered. Zero if it never did.
	LastContact time.Time
	// Stale is the time since then, or since the watcher was made. 0 while Synced.
	Stale time.Duration

	// BadRecords is the number of hosts whose record can't be used. Their previous
	// route is served, if there was one.
	BadRecords int
	// Held is the number of routes that are served though Redis lacks them, see
	// [WatcherOptions.HoldTime].
	Held int

	// Resyncs counts how often all routes were read.
	Resyncs uint64
	// SnapshotErrors counts snapshots that could not be written or read.
	SnapshotErrors uint64
}

// NewWatcher returns a watcher that fills table. It does nothing before Restore
// or Run.
func NewWatcher(o WatcherOptions, table *routes.Table) (*Watcher, error) {
	if o.Redis == nil {
		return nil, errors.New("creating route watcher: no redis options")
	}
	k, err := newKeys(o.Namespace)
	if err != nil {
		return nil, fmt.Errorf("creating route watcher: %w", err)
	}
	o.HoldTime = cmp.Or(o.HoldTime, 10*time.Minute)
	o.CheckInterval = cmp.Or(o.CheckInterval, 5*time.Second)
	o.snapshotQuiet = cmp.Or(o.snapshotQuiet, time.Second)
	o.snapshotLatest = cmp.Or(o.snapshotLatest, 30*time.Second)
	return &Watcher{
		opts:     o,
		keys:     k,
		table:    table,
		log:      cmp.Or(o.Logger, slog.Default()),
		snapshot: snapshotFile(o.SnapshotFile),
		changed:  make(chan struct{}, 1),
		sums:     make(map[string]uint64),
		bad:      make(map[string]struct{}),
		held:     make(map[string]struct{}),
		created:  time.Now(),
	}, nil
}

// Run keeps the table up to date until ctx ends, whatever Redis does, then saves
// the snapshot and returns nil. It may be called once.
func (w *Watcher) Run(ctx context.Context) error {
	w.Restore()

	var saver sync.WaitGroup
	saver.Go(func() { w.saveLoop(ctx) })
	defer func() {
		saver.Wait()
		w.save()
	}()

	client := redis.NewUniversalClient(clientOptions(w.opts.Redis))
	w.src = source{client: client, keys: w.keys}
	// A read that blocks ends with its connection, not with a context.
	stop := context.AfterFunc(ctx, func() { _ = client.Close() })
	defer func() {
		stop()
		_ = client.Close()
	}()

	for failures := 0; ctx.Err() == nil; failures++ {
		start := time.Now()
		err := w.follow(ctx)
		if ctx.Err() != nil {
			break
		}
		if time.Since(start) > maxBackoff {
			failures = 0 // it went well for a while
		}
		w.disconnected(err, failures)
		sleep(ctx, backoff(failures))
	}
	return nil
}

// clientOptions are the user's, with attempts and waits left to the watcher.
func clientOptions(o *redis.UniversalOptions) *redis.UniversalOptions {
	c := *o
	c.MaxRetries = -1
	c.DialerRetries = 1
	c.PoolSize = 2 // the second for what a cluster's client asks in between
	c.ContextTimeoutEnabled = true
	return &c
}

// follow reads what is new until an error.
func (w *Watcher) follow(ctx context.Context) error {
	ok, err := w.resume(ctx)
	if err != nil {
		return err
	}
	for {
		if !ok {
			if err := w.resync(ctx); err != nil {
				return err
			}
		}
		w.connected()
		err := w.tail(ctx)
		if !errors.Is(err, errGap) {
			return err
		}
		w.log.Info("reading all routes again", "reason", err.Error())
		ok = false
	}
}

// resume reports whether the log goes on where the table is.
func (w *Watcher) resume(ctx context.Context) (bool, error) {
	pos := w.position()
	if pos.epoch == "" {
		return false, nil
	}
	h, err := w.src.head(ctx)
	if err != nil || h.epoch != pos.epoch || h.version < pos.version {
		return false, err
	}
	c, ok, err := w.src.at(ctx, pos.version)
	if err != nil && !errors.Is(err, errGap) {
		return false, err
	}
	return ok && c.digest() == pos.digest, nil
}

// tail applies entries of the log until an error; errGap if it can't go on.
func (w *Watcher) tail(ctx context.Context) error {
	for {
		changes, err := w.src.after(ctx, w.position().version, w.block())
		if err == nil && len(changes) == 0 {
			changes, err = w.checkHead(ctx)
		}
		if err != nil {
			return err
		}
		if err := w.apply(changes); err != nil {
			return err
		}
		w.endHold()
	}
}

// checkHead makes sure that the silence of the log means that nothing happened.
// It returns what came meanwhile.
func (w *Watcher) checkHead(ctx context.Context) ([]change, error) {
	pos := w.position()
	h, err := w.src.head(ctx)
	if err != nil {
		return nil, err
	}
	at := head{epoch: pos.epoch, version: pos.version}
	if err := w.src.continues(ctx, at, h); err != nil {
		return nil, err
	}
	return w.src.after(ctx, pos.version, 0)
}

// apply applies entries of the log; errGap at the begin of another epoch.
func (w *Watcher) apply(changes []change) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.touch()
	for _, c := range changes {
		switch {
		case c.epoch != "":
			return fmt.Errorf("epoch %q begins: %w", c.epoch, errGap)
		case c.complete != "":
			if c.complete == w.pos.epoch {
				w.dropHeld("the control plane has published everything")
			}
		case c.host != "":
			w.set(c.host, c.record)
		}
		w.pos.version, w.pos.digest = c.version, c.digest()
		w.touched()
	}
	return nil
}

// set applies the record of a host, "" if it was removed.
func (w *Watcher) set(host, raw string) {
	if raw == "" {
		w.remove(host)
		return
	}
	e, err := compile(host, raw)
	if err != nil {
		w.bad[host] = struct{}{}
		w.log.Warn("keeping the previous route, the published one can't be used", "host", host, "error", err)
		return
	}
	w.put(e, sum(raw))
}

func (w *Watcher) put(e *routes.Entry, sum uint64) {
	delete(w.bad, e.Host)
	delete(w.held, e.Host)
	w.sums[e.Host] = sum
	w.table.Put(e)
}

func (w *Watcher) remove(host string) {
	delete(w.bad, host)
	delete(w.held, host)
	delete(w.sums, host)
	w.table.Remove(host)
}

// found is a record that a resync found. A nil entry can't be used.
type found struct {
	entry *routes.Entry
	sum   uint64
	err   error
}

// resync reads all routes and changes the table where it differs.
func (w *Watcher) resync(ctx context.Context) error {
	start := time.Now()
	all := make(map[string]found)
	h, err := w.src.readAll(ctx, func(host, raw string) {
		if raw == "" {
			delete(all, host)
			return
		}
		all[host] = w.find(host, raw)
	})
	if err != nil {
		return err
	}
	lost, err := w.lost(ctx, h)
	if err != nil {
		return err
	}
	pos := position{epoch: h.epoch, version: h.version}
	if c, ok, err := w.src.at(ctx, h.version); err == nil && ok {
		pos.digest = c.digest()
	}

	w.mu.Lock()
	defer w.mu.Unlock()
	w.install(all, pos, h.complete, lost)
	w.log.Info("read all routes", "routes", len(all), "bad_records", len(w.bad), "held", len(w.held),
		"epoch", h.epoch, "version", h.version, "duration", time.Since(start))
	return nil
}

// find compiles a record, or takes the entry of the table that was made of it.
func (w *Watcher) find(host, raw string) found {
	s := sum(raw)
	w.mu.Lock()
	known, ok := w.sums[host]
	w.mu.Unlock()
	if ok && known == s {
		if e := w.table.Get(host); e != nil {
			return found{entry: e, sum: s}
		}
	}
	e, err := compile(host, raw)
	return found{entry: e, sum: s, err: err}
}

// install makes the table equal to what was found, except for what is held.
func (w *Watcher) install(all map[string]found, pos position, complete, lost bool) {
	var gone []string
	w.table.Range(func(e *routes.Entry) bool {
		if _, ok := all[e.Host]; !ok {
			gone = append(gone, e.Host)
		}
		return true
	})
	if w.holds(len(gone), pos.epoch, complete, lost) {
		w.hold(gone, pos.epoch, complete)
	} else {
		w.drop(gone)
	}

	w.replaceBad(all)
	for host, f := range all {
		if f.entry != nil && f.entry != w.table.Get(host) {
			w.put(f.entry, f.sum)
		}
	}
	w.pos = pos
	w.loaded = true
	w.resyncs++
	w.touch()
	w.touched()
}

// replaceBad notes the hosts whose record can't be used. They are reported in one
// line, for there may be many.
func (w *Watcher) replaceBad(all map[string]found) {
	clear(w.bad)
	var first error
	for host, f := range all {
		if f.entry == nil {
			w.bad[host] = struct{}{}
			first = cmp.Or(first, f.err)
		}
	}
	if first != nil {
		w.log.Warn("keeping previous routes, the published ones can't be used", "routes", len(w.bad), "error", first)
	}
}

func compile(host, raw string) (*routes.Entry, error) {
	r, err := decode(host, raw)
	if err != nil {
		return nil, err
	}
	return routes.Compile(r)
}

func sum(raw string) uint64 { return maphash.String(sumSeed, raw) }

func (w *Watcher) position() position {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pos
}

// touch notes that Redis has answered.
func (w *Watcher) touch() { w.contact = time.Now() }

// touched notes that the snapshot is out of date.
func (w *Watcher) touched() {
	w.unsaved = true
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

func (w *Watcher) connected() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.touch()
	if !w.following {
		w.log.Info("following published routes", "epoch", w.pos.epoch, "version", w.pos.version, "routes", w.table.Len())
	}
	w.following = true
}

// disconnected notes why following ended. It says so once per outage.
func (w *Watcher) disconnected(err error, failures int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	first := w.following || failures == 0
	w.following = false
	if first {
		w.log.Warn("can't follow published routes, serving on with those in memory", "routes", w.table.Len(), "error", err)
	}
}

// Status returns the state of the watcher.
func (w *Watcher) Status() Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := Status{
		Synced:         w.following,
		Loaded:         w.loaded,
		Epoch:          w.pos.epoch,
		Version:        w.pos.version,
		Routes:         w.table.Len(),
		LastContact:    w.contact,
		BadRecords:     len(w.bad),
		Held:           len(w.held),
		Resyncs:        w.resyncs,
		SnapshotErrors: w.snapshotErrors,
	}
	if s.Version == unreached {
		s.Version = 0
	}
	if !s.Synced {
		s.Stale = time.Since(w.created)
		if !w.contact.IsZero() {
			s.Stale = time.Since(w.contact)
		}
	}
	return s
}

// backoff returns how long to wait after so many failures in a row, with jitter
// so that edges do not come back all at once.
func backoff(failures int) time.Duration {
	d := maxBackoff
	if failures < 6 {
		d = min(d, minBackoff<<failures)
	}
	return d/2 + rand.N(d/2) //nolint:gosec // jitter is no secret
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
