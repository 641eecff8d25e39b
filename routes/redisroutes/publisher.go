package redisroutes

import (
	"cmp"
	"context"
	"crypto/rand"
	_ "embed" // for the scripts
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/routes"
)

// ErrHostTaken is returned for a host that another pod has.
var ErrHostTaken = errors.New("the host belongs to another pod")

// ErrNotComplete is returned by [Publisher.Complete] while routes that Redis lost
// are not published again.
var ErrNotComplete = errors.New("not every pod is published again")

var (
	//go:embed publish.lua
	publishSource string
	//go:embed begin.lua
	beginSource string
	//go:embed complete.lua
	completeSource string

	publishScript  = redis.NewScript(publishSource)
	beginScript    = redis.NewScript(beginSource)
	completeScript = redis.NewScript(completeSource)
)

const (
	// logLength is about how many changes the log keeps. A reader that missed more
	// reads the whole table.
	logLength = 200_000

	// attempts bounds how often a write is tried against other publishers.
	attempts = 10
)

// PublisherOptions are the settings of a [Publisher].
type PublisherOptions struct {
	// Client of the Redis to write to. Required; the publisher does not close it.
	Client redis.UniversalClient

	// Namespace keeps the route tables of several installations in one Redis apart.
	// Default: [DefaultNamespace].
	Namespace string

	// CheckInterval is how often [Publisher.Watch] looks whether Redis still holds
	// what was published. Default: 2s.
	CheckInterval time.Duration

	// Logger, [slog.Default] if nil.
	Logger *slog.Logger
}

// Publisher writes routes. It remembers what is in Redis, so that publishing what
// is there already costs nothing; several publishers may write to one namespace,
// each notices what the others did. It is safe for concurrent use.
type Publisher struct {
	src      source
	interval time.Duration
	log      *slog.Logger

	// lock is held while Redis is written and guards what follows. It is a channel
	// so that waiting ends with the caller's context.
	lock chan struct{}

	idx *index // nil until it is read

	// While a loss is being recovered from: the epoch that ended, "" if none did,
	// and the last version in it.
	ended string
	floor uint64

	// pending are the pods that were published before Redis lost something and
	// were not published since.
	pending map[routes.PodRef]struct{}

	failed bool // a call to Redis has failed since the last check
	lost   bool // Watch has to report a loss
	warned bool // about the eviction policy

	kick chan struct{} // wakes Watch
}

// NewPublisher returns a publisher. It reads Redis on first use.
func NewPublisher(o PublisherOptions) (*Publisher, error) {
	if o.Client == nil {
		return nil, errors.New("creating route publisher: no redis client")
	}
	k, err := newKeys(o.Namespace)
	if err != nil {
		return nil, fmt.Errorf("creating route publisher: %w", err)
	}
	return &Publisher{
		src:      source{client: o.Client, keys: k},
		interval: cmp.Or(o.CheckInterval, 2*time.Second),
		log:      cmp.Or(o.Logger, slog.Default()),
		lock:     make(chan struct{}, 1),
		pending:  make(map[routes.PodRef]struct{}),
		kick:     make(chan struct{}, 1),
	}, nil
}

