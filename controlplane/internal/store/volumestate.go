package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// timeUnlessZero is fromMicros, nil for 0.
func timeUnlessZero(us int64) *time.Time {
	if us == 0 {
		return nil
	}
	return new(fromMicros(us))
}

// microsOrZero is the inverse of timeUnlessZero.
func microsOrZero(t *time.Time) int64 {
	if t == nil {
		return 0
	}
	return t.UnixMicro()
}

func insertVolumeState(ctx context.Context, tx *sql.Tx, k pods.VolumeKey, st pods.VolumeState) error {
	_, err := tx.ExecContext(ctx, `
		insert into volume_state (kind, tenant, volume_id, status, message, size, measured_at, copied, attempts,
			lease_until, version)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
		k.Kind, k.Tenant, k.ID, st.Status, cleanText(st.Message), st.Size, microsOrZero(st.MeasuredAt), st.Copied, st.Attempts,
		microsOrZero(st.LeaseUntil), st.Version)
	if err != nil {
		return fmt.Errorf("inserting state: %w", err)
	}
	return nil
}

// SaveVolumeState writes the state of a volume.
func (s *Store) SaveVolumeState(ctx context.Context, v pods.Volume) (version int64, err error) {
	st := v.State
	err = s.writeVolume(ctx, v.VolumeKey, v.UID, func(tx *sql.Tx, _ int64) error {
		res, err := tx.ExecContext(ctx, `
			update volume_state set status = $4, message = $5, copied = $8, attempts = $9, lease_until = $10,
				size = case when measured_at = $7 then size else $6 end, measured_at = $7, version = version + 1
			where kind = $1 and tenant = $2 and volume_id = $3 and version = $11`,
			v.Kind, v.Tenant, v.ID, st.Status, cleanText(st.Message), st.Size, microsOrZero(st.MeasuredAt), st.Copied, st.Attempts,
			microsOrZero(st.LeaseUntil), st.Version)
		if err != nil {
			return fmt.Errorf("updating state: %w", err)
		}
		return orNoRow(res, volumeConflict(v.VolumeKey))
	})
	if err != nil {
		return 0, doing("saving state of", v.VolumeKey, err)
	}
	return st.Version + 1, nil
}

// GrowVolume adds to the size of a volume.
func (s *Store) GrowVolume(ctx context.Context, k pods.VolumeKey, uid string, bytes int64) error {
	err := s.writeVolume(ctx, k, uid, func(tx *sql.Tx, _ int64) error {
		size, limit, err := volumeSize(ctx, tx, k)
		if err != nil {
			return err
		}
		if bytes > 0 && size+bytes > limit {
			return pods.Errorf(pods.TooLarge, "The %s '%s' has a size_limit of %d MB and holds %d MB: there is no room for this.",
				k.Kind, k.ID, limit>>20, (size+1<<20-1)>>20)
		}
		_, err = tx.ExecContext(ctx, `
			update volume_state set size = $4 where kind = $1 and tenant = $2 and volume_id = $3`,
			k.Kind, k.Tenant, k.ID, max(0, size+bytes))
		return err
	})
	return doing("adding to the size of", k, err)
}

// volumeSize returns the size and the limit of a volume whose row is held, in
// bytes.
func volumeSize(ctx context.Context, tx *sql.Tx, k pods.VolumeKey) (size, limit int64, err error) {
	var mb int64
	err = tx.QueryRowContext(ctx, `
		select s.size, v.size_limit
		from volumes v join volume_state s on s.kind = v.kind and s.tenant = v.tenant and s.volume_id = v.id
		where v.kind = $1 and v.tenant = $2 and v.id = $3`, k.Kind, k.Tenant, k.ID).Scan(&size, &mb)
	return size, mb << 20, err
}

// DeleteVolume removes a volume and leaves a tombstone. The row of the volume is
// held, so that no pod is bound to it meanwhile.
func (s *Store) DeleteVolume(ctx context.Context, k pods.VolumeKey, uid string, at time.Time) error {
	err := s.writeVolume(ctx, k, uid, func(tx *sql.Tx, _ int64) error {
		running, err := s.selectBound(ctx, tx, k.Tenant, pods.Binding{Kind: k.Kind, ID: k.ID}, true)
		if err != nil {
			return fmt.Errorf("looking for pods: %w", err)
		}
		if len(running) > 0 {
			return mountedText(k, running)
		}
		_, err = tx.ExecContext(ctx, "delete from volumes where kind = $1 and tenant = $2 and id = $3", k.Kind, k.Tenant, k.ID)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `
			insert into volume_tombstones (uid, kind, tenant, volume_id, deleted_at) values ($1, $2, $3, $4, $5)`,
			uid, k.Kind, k.Tenant, k.ID, at.UnixMicro())
		return err
	})
	return doing("deleting", k, err)
}

// VolumesToDo returns the volumes that there is something to do for.
func (s *Store) VolumesToDo(ctx context.Context, now, measuredBefore time.Time, limit int) ([]pods.Volume, error) {
	var vs []pods.Volume
	err := s.read(ctx, func() (err error) {
		// Two statements, each of which one index answers.
		vs, err = queryAll(ctx, s.reader, scanVolume, s.engine.selectVolumes()+`
			where s.status in ('REQUESTED', 'CREATING') and s.lease_until < $1
			order by v.created_at, v.tenant, v.id limit $2`, now.UnixMicro(), limit)
		if err != nil || len(vs) == limit {
			return err
		}
		due, err := queryAll(ctx, s.reader, scanVolume, s.engine.selectVolumes()+`
			where s.status = 'AVAILABLE' and s.measured_at < $2 and s.lease_until < $1
			order by s.measured_at, v.tenant, v.id limit $3`, now.UnixMicro(), measuredBefore.UnixMicro(), limit-len(vs))
		vs = append(vs, due...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("looking for volumes to work on: %w", err)
	}
	return vs, nil
}

// AddVolumeUsage notes a measured size.
func (s *Store) AddVolumeUsage(ctx context.Context, k pods.VolumeKey, uid string, size int64, at time.Time) error {
	err := s.writeVolume(ctx, k, uid, func(tx *sql.Tx, _ int64) error {
		_, err := tx.ExecContext(ctx, `
			insert into volume_usage (kind, tenant, volume_id, measured_at, size) values ($1, $2, $3, $4, $5)
			on conflict (kind, tenant, volume_id, measured_at) do update set size = excluded.size`,
			k.Kind, k.Tenant, k.ID, at.UnixMicro(), size)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `
			delete from volume_usage where kind = $1 and tenant = $2 and volume_id = $3 and measured_at <= (
				select measured_at from volume_usage where kind = $1 and tenant = $2 and volume_id = $3
				order by measured_at desc limit 1 offset $4
			)`, k.Kind, k.Tenant, k.ID, pods.MaxUsage)
		return err
	})
	if pods.ErrorCode(err) == pods.NotFound {
		return nil
	}
	return doing("noting the size of", k, err)
}

// VolumeUsage returns what was noted of a volume, newest first.
func (s *Store) VolumeUsage(ctx context.Context, k pods.VolumeKey, limit int) ([]pods.VolumeUsage, error) {
	if !storableVolume(k) {
		return nil, nil
	}
	var us []pods.VolumeUsage
	err := s.read(ctx, func() (err error) {
		us, err = queryAll(ctx, s.reader, scanUsage, `
			select u.kind, u.tenant, u.volume_id, u.size, v.size_limit, u.measured_at
			from volume_usage u join volumes v on v.kind = u.kind and v.tenant = u.tenant and v.id = u.volume_id
			where u.kind = $1 and u.tenant = $2 and u.volume_id = $3
			order by u.measured_at desc limit $4`, k.Kind, k.Tenant, k.ID, limit)
		return err
	})
	return us, doing("reading sizes of", k, err)
}

func scanUsage(row scanner) (pods.VolumeUsage, error) {
	var u pods.VolumeUsage
	var measured int64
	err := row.Scan(&u.Kind, &u.Tenant, &u.ID, &u.Size, &u.SizeLimit, &measured)
	u.MeasuredAt = fromMicros(measured)
	return u, err
}

// Tombstones returns the tombstones of all deleted volumes, oldest first.
func (s *Store) Tombstones(ctx context.Context) ([]pods.Tombstone, error) {
	var ts []pods.Tombstone
	err := s.read(ctx, func() (err error) {
		ts, err = queryAll(ctx, s.reader, scanTombstone,
			"select kind, tenant, volume_id, uid, deleted_at from volume_tombstones order by deleted_at, uid")
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading tombstones: %w", err)
	}
	return ts, nil
}

func scanTombstone(row scanner) (pods.Tombstone, error) {
	var t pods.Tombstone
	var deleted int64
	err := row.Scan(&t.Kind, &t.Tenant, &t.ID, &t.UID, &deleted)
	t.DeletedAt = fromMicros(deleted)
	return t, err
}

// DropTombstone forgets a tombstone.
func (s *Store) DropTombstone(ctx context.Context, uid string) error {
	err := s.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "delete from volume_tombstones where uid = $1", uid)
		return err
	})
	return doing("forgetting the deleted volume", uid, err)
}
