package edge

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

const (
	// limit is how long a test waits for what should take no time.
	limit = 30 * time.Second

	// soon is how long what was revoked may go on: a second is promised, and tests
	// run on busy machines, under the race detector.
	soon = 3 * time.Second
)

var (
	binDir string // of the program, "" if no test has needed it

	// program returns the edge, built once, with the race detector if the tests are.
	program = sync.OnceValues(func() (string, error) {
		var err error
		if binDir, err = os.MkdirTemp("", "podway-edge-bin-"); err != nil {
			return "", err
		}
		args := []string{"build", "-o", filepath.Join(binDir, "podway-edge")}
		if raceDetector {
			args = append(args, "-race")
		}
		if out, err := exec.Command("go", append(args, "../../edge")...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("building the edge: %w\n%s", err, out)
		}
		return filepath.Join(binDir, "podway-edge"), nil
	})
)

func TestMain(m *testing.M) {
	if err := parts.DependsOn(parts.Product()...); err != nil {
		panic(err)
	}
	code := m.Run()
	if binDir != "" {
		_ = os.RemoveAll(binDir)
	}
	os.Exit(code)
}

// edge is a running edge with Caddyfile.example.
type edge struct {
	t    testing.TB
	dir  string
	port string
	pool *x509.CertPool
	cmd  *exec.Cmd
	done chan struct{}
}

// startEdge starts an edge that reads its routes from a Redis. Options are lines
// for the option podway of its configuration.
func startEdge(t testing.TB, redisURL string, options ...string) *edge {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a whole edge")
	}
	bin, err := program()
	if err != nil {
		t.Fatal(err)
	}
	e := &edge{t: t, dir: parts.ShortDir(t), port: strconv.Itoa(parts.FreePort(t))}
	t.Cleanup(e.end)
	e.configure(options)
	e.run(bin, redisURL)
	e.awaitReady()
	return e
}

// configure writes the example's configuration with more options.
func (e *edge) configure(options []string) {
	e.t.Helper()
	example, err := os.ReadFile(filepath.Join("..", "..", "Caddyfile.example"))
	if err != nil {
		e.t.Fatal(err)
	}
	const begin = "\tpodway {\n"
	if bytes.Count(example, []byte(begin)) < 1 {
		e.t.Fatal("the example has no option podway")
	}
	text := strings.Replace(string(example), begin, begin+strings.Join(options, "\n")+"\n", 1)
	if err := os.WriteFile(filepath.Join(e.dir, "Caddyfile"), []byte(text), 0o600); err != nil {
		e.t.Fatal(err)
	}
}

func (e *edge) run(bin, redisURL string) {
	e.t.Helper()
	log, err := os.Create(e.file("log"))
	if err != nil {
		e.t.Fatal(err)
	}
	defer log.Close()
	e.cmd = exec.Command(bin, "run", "--config", "Caddyfile", "--adapter", "caddyfile")
	e.cmd.Dir = e.dir
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	e.cmd.Env = append(parts.EdgeHome(e.dir),
		"PODWAY_EDGE_BIND=127.0.0.1", "PODWAY_EDGE_PORT="+e.port,
		"PODWAY_EDGE_METRICS_PORT="+strconv.Itoa(parts.FreePort(e.t)),
		"PODWAY_EDGE_CERTIFICATES=*.pods.test", "PODWAY_EDGE_UPSTREAMS=127.0.0.0/8", "PODWAY_EDGE_GRACE=1s",
		"PODWAY_EDGE_SNAPSHOT="+e.file("routes.snap"), "PODWAY_REDIS_URL="+redisURL,
	)
	e.cmd.Stdout, e.cmd.Stderr = log, log
	if err := e.cmd.Start(); err != nil {
		e.t.Fatal(err)
	}
	e.done = make(chan struct{})
	go func() {
		_ = e.cmd.Wait()
		close(e.done)
	}()
}

// file returns the path of one of the edge's files.
func (e *edge) file(name string) string { return filepath.Join(e.dir, name) }

// end stops the edge and looks at what it had to say.
func (e *edge) end() {
	if e.cmd != nil && e.cmd.Process != nil {
		_ = e.cmd.Process.Kill()
		<-e.done
	}
	log, _ := os.ReadFile(e.file("log"))
	for _, sign := range []string{"DATA RACE", "panic:", "goroutine 1 ["} {
		if i := bytes.Index(log, []byte(sign)); i >= 0 {
			e.t.Errorf("the edge reports %q:\n%s", sign, log[i:min(len(log), i+6<<10)])
			break
		}
	}
	if e.t.Failed() {
		e.t.Logf("end of the log of the edge:\n%s", log[max(0, len(log)-4<<10):])
	}
}

// admin asks the admin API and returns the answer.
func (e *edge) admin(method, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(context.Background(), method, "http://localhost"+path, nil)
	if err != nil {
		return nil, err
	}
	res, err := parts.AdminClient(e.dir).Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: got %d %s", method, path, res.StatusCode, b)
	}
	return b, err
}

// status is what the tests read of the admin API's status.
type status struct {
	Ready       bool
	Connections int
	Sessions    int
	Routes      struct {
		Count, Bad, Held int
		Synced           bool
		Stale            float64 `json:"stale_seconds"`
	}
}

func (e *edge) status() (status, error) {
	var s status
	b, err := e.admin(http.MethodGet, "/podway/status")
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	return s, err
}

// reaches waits for a status.
func (e *edge) reaches(what string, ok func(status) bool) {
	e.t.Helper()
	parts.Eventually(e.t, limit, func() error {
		s, err := e.status()
		if err == nil && !ok(s) {
			err = fmt.Errorf("not %s: %+v", what, s)
		}
		return err
	})
}

