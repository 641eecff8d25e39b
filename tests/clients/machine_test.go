package clients

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/routes/redisroutes"
	"github.com/tapis-project/podway/sni/snitest"
	"github.com/tapis-project/podway/tests/parts"
	"github.com/tapis-project/podway/tests/system"
)

// zone is where the pods of docs/clients.md are.
const zone = "pods.example.org"

// machine is an edge in front of pods, and what clients need to find them.
type machine struct {
	port  int    // of the edge
	ca    string // file with its root certificate
	dir   string
	hosts string // file that names the pods
}

// startMachine starts an edge that serves routes.
func startMachine(t *testing.T, served []routes.Route) *machine {
	t.Helper()
	dir := parts.ShortDir(t)
	m := &machine{port: parts.FreePort(t), dir: dir, ca: filepath.Join(dir, "ca.crt"), hosts: filepath.Join(dir, "hosts")}
	m.writeHosts(t, served)
	m.requireNames(t)
	rs := parts.StartRedis(t)
	publish(t, rs.Addr, served)
	m.startEdge(t, rs.Addr, served[0].Host)
	return m
}

func publish(t *testing.T, redisAddr string, served []routes.Route) {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: redisAddr})
	defer client.Close()
	pub, err := redisroutes.NewPublisher(redisroutes.PublisherOptions{Client: client, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range served {
		if err := pub.SetPod(t.Context(), r.Tenant, r.Pod, []routes.Route{r}); err != nil {
			t.Fatal(err)
		}
	}
}

// route is the route of a pod on this machine.
func route(pod string, p routes.Protocol, upstream string) routes.Route {
	r := snitest.Route(pod+"."+zone, p, upstream)
	r.Tenant, r.Pod, r.Net = "example", pod, routes.DefaultNet
	return r
}

func (m *machine) writeHosts(t *testing.T, served []routes.Route) {
	t.Helper()
	var b strings.Builder
	b.WriteString("127.0.0.1 localhost\n")
	for _, r := range served {
		b.WriteString("127.0.0.1 " + r.Host + "\n")
	}
	if err := os.WriteFile(m.hosts, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

// requireNames skips or fails the test if clients can't be given names.
func (m *machine) requireNames(t *testing.T) {
	t.Helper()
	parts.Require(t, "unshare")
	out, err := m.command(t.Context(), "true").CombinedOutput()
	if err == nil {
		return
	}
	msg := fmt.Sprintf("giving clients an /etc/hosts of their own needs root or user namespaces: %v\n%s", err, out)
	if os.Getenv("PODWAY_TEST_PARTS") == "required" {
		t.Fatal(msg)
	}
	t.Skip(msg)
}

func (m *machine) startEdge(t *testing.T, redisAddr, host string) {
	t.Helper()
	cmd := system.EdgeCommand(t)
	cmd.Dir = m.dir
	cmd.Env = append(parts.EdgeHome(m.dir),
		"PODWAY_EDGE_DIR="+m.dir, "PODWAY_EDGE_CA_FILE="+m.ca, "PODWAY_EDGE_PORT="+strconv.Itoa(m.port),
		"PODWAY_EDGE_CERTIFICATES=*."+zone, "PODWAY_REDIS_URL=redis://"+redisAddr,
	)
	start(t, cmd)
	parts.Eventually(t, limit, func() error { return m.shakesHands(host) })
}

// shakesHands reports whether the edge serves host.
func (m *machine) shakesHands(host string) error {
	pem, err := os.ReadFile(m.ca)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return errors.New("the edge wrote no root certificate")
	}
	d := tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: host}}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	c, err := d.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(m.port)))
	if err != nil {
		return err
	}
	return c.Close()
}

// here returns what docs/clients.md says for this machine: with its port, and
// with its certificates where a file of them is named.
func (m *machine) here(connect string) string {
	port := strconv.Itoa(m.port)
	return strings.NewReplacer(
		"/etc/ssl/certs/ca-certificates.crt", m.ca,
		zone+"/", zone+":"+port+"/", // no port in a URL means 443
		"443", port,
	).Replace(connect)
}

// The environment variables by which clients trust certificates of one's own, as
// docs/clients.md tells.
const (
	trustOpenSSL = "SSL_CERT_FILE" // programs in Go and Python, too
	trustNode    = "NODE_EXTRA_CA_CERTS"
	trustCurl    = "CURL_CA_BUNDLE"
)

// trust is the setting of a variable that makes a client trust the edge.
func (m *machine) trust(variable string) string { return variable + "=" + m.ca }

// command prepares a client, which finds the pods by name. It is killed when ctx
// ends, with what it started.
func (m *machine) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	unshare := []string{"--mount"}
	if os.Geteuid() != 0 {
		unshare = append(unshare, "--map-root-user") // which may mount, in its own namespace
	}
	script := `mount --bind "$0" /etc/hosts && exec "$@"`
	cmd := exec.CommandContext(ctx, "unshare", append(append(unshare, "sh", "-c", script, m.hosts, name), args...)...)
	cmd.Env = append(os.Environ(), "HOME="+m.dir, "PGCONNECT_TIMEOUT=30")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.Dir = m.dir
	return cmd
}
