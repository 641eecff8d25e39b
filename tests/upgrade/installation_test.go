package upgrade

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tapis-project/podway/tests/kubetest"
	"github.com/tapis-project/podway/tests/parts"
	"github.com/tapis-project/podway/tests/system"
)

// limit is for what takes seconds, on a machine that is busy.
const limit = time.Minute

// nodeAddress is where pods are reached from outside of their cluster. The test
// listens there in the place of Kubernetes' proxy.
const nodeAddress = "127.77.0.1"

// installation is everything around control planes and edges.
type installation struct {
	t     *testing.T
	dir   string // a short path: sockets are in it
	srv   *kubetest.Server
	redis *parts.Redis
	dsn   string
	token string // of a user
	env   []string

	api, front *balancer // in front of control planes and of edges
	roots      *x509.CertPool
}

func install(t *testing.T) *installation {
	t.Helper()
	i := &installation{t: t, dir: parts.ShortDir(t), srv: kubetest.StartPrivate(t), redis: parts.StartRedis(t), dsn: parts.StartPostgres(t).DSN}
	kubetest.FakeNodes(t, i.srv, kubetest.NodeOptions{Count: 2})
	kubeconfig, key := filepath.Join(i.dir, "kubeconfig"), filepath.Join(i.dir, "store.key")
	if err := kubetest.WriteAccount(t.Context(), i.srv.RESTConfig(), kubeconfig); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(key, []byte("a key of 32 bytes for tests only"), 0o600); err != nil {
		t.Fatal(err)
	}
	tapis := system.Start(t)
	i.token = tapis.Login("testuser").Token
	i.env = append(os.Environ(),
		"PODWAY_STORE="+i.dsn, "PODWAY_KEY_FILE="+key, "PODWAY_STATE_DIR="+i.dir, "PODWAY_REDIS_URL=redis://"+i.redis.Addr,
		"PODWAY_TAPIS_URL="+tapis.BaseURL(), "PODWAY_MUTATIONS_PER_MINUTE=0", "PODWAY_IMAGES=podway/hello",
		"PODWAY_CLUSTER=kubernetes", "PODWAY_KUBECONFIG="+kubeconfig, "PODWAY_KUBE_QUOTA=none",
		"PODWAY_KUBE_LEASE_NAMESPACE="+kubetest.Account,
		"PODWAY_KUBE_ADDRESS_MODE=node-port", "PODWAY_KUBE_NODE_ADDRESSES="+nodeAddress,
	)
	i.api, i.front = balance(t), balance(t)
	return i
}