func (e *edge) awaitReady() {
	e.t.Helper()
	e.reaches("ready", func(s status) bool {
		select {
		case <-e.done:
			e.t.Fatal("the edge has ended")
		default:
		}
		return s.Ready
	})
	pem, err := os.ReadFile(e.file("caddy/pki/authorities/local/root.crt"))
	if err != nil {
		e.t.Fatal(err)
	}
	e.pool = x509.NewCertPool()
	if !e.pool.AppendCertsFromPEM(pem) {
		e.t.Fatal("no root certificate")
	}
}

// metric returns the value of a metric, named with its labels as in /metrics.
func (e *edge) metric(name string) (float64, error) {
	b, err := e.admin(http.MethodGet, "/metrics")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			return strconv.ParseFloat(strings.TrimSpace(rest), 64)
		}
	}
	return 0, fmt.Errorf("no metric %s", name)
}

// opened waits until at least n connections ended in a way.
func (e *edge) opened(result string, n int) {
	e.t.Helper()
	name := fmt.Sprintf("podway_edge_connections_opened_total{result=%q}", result)
	parts.Eventually(e.t, limit, func() error {
		v, err := e.metric(name)
		if err == nil && int(v) < n {
			err = fmt.Errorf("got %v of %s, want %d", v, name, n)
		}
		return err
	})
}

// usage is what an edge costs.
type usage struct {
	goroutines int
	heap       int64 // bytes of objects that are alive
	rss        int64 // bytes
}

func (u usage) String() string {
	return fmt.Sprintf("%d goroutines, %.1f MB heap, %.1f MB resident", u.goroutines, float64(u.heap)/1e6, float64(u.rss)/1e6)
}

func (e *edge) usage() (usage, error) {
	var u usage
	for range 2 { // pools give back what they keep over two collections
		if _, err := e.admin(http.MethodGet, "/debug/pprof/heap?gc=1"); err != nil {
			return u, err
		}
	}
	for name, set := range map[string]func(float64){
		"go_goroutines":                 func(v float64) { u.goroutines = int(v) },
		"go_memstats_alloc_bytes":       func(v float64) { u.heap = int64(v) },
		"process_resident_memory_bytes": func(v float64) { u.rss = int64(v) },
	} {
		v, err := e.metric(name)
		if err != nil {
			return u, err
		}
		set(v)
	}
	return u, nil
}

func (e *edge) mustUsage() usage {
	e.t.Helper()
	u, err := e.usage()
	if err != nil {
		e.t.Fatal(err)
	}
	return u
}

const (
	// keptBytes is how much memory an edge may keep after load: up to 33 MB of
	// buffers for sessions, and what is reused for requests.
	keptBytes = 48 << 20

	// keptGoroutines are those of idle connections to HTTP pods, for a while.
	keptGoroutines = 100
)

// settles waits until the edge holds nothing of its clients any more: no
// connection, no session, as many goroutines and about as much memory as before.
func (e *edge) settles(before usage) usage {
	e.t.Helper()
	var now usage
	parts.Eventually(e.t, time.Minute, func() error {
		s, err := e.status()
		if err != nil {
			return err
		}
		if now, err = e.usage(); err != nil {
			return err
		}
		if s.Connections > 0 || s.Sessions > 0 || now.goroutines > before.goroutines+keptGoroutines || now.heap > before.heap+keptBytes {
			return fmt.Errorf("got %d connections, %d sessions, %v, before %v", s.Connections, s.Sessions, now, before)
		}
		return nil
	})
	return now
}

// client returns an address of loopback to connect from, one for each number.
func client(n int) string { return fmt.Sprintf("127.%d.%d.%d", 1+n/62500, 1+n/250%250, 1+n%250) }

// dialRaw opens a TCP connection from an address of loopback.
func (e *edge) dialRaw(from string) (*net.TCPConn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: limit}
	c, err := d.Dial("tcp", net.JoinHostPort("127.0.0.1", e.port))
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

// dial opens a TLS connection to a host. It has a deadline.
func (e *edge) dial(from, host string, alpn ...string) (*tls.Conn, error) {
	raw, err := e.dialRaw(from)
	if err != nil {
		return nil, err
	}
	return e.secure(raw, host, alpn...)
}

// secure begins TLS on a connection, and closes it if that fails.
func (e *edge) secure(raw net.Conn, host string, alpn ...string) (*tls.Conn, error) {
	c := tls.Client(raw, &tls.Config{ServerName: host, RootCAs: e.pool, NextProtos: alpn, MinVersion: tls.VersionTLS12})
	_ = c.SetDeadline(time.Now().Add(limit))
	if err := c.Handshake(); err != nil {
		raw.Close()
		return nil, err
	}
	return c, nil
}

// connect is dial for connections that have to work. They end with the test.
func (e *edge) connect(from, host string, alpn ...string) *tls.Conn {
	e.t.Helper()
	c, err := e.dial(from, host, alpn...)
	if err != nil {
		e.t.Fatalf("connecting to %s: %v", host, err)
	}
	e.t.Cleanup(func() { c.Close() })
	return c
}

// echo sends a text and expects it back.
func echo(c net.Conn, text string) error {
	_ = c.SetDeadline(time.Now().Add(limit))
	if _, err := io.WriteString(c, text); err != nil {
		return err
	}
	b := make([]byte, len(text))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != text {
		return fmt.Errorf("got %q, %w, want %q", b, err, text)
	}
	return nil
}

// closed waits for the end of a connection, an error if that takes too long.
func closed(c net.Conn, within time.Duration) error {
	_ = c.SetReadDeadline(time.Now().Add(within))
	_, err := io.Copy(io.Discard, c)
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		return fmt.Errorf("still open after %v", within)
	}
	return nil
}
