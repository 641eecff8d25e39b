package local

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// Options of a [Cluster].
type Options struct {
	// Dir holds the state, a folder for each pod. It is made if it is missing.
	// Required.
	Dir string

	// Volumes is the folder with all volumes and snapshots. Default: none, and pods
	// can't mount any.
	Volumes string

	// Self is the path of the podway program, whose subcommands pod-shim and
	// hello the cluster starts. Default: this process's program.
	Self string

	// AddressRange is where pods get their addresses from: an IPv4 loopback range,
	// or a single address, on which the ports of pods are mapped to free ones.
	// Default: 127.80.0.0/16 on Linux, 127.0.0.1/32 elsewhere.
	AddressRange netip.Prefix

	// Grace is how long a program may take to stop before it is killed.
	// Default: 10s.
	Grace time.Duration

	// Logger is where the cluster tells what an operator should know. Default:
	// nowhere.
	Logger *slog.Logger
}

func (o Options) withDefaults() (Options, error) {
	var err error
	if o.Dir == "" {
		return o, errors.New("opening the local cluster: no folder for its state is given")
	}
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return o, fmt.Errorf("opening the local cluster: %w", err)
	}
	if o.Volumes != "" {
		if o.Volumes, err = filepath.Abs(o.Volumes); err != nil {
			return o, fmt.Errorf("opening the local cluster: %w", err)
		}
	}
	if o.Self == "" {
		if o.Self, err = os.Executable(); err != nil {
			return o, fmt.Errorf("opening the local cluster: %w", err)
		}
	}
	if o.Self, err = filepath.Abs(o.Self); err != nil {
		return o, fmt.Errorf("opening the local cluster: %w", err)
	}
	if !o.AddressRange.IsValid() {
		o.AddressRange = defaultRange()
	}
	if !o.AddressRange.Addr().Is4() || !o.AddressRange.Addr().IsLoopback() || o.AddressRange.Bits() < 8 {
		return o, fmt.Errorf("opening the local cluster: %v is not a loopback range of IPv4", o.AddressRange)
	}
	o.Grace = cmp.Or(o.Grace, 10*time.Second)
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	return o, nil
}

func defaultRange() netip.Prefix {
	if runtime.GOOS == "linux" {
		return netip.MustParsePrefix("127.80.0.0/16")
	}
	return netip.MustParsePrefix("127.0.0.1/32")
}

// Cluster runs pods as local processes. It is safe for concurrent use. One
// process at a time may have a state folder open.
type Cluster struct {
	options   Options
	addresses addresses
	log       *slog.Logger

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	minders sync.WaitGroup

	// changes is held by what makes or removes files of a pod, or starts one. It
	// is taken before mu.
	changes sync.Mutex

	mu            sync.Mutex // guards what follows
	known         map[pods.Key]*pod
	subscriptions map[*subscription]struct{}
}

var _ pods.Cluster = (*Cluster)(nil)

// pod is a pod that left anything in the state folder. Its fields change under
// both of the cluster's mutexes, so one is enough to read them; obs needs mu.
type pod struct {
	folder folder
	meta   meta
	run    *run // nil: does not run, and did not since it was removed
	obs    pods.Observation
}

// Open opens the cluster in a state folder and adopts the pods that run there:
// when it returns they are observed as before.
func Open(o Options) (*Cluster, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Dir, folderMode()); err != nil {
		return nil, fmt.Errorf("opening the local cluster: %w", err)
	}
	c := &Cluster{
		options:       o,
		addresses:     addresses{prefix: o.AddressRange, seed: o.Dir},
		log:           o.Logger,
		known:         map[pods.Key]*pod{},
		subscriptions: map[*subscription]struct{}{},
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	folders, err := podFolders(o.Dir)
	if err != nil {
		c.cancel()
		return nil, err
	}
	for _, f := range folders {
		if err := c.adopt(f); err != nil {
			// One bad folder must not keep the other pods from being served.
			c.log.Error("a pod's folder can't be used", "folder", string(f), "error", err)
		}
	}
	return c, nil
}

// folderMode is the mode of the folders on the way to a pod's storage. If we are
// root, programs of other users must pass through, without looking around.
func folderMode() os.FileMode {
	if os.Geteuid() == 0 {
		return 0o711
	}
	return 0o700
}

// Close forgets the pods and leaves them running. Followed logs and watches end.
func (c *Cluster) Close() {
	c.changes.Lock()
	c.cancel()
	c.changes.Unlock()
	c.minders.Wait()
	for _, p := range c.all() {
		if p.run != nil {
			p.run.lock.Close()
		}
	}
}

// StopAll stops every pod as Remove does, but kills programs that take longer
// than two seconds, and returns when all are gone or ctx ends. A later Open finds
// their storage and no runs. Nothing should call Apply meanwhile.
func (c *Cluster) StopAll(ctx context.Context) error {
	runs, err := c.removeAll()
	for _, r := range runs {
		select {
		case <-r.gone:
		case <-ctx.Done():
			return errors.Join(err, fmt.Errorf("stopping all pods: %w", ctx.Err()))
		}
	}
	return err
}

func (c *Cluster) removeAll() ([]*run, error) {
	c.changes.Lock()
	defer c.changes.Unlock()
	if c.ctx.Err() != nil {
		return nil, errClosed
	}
	var runs []*run
	var errs []error
	for _, p := range c.all() {
		if r := p.run; r != nil {
			r.hurry.Store(true)
			runs = append(runs, r)
			errs = append(errs, c.remove(p, keepStorage))
		}
	}
	return runs, errors.Join(errs...)
}

