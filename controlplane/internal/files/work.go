package files

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// maxAttempts is how often a copy that failed for a reason of ours is tried.
const maxAttempts = 5

// Run finishes volumes, copies snapshots, measures sizes and deletes what is past
// its grace period, until ctx ends. What is cut off then, the next run goes on
// with.
func (k *Keeper) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for range k.options.Copies {
		wg.Go(func() { k.repeat(ctx, "finishing volumes", k.wake, k.options.Poll, k.finishOne) })
	}
	// Not every volume is due at the same time, so this looks more often.
	sweep := min(k.options.Poll, k.options.MeasureEvery)
	wg.Go(func() { k.repeat(ctx, "measuring volumes", nil, sweep, k.measureOne) })
	wg.Go(func() { k.repeat(ctx, "removing deleted volumes", nil, k.options.Poll, k.clearTombstones) })
	wg.Wait()
	return nil
}

// repeat calls work as long as it finds some, then waits for a wake-up or the next
// poll.
func (k *Keeper) repeat(ctx context.Context, task string, wake <-chan struct{}, every time.Duration, work func(context.Context) (bool, error)) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-wake:
		case <-timer.C:
		}
		for more := true; more && ctx.Err() == nil; {
			var err error
			if more, err = k.guarded(ctx, work); err != nil && ctx.Err() == nil {
				k.log.ErrorContext(ctx, "background work on volumes failed", "task", task, "error", err)
				more = false
			}
		}
		timer.Reset(every)
	}
}

// guarded is work, once the tree can be used.
func (k *Keeper) guarded(ctx context.Context, work func(context.Context) (bool, error)) (bool, error) {
	if err := k.prepare(ctx); err != nil {
		return false, err
	}
	return work(ctx)
}

// finishOne makes the folder of one unfinished volume. It reports whether there
// was one.
func (k *Keeper) finishOne(ctx context.Context) (bool, error) {
	todo, err := k.store.VolumesToDo(ctx, k.now(), time.Time{}, 2*k.options.Copies)
	if err != nil {
		return false, err
	}
	for _, v := range todo {
		if !v.Unfinished() {
			continue
		}
		leased, ok, err := k.lease(ctx, v)
		if err != nil {
			return false, err
		}
		if ok {
			defer k.workEnded(v.UID)
			return true, k.work(ctx, leased)
		}
	}
	return false, nil
}

// lease takes a volume to work on. False if another process has it, or it is gone.
func (k *Keeper) lease(ctx context.Context, v pods.Volume) (pods.Volume, bool, error) {
	v.State.LeaseUntil = new(k.now().Add(k.options.Lease))
	if v.Unfinished() {
		v.State.Status = pods.StatusCreating
	}
	version, err := k.store.SaveVolumeState(ctx, v)
	switch pods.ErrorCode(err) {
	case "":
		v.State.Version = version
		return v, true, nil
	case pods.Conflict, pods.NotFound:
		return v, false, nil
	default:
		return v, false, err
	}
}

// errLost says that another process took a volume over, or that it was deleted.
var errLost = errors.New("the volume is no longer ours to work on")

// renew keeps a lease that is half over, and notes the progress.
func (k *Keeper) renew(ctx context.Context, v *pods.Volume) error {
	if v.State.LeaseUntil.Sub(k.now()) > k.options.Lease/2 {
		return nil
	}
	leased, ok, err := k.lease(ctx, *v)
	if err != nil {
		return err
	}
	if !ok {
		return errLost
	}
	*v = leased
	return nil
}

// work makes the folder of a volume that was leased and notes what came of it.
func (k *Keeper) work(ctx context.Context, v pods.Volume) error {
	var err error
	if v.Kind == pods.KindSnapshot {
		err = k.copySnapshot(ctx, &v)
	} else {
		err = k.makeFolder(ctx, v)
	}
	switch {
	case err == nil:
		v, err = k.finish(ctx, v)
		if err == nil {
			k.volumeLog(v).InfoContext(ctx, "volume made", "bytes", v.State.Size)
		}
		return ignoreLost(err)
	case errors.Is(err, errLost):
		return nil
	case ctx.Err() != nil:
		// Another process may go on at once.
		v.State.LeaseUntil = nil
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_, err = k.store.SaveVolumeState(ctx, v)
		return ignoreLost(err)
	default:
		return ignoreLost(k.failed(ctx, v, err))
	}
}

// ignoreLost turns the store's word that a volume is another's or gone into nil.
func ignoreLost(err error) error {
	if code := pods.ErrorCode(err); code == pods.Conflict || code == pods.NotFound {
		return nil
	}
	return err
}

// finish makes a volume AVAILABLE.
func (k *Keeper) finish(ctx context.Context, v pods.Volume) (pods.Volume, error) {
	v.State.Status, v.State.Message, v.State.LeaseUntil = pods.StatusAvailable, "", nil
	v.State.MeasuredAt = new(k.now())
	version, err := k.store.SaveVolumeState(ctx, v)
	v.State.Version = version
	return v, err
}

// failed notes that a volume could not be made: for good if its owner can be told
// why, else it is tried again later.
func (k *Keeper) failed(ctx context.Context, v pods.Volume, cause error) error {
	v.State.Attempts++
	log := k.volumeLog(v)
	e, told := errors.AsType[*pods.Error](cause)
	switch {
	case told && e.Code != pods.Unavailable:
		v.State.Status, v.State.Message, v.State.LeaseUntil = pods.StatusError, e.Messages[0], nil
		log.InfoContext(ctx, "volume can't be made", "error", cause)
	case v.State.Attempts >= maxAttempts:
		v.State.Status, v.State.Message, v.State.LeaseUntil = pods.StatusError,
			"An internal error, which the administrators find in the log. Delete it and try again later.", nil
		log.ErrorContext(ctx, "making a volume failed", "attempt", v.State.Attempts, "error", cause)
	default:
		v.State.LeaseUntil = new(k.now().Add(k.options.Lease << (v.State.Attempts - 1)))
		log.WarnContext(ctx, "making a volume failed; it is tried again", "attempt", v.State.Attempts, "error", cause)
	}
	_, err := k.store.SaveVolumeState(ctx, v)
	return err
}

