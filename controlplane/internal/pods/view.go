package pods

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

// timestampLayout is ISO 8601 in UTC with microseconds and without a zone, as
// clients expect it.
const timestampLayout = "2006-01-02T15:04:05.000000"

// Timestamp is a point in time as the API writes it:
// "2025-07-21T17:35:06.723000", always UTC. The zero value is null.
type Timestamp struct{ t time.Time }

// At returns t as a Timestamp, in UTC and cut to microseconds.
func At(t time.Time) Timestamp { return Timestamp{t.UTC().Truncate(time.Microsecond)} }

// AtPtr is [At] for an optional time; nil gives the zero value.
func AtPtr(t *time.Time) Timestamp {
	if t == nil {
		return Timestamp{}
	}
	return At(*t)
}

// Time returns the point in time, in UTC.
func (t Timestamp) Time() time.Time { return t.t }

// IsZero reports whether t is unset.
func (t Timestamp) IsZero() bool { return t.t.IsZero() }

// String returns the wire form, "" if unset.
func (t Timestamp) String() string {
	if t.IsZero() {
		return ""
	}
	return t.t.Format(timestampLayout)
}

// MarshalJSON writes the wire form, or null.
func (t Timestamp) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	return json.Marshal(t.String())
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (t *Timestamp) UnmarshalJSON(b []byte) error {
	var s *string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("reading timestamp: %w", err)
	}
	if s == nil {
		*t = Timestamp{}
		return nil
	}
	parsed, err := time.Parse(timestampLayout, *s)
	if err != nil {
		return fmt.Errorf("reading timestamp: %w", err)
	}
	*t = At(parsed)
	return nil
}

// View is a pod as the API shows it. Make one with [NewView].
type View struct {
	PodID                ID                     `json:"pod_id"`
	Image                string                 `json:"image"`
	Template             string                 `json:"template"`
	Description          string                 `json:"description"`
	Command              []string               `json:"command"`   // null: the image's own
	Arguments            []string               `json:"arguments"` // null: the image's own
	EnvironmentVariables map[string]string      `json:"environment_variables"`
	SecretMap            map[string]string      `json:"secret_map,omitempty"` // values masked; absent: none
	StatusRequested      Requested              `json:"status_requested"`
	VolumeMounts         map[string]VolumeMount `json:"volume_mounts"`
	TemplateOverrides    *TemplateOverrides     `json:"template_overrides,omitempty"` // values masked; absent: none
	TimeToStopDefault    int                    `json:"time_to_stop_default"`         // seconds; -1 never
	TimeToStopInstance   *int                   `json:"time_to_stop_instance"`        // seconds; null: the default counts
	Networking           map[string]Networking  `json:"networking"`
	Resources            Resources              `json:"resources"`
	ComputeQueue         string                 `json:"compute_queue"`
	Healthchecks         *Healthchecks          `json:"healthchecks,omitempty"` // absent: none
	TimeToStopTS         Timestamp              `json:"time_to_stop_ts"`
	Status               Status                 `json:"status"`
	StatusContainer      ContainerView          `json:"status_container"`
	NetworkingLive       bool                   `json:"networking_live"` // its hosts lead to it
	CreationTS           Timestamp              `json:"creation_ts"`
	UpdateTS             Timestamp              `json:"update_ts"`
	StartInstanceTS      Timestamp              `json:"start_instance_ts"`
}