var errClosed = errors.New("the local cluster is closed")

// Admit implements [pods.Cluster]: the image must be in the catalogue, and the
// pod must not need what only containers have.
func (c *Cluster) Admit(_ context.Context, w pods.Workload) error { return c.admit(w) }

// Apply implements [pods.Cluster]. The error is Invalid if the pod can't run on
// this machine as it is: its program or its port can't be had.
func (c *Cluster) Apply(ctx context.Context, w pods.Workload) error {
	if err := c.admit(w); err != nil {
		return err
	}
	c.changes.Lock()
	defer c.changes.Unlock()
	if c.ctx.Err() != nil {
		return errClosed
	}
	p := c.pod(w.Key)
	switch {
	case p == nil:
		return c.applyNew(ctx, w)
	case p.meta.UID != w.UID:
		return pods.Errorf(pods.Unavailable, "what a deleted pod of this name left is still there")
	case p.run == nil:
		return c.start(ctx, p, w)
	case c.observation(p).Terminating:
		return pods.Errorf(pods.Unavailable, "the previous run of the pod is still stopping")
	}
	return nil
}

// applyNew makes the folder of a pod and starts it. changes is held.
func (c *Cluster) applyNew(ctx context.Context, w pods.Workload) error {
	name, err := folderName(w.Key)
	if err != nil {
		return err
	}
	p := &pod{
		folder: folder(filepath.Join(c.options.Dir, name)),
		meta:   meta{Tenant: w.Tenant, ID: w.ID, UID: w.UID, Site: w.Site},
	}
	if err := os.Mkdir(string(p.folder), folderMode()); err != nil {
		return fmt.Errorf("making the pod's folder: %w", err)
	}
	if err := c.start(ctx, p, w); err != nil {
		return errors.Join(err, p.folder.remove())
	}
	return nil
}

// Remove implements [pods.Cluster]. The log stays, too.
func (c *Cluster) Remove(_ context.Context, k pods.Key) error { return c.removeKey(k, keepStorage) }

// Purge implements [pods.Cluster].
func (c *Cluster) Purge(_ context.Context, k pods.Key) error { return c.removeKey(k, removeStorage) }

func (c *Cluster) removeKey(k pods.Key, how removal) error {
	c.changes.Lock()
	defer c.changes.Unlock()
	if c.ctx.Err() != nil {
		return errClosed
	}
	p := c.pod(k)
	if p == nil {
		return nil
	}
	return c.remove(p, how)
}

// Observe implements [pods.Cluster].
func (c *Cluster) Observe(_ context.Context, k pods.Key) (pods.Observation, error) {
	if p := c.pod(k); p != nil {
		return c.observation(p), nil
	}
	return pods.Observation{Key: k}, nil
}

// List implements [pods.Cluster], ordered by tenant and id.
func (c *Cluster) List(context.Context) ([]pods.Observation, error) {
	all := c.all()
	list := make([]pods.Observation, 0, len(all))
	for _, p := range all {
		list = append(list, c.observation(p))
	}
	return list, nil
}

// Logs implements [pods.Cluster]. The log of a pod that was removed is still
// there, until its next run or Purge.
func (c *Cluster) Logs(ctx context.Context, k pods.Key, follow bool) (io.ReadCloser, error) {
	p := c.pod(k)
	if p == nil {
		return nil, errNoLog(k)
	}
	r := c.runOf(p)
	log, err := readLog(p.folder.log())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, errNoLog(k)
	case err != nil:
		return nil, err
	case !follow || r == nil:
		return boundedLog{Reader: io.LimitReader(log, pods.MaxLogBytes), Closer: log}, nil
	}
	return &followedLog{ctx: ctx, log: log, ended: r.ended.Done(), closed: c.ctx.Done()}, nil
}

func errNoLog(k pods.Key) error { return pods.Errorf(pods.NotFound, "pod %s has not run", k.ID) }

// pod returns the pod with a key, nil if there is none.
func (c *Cluster) pod(k pods.Key) *pod {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known[k]
}

// all returns the pods, ordered by tenant and id.
func (c *Cluster) all() []*pod {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.SortedFunc(maps.Values(c.known), func(a, b *pod) int {
		return cmp.Or(cmp.Compare(a.meta.Tenant, b.meta.Tenant), cmp.Compare(a.meta.ID, b.meta.ID))
	})
}

// runOf returns the run of a pod, nil if there is none.
func (c *Cluster) runOf(p *pod) *run {
	c.mu.Lock()
	defer c.mu.Unlock()
	return p.run
}

// observation returns a copy of what is known of a pod.
func (c *Cluster) observation(p *pod) pods.Observation {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := p.obs
	if o.Addresses != nil {
		o.Addresses = map[string][]string{}
		for key, list := range p.obs.Addresses {
			o.Addresses[key] = slices.Clone(list)
		}
	}
	return o
}

// update changes what is known of a pod and tells the watchers.
func (c *Cluster) update(p *pod, change func(o *pods.Observation)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&p.obs)
	c.touch(p.meta.key())
}

// usedAddresses returns the addresses of all pods but one.
func (c *Cluster) usedAddresses(except *pod) map[netip.Addr]bool {
	used := map[netip.Addr]bool{}
	for _, p := range c.all() {
		if p != except {
			used[p.meta.IP] = true
		}
	}
	return used
}

// instanceName returns a name for a run, "db-4f0c2m5xqa".
func instanceName(id pods.ID) string {
	return string(id) + "-" + strings.ToLower(rand.Text())[:10]
}
