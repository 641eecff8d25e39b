package podway

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/routes/redisroutes"
	"github.com/tapis-project/podway/sni"
)

// What the process has one of, whatever configuration runs.
var (
	stats    = new(sni.Stats)
	sessions = sni.NewSessions(stats)
	cancels  = sni.NewCancels()
	through  = new(sni.PassthroughCount)
	draining sync.Once
	leaving  atomic.Bool // it takes no new connections any more
)

// What configurations with the same settings share.
var (
	stores   = caddy.NewUsagePool() // *store by the settings of Redis
	prefaces = caddy.NewUsagePool() // pooledPreface by the limits
)

// patience is how long handshakes wait for a first table.
const patience = 3 * time.Second

// store is a route table and the watcher that fills it.
type store struct {
	table   *routes.Table
	watcher *redisroutes.Watcher
	cancels *sharedCancels
	records *recorder
	log     *currentLog

	start  sync.Once
	ctx    context.Context
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	ready  chan struct{}
	loaded atomic.Bool
}

func newStore(opts redisroutes.WatcherOptions) (*store, error) {
	s := &store{table: routes.NewTable(), log: newCurrentLog(), ready: make(chan struct{})}
	s.table.OnChange(sessions.Changed)
	through.Watch(s.table)
	opts.Logger = slog.New(s.log)
	var err error
	if s.watcher, err = redisroutes.NewWatcher(opts, s.table); err != nil {
		return nil, err
	}
	keys, err := redisroutes.NewCancelKeys(opts.Redis, opts.Namespace)
	if err != nil {
		return nil, err
	}
	s.cancels = newSharedCancels(keys, s.log)
	stream, err := redisroutes.NewConnectionLog(opts.Redis, opts.Namespace)
	if err != nil {
		return nil, err
	}
	s.records = newRecorder(stream, s.log)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// run starts the watcher, once.
func (s *store) run() {
	s.start.Do(func() {
		s.tasks.Go(func() { _ = s.watcher.Run(s.ctx) }) // its error is always nil
		s.tasks.Go(s.awaitTable)
		s.cancels.run()
		s.records.run()
	})
}

// awaitTable closes ready when the table is filled, or patience ends.
func (s *store) awaitTable() {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	started := time.Now()
	open := true
	for !s.watcher.Status().Loaded {
		if open && time.Since(started) > patience {
			close(s.ready)
			open = false
			tick.Reset(100 * time.Millisecond)
		}
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			return
		}
	}
	s.loaded.Store(true)
	// Sessions that were opened by a table from elsewhere have to be in this one.
	sessions.Sweep(s.table)
	if open {
		close(s.ready)
	}
}

// Destruct stops the watcher, and ends all sessions if no configuration is left
// to look after them.
func (s *store) Destruct() error {
	s.cancel()
	s.tasks.Wait()
	s.cancels.close()
	s.records.close()
	last := true
	stores.Range(func(_, _ any) bool { last = false; return false })
	if last {
		sessions.Drain(s.ctx) // ended already: no grace
	}
	return nil
}

// pooledPreface is a preface in a usage pool.
type pooledPreface struct{ *sni.Preface }

// Destruct does nothing: connections hold on to their preface.
func (pooledPreface) Destruct() error { return nil }

// currentLog logs to the log of whichever configuration runs: the one a store
// was made under closes its files when it ends.
type currentLog struct{ now atomic.Pointer[slog.Logger] }

func newCurrentLog() *currentLog {
	l := new(currentLog)
	l.use(slog.New(slog.DiscardHandler))
	return l
}

func (l *currentLog) use(log *slog.Logger) { l.now.Store(log) }

// Enabled implements [slog.Handler].
func (l *currentLog) Enabled(ctx context.Context, level slog.Level) bool {
	return l.now.Load().Enabled(ctx, level)
}

// Handle implements [slog.Handler].
func (l *currentLog) Handle(ctx context.Context, r slog.Record) error {
	return l.now.Load().Handler().Handle(ctx, r)
}

// WithAttrs implements [slog.Handler]. What it returns stays with today's log.
func (l *currentLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return l.now.Load().Handler().WithAttrs(attrs)
}

// WithGroup implements [slog.Handler]. What it returns stays with today's log.
func (l *currentLog) WithGroup(name string) slog.Handler {
	return l.now.Load().Handler().WithGroup(name)
}
