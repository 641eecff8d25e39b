package pods

import (
	"slices"
	"time"
)

// VolumeKey names a volume or snapshot within the site.
type VolumeKey struct {
	Kind   Kind // KindVolume or KindSnapshot
	Tenant string
	ID     string
}

// String returns "tenant/volumes/id" or "tenant/snapshots/id": where the files
// are, below the root of all files. Clusters mount that folder.
func (k VolumeKey) String() string { return k.Tenant + "/" + string(k.Kind) + "s/" + k.ID }

// Volume is a folder of files that pods mount and that outlives them: a volume,
// or a snapshot, which is a copy of a part of a volume that nobody changes. As
// with a [Pod], what users set and what the service remembers are written apart.
type Volume struct {
	VolumeKey

	// UID names this volume among all that ever had its key.
	UID string

	Owner       string // who created it
	Description string
	SizeLimit   int             // MiB
	Source      *SnapshotSource // nil for volumes
	Permissions Permissions
	Version     int64 // grows with each user write; for optimistic locking
	CreatedAt   time.Time
	UpdatedAt   time.Time // moved by user writes only

	State VolumeState
}

// SnapshotSource is what a snapshot is a copy of, and what its owner wants of it.
type SnapshotSource struct {
	Volume      string // id of the volume
	Path        string // in it, as the user gave it; see ParsePath
	Destination string // in the snapshot, likewise; "" is its root

	// Cron and RetentionPolicy are kept for clients; nothing acts on them.
	Cron            string
	RetentionPolicy string
}

// VolumeState is what the service remembers of a volume.
type VolumeState struct {
	Status  Status // StatusRequested, StatusCreating, StatusAvailable or StatusError
	Message string // why it is in StatusError, for its owner

	Size       int64      // bytes, as measured last and uploaded since
	MeasuredAt *time.Time // nil: never

	Copied   int64 // bytes of a snapshot that is being made
	Attempts int   // failed attempts to make it

	// LeaseUntil is when whoever works on the volume counts as dead unless heard
	// of again. Nil: nobody does.
	LeaseUntil *time.Time

	Version int64 // grows with each write of the state, but not with GrowVolume
}

// bytesPerMB is what the API calls a MB: 1 MiB, as for memory.
const bytesPerMB = 1 << 20

// LimitBytes returns the size limit in bytes.
func (v Volume) LimitBytes() int64 { return int64(v.SizeLimit) * bytesPerMB }

// OverLimit reports whether the volume holds more than its limit: pods that
// mount it are not kept from writing.
func (v Volume) OverLimit() bool { return v.State.Size > v.LimitBytes() }

// sizeMB returns a size as the API shows it: rounded up, so that only what is
// empty has none.
func sizeMB(bytes int64) int64 { return (bytes + bytesPerMB - 1) / bytesPerMB }

// Tombstone remembers a deleted volume until its files are gone for good.
type Tombstone struct {
	VolumeKey
	UID       string
	DeletedAt time.Time
}

// VolumeUsage is the size of a volume as it was measured once.
type VolumeUsage struct {
	VolumeKey
	Size       int64 // bytes
	SizeLimit  int   // MiB, now
	MeasuredAt time.Time
}

// OverLimit reports whether the volume held more than its limit of now.
func (u VolumeUsage) OverLimit() bool { return u.Size > int64(u.SizeLimit)*bytesPerMB }

// needed is the level that a mount takes: who mounts a volume can write to it.
func (k VolumeKey) needed() Level {
	if k.Kind == KindSnapshot {
		return LevelRead
	}
	return LevelUser
}

// reservedVolumeIDs stand where an id stands in a path of the API.
var reservedVolumeIDs = []string{"usage"}

// NotFound returns the error that says that there is no such volume.
func (k VolumeKey) NotFound() *Error {
	if k.Kind == KindSnapshot {
		return Errorf(NotFound, "Snapshot with identifier snapshot_id: '%s' not found", clip(k.ID))
	}
	return Errorf(NotFound, "Volume with identifier volume_id: '%s' not found", clip(k.ID))
}

// Mountable reports whether pods can mount the volume, and its files be read.
func (v Volume) Mountable() bool { return v.State.Status == StatusAvailable }

// Unfinished reports whether the volume's folder is still to be made.
func (v Volume) Unfinished() bool {
	return slices.Contains([]Status{StatusRequested, StatusCreating}, v.State.Status)
}