// SetPod makes the published routes of a pod exactly these, in one step. Routes
// that are published already, apart from their Version, are not written again.
//
// A route that can't be published is named in the error: it is invalid, or its
// host belongs to another pod ([ErrHostTaken]). Its host is left as it is, and
// the pod's other routes are published all the same.
func (p *Publisher) SetPod(ctx context.Context, tenant, pod string, rs []routes.Route) error {
	ref := routes.PodRef{Tenant: tenant, Pod: pod}
	want, refused := encode(ref, rs)

	err := p.write(ctx, func() (bool, error) {
		ops, taken := p.idx.diff(ref, want)
		done, err := p.publish(ctx, ref, ops)
		if !done || err != nil {
			return false, err
		}
		for _, host := range taken {
			refused = append(refused, fmt.Errorf("publishing route %q: %w", host, ErrHostTaken))
		}
		if len(refused) == 0 {
			delete(p.pending, ref)
		}
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("publishing routes of pod %s/%s: %w", tenant, pod, err)
	}
	return errors.Join(refused...)
}

// encode validates and encodes the routes of a pod, by host. A host whose route
// can't be published has nil.
func encode(pod routes.PodRef, rs []routes.Route) (map[string]*record, []error) {
	want := make(map[string]*record, len(rs))
	var refused []error
	for _, r := range rs {
		_, twice := want[r.Host]
		want[r.Host] = nil
		if twice {
			refused = append(refused, fmt.Errorf("publishing route %q: given twice", r.Host))
			continue
		}
		rec, err := encodeRoute(pod, r)
		if err != nil {
			refused = append(refused, fmt.Errorf("publishing route: %w", err))
			continue
		}
		want[r.Host] = &rec
	}
	return want, refused
}

func encodeRoute(pod routes.PodRef, r routes.Route) (record, error) {
	if err := r.Validate(); err != nil {
		return record{}, err
	}
	if r.Tenant != pod.Tenant || r.Pod != pod.Pod {
		return record{}, fmt.Errorf("route %q: tenant, pod: the route is of pod %s/%s", r.Host, r.Tenant, r.Pod)
	}
	return newRecord(r)
}

// Pods lists the pods that have a published route, or had one before Redis lost
// it, by tenant and pod.
func (p *Publisher) Pods(ctx context.Context) ([]routes.PodRef, error) {
	if err := p.acquire(ctx); err != nil {
		return nil, fmt.Errorf("listing published pods: %w", err)
	}
	defer p.release()
	if err := p.fresh(ctx); err != nil {
		return nil, fmt.Errorf("listing published pods: %w", p.noteError(ctx, err))
	}
	all := maps.Clone(p.pending)
	for pod := range p.idx.pods {
		all[pod] = struct{}{}
	}
	return slices.SortedFunc(maps.Keys(all), comparePods), nil
}

// Complete tells the edges that every pod has been published, so that they drop
// the routes that are not in Redis any more. Call it after each pass over all pods
// in which every SetPod succeeded; it costs nothing if it was said before.
//
// After Redis lost routes it returns [ErrNotComplete] until SetPod was called for
// every pod that had been published: the pass that calls it may have begun before
// the loss.
func (p *Publisher) Complete(ctx context.Context) error {
	err := p.write(ctx, func() (bool, error) {
		if len(p.pending) > 0 {
			return false, fmt.Errorf("%w: %d are missing", ErrNotComplete, len(p.pending))
		}
		if done, err := p.removeUnusable(ctx); !done || err != nil || p.idx.complete {
			return done, err
		}
		k := p.src.keys
		done, err := p.run(ctx, completeScript, []string{k.version, k.epoch, k.log, k.complete},
			p.idx.epoch, p.idx.version)
		if done {
			p.idx.complete = true
		}
		return done, err
	})
	if err != nil {
		return fmt.Errorf("marking routes complete: %w", err)
	}
	return nil
}

// removeUnusable removes records that nobody can read and no pod has claimed.
func (p *Publisher) removeUnusable(ctx context.Context) (done bool, err error) {
	var ops []op
	for host := range p.idx.unusable {
		ops = append(ops, op{host: host})
	}
	if len(ops) > 0 {
		p.log.Warn("removing unusable route records", "routes", len(ops), "host", ops[0].host)
	}
	return p.publish(ctx, routes.PodRef{}, ops)
}

// Watch looks at Redis until ctx ends, and calls lost when what was published is
// not there any more, or may not be: Redis was restarted empty, went back to an
// earlier state, or was out of reach. lost shall have every pod published again,
// and [Publisher.Complete] called. It is called by Watch's goroutine and may call
// the publisher. Watch returns nil.
func (p *Publisher) Watch(ctx context.Context, lost func()) error {
	tick := time.NewTicker(p.interval)
	defer tick.Stop()
	down := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-p.kick:
		}
		again, err := p.check(ctx)
		if err != nil {
			if !down && ctx.Err() == nil {
				p.log.Error("redis does not answer, routes can't be published", "error", err)
			}
			down = true
			continue
		}
		if down {
			p.log.Info("redis answers again")
		}
		down = false
		if again {
			lost()
		}
	}
}

