package pods

import (
	"context"
	"io"
	"time"
)

// Cluster runs workloads: Kubernetes, or local processes for development. All
// methods are idempotent and safe for concurrent use; those that change
// something return when the cluster has accepted the wish, and the outcome is
// seen through Observe. An error with a code (see [Error]) tells the pod's
// owner what is wrong and is not worth retrying as it is when the code is
// Invalid; any other error is worth a retry.
type Cluster interface {
	// Admit reports whether the cluster could run w at all: its image, names,
	// ports, queue. The API calls it before it stores a pod. Invalid with the
	// reason if not.
	Admit(ctx context.Context, w Workload) error

	// Apply makes the cluster run w. It does nothing if the workload is there
	// already, running or not: a workload is never changed, only removed and
	// applied again.
	Apply(ctx context.Context, w Workload) error

	// Remove stops a pod and removes what makes it run, keeping its own storage
	// for the next start.
	Remove(ctx context.Context, k Key) error

	// Purge removes everything of a pod, storage included.
	Purge(ctx context.Context, k Key) error

	// Observe returns what the cluster knows of a pod, from a cache that events
	// keep fresh. The zero Observation (with Key set) means nothing is there.
	Observe(ctx context.Context, k Key) (Observation, error)

	// List returns an observation of every pod of this site that left anything in
	// the cluster, for the removal of orphans.
	List(ctx context.Context) ([]Observation, error)

	// Watch calls notify with the key of each pod whose observation may have
	// changed, until ctx ends. notify must not block.
	Watch(ctx context.Context, notify func(Key)) error

	// Logs returns the newest output of the pod's container, at most
	// [MaxLogBytes]; with follow, the stream goes on until the container ends or
	// ctx does. NotFound if there is no container and none has been; a followed
	// stream may say so at its first read.
	Logs(ctx context.Context, k Key, follow bool) (io.ReadCloser, error)

	// Exec runs argv in the pod's container, without shell, terminal or input.
	// NotFound if the container does not run.
	Exec(ctx context.Context, k Key, argv []string, stdout, stderr io.Writer) (exitCode int, err error)
}

// Workload is everything a cluster needs to run one pod: the effective
// definition with credentials filled in.
type Workload struct {
	Key
	UID  string
	Site string

	Image     string
	Command   []string // nil: the image's own
	Arguments []string // nil: the image's own
	// Env is the merged environment with placeholders replaced. Its values may
	// be secret: an adapter must not log them.
	Env map[string]string
	// Ports by networking key.
	Ports        map[string]Port
	Resources    Resources
	ComputeQueue string
	VolumeMounts map[string]VolumeMount
	Healthchecks *Healthchecks // nil: none
	Credentials  Credentials
}

// Port is one networking entry as the cluster sees it.
type Port struct {
	Protocol NetProtocol
	Number   int
}

// Phase is the coarse phase of an observed pod, in Kubernetes' words.
type Phase string

// The phases of an observed pod.
const (
	PhaseNone      Phase = "" // no pod
	PhasePending   Phase = "Pending"
	PhaseRunning   Phase = "Running"
	PhaseSucceeded Phase = "Succeeded"
	PhaseFailed    Phase = "Failed"
)

// Observation is what a cluster knows of one pod.
type Observation struct {
	Key
	UID string // of the pod whose objects these are

	// Present says that objects that make the pod run exist, in any phase.
	Present bool
	// Retained says that storage of the pod exists.
	Retained bool
	// Terminating says that the objects are being removed.
	Terminating bool
	// Foreign is set if an object that is not ours has the pod's name; it says
	// which. Nothing is done about such a pod.
	Foreign string

	Phase    Phase
	Instance string // identity of this run, "" without a container
	Ready    bool   // accepts traffic

	// Waiting is the reason the container does not run yet, for example
	// "ImagePullBackOff", with Message for the pod's owner. "" if it runs, or if
	// it waits for nothing but its creation.
	Waiting string
	// Terminated is the reason the container ended, for example "Error",
	// "OOMKilled", "Completed". "" if it did not.
	Terminated string
	ExitCode   int
	Message    string

	Restarts  int
	StartedAt *time.Time // of the container

	// Addresses to dial, "host:port", by networking key. Filled only while Ready.
	Addresses map[string][]string
}
