package gate

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/routes/keytext"
	"github.com/tapis-project/podway/routes/redisgate"
	"github.com/tapis-project/podway/routes/redisroutes"
	"github.com/tapis-project/podway/sni/snitest"
	"github.com/tapis-project/podway/tests/parts"
	"github.com/tapis-project/podway/tests/system"
)

const zone = "pods.dev.localhost"

// edge is an edge with a real Redis and without a control plane: this test publishes
// the routes, and signs tokens as the tenant dev.
type edge struct {
	t     *testing.T
	port  int
	ca    string // file
	redis *redis.Client
	store *redisgate.Store
	key   *rsa.PrivateKey
}

func startEdge(t *testing.T) *edge {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a whole edge")
	}
	dir := parts.ShortDir(t)
	rs := parts.StartRedis(t)
	e := &edge{t: t, port: parts.FreePort(t), ca: filepath.Join(dir, "ca.crt"), redis: redis.NewClient(&redis.Options{Addr: rs.Addr})}
	t.Cleanup(func() { e.redis.Close() })
	key := keytext.New()
	keyFile := filepath.Join(dir, "gate.key")
	if err := os.WriteFile(keyFile, []byte(key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	e.openStore(key)
	cmd := system.EdgeCommand(t)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), parts.EdgeHome(dir)...),
		"PODWAY_EDGE_DIR="+dir, "PODWAY_EDGE_CA_FILE="+e.ca, "PODWAY_EDGE_PORT="+strconv.Itoa(e.port), "PODWAY_GATE_KEY_FILE="+keyFile,
		"PODWAY_REDIS_URL=redis://"+rs.Addr,
	)
	serve(t, cmd)
	return e
}

func (e *edge) openStore(key string) {
	e.t.Helper()
	ring, err := redisgate.ParseKeyring(key)
	if err != nil {
		e.t.Fatal(err)
	}
	if e.store, err = redisgate.New(redisgate.Options{Client: e.redis, Keyring: ring}); err != nil {
		e.t.Fatal(err)
	}
	if e.key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		e.t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(e.key.Public())
	if err != nil {
		e.t.Fatal(err)
	}
	public := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	err = e.store.SetTenants(e.t.Context(), []redisgate.Tenant{{ID: "dev", SiteID: "dev", Issuer: "https://dev.test/v3/tokens", PublicKeys: []string{public}, LoginURL: "https://dev.test"}})
	if err != nil {
		e.t.Fatal(err)
	}
}

// token returns a token of somebody.
func (e *edge) token(user string) string {
	e.t.Helper()
	token, err := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
		"iss": "https://dev.test/v3/tokens", "sub": user + "@dev", "exp": time.Now().Add(time.Hour).Unix(),
		"tapis/tenant_id": "dev", "tapis/username": user, "tapis/token_type": "access", "tapis/account_type": "user",
	}).SignedString(e.key)
	if err != nil {
		e.t.Fatal(err)
	}
	return token
}

// publish publishes a pod behind the login, open if no users are given, and waits
// until the edge has it.
func (e *edge) publish(pod string, p routes.Protocol, addr string, users ...string) {
	e.t.Helper()
	pub, err := redisroutes.NewPublisher(redisroutes.PublisherOptions{Client: e.redis, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		e.t.Fatal(err)
	}
	r := snitest.Route(pod+"."+zone, p, addr)
	r.Tenant, r.Pod = "dev", pod
	if len(users) > 0 {
		r.Gate = &routes.Gate{AllowedUsers: users}
	}
	if err := pub.SetPod(e.t.Context(), r.Tenant, r.Pod, []routes.Route{r}); err != nil {
		e.t.Fatal(err)
	}
	if err := pub.Complete(e.t.Context()); err != nil {
		e.t.Fatal(err)
	}
	parts.Eventually(e.t, limit, func() error { return e.shakesHands(r.Host) })
}

func (e *edge) roots() (*x509.CertPool, error) {
	b, err := os.ReadFile(e.ca)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(b)
	return roots, nil
}

func (e *edge) shakesHands(host string) error {
	roots, err := e.roots()
	if err != nil {
		return err
	}
	d := tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: host}}
	c, err := d.DialContext(e.t.Context(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(e.port)))
	if err != nil {
		return err
	}
	return c.Close()
}

// podctl returns the environment of podctl, for ada, with a service that knows of one
// pod behind the login.
func (e *edge) podctl(t *testing.T, pod, image string) []string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path != "/v3/pods/"+pod+"/derived" {
			w.WriteHeader(http.StatusNotFound)
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"status": "success", "message": "", "result": map[string]any{
			"pod_id": pod, "image": image, "networking": map[string]any{"default": map[string]any{"protocol": "tcp", "port": 3306, "url": pod + "." + zone, "tapis_auth": true}},
		}})
	}))
	t.Cleanup(s.Close)
	return []string{"PODCTL_CONFIG=" + filepath.Join(t.TempDir(), "login.json"), "PODCTL_URL=" + s.URL, "PODCTL_TOKEN=" + e.token("ada")}
}

// serve starts a server that runs until the end of the test.
func serve(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(limit):
			t.Errorf("%s did not end within %v of SIGTERM", cmd.Path, limit)
			_ = cmd.Process.Kill()
			<-ended
		}
		if t.Failed() {
			t.Logf("output of %s:\n%.8000s", filepath.Base(cmd.Path), out.String())
		}
	})
}

// proxy passes connections on for clients that may speak to nobody else, to the edge
// whatever port they ask for.
type proxy struct {
	url  string
	used atomic.Int64
}

func startProxy(t *testing.T, edge int) *proxy {
	t.Helper()
	p := new(proxy)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			http.Error(w, "only CONNECT", http.StatusMethodNotAllowed)
			return
		}
		up, err := new(net.Dialer).DialContext(r.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", edge))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer up.Close()
		down, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer down.Close()
		p.used.Add(1)
		_, _ = io.WriteString(down, "HTTP/1.1 200 OK\r\n\r\n")
		var both sync.WaitGroup
		both.Go(func() {
			_, _ = io.Copy(up, down)
			up.Close()
		})
		both.Go(func() {
			_, _ = io.Copy(down, up)
			down.Close()
		})
		both.Wait()
	}))
	t.Cleanup(server.Close)
	p.url = server.URL
	return p
}