// check compares Redis with the index and reports whether all has to be published
// again.
func (p *Publisher) check(ctx context.Context) (again bool, err error) {
	if err := p.acquire(ctx); err != nil {
		return false, err
	}
	defer p.release()
	if p.idx == nil {
		err = p.load(ctx)
	} else {
		err = p.verify(ctx)
	}
	if err != nil {
		return false, p.noteError(ctx, err)
	}
	again = p.lost || p.failed
	p.lost, p.failed = false, false
	return again, nil
}

// verify looks in one round trip whether Redis holds what the index says.
func (p *Publisher) verify(ctx context.Context) error {
	k := p.src.keys
	var (
		values *redis.SliceCmd
		count  *redis.IntCmd
		last   *redis.XMessageSliceCmd
	)
	_, err := p.src.client.TxPipelined(ctx, func(tx redis.Pipeliner) error {
		values = tx.MGet(ctx, k.epoch, k.version, k.complete)
		count = tx.HLen(ctx, k.routes)
		last = tx.XRevRangeN(ctx, k.log, "+", "-", 1)
		return nil
	})
	if err != nil {
		return fmt.Errorf("checking published routes: %w", err)
	}
	h, err := parseHead(values.Val())
	if err != nil {
		return err
	}
	if msgs := last.Val(); len(msgs) > 0 && msgs[0].ID != entryID(h.version) {
		return p.startOver(ctx, h, "the log ends at another version")
	}
	if h.epoch == p.idx.epoch && h.version == p.idx.version {
		p.idx.complete = h.complete
		if int(count.Val()) != p.idx.len() {
			return p.startOver(ctx, h, "routes are missing")
		}
		return nil
	}
	return p.follow(ctx, h)
}

// follow brings the index up to a head that differs from it.
func (p *Publisher) follow(ctx context.Context, h head) error {
	switch {
	case h.epoch != p.idx.epoch:
		return p.startOver(ctx, h, "the epoch changed")
	case h.version < p.idx.version:
		return p.startOver(ctx, h, "the version went back")
	}
	for p.idx.version < h.version {
		changes, err := p.src.after(ctx, p.idx.version, 0)
		if errors.Is(err, errGap) || (err == nil && len(changes) == 0) {
			// Another publisher was busier than the log is long, or something is lost.
			return p.startOver(ctx, h, "the log does not continue")
		}
		if err != nil {
			return err
		}
		for _, c := range changes {
			if c.host != "" {
				p.idx.put(c.host, c.record)
			}
			p.idx.complete = p.idx.complete || c.complete == p.idx.epoch
			p.idx.version = c.version
		}
	}
	if p.idx.version == h.version {
		p.idx.complete = h.complete
	}
	return nil
}

// startOver is called when Redis is not what it was: it begins a new epoch, unless
// another publisher has, reads what is left, and lets Watch report the loss.
func (p *Publisher) startOver(ctx context.Context, h head, reason string) error {
	p.log.Warn("redis lost published routes, all will be published again",
		"reason", reason, "routes", p.idx.len(), "epoch", p.idx.epoch, "new_epoch", h.epoch)
	for pod := range p.idx.pods {
		p.pending[pod] = struct{}{}
	}
	p.lost = true
	select {
	case p.kick <- struct{}{}:
	default:
	}
	p.ended, p.floor = p.idx.epoch, p.idx.version
	p.idx = nil
	return p.load(ctx)
}

// load reads the index. It begins a new epoch if there is none, if it is the one
// that ended, or if the keys contradict each other.
func (p *Publisher) load(ctx context.Context) error {
	p.warnEviction(ctx)
	for range attempts {
		idx := newIndex()
		h, err := p.src.readAll(ctx, idx.put)
		if err != nil && !errors.Is(err, errGap) {
			return err
		}
		if err == nil && h.epoch != "" && h.epoch != p.ended && h.version >= idx.newest {
			idx.head = h
			p.idx = idx
			p.ended, p.floor = "", 0
			if n := len(idx.unusable); n > 0 {
				p.log.Warn("found unusable route records", "routes", n)
			}
			return nil
		}
		if err := p.begin(ctx, h, max(p.floor, idx.newest)); err != nil {
			return err
		}
	}
	return errors.New("reading published routes: redis changed all the time")
}

