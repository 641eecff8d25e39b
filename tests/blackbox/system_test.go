package blackbox

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tapis-project/podway/tests/parts"
)

// bin holds the programs under test.
var bin struct{ dir, podway, edge string }

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "podway-blackbox-")
	if err != nil {
		panic(err)
	}
	bin.dir, bin.podway, bin.edge = dir, filepath.Join(dir, "podway"), filepath.Join(dir, "podway-edge")
	// PostgreSQL gives up root's rights, and its pod runs below this folder.
	if err := os.Chmod(dir, 0o711); err != nil {
		panic(err)
	}
	for out, pkg := range map[string]string{bin.podway: "./controlplane", bin.edge: "./edge"} {
		cmd := exec.Command("go", "build", "-o", out, pkg)
		cmd.Dir = repo()
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as `make build`, so that its cache serves
		if b, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "building %s: %v\n%s", pkg, err, b)
			os.Exit(1)
		}
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// repo is the root of the checkout.
func repo() string {
	dir, err := filepath.Abs("../..")
	if err != nil {
		panic(err)
	}
	return dir
}

// system is a running Podway: the control plane in dev mode, and an edge.
type system struct {
	t                            *testing.T
	dir                          string
	apiPort, edgePort, redisPort int
	env                          []string
	control, edge                *process
	roots                        *x509.CertPool
}

// newSystem prepares a system on free ports without starting it.
func newSystem(t *testing.T, env ...string) *system {
	t.Helper()
	// Not t.TempDir: PostgreSQL's user can't pass through that one.
	dir, err := os.MkdirTemp(bin.dir, "state-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	s := &system{t: t, dir: dir, apiPort: parts.FreePort(t), edgePort: parts.FreePort(t), redisPort: parts.FreePort(t)}
	s.env = append(os.Environ(),
		"PODWAY_STATE_DIR="+dir,
		"PODWAY_API_PORT="+strconv.Itoa(s.apiPort),
		"PODWAY_EDGE_PORT="+strconv.Itoa(s.edgePort),
		"PODWAY_REDIS_PORT="+strconv.Itoa(s.redisPort),
		"PODWAY_MUTATIONS_PER_MINUTE=0",
	)
	s.env = append(s.env, env...)
	t.Cleanup(func() {
		// Pods outlive a killed control plane on purpose; --clean ends them.
		cmd := exec.Command(bin.podway, "dev", "--clean")
		cmd.Env = s.env
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("cleaning up: %v\n%s", err, out)
		}
	})
	return s
}

// startSystem starts a system and waits until both halves serve.
func startSystem(t *testing.T, env ...string) *system {
	t.Helper()
	s := newSystem(t, env...)
	s.startControl()
	s.startEdge()
	return s
}

func (s *system) startControl() {
	s.t.Helper()
	s.control = startProcess(s.t, s.env, bin.podway, "dev")
	s.waitAPI()
}

func (s *system) waitAPI() {
	s.t.Helper()
	parts.Eventually(s.t, 30*time.Second, func() error {
		resp, err := http.Get(s.api("/v3/healthcheck"))
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		return nil
	})
}

func (s *system) startEdge() {
	s.t.Helper()
	cmd := exec.Command(bin.podway, "dev", "--edge-env")
	cmd.Env = s.env
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("asking for the edge's environment: %v", err)
	}
	env := s.env
	for line := range strings.Lines(string(out)) {
		// export NAME='value'
		kv := strings.TrimPrefix(strings.TrimSpace(line), "export ")
		name, value, _ := strings.Cut(kv, "=")
		env = append(env, name+"="+strings.Trim(value, "'"))
	}
	s.edge = startProcess(s.t, env, bin.edge, "run", "--config", filepath.Join(repo(), "edge", "Caddyfile.dev"), "--adapter", "caddyfile")
	s.waitEdge()
}

