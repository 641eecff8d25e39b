package pods

import (
	"context"
	"time"
)

// EventCluster is a [Cluster] that can also tell what happened to a pod on its
// way: pulls, scheduling, probes. It is safe for concurrent use.
type EventCluster interface {
	// Events returns what the cluster noted about a pod, oldest first; it forgets
	// after a while, Kubernetes after an hour. Empty if there is nothing.
	Events(ctx context.Context, k Key) ([]ClusterEvent, error)
}

// ClusterEvent is one thing that happened to a pod, or happened again and again.
type ClusterEvent struct {
	Type    string // "Normal" or "Warning"
	Reason  string // for example "FailedScheduling"
	Message string // for the pod's owner
	Count   int    // how often it happened
	First   time.Time
	Last    time.Time
	Source  string // the part of the cluster that noted it
}
