package pods

import (
	"context"
	"time"
)

// VolumeStore keeps volumes and snapshots, but not what is in them; see [Files].
// All methods are safe for concurrent use. Errors are as those of [Store].
type VolumeStore interface {
	// CreateVolume writes a volume, which gets Version 1 and State.Version 1.
	// Exists if the key is taken, with nothing written.
	CreateVolume(ctx context.Context, v Volume) error

	// Volume returns one volume. NotFound if there is none.
	Volume(ctx context.Context, k VolumeKey) (Volume, error)

	// Volumes returns the volumes a query selects, ordered by tenant and id.
	Volumes(ctx context.Context, q VolumeQuery) ([]Volume, error)

	// UpdateVolume writes Description, SizeLimit, Source.Cron,
	// Source.RetentionPolicy, Permissions and UpdatedAt of a volume that was read
	// at v.Version. Conflict if it was written meanwhile, NotFound if it is gone
	// or another volume (UID) has its key. Returns the volume as stored.
	UpdateVolume(ctx context.Context, v Volume) (Volume, error)

	// SaveVolumeState writes the state of a volume that was read at
	// v.State.Version and returns the version it has then. Size is written only
	// with another MeasuredAt: without measuring, GrowVolume knows better.
	// Conflict if the state was written meanwhile, NotFound if the volume is gone
	// or has another UID.
	SaveVolumeState(ctx context.Context, v Volume) (version int64, err error)

	// GrowVolume adds to the size of a volume, unless it would be more than the
	// volume's limit then: TooLarge, with nothing written. A negative number
	// always succeeds; no size is less than zero. NotFound if the volume is gone
	// or has another UID.
	GrowVolume(ctx context.Context, k VolumeKey, uid string, bytes int64) error

	// DeleteVolume removes a volume and leaves a tombstone. NotFound if it is gone
	// or has another UID; Conflict if a pod that is not STOPPED was bound to it
	// at its latest start ([BindingStore.SetBindings]).
	DeleteVolume(ctx context.Context, k VolumeKey, uid string, at time.Time) error

	// VolumesToDo returns volumes without a lease at a time that are unfinished,
	// or, if there is time for more, were last measured before another: the
	// unfinished and then the longest unmeasured first, at most limit.
	VolumesToDo(ctx context.Context, now, measuredBefore time.Time, limit int) ([]Volume, error)

	// AddVolumeUsage notes a measured size, of which the newest [MaxUsage] are
	// kept. It does nothing if the volume is gone or has another UID.
	AddVolumeUsage(ctx context.Context, k VolumeKey, uid string, size int64, at time.Time) error

	// VolumeUsage returns what was noted of one volume, newest first, at most
	// limit.
	VolumeUsage(ctx context.Context, k VolumeKey, limit int) ([]VolumeUsage, error)

	// Tombstones returns the tombstones of all deleted volumes, oldest first.
	Tombstones(ctx context.Context) ([]Tombstone, error)

	// DropTombstone forgets a tombstone; nothing happens if there is none.
	DropTombstone(ctx context.Context, uid string) error
}

// MaxUsage bounds the measured sizes that are kept of a volume.
const MaxUsage = 1000

// VolumeQuery selects volumes of one kind. The zero value but for Kind selects
// every one of the site.
type VolumeQuery struct {
	Kind   Kind
	Tenant string // "" means all tenants
	// User selects volumes on which the user, or "*", holds READ or more. ""
	// selects all.
	User  string
	Limit int // 0 means no limit
}

// BindingStore remembers with what a pod was started last, things outside of it
// among that. All methods are safe for concurrent use.
type BindingStore interface {
	// SetBindings replaces what a pod is bound to and the [Fingerprints] it is
	// started with, in one transaction. NotFound if the pod is gone or has another
	// UID, or a volume or snapshot is not there; the message names it.
	SetBindings(ctx context.Context, k Key, uid string, bs []Binding, fields map[string]string) error

	// Started returns the fingerprints that SetBindings wrote last; nil if there
	// are none.
	Started(ctx context.Context, k Key) (fields map[string]string, err error)

	// BoundPods returns the pods of a tenant that are bound to something, ordered
	// by id; with running only those that are not STOPPED.
	BoundPods(ctx context.Context, tenant string, b Binding, running bool) ([]ID, error)
}

// Binding is one thing outside of a pod that it uses: a volume, a snapshot, or a
// secret.
type Binding struct {
	Kind  Kind
	Owner string // of a secret; "" for others
	ID    string
}