// waitEdge waits until the edge accepts a TLS connection with its certificate.
func (s *system) waitEdge() {
	s.t.Helper()
	parts.Eventually(s.t, 30*time.Second, func() error {
		pem, err := os.ReadFile(s.caFile())
		if err != nil {
			return err
		}
		s.roots = x509.NewCertPool()
		s.roots.AppendCertsFromPEM(pem)
		conn, err := s.dialTLS("ready.pods.dev.localhost", "http/1.1")
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

func (s *system) caFile() string { return filepath.Join(s.dir, "ca.crt") }
func (s *system) api(path string) string {
	return fmt.Sprintf("http://localhost:%d%s", s.apiPort, path)
}

func (s *system) edgeAddr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.edgePort)) }

// process is a program under test. Its output is told when the test fails.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}

	mu  sync.Mutex
	out bytes.Buffer
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(b)
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

func startProcess(t *testing.T, env []string, name string, args ...string) *process {
	t.Helper()
	p := &process{done: make(chan struct{})}
	p.cmd = exec.Command(name, args...)
	p.cmd.Dir = bin.dir
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = env, p, p
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", name, err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.stop(t)
		if t.Failed() {
			out := p.output()
			t.Logf("output of %s %s:\n%s", filepath.Base(name), strings.Join(args, " "), out[max(0, len(out)-20_000):])
		}
	})
	return p
}

// stop ends the process with SIGTERM and waits. It is safe to call twice.
func (p *process) stop(t *testing.T) {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(20 * time.Second):
		t.Errorf("%s did not end within 20 s of SIGTERM", p.cmd.Path)
		p.kill()
	}
}

// kill is kill -9.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// envelope is what the API answers.
type envelope struct {
	Message  json.RawMessage `json:"message"`
	Metadata map[string]any  `json:"metadata"`
	Result   json.RawMessage `json:"result"`
	Status   string          `json:"status"`
	Version  string          `json:"version"`

	code int
}

// user calls the API as somebody.
type user struct {
	s     *system
	token string
}

