package system

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/tapis-project/podway/tests/parts"
)

// Replica is one of any number of control planes of an installation, `podway
// serve`, which share a store and a Redis. Its Tapis is that of a [System].
type Replica struct {
	Port int // of its API

	t    testing.TB
	bin  string
	env  []string
	proc *parts.Process
}

// NewReplica prepares a control plane that keeps its key and files in dir, which
// replicas share, and brings the store up to date. Further arguments are its
// environment, NAME=value: at least PODWAY_STORE and PODWAY_REDIS_URL. Start it.
func (s *System) NewReplica(dir string, env ...string) *Replica {
	s.t.Helper()
	key := filepath.Join(dir, "podway.key")
	if _, err := os.Stat(key); err != nil {
		if err := os.WriteFile(key, []byte("a key of 32 bytes for tests only"), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	r := &Replica{Port: parts.FreePort(s.t), t: s.t, bin: s.bin}
	r.env = append(os.Environ(),
		"PODWAY_LISTEN=127.0.0.1:"+strconv.Itoa(r.Port),
		"PODWAY_KEY_FILE="+key, "PODWAY_STATE_DIR="+dir,
		// Read by this name, the tenant's base URL has it, too: calls of the replica
		// at localhost are calls of the tenant.
		"PODWAY_TAPIS_URL="+s.BaseURL(),
		"PODWAY_MUTATIONS_PER_MINUTE=0",
	)
	r.env = append(r.env, env...)
	migrate := exec.CommandContext(s.t.Context(), r.bin, "migrate")
	migrate.Env = r.env
	if out, err := migrate.CombinedOutput(); err != nil {
		s.t.Fatalf("preparing the store: %v\n%s", err, out)
	}
	return r
}

// Start starts the control plane, also after Kill, without waiting for it. It ends
// with the test.
func (r *Replica) Start() {
	r.t.Helper()
	r.proc = startProcess(r.t, r.env, r.bin, "serve")
}

// WaitReady waits until the API answers.
func (r *Replica) WaitReady() {
	r.t.Helper()
	parts.Eventually(r.t, startWithin, func() error {
		select {
		case <-r.proc.Done():
			return fmt.Errorf("it ended: %s", r.proc.Output())
		default:
			return (&System{APIPort: r.Port}).answers()
		}
	})
}

// Kill ends the control plane with SIGKILL, in the middle of whatever it does.
func (r *Replica) Kill() { r.proc.Kill() }

// As returns the user as one who calls this control plane.
func (r *Replica) As(u User) User {
	return (&System{APIPort: r.Port, t: u.t}).WithToken(u.Token)
}