// podway runs a command of a control plane.
func (i *installation) podway(p programs, args ...string) string {
	i.t.Helper()
	cmd := exec.CommandContext(i.t.Context(), p.control, args...)
	cmd.Env = i.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		i.t.Fatalf("podway %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// program is one that runs.
type program struct {
	*parts.Process

	t *testing.T
}

func (i *installation) start(env []string, name string, args ...string) *program {
	i.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = i.dir, env
	return &program{parts.StartProcess(i.t, cmd), i.t}
}

// ended waits until the program has ended by itself, in order.
func (p *program) ended() {
	p.t.Helper()
	select {
	case <-p.Done():
	case <-time.After(limit):
		p.t.Fatalf("the program has not ended within %v", limit)
	}
	if code := p.ExitCode(); code != 0 {
		p.t.Errorf("it ended with %d, want 0", code)
	}
}

// gone reports whether the program has ended.
func (p *program) gone() bool {
	select {
	case <-p.Done():
		return true
	default:
		return false
	}
}

// control starts a control plane and waits until it answers. It returns its address.
func (i *installation) control(p programs) (*program, string) {
	i.t.Helper()
	addr := local(parts.FreePort(i.t))
	c := i.start(append(i.env, "PODWAY_LISTEN="+addr), p.control, "serve")
	parts.Eventually(i.t, limit, func() error {
		if c.gone() {
			i.t.Fatal("a control plane has ended")
		}
		resp, err := http.Get("http://" + addr + "/v3/healthcheck")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		return nil
	})
	return c, addr
}

// answer is what the API answers.
type answer struct {
	code    int
	Version string
	Message json.RawMessage
	Result  struct {
		Status          string
		StartInstanceTS string `json:"start_instance_ts"`
	}
}

// call calls the API on a connection of its own: that of the address, or any.
func (i *installation) call(ctx context.Context, addr, method, path, body string) (answer, error) {
	// At "localhost" the tenant of the Tapis is called.
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return answer{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://localhost:"+port+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Tapis-Token", i.token)
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	a := answer{code: resp.StatusCode}
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
		return a, fmt.Errorf("%s %s: %s: %w", method, path, resp.Status, err)
	}
	if a.code != http.StatusOK {
		return a, fmt.Errorf("%s %s: %s %s", method, path, resp.Status, a.Message)
	}
	return a, nil
}

// create makes a pod of one port and waits until it is AVAILABLE.
func (i *installation) create(pod, protocol string, port int) {
	i.t.Helper()
	body := fmt.Sprintf(`{"pod_id":%q,"image":"podway/hello","networking":{"default":{"protocol":%q,"port":%d}}}`, pod, protocol, port)
	if _, err := i.call(i.t.Context(), i.api.addr, http.MethodPost, "/v3/pods", body); err != nil {
		i.t.Fatal(err)
	}
	parts.Eventually(i.t, limit, func() error {
		a, err := i.call(i.t.Context(), i.api.addr, http.MethodGet, "/v3/pods/"+pod, "")
		if err == nil && a.Result.Status != "AVAILABLE" {
			err = fmt.Errorf("pod %s is %s", pod, a.Result.Status)
		}
		return err
	})
}

// expose leads the node port of a pod to what plays the pod.
func (i *installation) expose(pod, backend string) {
	i.t.Helper()
	list, err := i.srv.Client().CoreV1().Services("").List(i.t.Context(), metav1.ListOptions{LabelSelector: "podway.tapis.io/pod-id=" + pod})
	if err != nil || len(list.Items) != 1 {
		i.t.Fatalf("got %d services of %s, %v, want 1", len(list.Items), pod, err)
	}
	ln, err := (&net.ListenConfig{}).Listen(i.t.Context(), "tcp", net.JoinHostPort(nodeAddress, strconv.Itoa(int(list.Items[0].Spec.Ports[0].NodePort))))
	if err != nil {
		i.t.Fatal(err)
	}
	b := &balancer{ln: ln, replicas: []string{backend}, conns: map[net.Conn]struct{}{}}
	b.wg.Go(b.accept)
	i.t.Cleanup(b.close)
}

// edge is one of the edges: a place with files and a port, in which one program follows
// another.
type edge struct {
	i    *installation
	name string
	dir  string
	port int
	n    int // programs so far

	admin *http.Client // of the latest
}

func (i *installation) edge(name string) *edge {
	i.t.Helper()
	e := &edge{i: i, name: name, dir: filepath.Join(i.dir, name), port: parts.FreePort(i.t)}
	if err := os.Mkdir(e.dir, 0o700); err != nil {
		i.t.Fatal(err)
	}
	return e
}

// start starts an edge, which takes the place of another that runs, and waits until it
// is ready.
func (e *edge) start(p programs) *program {
	t := e.i.t
	t.Helper()
	e.n++
	socket := filepath.Join(e.dir, "admin"+strconv.Itoa(e.n)+".sock")
	env := []string{
		"HOME=" + e.dir, "XDG_DATA_HOME=" + e.dir, "XDG_CONFIG_HOME=" + e.dir,
		"PODWAY_REDIS_URL=redis://" + e.i.redis.Addr, "PODWAY_EDGE_ADMIN=unix/" + socket + "|0600",
		"PODWAY_EDGE_BIND=127.0.0.1", "PODWAY_EDGE_PORT=" + strconv.Itoa(e.port), "PODWAY_EDGE_METRICS_PORT=" + strconv.Itoa(parts.FreePort(t)),
		"PODWAY_EDGE_CERTIFICATES=*.pods.localhost", "PODWAY_EDGE_UPSTREAMS=127.0.0.0/8", "PODWAY_EDGE_GRACE=3s",
		"PODWAY_EDGE_SNAPSHOT=" + filepath.Join(e.dir, "routes.snap"), "PODWAY_EDGE_HANDOVER=" + filepath.Join(e.dir, "handover.sock"),
	}
	config := filepath.Join(parts.Repo(), "Caddyfile.example")
	proc := e.i.start(env, p.edge, "run", "--config", config, "--adapter", "caddyfile")
	e.admin = parts.UnixClient(socket)
	parts.Eventually(t, limit, func() error {
		if proc.gone() {
			t.Fatalf("edge %s has ended", e.name)
		}
		return ready(e.admin)
	})
	e.i.trust(filepath.Join(e.dir, "caddy/pki/authorities/local/root.crt"))
	return proc
}

func ready(admin *http.Client) error {
	resp, err := admin.Get("http://edge/podway/status")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil || !strings.HasPrefix(b.String(), `{"ready":true`) {
		return fmt.Errorf("not ready: %s, %w", &b, err)
	}
	return nil
}

// drain makes the edge accept no more connections.
func (e *edge) drain() {
	e.i.t.Helper()
	resp, err := e.admin.Post("http://edge/podway/drain", "", nil)
	if err != nil {
		e.i.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		e.i.t.Fatalf("draining: got %s", resp.Status)
	}
}

// trust adds the root certificate of an edge to those of the clients. It is called
// before they come.
func (i *installation) trust(file string) {
	i.t.Helper()
	pem, err := os.ReadFile(file)
	if err != nil {
		i.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if i.roots != nil {
		roots = i.roots.Clone()
	}
	if !roots.AppendCertsFromPEM(pem) {
		i.t.Fatal("no root certificate")
	}
	if i.roots == nil || !roots.Equal(i.roots) {
		i.roots = roots
	}
}

func host(pod string) string { return pod + ".pods.localhost" }
