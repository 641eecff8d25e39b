package files

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// Options of a [Keeper]. Store is required; a zero field else means its default.
type Options struct {
	Store pods.VolumeStore

	// Grace is how long the files of a deleted volume are kept. Default: 24h.
	Grace time.Duration

	// MeasureEvery is how often the size of a volume is measured. Default: 10m.
	MeasureEvery time.Duration

	// Poll is how often the store is asked for work that nobody told of, or that
	// another process left. Default: 15s.
	Poll time.Duration

	// Lease is how long a process that works on a volume may be silent before
	// another one takes over. Default: 1m.
	Lease time.Duration

	// AnswerWithin is how long Make waits for the copy of a snapshot.
	// Default: 2s.
	AnswerWithin time.Duration

	// Copies is how many snapshots are copied at a time. Default: 2.
	Copies int

	Now    func() time.Time // Default: time.Now.
	Logger *slog.Logger     // Default: nowhere.
}

func (o Options) withDefaults() Options {
	o.Grace = cmp.Or(o.Grace, 24*time.Hour)
	o.MeasureEvery = cmp.Or(o.MeasureEvery, 10*time.Minute)
	o.Poll = cmp.Or(o.Poll, 15*time.Second)
	o.Lease = cmp.Or(o.Lease, time.Minute)
	o.AnswerWithin = cmp.Or(o.AnswerWithin, 2*time.Second)
	o.Copies = cmp.Or(o.Copies, 2)
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	return o
}

// Keeper keeps the files of volumes as the store says. It implements [pods.Files].
// Several of them, in several processes, can share a tree and a store.
type Keeper struct {
	tree    *Tree
	options Options
	store   pods.VolumeStore
	log     *slog.Logger
	wake    chan struct{} // holds a token for each worker that shall look

	mu      sync.Mutex
	waiting map[string][]chan struct{} // for the end of the work on a volume, by UID
}

var _ pods.Files = (*Keeper)(nil)

// NewKeeper returns a Keeper of a tree. Its background work is done by Run.
func NewKeeper(t *Tree, o Options) *Keeper {
	o = o.withDefaults()
	return &Keeper{
		tree: t, options: o, store: o.Store, log: o.Logger,
		wake: make(chan struct{}, o.Copies), waiting: map[string][]chan struct{}{},
	}
}

func (k *Keeper) now() time.Time { return k.options.Now().UTC().Truncate(time.Microsecond) }

// prepare initialises an empty tree, if it is one: a share that is not mounted
// looks the same, and the volumes made there would be lost.
func (k *Keeper) prepare(ctx context.Context) error {
	if k.tree.initialised() {
		return nil
	}
	for _, kind := range []pods.Kind{pods.KindVolume, pods.KindSnapshot} {
		vs, err := k.store.Volumes(ctx, pods.VolumeQuery{Kind: kind})
		if err != nil {
			return err
		}
		for _, v := range vs {
			if v.Mountable() {
				return unreachable(fmt.Errorf("the folder %s is empty, but the store knows %s: is the share mounted?", k.tree.dir, v.VolumeKey))
			}
		}
	}
	return k.tree.init()
}

// Make implements [pods.Files].
func (k *Keeper) Make(ctx context.Context, v pods.Volume) (pods.Volume, error) {
	if v.Kind == pods.KindSnapshot {
		return k.awaitCopy(ctx, v)
	}
	v, ok, err := k.lease(ctx, v)
	if err != nil {
		return v, err
	}
	if !ok { // another process is at it
		return k.store.Volume(ctx, v.VolumeKey)
	}
	if err := k.makeFolder(ctx, v); err != nil {
		// Who asked must not be left with a volume that can't be used.
		return v, errors.Join(err, k.Remove(context.WithoutCancel(ctx), v))
	}
	return k.finish(ctx, v)
}

// awaitCopy has a snapshot copied, and waits a little for the end of that.
func (k *Keeper) awaitCopy(ctx context.Context, v pods.Volume) (pods.Volume, error) {
	done := make(chan struct{})
	k.mu.Lock()
	k.waiting[v.UID] = append(k.waiting[v.UID], done)
	k.mu.Unlock()
	defer k.stopWaiting(v.UID, done)
	k.wakeWorkers()
	timer := time.NewTimer(k.options.AnswerWithin)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	case <-ctx.Done():
	}
	return k.store.Volume(ctx, v.VolumeKey)
}

func (k *Keeper) stopWaiting(uid string, done chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	left := k.waiting[uid][:0]
	for _, c := range k.waiting[uid] {
		if c != done {
			left = append(left, c)
		}
	}
	if k.waiting[uid] = left; len(left) == 0 {
		delete(k.waiting, uid)
	}
}