// NewView renders a pod with its effective definition. It shares no memory with
// its arguments.
func NewView(p Pod, e Effective) View {
	e = e.clone()
	return View{
		PodID:                p.ID,
		Image:                e.Image,
		Template:             e.Template,
		Description:          e.Description,
		Command:              e.Command,
		Arguments:            e.Arguments,
		EnvironmentVariables: e.EnvironmentVariables,
		SecretMap:            ShownSecretMap(e.SecretMap),
		StatusRequested:      p.Requested,
		VolumeMounts:         unclaimed(Set(e.VolumeMounts)).Or(nil),
		TemplateOverrides:    shownOverrides(e.TemplateOverrides),
		TimeToStopDefault:    e.TimeToStopDefault,
		TimeToStopInstance:   e.TimeToStopInstance,
		Networking:           e.Networking,
		Resources:            e.Resources,
		ComputeQueue:         e.ComputeQueue,
		Healthchecks:         e.Healthchecks,
		TimeToStopTS:         AtPtr(p.State.StopAt),
		Status:               p.State.Status,
		StatusContainer:      newContainerView(p.State),
		NetworkingLive:       p.Requested == On && p.State.Status == StatusAvailable && p.State.Ready,
		CreationTS:           At(p.CreatedAt),
		UpdateTS:             At(p.UpdatedAt),
		StartInstanceTS:      AtPtr(p.State.StartedAt),
	}
}

// ContainerView is the status_container field. The zero value is written as {}.
type ContainerView struct {
	Phase        string
	StartTime    Timestamp
	Message      string
	Ready        bool
	RestartCount int
}

func newContainerView(s State) ContainerView {
	c := s.Container
	if c == (ContainerStatus{}) {
		return ContainerView{}
	}
	return ContainerView{
		Phase:        c.Phase,
		StartTime:    AtPtr(c.StartTime),
		Message:      c.Message,
		Ready:        s.Ready,
		RestartCount: c.RestartCount,
	}
}

// containerJSON is the wire form of a ContainerView that is not zero.
type containerJSON struct {
	Phase        string    `json:"phase"`
	StartTime    Timestamp `json:"start_time"`
	Message      string    `json:"message"`
	Ready        bool      `json:"ready"`
	RestartCount int       `json:"restart_count"`
}

// MarshalJSON writes {} for the zero value, else every field.
func (c ContainerView) MarshalJSON() ([]byte, error) {
	if c == (ContainerView{}) {
		return []byte("{}"), nil
	}
	return json.Marshal(containerJSON(c))
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (c *ContainerView) UnmarshalJSON(b []byte) error {
	return json.Unmarshal(b, (*containerJSON)(c))
}

// clone returns a deep copy whose maps and lists are not nil, except for
// Command and Arguments, where nil has a meaning, and what is not shown if it is
// not set.
func (e Effective) clone() Effective {
	e.Command = slices.Clone(e.Command)
	e.Arguments = slices.Clone(e.Arguments)
	e.EnvironmentVariables = cloneMap(e.EnvironmentVariables)
	e.SecretMap = maps.Clone(e.SecretMap)
	e.VolumeMounts = cloneMap(e.VolumeMounts)
	e.TemplateOverrides = e.TemplateOverrides.clone()
	if e.TimeToStopInstance != nil {
		e.TimeToStopInstance = new(*e.TimeToStopInstance)
	}
	networking := make(map[string]Networking, len(e.Networking))
	for key, n := range e.Networking {
		networking[key] = n.clone()
	}
	e.Networking = networking
	e.Healthchecks = e.Healthchecks.clone()
	return e
}

// clone returns a deep copy whose maps and lists are not nil.
func (n Networking) clone() Networking {
	for _, list := range []*[]string{
		&n.IPAllowList,
		&n.TapisAuthAllowedUsers, &n.TapisAuthExcludedPaths, &n.TapisAuthExcludedPathRegex,
		&n.CORSAllowOrigins, &n.CORSAllowMethods, &n.CORSAllowHeaders,
		&n.ProxyCompressionEncodings, &n.ProxyCompressionExcludedContent,
	} {
		*list = append(make([]string, 0, len(*list)), *list...)
	}
	n.TapisAuthResponseHeaders = cloneMap(n.TapisAuthResponseHeaders)
	return n
}

func cloneMap[V any](m map[string]V) map[string]V {
	if m == nil {
		return make(map[string]V)
	}
	return maps.Clone(m)
}
