package api

import (
	"slices"
	"strings"

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

	// EphemeralConfigmaps are the configuration files of the pod's definition.
	EphemeralConfigmaps []podConfigFile `json:"ephemeral_configmaps"`
}

// podConfigFile is a configuration file of a pod. It is part of a Secret, which is
// there as long as the pod is.
type podConfigFile struct {
	MountPath          string `json:"mount_path"`
	ConfigmapName      string `json:"configmap_name"` // begins the Secret's name; its end changes with the content
	ExistsInK8s        bool   `json:"exists_in_k8s"`
	ConfigContentBytes int    `json:"config_content_bytes"`
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
		Events: make([]podEvent, 0, len(events)), EphemeralConfigmaps: s.configFiles(r),
	}
	for _, e := range events {
		result.Events = append(result.Events, podEvent{
			Type: e.Type, Reason: e.Reason, Message: e.Message, Count: e.Count,
			FirstTime: pods.At(e.First), LastTime: pods.At(e.Last), Source: e.Source,
		})
	}
	return answer{message: "Pod events retrieved successfully.", result: result}, nil
}

// configFiles lists the configuration files of a pod, in order of their paths.
// One whose definition has become invalid has none.
func (s *server) configFiles(r *request) []podConfigFile {
	files := []podConfigFile{}
	e, err := s.shown(r.who.Tenant, r.pod)
	if err != nil {
		return files
	}
	for _, m := range e.VolumeMounts {
		if m.IsConfig() {
			files = append(files, podConfigFile{
				MountPath: m.ConfigPath(), ConfigmapName: pods.ObjectName(r.pod.Site, r.pod.Key),
				ExistsInK8s: r.pod.State.Container != (pods.ContainerStatus{}), ConfigContentBytes: len(m.ConfigContent),
			})
		}
	}
	slices.SortFunc(files, func(a, b podConfigFile) int { return strings.Compare(a.MountPath, b.MountPath) })
	return files
}