func (k *Keeper) workEnded(uid string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.waiting[uid] {
		close(c)
	}
	delete(k.waiting, uid)
}

func (k *Keeper) wakeWorkers() {
	for range k.options.Copies {
		select {
		case k.wake <- struct{}{}:
		default:
		}
	}
}

// Remove implements [pods.Files].
func (k *Keeper) Remove(ctx context.Context, v pods.Volume) error {
	if err := k.store.DeleteVolume(ctx, v.VolumeKey, v.UID, k.now()); err != nil {
		return err
	}
	if err := k.tree.bury(v.VolumeKey, v.UID); err != nil {
		// The tombstone stays, so it is tried again.
		k.volumeLog(v).WarnContext(ctx, "taking a deleted volume out of reach failed", "error", err)
	}
	return nil
}

// Stat implements [pods.Files].
func (k *Keeper) Stat(_ context.Context, v pods.Volume, path string) (pods.FileInfo, error) {
	if err := usable(v); err != nil {
		return pods.FileInfo{}, err
	}
	return k.tree.stat(v.VolumeKey, v.UID, path)
}

// List implements [pods.Files].
func (k *Keeper) List(ctx context.Context, v pods.Volume, path string) ([]pods.FileInfo, bool, error) {
	if err := usable(v); err != nil {
		return nil, false, err
	}
	return k.tree.list(ctx, v.VolumeKey, v.UID, path)
}

// Open implements [pods.Files].
func (k *Keeper) Open(_ context.Context, v pods.Volume, path string) (io.ReadSeekCloser, pods.FileInfo, error) {
	if err := usable(v); err != nil {
		return nil, pods.FileInfo{}, err
	}
	f, info, err := k.tree.openFile(v.VolumeKey, v.UID, path)
	if err != nil {
		return nil, info, err
	}
	return f, info, nil
}

// Zip implements [pods.Files].
func (k *Keeper) Zip(ctx context.Context, v pods.Volume, path string, w io.Writer) error {
	if err := usable(v); err != nil {
		return err
	}
	return k.tree.zip(ctx, v.VolumeKey, v.UID, path, w)
}

// Write implements [pods.Files]. The room for the file is taken from the volume's
// size in the store before the bytes are written, so that uploads that go on at
// the same time, at several processes too, do not pass the limit together.
func (k *Keeper) Write(ctx context.Context, v pods.Volume, path string, r io.Reader) error {
	if err := usable(v); err != nil {
		return err
	}
	q := quota{store: k.store, volume: v}
	replaced, err := k.tree.write(ctx, v.VolumeKey, v.UID, path, r, func(n int64) error { return q.take(ctx, n) })
	keep := q.taken - replaced
	if err != nil {
		keep = 0
	}
	if err := q.settle(context.WithoutCancel(ctx), keep); err != nil {
		// The next measurement puts it right.
		k.volumeLog(v).WarnContext(ctx, "noting the size of a volume failed", "error", err)
	}
	return err
}

// usable refuses volumes whose files are not there yet.
func usable(v pods.Volume) error {
	if v.Mountable() {
		return nil
	}
	return pods.Errorf(pods.Conflict, "The files of %s '%s' can't be used: its status is %s.", v.Kind, v.ID, v.State.Status)
}

// quota takes room in a volume for one upload.
type quota struct {
	store  pods.VolumeStore
	volume pods.Volume
	held   int64 // bytes that the store counts for this upload
	taken  int64 // of those, what was written
}

// pieceOfQuota is how much is asked of the store at a time.
const pieceOfQuota = 16 << 20

// take makes room for the next n bytes.
func (q *quota) take(ctx context.Context, n int64) error {
	if missing := q.taken + n - q.held; missing > 0 {
		err := q.grow(ctx, max(missing, pieceOfQuota))
		if pods.ErrorCode(err) == pods.TooLarge {
			err = q.grow(ctx, missing) // the last bytes before the limit
		}
		if err != nil {
			return err
		}
	}
	q.taken += n
	return nil
}

func (q *quota) grow(ctx context.Context, bytes int64) error {
	if err := q.store.GrowVolume(ctx, q.volume.VolumeKey, q.volume.UID, bytes); err != nil {
		return err
	}
	q.held += bytes
	return nil
}

// settle leaves what the upload has added to the volume, and gives back the rest.
func (q *quota) settle(ctx context.Context, added int64) error {
	if q.held == added {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	// A file that became smaller gives back more than was taken.
	return q.store.GrowVolume(ctx, q.volume.VolumeKey, q.volume.UID, added-q.held)
}

func (k *Keeper) volumeLog(v pods.Volume) *slog.Logger {
	return k.log.With("tenant", v.Tenant, "kind", string(v.Kind), "volume_id", v.ID)
}