// makeFolder makes the folder of a volume, after that of an earlier one with the
// same id was taken out of reach.
func (k *Keeper) makeFolder(ctx context.Context, v pods.Volume) error {
	if err := k.prepare(ctx); err != nil {
		return err
	}
	err := k.tree.create(v.VolumeKey, v.UID)
	if pods.ErrorCode(err) != pods.Conflict {
		return err
	}
	if err := k.buryEarlier(ctx, v.VolumeKey); err != nil {
		return err
	}
	return k.tree.create(v.VolumeKey, v.UID)
}

// buryEarlier takes the folders of deleted volumes with a key out of reach.
func (k *Keeper) buryEarlier(ctx context.Context, key pods.VolumeKey) error {
	stones, err := k.store.Tombstones(ctx)
	if err != nil {
		return err
	}
	for _, t := range stones {
		if t.VolumeKey == key {
			if err := k.tree.bury(t.VolumeKey, t.UID); err != nil {
				return err
			}
		}
	}
	return nil
}

// copySnapshot copies what a snapshot shall hold.
func (k *Keeper) copySnapshot(ctx context.Context, v *pods.Volume) error {
	job, err := k.copyJob(ctx, *v)
	if err != nil {
		return err
	}
	job.progress = func(bytes int64) error {
		v.State.Copied = bytes
		return k.renew(ctx, v)
	}
	err = k.tree.copy(ctx, job)
	if pods.ErrorCode(err) == pods.Conflict {
		if err := k.buryEarlier(ctx, v.VolumeKey); err != nil {
			return err
		}
		err = k.tree.copy(ctx, job)
	}
	if err == nil && job.bytes > 0 {
		v.State.Size, v.State.Copied = job.bytes, job.bytes
	}
	return err
}

// copyJob says what is to be copied for a snapshot.
func (k *Keeper) copyJob(ctx context.Context, v pods.Volume) (*copyJob, error) {
	if v.Source == nil {
		return nil, fmt.Errorf("snapshot %s has no source", v.VolumeKey)
	}
	from, err := pods.ParsePath(v.Source.Path)
	if err != nil {
		return nil, err
	}
	to, err := pods.ParsePath(v.Source.Destination)
	if err != nil {
		return nil, err
	}
	source, err := k.store.Volume(ctx, pods.VolumeKey{Kind: pods.KindVolume, Tenant: v.Tenant, ID: v.Source.Volume})
	if err != nil {
		return nil, err
	}
	if err := usable(source); err != nil {
		return nil, err
	}
	return &copyJob{
		source: source.VolumeKey, sourceUID: source.UID, from: from,
		target: v.VolumeKey, targetUID: v.UID, to: to, limit: v.LimitBytes(),
	}, nil
}

// measureOne measures the volume that was not measured for the longest time, if
// that is due. It reports whether there was one.
func (k *Keeper) measureOne(ctx context.Context) (bool, error) {
	now := k.now()
	todo, err := k.store.VolumesToDo(ctx, now, now.Add(-k.options.MeasureEvery), 100)
	if err != nil {
		return false, err
	}
	for _, v := range todo {
		if !v.Mountable() {
			continue
		}
		leased, ok, err := k.lease(ctx, v)
		if err != nil {
			return false, err
		}
		if ok {
			return true, ignoreLost(k.measure(ctx, leased))
		}
	}
	return false, nil
}

// measure notes the size of a volume that was leased. One that can't be measured
// is tried again when it is due next.
func (k *Keeper) measure(ctx context.Context, v pods.Volume) error {
	size, err := k.tree.measure(ctx, v.VolumeKey, v.UID, k.now(), func() error { return k.renew(ctx, &v) })
	switch {
	case errors.Is(err, errLost):
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		k.volumeLog(v).WarnContext(ctx, "measuring a volume failed", "error", err)
		v.State.LeaseUntil = new(k.now().Add(k.options.MeasureEvery))
	default:
		v.State.Size, v.State.MeasuredAt, v.State.LeaseUntil = size, new(k.now()), nil
		if err := k.store.AddVolumeUsage(ctx, v.VolumeKey, v.UID, size, k.now()); err != nil {
			return err
		}
	}
	_, err = k.store.SaveVolumeState(ctx, v)
	return err
}

// clearTombstones takes deleted volumes out of reach, and deletes those whose
// grace period is over. It never reports more: one look sees all.
func (k *Keeper) clearTombstones(ctx context.Context) (bool, error) {
	stones, err := k.store.Tombstones(ctx)
	if err != nil {
		return false, err
	}
	var errs []error
	for _, t := range stones {
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		// One that fails must not keep the others.
		errs = append(errs, k.clearTombstone(ctx, t))
	}
	return false, errors.Join(errs...)
}

func (k *Keeper) clearTombstone(ctx context.Context, t pods.Tombstone) error {
	if err := k.tree.bury(t.VolumeKey, t.UID); err != nil {
		return err
	}
	if k.now().Sub(t.DeletedAt) < k.options.Grace {
		return nil
	}
	if err := k.tree.purge(t.UID); err != nil {
		return err
	}
	k.log.InfoContext(ctx, "files of a deleted volume removed", "tenant", t.Tenant, "kind", string(t.Kind), "volume_id", t.ID)
	return k.store.DropTombstone(ctx, t.UID)
}
