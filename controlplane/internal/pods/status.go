package pods

// Requested is what the user wants of a pod.
type Requested string

// The values of status_requested on the wire.
const (
	On      Requested = "ON"
	Off     Requested = "OFF"
	Restart Requested = "RESTART" // as Off until the pod is STOPPED, then On
)

// Status is what is happening to a pod, as clients see it.
type Status string

// The values of status on the wire.
const (
	StatusRequested    Status = "REQUESTED"
	StatusSpawnerSetup Status = "SPAWNER SETUP" // its objects are being made
	StatusCreating     Status = "CREATING"      // made, not running yet
	StatusAvailable    Status = "AVAILABLE"
	StatusComplete     Status = "COMPLETE" // ran to its end
	StatusError        Status = "ERROR"
	StatusDeleting     Status = "DELETING" // its objects are being removed
	StatusStopped      Status = "STOPPED"
)

// Level is a permission on one object; a level includes all lower ones.
type Level string

// The permission levels, lowest first.
const (
	LevelNone          Level = "NONE"
	LevelRead          Level = "READ"
	LevelUser          Level = "USER"
	LevelAdmin         Level = "ADMIN"
	LevelApprovedAdmin Level = "APPROVEDADMIN" // marks an operator's approval
)

// Levels lists the permission levels, lowest first.
func Levels() []Level {
	return []Level{LevelNone, LevelRead, LevelUser, LevelAdmin, LevelApprovedAdmin}
}

// rank orders levels; an unknown level ranks below all.
func (l Level) rank() int {
	for i, x := range Levels() {
		if l == x {
			return i
		}
	}
	return -1
}

// Includes reports whether a holder of l may do what needs the other level.
func (l Level) Includes(needed Level) bool { return l.rank() >= needed.rank() }