// begin starts a new epoch, unless h is not where Redis stands any more.
func (p *Publisher) begin(ctx context.Context, h head, floor uint64) error {
	k := p.src.keys
	id := rand.Text()
	err := beginScript.Run(ctx, p.src.client, []string{k.version, k.epoch, k.log, k.complete}, h.epoch, id, floor).Err()
	switch {
	case errors.Is(err, redis.Nil):
		return nil // another publisher was first
	case err != nil:
		return fmt.Errorf("beginning an epoch: %w", err)
	}
	p.log.Info("began an epoch of routes", "epoch", id)
	return nil
}

// write runs try with the lock held and the index read, again after each time
// that another publisher was faster.
func (p *Publisher) write(ctx context.Context, try func() (done bool, err error)) error {
	if err := p.acquire(ctx); err != nil {
		return err
	}
	defer p.release()
	for range attempts {
		if p.idx == nil {
			if err := p.load(ctx); err != nil {
				return p.noteError(ctx, err)
			}
		}
		done, err := try()
		if err != nil {
			return p.noteError(ctx, err)
		}
		if done {
			return nil
		}
		if err := p.fresh(ctx); err != nil {
			return p.noteError(ctx, err)
		}
	}
	return errors.New("other publishers write all the time")
}

// fresh makes the index equal to Redis.
func (p *Publisher) fresh(ctx context.Context) error {
	if p.idx == nil {
		return p.load(ctx)
	}
	h, err := p.src.head(ctx)
	if err != nil || h == p.idx.head {
		return err
	}
	return p.follow(ctx, h)
}

// publish writes changes of one pod, or reports that the index is out of date.
func (p *Publisher) publish(ctx context.Context, pod routes.PodRef, ops []op) (done bool, err error) {
	if len(ops) == 0 {
		return true, nil
	}
	args := make([]any, 0, 3+3*len(ops))
	args = append(args, p.idx.epoch, p.idx.version, logLength)
	for _, o := range ops {
		args = append(args, o.host, o.record.before, o.record.after)
	}
	k := p.src.keys
	done, err = p.run(ctx, publishScript, []string{k.version, k.epoch, k.routes, k.log}, args...)
	if done {
		p.idx.apply(pod, ops)
	}
	return done, err
}

// run runs a script that returns the new version, or nothing if the index is out
// of date.
func (p *Publisher) run(ctx context.Context, s *redis.Script, keys []string, args ...any) (done bool, err error) {
	text, err := s.Run(ctx, p.src.client, keys, args...).Text()
	if errors.Is(err, redis.Nil) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("writing to redis: %w", err)
	}
	version, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return false, fmt.Errorf("writing to redis: got version %q", text)
	}
	p.idx.version = version
	return true, nil
}

// noteError remembers an error of Redis, after which Watch has all published
// again: what a caller gave up on meanwhile might be missing.
func (p *Publisher) noteError(ctx context.Context, err error) error {
	if ctx.Err() == nil && !errors.Is(err, ErrNotComplete) {
		p.failed = true
	}
	return err
}

// warnEviction warns once if Redis may throw routes away to make room.
func (p *Publisher) warnEviction(ctx context.Context) {
	if p.warned {
		return
	}
	settings, err := p.src.client.ConfigGet(ctx, "maxmemory*").Result()
	if err != nil {
		return // not allowed to ask, or a Redis that has no such settings
	}
	p.warned = true
	if policy := settings["maxmemory-policy"]; settings["maxmemory"] != "0" && policy != "" && policy != "noeviction" {
		p.log.Warn("redis may evict routes; set maxmemory-policy to noeviction", "maxmemory_policy", policy)
	}
}

func (p *Publisher) acquire(ctx context.Context) error {
	select {
	case p.lock <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *Publisher) release() { <-p.lock }
