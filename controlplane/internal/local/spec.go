package local

import (
	"syscall"
	"time"
)

// spec is what the shim needs to know to run a pod, and what the cluster needs
// to adopt it. It holds the pod's environment, so its file is secret.
type spec struct {
	Image    string `json:"image"`
	Instance string `json:"instance"`

	// Setup prepares the storage before the program starts; nil: nothing to do.
	Setup *setup  `json:"setup,omitempty"`
	Main  command `json:"main"`

	Env  []string `json:"env"` // complete
	Dir  string   `json:"dir"` // working folder: the storage
	User *account `json:"user,omitempty"`

	// Mounts are the files and folders that stand in for what would be mounted, by
	// the path where that is.
	Mounts map[string]string `json:"mounts,omitempty"`

	Log string `json:"log"`

	// StopSignal asks the program to end; it is killed if it has not after Grace.
	StopSignal syscall.Signal `json:"stop_signal"`
	Grace      time.Duration  `json:"grace_ns"`

	// Addresses by networking key, and the keys that must accept connections
	// before the pod is ready.
	Addresses map[string]string `json:"addresses"`
	Probe     []string          `json:"probe,omitempty"`
}

// command is a program to run.
type command struct {
	Argv  []string `json:"argv"`            // Argv[0] is a path
	Stdin string   `json:"stdin,omitempty"` // what a command line must not show
	Quiet bool     `json:"quiet,omitempty"` // throw its standard output away
}

// setup makes one folder by running commands. It happens once per storage: the
// folder is made under another name and renamed when all commands succeeded.
type setup struct {
	Creates  string    `json:"creates"` // absolute
	Making   string    `json:"making"`  // the name while it is made
	Commands []command `json:"commands"`
}

// account is the user a pod runs as.
type account struct {
	UID uint32 `json:"uid"`
	GID uint32 `json:"gid"`
}

// sysProcAttr returns attributes for a process in a group of its own that runs
// as a.
func (a *account) sysProcAttr() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if a != nil {
		attr.Credential = &syscall.Credential{Uid: a.UID, Gid: a.GID}
	}
	dieWithParent(attr)
	return attr
}

// The stages of a run, in order.
const (
	stagePreparing = "preparing"
	stageRunning   = "running"
	stageEnded     = "ended"
)

// state is what the shim reports of a run.
type state struct {
	Stage string `json:"stage"`

	// The shim, as long as it holds the lock. ShimStart tells it from a later
	// process with the same id.
	ShimPID   int    `json:"shim_pid"`
	ShimStart uint64 `json:"shim_start"`

	PID       int        `json:"pid,omitempty"` // of the program
	StartedAt *time.Time `json:"started_at,omitempty"`

	// How the run ended.
	EndedAt  *time.Time `json:"ended_at,omitempty"`
	ExitCode int        `json:"exit_code"`
	Reason   string     `json:"reason,omitempty"`
	Message  string     `json:"message,omitempty"`
}

// The reasons of an ended run, in Kubernetes' words.
const (
	reasonCompleted  = "Completed"
	reasonError      = "Error"
	reasonStartError = "StartError" // the program could not be started
)
