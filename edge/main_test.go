package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/routes/redisroutes"
	"github.com/tapis-project/podway/sni/snitest"
	"github.com/tapis-project/podway/tests/parts"
)

// limit is how long a test waits for what should take no time.
const limit = 30 * time.Second

// built is the folder of the program, "" if no test has needed it.
var built string

// build returns the program, built once.
var build = sync.OnceValues(func() (string, error) {
	var err error
	if built, err = os.MkdirTemp("", "podway-edge-bin-"); err != nil {
		return "", err
	}
	bin := filepath.Join(built, "podway-edge")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("building: %w\n%s", err, out)
	}
	return bin, nil
})

func TestMain(m *testing.M) {
	if err := parts.DependsOn(parts.Product()...); err != nil {
		panic(err)
	}
	code := m.Run()
	if built != "" {
		_ = os.RemoveAll(built)
	}
	os.Exit(code)
}

// process is a running edge with Caddyfile.example.
type process struct {
	t         *testing.T
	dir       string
	port      string
	redisAddr string
	admin     string   // file of its admin socket, in dir
	env       []string // besides what every edge gets
	socket    *os.File // that systemd has opened; nil: the edge opens its own
	cmd       *exec.Cmd
	done      chan error
	log       *bytes.Buffer // read after the end only
}

func newProcess(t *testing.T, redisAddr string) *process {
	t.Helper()
	p := &process{t: t, dir: parts.ShortDir(t), port: strconv.Itoa(parts.FreePort(t)), redisAddr: redisAddr, admin: "admin.sock"}
	t.Cleanup(p.clean)
	return p
}

// clean stops the edge with its test.
func (p *process) clean() {
	p.kill()
	if p.t.Failed() && p.log != nil {
		p.t.Logf("log of the edge:\n%s", p.log)
	}
}

// start starts the edge and waits until it serves.
func (p *process) start() {
	p.t.Helper()
	p.launch()
	p.awaitReady()
}

// launch starts the edge.
func (p *process) launch() {
	p.t.Helper()
	bin, err := build()
	if err != nil {
		p.t.Fatal(err)
	}
	example, err := filepath.Abs(filepath.Join("..", "Caddyfile.example"))
	if err != nil {
		p.t.Fatal(err)
	}
	args := []string{bin, "run", "--config", example, "--adapter", "caddyfile"}
	if p.socket != nil { // as systemd does it, which knows the id of its child
		args = append([]string{"sh", "-c", `LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"`, "sh"}, args...)
	}
	p.cmd = exec.Command(args[0], args[1:]...)
	if p.socket != nil {
		p.cmd.ExtraFiles = []*os.File{p.socket}
	}
	p.cmd.Dir = p.dir
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.cmd.Env = []string{
		"HOME=" + p.dir, "XDG_DATA_HOME=" + p.dir, "XDG_CONFIG_HOME=" + p.dir,
		"PODWAY_EDGE_ADMIN=unix/" + filepath.Join(p.dir, p.admin) + "|0600",
		"PODWAY_EDGE_BIND=127.0.0.1", "PODWAY_EDGE_PORT=" + p.port,
		"PODWAY_EDGE_METRICS_PORT=" + strconv.Itoa(parts.FreePort(p.t)),
		"PODWAY_EDGE_CERTIFICATES=*.pods.test", "PODWAY_EDGE_UPSTREAMS=127.0.0.0/8", "PODWAY_EDGE_GRACE=5s",
		"PODWAY_REDIS_URL=redis://" + p.redisAddr,
	}
	p.cmd.Env = append(p.cmd.Env, p.env...)
	p.log = new(bytes.Buffer)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.done = make(chan error, 1)
	cmd, done := p.cmd, p.done
	go func() { done <- cmd.Wait() }()
}

func (p *process) awaitReady() {
	p.t.Helper()
	c := parts.UnixClient(filepath.Join(p.dir, p.admin))
	parts.Eventually(p.t, limit, func() error {
		res, err := c.Get("http://localhost/podway/status")
		if err != nil {
			return err
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		if !bytes.HasPrefix(b, []byte(`{"ready":true`)) {
			return fmt.Errorf("got %s", b)
		}
		return nil
	})
}

// kill ends the edge without a warning.
func (p *process) kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	p.t.Logf("killed the edge: %v", <-p.done)
	p.cmd = nil
}

// terminate asks the edge to end, and returns how long it took.
func (p *process) terminate() time.Duration {
	p.t.Helper()
	start := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	select {
	case err := <-p.done:
		if err != nil {
			p.t.Errorf("the edge ended with %v", err)
		}
	case <-time.After(limit):
		p.t.Fatal("the edge goes on")
	}
	p.cmd = nil
	return time.Since(start)
}

// dials counts connections: each comes from another address, as every client has
// limits of its own.
var dials atomic.Uint32