// login gets a token as the documents say.
func (s *system) login(name string) user {
	s.t.Helper()
	body := fmt.Sprintf(`{"username":%q,"password":%q,"grant_type":"password"}`, name, name)
	resp, err := http.Post(s.api("/v3/oauth2/tokens"), "application/json", strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	var e struct {
		Result struct {
			AccessToken struct {
				AccessToken string `json:"access_token"`
			} `json:"access_token"`
		} `json:"result"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&e); err != nil || e.Result.AccessToken.AccessToken == "" {
		s.t.Fatalf("logging in as %s: %s, %v", name, resp.Status, err)
	}
	return user{s: s, token: e.Result.AccessToken.AccessToken}
}

// try calls the API and returns the answer, whatever it is.
func (u user) try(method, path, body string) (envelope, error) {
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequest(method, u.s.api(path), r)
	if err != nil {
		return envelope{}, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if u.token != "" {
		req.Header.Set("X-Tapis-Token", u.token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return envelope{}, err
	}
	defer resp.Body.Close()
	e := envelope{code: resp.StatusCode}
	if err := json.NewDecoder(resp.Body).Decode(&e); err != nil {
		return e, fmt.Errorf("%s %s: %s, not an envelope: %w", method, path, resp.Status, err)
	}
	return e, nil
}

// call calls the API and fails the test unless it succeeds.
func (u user) call(method, path, body string) envelope {
	u.s.t.Helper()
	e, err := u.try(method, path, body)
	if err != nil {
		u.s.t.Fatal(err)
	}
	if e.code != http.StatusOK || e.Status != "success" {
		u.s.t.Fatalf("%s %s: %d %s %s", method, path, e.code, e.Status, e.Message)
	}
	return e
}

// podView is the part of a pod's wire form that the stories look at.
type podView struct {
	PodID           string `json:"pod_id"`
	Status          string `json:"status"`
	StatusRequested string `json:"status_requested"`
	StatusContainer struct {
		Message string `json:"message"`
	} `json:"status_container"`
	StartInstanceTS *string `json:"start_instance_ts"`
	Networking      map[string]struct {
		URL      string `json:"url"`
		Protocol string `json:"protocol"`
		Port     int    `json:"port"`
	} `json:"networking"`
}

func (u user) pod(id string) podView {
	u.s.t.Helper()
	var p podView
	if err := json.Unmarshal(u.call(http.MethodGet, "/v3/pods/"+id, "").Result, &p); err != nil {
		u.s.t.Fatal(err)
	}
	return p
}

// waitStatus waits until a pod has a status.
func (u user) waitStatus(id, want string, limit time.Duration) {
	u.s.t.Helper()
	parts.Eventually(u.s.t, limit, func() error {
		if p := u.pod(id); p.Status != want {
			return fmt.Errorf("pod %s is %s (%s), want %s", id, p.Status, p.StatusContainer.Message, want)
		}
		return nil
	})
}

// create makes a pod and waits until it is AVAILABLE.
func (u user) create(body string, limit time.Duration) {
	u.s.t.Helper()
	var p podView
	if err := json.Unmarshal(u.call(http.MethodPost, "/v3/pods", body).Result, &p); err != nil {
		u.s.t.Fatal(err)
	}
	u.waitStatus(p.PodID, "AVAILABLE", limit)
}

func (u user) password(pod string) string {
	u.s.t.Helper()
	var c struct {
		UserUsername string `json:"user_username"`
		UserPassword string `json:"user_password"`
	}
	if err := json.Unmarshal(u.call(http.MethodGet, "/v3/pods/"+pod+"/credentials", "").Result, &c); err != nil {
		u.s.t.Fatal(err)
	}
	if c.UserUsername != pod || c.UserPassword == "" {
		u.s.t.Fatalf("credentials of %s: got user %q and %d characters of password", pod, c.UserUsername, len(c.UserPassword))
	}
	return c.UserPassword
}

// host is the name of a pod's default networking entry.
func host(pod string) string { return pod + ".pods.dev.localhost" }

// web is an HTTP client that finds every host at the edge and trusts its root.
func (s *system) web(h2 bool) *http.Client {
	proto := new(http.Protocols)
	proto.SetHTTP1(!h2)
	proto.SetHTTP2(h2)
	t := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: s.roots, MinVersion: tls.VersionTLS12},
		Protocols:         proto,
		ForceAttemptHTTP2: h2,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", s.edgeAddr())
		},
	}
	s.t.Cleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t, Timeout: 10 * time.Second}
}

// url is the address of a path on a pod's host, port included.
func (s *system) url(pod, path string) string {
	return fmt.Sprintf("https://%s:%d%s", host(pod), s.edgePort, path)
}

// dialTLS connects to the edge as a TLS client of a host, name checked.
func (s *system) dialTLS(serverName string, alpn ...string) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	d := tls.Dialer{Config: &tls.Config{RootCAs: s.roots, ServerName: serverName, NextProtos: alpn, MinVersion: tls.VersionTLS12}}
	c, err := d.DialContext(ctx, "tcp", s.edgeAddr())
	if err != nil {
		return nil, err
	}
	return c.(*tls.Conn), nil
}

// psql runs a statement as the owner of a Postgres pod would.
func (s *system) psql(pod, password, sql string) (string, error) {
	conninfo := fmt.Sprintf("host=%s hostaddr=127.0.0.1 port=%d sslmode=verify-full sslrootcert=%s user=%s dbname=postgres connect_timeout=10",
		host(pod), s.edgePort, s.caFile(), pod)
	cmd := exec.Command(parts.Require(s.t, "psql"), conninfo, "-X", "-A", "-t", "-c", sql)
	cmd.Env = append(os.Environ(), "PGPASSWORD="+password)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("psql: %w\n%s", err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// get asks an https path of a pod and returns status, protocol and body.
func (s *system) get(c *http.Client, pod, path string) (*http.Response, string, error) {
	resp, err := c.Get(s.url(pod, path))
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp, string(b), err
}
