package pods

import (
	"context"

	"github.com/tapis-project/podway/routes"
)

// Store keeps the desired state and the reconciler's memory of it. All methods
// are safe for concurrent use. Errors are an [*Error] with the code each method
// names; anything else means the store itself failed.
//
// The suite in store/storetest is the executable form of these comments; every
// implementation runs it.
type Store interface {
	// CreatePod writes the pod, its credentials and its first event in one
	// transaction. The pod gets Version 1 and State.Version 1. Exists if the key
	// is taken, with nothing written.
	CreatePod(ctx context.Context, p Pod, c Credentials, first Event) error

	// Pod returns one pod. NotFound if there is none.
	Pod(ctx context.Context, k Key) (Pod, error)

	// Pods returns the pods a query selects, ordered by tenant and id.
	Pods(ctx context.Context, q PodQuery) ([]Pod, error)

	// UpdatePod writes the user's columns (Definition, Requested, Permissions,
	// UpdatedAt) of a pod that was read at p.Version and appends the events, in
	// one transaction. Conflict if the pod was written meanwhile, NotFound if it
	// is gone or another pod (UID) has its key. Returns the pod as stored.
	UpdatePod(ctx context.Context, p Pod, events ...Event) (Pod, error)

	// SetRequested changes Requested from one value to another for the
	// reconciler, without touching UpdatedAt, and appends the events. Conflict if
	// it is no longer from, NotFound if the pod is gone or has another UID.
	SetRequested(ctx context.Context, k Key, uid string, from, to Requested, events ...Event) error

	// SaveState writes the reconciler's columns of the pod read at
	// p.State.Version and appends the events, in one transaction. It leaves the
	// user's columns alone, except that it clears Definition.TimeToStopInstance
	// if clearInstance is set. Conflict if the state was written meanwhile,
	// NotFound if the pod is gone or has another UID.
	SaveState(ctx context.Context, p Pod, clearInstance bool, events ...Event) error

	// DeletePod removes the pod, its credentials, events and logs. NotFound if
	// there is none.
	DeletePod(ctx context.Context, k Key) error

	// Credentials returns the generated credentials of a pod. NotFound if there
	// is no such pod.
	Credentials(ctx context.Context, k Key) (Credentials, error)

	// Events returns the action log of a pod, oldest first, the newest
	// [MaxEvents] at most. An event whose text equals the one before it is not
	// stored again. NotFound if there is no such pod.
	Events(ctx context.Context, k Key) ([]Event, error)

	// SaveLogs replaces the kept output of a pod's container, of which the newest
	// [MaxLogBytes] are kept. Logs returns it, "" if there is none.
	SaveLogs(ctx context.Context, k Key, uid string, logs []byte) error
	Logs(ctx context.Context, k Key) ([]byte, error)

	// Ping reports whether the store answers.
	Ping(ctx context.Context) error
}

// MaxLogBytes bounds the container output that is kept for a pod.
const MaxLogBytes = 10 << 20

// MaxEvents bounds the action log that is returned for a pod.
const MaxEvents = 500

// PodQuery selects pods. The zero value selects every pod of the site.
type PodQuery struct {
	Tenant string // "" means all tenants
	// User selects pods on which the user, or "*", holds READ or more. "" selects
	// all.
	User   string
	After  ID  // with Tenant: only ids greater than this
	Offset int // with Limit: passes over so many
	Limit  int // 0 means no limit
}

// Routes is where the reconciler publishes what the edges shall serve.
// redisroutes.Publisher implements it.
type Routes interface {
	// SetPod makes the published routes of a pod exactly these. Routes that are
	// published already, apart from their Version, are not written again.
	SetPod(ctx context.Context, tenant, pod string, rs []routes.Route) error

	// Pods lists the pods that have a published route, for the removal of orphans.
	Pods(ctx context.Context) ([]routes.PodRef, error)
}