// dial opens a TLS connection to host, or says why it can't.
func (p *process) dial(host string, alpn ...string) (*tls.Conn, error) {
	root, err := os.ReadFile(filepath.Join(p.dir, "caddy", "pki", "authorities", "local", "root.crt"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(root) {
		return nil, errors.New("no root certificate")
	}
	from := net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+dials.Add(1)%250))}
	dialer := net.Dialer{Timeout: limit, LocalAddr: &from}
	raw, err := dialer.Dial("tcp", net.JoinHostPort("127.0.0.1", p.port))
	if err != nil {
		return nil, err
	}
	c := tls.Client(raw, &tls.Config{ServerName: host, RootCAs: pool, NextProtos: alpn, MinVersion: tls.VersionTLS12})
	_ = c.SetDeadline(time.Now().Add(limit))
	if err := c.Handshake(); err != nil {
		raw.Close()
		return nil, err
	}
	return c, nil
}

func (p *process) connect(host string, alpn ...string) *tls.Conn {
	p.t.Helper()
	var c *tls.Conn
	parts.Eventually(p.t, limit, func() (err error) { c, err = p.dial(host, alpn...); return err })
	p.t.Cleanup(func() { c.Close() })
	return c
}

func echo(c net.Conn) error {
	if _, err := io.WriteString(c, "hello"); err != nil {
		return err
	}
	b := make([]byte, 5)
	if _, err := io.ReadFull(c, b); err != nil || string(b) != "hello" {
		return fmt.Errorf("got %q, %w", b, err)
	}
	return nil
}

func publish(t *testing.T, redisAddr string, rs ...routes.Route) {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: redisAddr})
	defer client.Close()
	pub, err := redisroutes.NewPublisher(redisroutes.PublisherOptions{Client: client, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rs {
		if err := pub.SetPod(t.Context(), r.Tenant, r.Pod, []routes.Route{r}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestKilledEdgeServesFromItsSnapshot(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts a whole edge")
	}
	rs := parts.StartRedis(t)
	publish(t, rs.Addr, snitest.Route("echo.pods.test", routes.TCP, snitest.Echo(t).Addr))
	p := newProcess(t, rs.Addr)
	p.start()
	if err := echo(p.connect("echo.pods.test")); err != nil {
		t.Fatal(err)
	}
	parts.Eventually(t, limit, func() error {
		info, err := os.Stat(filepath.Join(p.dir, "routes.snap"))
		if err == nil && info.Size() < 100 {
			err = errors.New("the snapshot is empty")
		}
		return err
	})
	rs.Kill()
	p.kill()
	p.start()
	if err := echo(p.connect("echo.pods.test")); err != nil {
		t.Errorf("after a restart without Redis: %v", err)
	}
}

func TestTerminateDrains(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts a whole edge")
	}
	rs := parts.StartRedis(t)
	publish(t, rs.Addr, snitest.Route("echo.pods.test", routes.TCP, snitest.Echo(t).Addr))
	p := newProcess(t, rs.Addr)
	p.start()
	if d := p.terminate(); d > 4*time.Second {
		t.Errorf("an idle edge ended after %v, want at once", d)
	}

	p.start()
	c := p.connect("echo.pods.test")
	if err := echo(c); err != nil {
		t.Fatal(err)
	}
	ended := make(chan time.Duration, 1)
	go func() { ended <- p.terminate() }()
	parts.Eventually(t, limit, func() error { // while new clients are refused ...
		if c, err := p.dial("echo.pods.test"); err == nil {
			c.Close()
			return errors.New("new connections are accepted")
		}
		return nil
	})
	if err := echo(c); err != nil { // ... a session goes on
		t.Errorf("a session in the grace period: %v", err)
	}
	if d := <-ended; d < 4*time.Second || d > 15*time.Second {
		t.Errorf("the edge ended after %v, want the grace period of 5s", d)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the session ended with %v, want %v", err, io.EOF)
	}
}

func TestPortInUseIsOneClearLine(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts a whole edge")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	bin, err := build()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), bin, "run", "--config", filepath.Join("..", "Caddyfile.example"), "--adapter", "caddyfile")
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	cmd.Env = []string{
		"HOME=" + dir, "XDG_DATA_HOME=" + dir, "XDG_CONFIG_HOME=" + dir, "PODWAY_EDGE_ADMIN=off",
		"PODWAY_EDGE_BIND=127.0.0.1", "PODWAY_EDGE_PORT=" + port, "PODWAY_EDGE_METRICS_PORT=" + strconv.Itoa(parts.FreePort(t)),
		"PODWAY_EDGE_SNAPSHOT=" + filepath.Join(dir, "routes.snap"),
	}
	out, err := cmd.CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte("address already in use")) || bytes.Contains(out, []byte("goroutine ")) {
		t.Errorf("got %v\n%s", err, out)
	}
}
