package api

import (
	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// maxEvents bounds the events that are shown of a pod.
const maxEvents = 500

// podEvents is what the cluster noted about a pod.
type podEvents struct {
	PodID  pods.ID     `json:"pod_id"`
	K8Name string      `json:"k8_name"` // of its objects in the cluster
	Status pods.Status `json:"status"`
	Events []podEvent  `json:"events"`

	// EphemeralConfigmaps is always empty: pods have no configuration files.
	EphemeralConfigmaps []string `json:"ephemeral_configmaps"`
}

// podEvent is one thing that happened to a pod in its cluster.
type podEvent struct {
	Type      string         `json:"type"`   // "Normal" or "Warning"
	Reason    string         `json:"reason"` // for example "FailedScheduling"
	Message   string         `json:"message"`
	Count     int            `json:"count"` // how often it happened
	FirstTime pods.Timestamp `json:"first_time"`
	LastTime  pods.Timestamp `json:"last_time"`
	Source    string         `json:"source"` // the part of the cluster that noted it
}

// getPodEvents answers with what the cluster noted about a pod, oldest first. A
// cluster that notes nothing has no events.
func (s *server) getPodEvents(r *request) (answer, error) {
	limit, err := r.queryInt("limit", 1, maxEvents)
	if err != nil {
		return answer{}, err
	}
	var events []pods.ClusterEvent
	if c, ok := s.Cluster.(pods.EventCluster); ok {
		if events, err = c.Events(r.Context(), r.pod.Key); err != nil {
			return answer{}, err
		}
	}
	if limit == 0 {
		limit = maxEvents
	}
	events = events[max(0, len(events)-limit):]
	result := podEvents{
		PodID: r.pod.ID, K8Name: pods.ObjectName(r.pod.Site, r.pod.Key), Status: shownStatus(r.pod),
		Events: make([]podEvent, 0, len(events)), EphemeralConfigmaps: []string{},
	}
	for _, e := range events {
		result.Events = append(result.Events, podEvent{
			Type: e.Type, Reason: e.Reason, Message: e.Message, Count: e.Count,
			FirstTime: pods.At(e.First), LastTime: pods.At(e.Last), Source: e.Source,
		})
	}
	return answer{message: "Pod events retrieved successfully.", result: result}, nil
}
