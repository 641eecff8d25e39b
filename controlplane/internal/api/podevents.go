package api

import (
	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// podEvent is one thing that happened to a pod in its cluster.
type podEvent struct {
	Type    string         `json:"type"`   // "Normal" or "Warning"
	Reason  string         `json:"reason"` // for example "FailedScheduling"
	Message string         `json:"message"`
	Count   int            `json:"count"` // how often it happened
	FirstTS pods.Timestamp `json:"first_ts"`
	LastTS  pods.Timestamp `json:"last_ts"`
	Source  string         `json:"source"` // the part of the cluster that noted it
}

// getPodEvents answers with what the cluster noted about a pod, oldest first. A
// cluster that notes nothing has no events.
func (s *server) getPodEvents(r *request) (answer, error) {
	list := []podEvent{}
	if c, ok := s.Cluster.(pods.EventCluster); ok {
		events, err := c.Events(r.Context(), r.pod.Key)
		if err != nil {
			return answer{}, err
		}
		for _, e := range events {
			list = append(list, podEvent{
				Type: e.Type, Reason: e.Reason, Message: e.Message, Count: e.Count,
				FirstTS: pods.At(e.First), LastTS: pods.At(e.Last), Source: e.Source,
			})
		}
	}
	return answer{message: "Pod events retrieved successfully.", result: list}, nil
}
