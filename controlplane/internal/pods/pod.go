package pods

import "time"

// Pod is a stored pod. Fields of the first group are written on behalf of
// users, those of State by the reconciler only; the store writes the two with
// different statements, so neither overwrites the other.
type Pod struct {
	Key

	// UID names this pod among all that ever had its Key. Cluster objects carry
	// it, so that those of a deleted pod are not taken for the new one's.
	UID string

	Site        string
	Owner       string // who created it
	Definition  Definition
	Requested   Requested
	Permissions Permissions
	Version     int64 // grows with each user write; for optimistic locking
	CreatedAt   time.Time
	UpdatedAt   time.Time // moved by user writes only

	State State
}

// State is the reconciler's memory of a pod.
type State struct {
	Status    Status
	Container ContainerStatus
	Ready     bool   // the pod accepts traffic
	Instance  string // name of the current run, "" if none

	StartedAt *time.Time // when the run became AVAILABLE
	StopAt    *time.Time // when time_to_stop ends the run; nil: never

	Since       time.Time  // when Status last changed
	Attempts    int        // failed starts in a row
	NextAttempt *time.Time // no start before this

	Version int64 // grows with each write of the state
}

// ContainerStatus is the status_container field of the API. The zero value is
// shown as {}.
type ContainerStatus struct {
	Phase        string     `json:"phase,omitempty"`
	StartTime    *time.Time `json:"start_time,omitempty"`
	Message      string     `json:"message,omitempty"` // for the pod's owner
	RestartCount int        `json:"restart_count,omitempty"`
}

// Credentials are generated once per pod and deleted with it. Only the user
// pair is ever shown.
type Credentials struct {
	AdminUsername string
	AdminPassword string
	UserUsername  string
	UserPassword  string
}

// Event is one line of a pod's action log.
type Event struct {
	At   time.Time // UTC
	Text string
}

// Line renders the event as the API shows it: "YY/MM/DD HH:MM: text".
func (e Event) Line() string { return e.At.UTC().Format("06/01/02 15:04") + ": " + e.Text }
