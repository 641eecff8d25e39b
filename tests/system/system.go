package system

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/tests/parts"
)

// startWithin bounds the start of a program, on a machine that has much to do.
const startWithin = time.Minute

// System is a Podway on free ports of this machine, in development mode.
type System struct {
	Dir                          string // of its state
	APIPort, EdgePort, RedisPort int
	Env                          []string // of its control plane

	// What runs; nil before its start.
	Control, Edge *parts.Process

	t   testing.TB
	bin string
}

// Start starts a control plane in development mode, with a limit on changes that
// no test reaches, and waits until it answers. Further arguments are
// environment variables of it, NAME=value.
func Start(t testing.TB, env ...string) *System {
	t.Helper()
	s := New(t, env...)
	s.StartControl()
	return s
}

// New prepares what [Start] starts.
func New(t testing.TB, env ...string) *System {
	t.Helper()
	bin := Program(t, "controlplane")
	// Not t.TempDir: PostgreSQL's user can't pass through that one.
	dir, err := os.MkdirTemp(built.dir, "state-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	s := &System{Dir: dir, APIPort: parts.FreePort(t), EdgePort: parts.FreePort(t), RedisPort: parts.FreePort(t), t: t, bin: bin}
	s.Env = append(os.Environ(),
		"PODWAY_STATE_DIR="+dir,
		"PODWAY_API_PORT="+strconv.Itoa(s.APIPort),
		"PODWAY_EDGE_PORT="+strconv.Itoa(s.EdgePort),
		"PODWAY_REDIS_PORT="+strconv.Itoa(s.RedisPort),
		"PODWAY_MUTATIONS_PER_MINUTE=0",
	)
	s.Env = append(s.Env, env...)
	t.Cleanup(s.clean)
	return s
}

// StartControl starts the control plane, also after its end, and waits until it
// answers.
func (s *System) StartControl() {
	s.t.Helper()
	s.Control = startProcess(s.t, s.Env, s.bin, "dev")
	s.WaitAPI()
}

// WaitAPI waits until the control plane answers.
func (s *System) WaitAPI() {
	s.t.Helper()
	parts.Eventually(s.t, startWithin, s.answers)
}

// Launch starts `podway dev --edge`, as `make run` does, without waiting for either
// half.
func (s *System) Launch() *parts.Process {
	s.t.Helper()
	return startProcess(s.t, s.Env, s.bin, s.LaunchArgs()...)
}

// LaunchArgs are the arguments of the control plane that [System.Launch] gives.
func (s *System) LaunchArgs() []string {
	return []string{"dev", "--edge", Program(s.t, "edge"), "--edge-config", edgeConfig()}
}

func edgeConfig() string { return filepath.Join(parts.Repo(), "edge", "Caddyfile.dev") }

// EdgeCommand returns the command that runs an edge as a developer's machine does.
// Its settings are environment variables.
func EdgeCommand(t testing.TB) *exec.Cmd {
	t.Helper()
	return exec.Command(Program(t, "edge"), "run", "--config", edgeConfig(), "--adapter", "caddyfile")
}

func startProcess(t testing.TB, env []string, name string, args ...string) *parts.Process {
	t.Helper()
	cmd := exec.Command(name, args...) // ends after the test's context, in its clean-up
	cmd.Dir, cmd.Env = built.dir, env
	return parts.StartProcess(t, cmd)
}

// clean ends the pods, which outlive a control plane that was killed.
func (s *System) clean() {
	cmd := exec.Command(s.bin, "dev", "--clean")
	cmd.Env = s.Env
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Errorf("cleaning up: %v\n%s", err, out)
	}
}

func (s *System) answers() error {
	resp, err := http.Get(s.URL("/v3/healthcheck"))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

// BaseURL is the address that clients are given.
func (s *System) BaseURL() string { return "http://localhost:" + strconv.Itoa(s.APIPort) }

// URL is the address of a path of the API.
func (s *System) URL(path string) string { return s.BaseURL() + path }

// CAFile holds the root certificate of the edge.
func (s *System) CAFile() string { return filepath.Join(s.Dir, "ca.crt") }

// EdgeEnv returns what an edge needs to join the system, such as PODWAY_REDIS_URL,
// by the names of its environment.
func (s *System) EdgeEnv() map[string]string {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), s.bin, "dev", "--edge-env")
	cmd.Env = s.Env
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("asking for the edge's environment: %v", err)
	}
	env := map[string]string{}
	for line := range strings.Lines(string(out)) {
		// export NAME='value'
		name, value, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "=")
		env[name] = strings.Trim(value, "'")
	}
	return env
}

// StartEdge starts an edge for the system and waits until it accepts TLS.
func (s *System) StartEdge() {
	s.t.Helper()
	edge := Program(s.t, "edge")
	env := slices.Clone(s.Env)
	for name, value := range s.EdgeEnv() {
		env = append(env, name+"="+value)
	}
	s.Edge = startProcess(s.t, env, edge, "run", "--config", edgeConfig(), "--adapter", "caddyfile")
	s.WaitEdge()
}

// WaitEdge waits until the edge accepts TLS.
func (s *System) WaitEdge() {
	s.t.Helper()
	parts.Eventually(s.t, startWithin, func() error {
		conn, err := s.DialTLS(Host("ready"), "http/1.1")
		if err != nil {
			return fmt.Errorf("shaking hands with the edge: %w", err)
		}
		return conn.Close()
	})
}

// liveWithin bounds the time from AVAILABLE, which says that a pod's program runs,
// to a live route at the edge: the program's port answers.
const liveWithin = time.Minute

// WaitLive waits until the edge of [System.StartEdge] leads to these pods. What the
// edge answers to a visitor can't tell: a gate in front of a pod that starts asks for
// the login all the same.
func (s *System) WaitLive(pods ...string) {
	s.t.Helper()
	for _, pod := range pods {
		parts.Eventually(s.t, liveWithin, func() error { return s.live(pod) })
	}
}

func (s *System) live(pod string) error {
	resp, err := parts.AdminClient(filepath.Join(s.Dir, "edge")).Get("http://edge/podway/routes/" + Host(pod))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var r routes.Route
	if err := json.NewDecoder(resp.Body).Decode(&r); err != nil {
		return fmt.Errorf("the edge's route of %s: %s, %w", pod, resp.Status, err)
	}
	if r.State != routes.Live {
		return fmt.Errorf("the route of %s is %q, want it live", pod, r.State)
	}
	return nil
}

// EdgeAddr is where the edge listens, host:port.
func (s *System) EdgeAddr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.EdgePort)) }

// Roots returns the root certificate of the edge.
func (s *System) Roots() (*x509.CertPool, error) {
	pem, err := os.ReadFile(s.CAFile())
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return roots, nil
}

// DialTLS connects to the edge as a client of a host, whose name it checks.
func (s *System) DialTLS(host string, alpn ...string) (*tls.Conn, error) {
	roots, err := s.Roots()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), callWithin)
	defer cancel()
	d := tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: host, NextProtos: alpn}}
	c, err := d.DialContext(ctx, "tcp", s.EdgeAddr())
	if err != nil {
		return nil, err
	}
	return c.(*tls.Conn), nil
}

// Host is the host name of a pod's default networking entry.
func Host(pod string) string { return pod + ".pods.dev.localhost" }
