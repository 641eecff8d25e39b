package importer

import (
	"cmp"
	"context"
	"fmt"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// importVolumes imports volumes, without their files.
func (r *run) importVolumes(ctx context.Context, schema string) error {
	return eachRow(ctx, r, schema, "volume", func(tenant string, row volumeRow) error {
		n, err := pods.DecodeNewVolume(body(fields{
			"volume_id": row.VolumeID, "description": row.Description, "size_limit": cmp.Or(row.SizeLimit, defaultSize),
		}), r.Settings)
		v := r.volume(pods.KindVolume, tenant, row.VolumeID, row.common, row.Size)
		v.Description, v.SizeLimit = n.Description, n.SizeLimit
		return r.importVolume(ctx, v, row.common, row.Status, err)
	})
}

// defaultSize is the limit of a volume that has none, in MiB.
const defaultSize = 1024

// importSnapshots imports snapshots, without their files.
func (r *run) importSnapshots(ctx context.Context, schema string) error {
	return eachRow(ctx, r, schema, "snapshot", func(tenant string, row snapshotRow) error {
		n, err := pods.DecodeNewSnapshot(body(fields{
			"snapshot_id": row.SnapshotID, "source_volume_id": row.SourceVolumeID, "source_volume_path": row.SourceVolumePath,
			"destination_path": row.DestinationPath, "description": row.Description, "size_limit": cmp.Or(row.SizeLimit, defaultSize),
			"cron": row.Cron, "retention_policy": row.RetentionPolicy,
		}))
		v := r.volume(pods.KindSnapshot, tenant, row.SnapshotID, row.common, row.Size)
		v.Description, v.SizeLimit = n.Description, n.SizeLimit
		v.Source = &pods.SnapshotSource{
			Volume: n.SourceVolume, Path: n.SourcePath, Destination: n.Destination, Cron: n.Cron, RetentionPolicy: n.RetentionPolicy,
		}
		return r.importVolume(ctx, v, row.common, row.Status, err)
	})
}

// volume makes what volumes and snapshots have in common. Their folders are there:
// both services have them in the same places of the shared files.
func (r *run) volume(k pods.Kind, tenant, id string, row common, sizeMB int64) pods.Volume {
	v := pods.Volume{
		VolumeKey: pods.VolumeKey{Kind: k, Tenant: tenant, ID: id},
		UID:       uid(string(k), tenant, id, row.CreationTS.Time), Owner: owner(row.Permissions),
		State: pods.VolumeState{Status: pods.StatusAvailable, Size: sizeMB << 20},
	}
	v.CreatedAt, v.UpdatedAt = row.times(r.Now().UTC())
	return v
}

// importVolume imports a volume or snapshot, unless invalid says what is wrong
// with it.
func (r *run) importVolume(ctx context.Context, v pods.Volume, row common, status string, invalid error) error {
	item := Item{Kind: string(v.Kind), Tenant: v.Tenant, ID: v.ID, Outcome: Imported}
	v.Permissions = permissions(row.Permissions, &item)
	if invalid == nil && status != string(pods.StatusAvailable) {
		invalid = pods.Errorf(pods.Invalid, "its status is %s: it may have no files", cmp.Or(status, "empty"))
	}
	if invalid != nil {
		item, err := skip(item, invalid)
		r.report.add(item)
		return err
	}
	stored, err := r.store.Volume(ctx, v.VolumeKey)
	switch {
	case err == nil:
		item = taken(item, stored.UID == v.UID)
	case pods.ErrorCode(err) != pods.NotFound:
		return err
	case !r.DryRun:
		if err := r.store.CreateVolume(ctx, v); err != nil {
			return err
		}
	}
	if item.Outcome != Skipped {
		r.volumes[v.VolumeKey] = v
		r.adopt(v, &item)
	}
	r.report.add(item)
	return nil
}

// adopt gives a volume its folder. What goes wrong is noted: the next import tries
// again.
func (r *run) adopt(v pods.Volume, item *Item) {
	if r.Adopt == nil || r.DryRun {
		return
	}
	found, err := r.Adopt(v.VolumeKey, v.UID)
	switch {
	case err != nil:
		item.Notes = append(item.Notes, "its files can't be used: "+reason(err))
	case !found:
		item.Notes = append(item.Notes, fmt.Sprintf("its files are not there: put them into %s of the shared files, and import again.", v.VolumeKey))
	}
}

// mountable reports whether a user may mount a volume, of those that are imported
// or there.
func (r *run) mountable(ctx context.Context, k pods.VolumeKey, user string) (bool, error) {
	v, ok := r.volumes[k]
	if !ok {
		var err error
		if v, err = r.store.Volume(ctx, k); pods.ErrorCode(err) == pods.NotFound {
			return false, nil
		} else if err != nil {
			return false, err
		}
	}
	level := pods.LevelUser
	if k.Kind == pods.KindSnapshot {
		level = pods.LevelRead
	}
	return v.Permissions.Level(user).Includes(level), nil
}
