package caddymodules_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	"github.com/redis/go-redis/v9"

	_ "github.com/tapis-project/podway/caddymodules"
	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/routes/redisroutes"
	"github.com/tapis-project/podway/sni/snitest"
	"github.com/tapis-project/podway/tests/parts"
)

// limit is how long a test waits for what should take no time.
const limit = 20 * time.Second

// soon is how long what was revoked may go on: a second is promised, and tests
// run on busy machines.
const soon = 3 * time.Second

// edge is a running edge with the configuration of `make run`. A process has
// one Caddy, so tests that use it run one after the other.
type edge struct {
	t    *testing.T
	addr string // of the TLS port
	port string
	dir  string
	pub  *redisroutes.Publisher
	pool *x509.CertPool
	pods map[string][]routes.Route // what is published, by pod
}

// startEdge starts an edge and its Redis, and stops them with the test.
func startEdge(t *testing.T) *edge {
	t.Helper()
	return startEdgeOn(t, miniredis.RunT(t).Addr())
}

// startEdgeOn starts an edge that reads its routes from a Redis.
func startEdgeOn(t *testing.T, redisAddr string) *edge {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a whole edge")
	}
	dir := parts.ShortDir(t)
	e := &edge{
		t: t, dir: dir, port: strconv.Itoa(parts.FreePort(t)),
		pool: x509.NewCertPool(), pods: map[string][]routes.Route{},
	}
	e.addr = net.JoinHostPort("127.0.0.1", e.port)
	client := redis.NewClient(&redis.Options{Addr: redisAddr})
	t.Cleanup(func() { client.Close() })
	var err error
	if e.pub, err = redisroutes.NewPublisher(redisroutes.PublisherOptions{Client: client, Logger: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"PODWAY_EDGE_DIR": dir, "PODWAY_EDGE_PORT": e.port, "PODWAY_REDIS_URL": "redis://" + redisAddr,
		"PODWAY_EDGE_CA_FILE":      filepath.Join(dir, "ca.crt"),
		"PODWAY_EDGE_CERTIFICATES": "*.pods.test",
		"PODWAY_EDGE_LOG":          "FATAL",
	} {
		t.Setenv(name, value)
	}
	for _, setting := range parts.EdgeHome(dir) {
		name, value, _ := strings.Cut(setting, "=")
		t.Setenv(name, value)
	}
	e.load("1s")
	t.Cleanup(func() { _ = caddy.Stop() })
	e.awaitReady()
	e.readCA()
	return e
}

// in returns the edge for use in a subtest.
func (e *edge) in(t *testing.T) *edge {
	sub := *e
	sub.t = t
	return &sub
}

// load runs the configuration with a grace period, in the place of the one that
// runs.
func (e *edge) load(grace string) {
	e.t.Helper()
	e.t.Setenv("PODWAY_EDGE_GRACE", grace)
	file := filepath.Join("..", "edge", "Caddyfile.dev")
	body, err := os.ReadFile(file)
	if err != nil {
		e.t.Fatal(err)
	}
	cfg, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(body, map[string]any{"filename": file})
	if err != nil {
		e.t.Fatal(err)
	}
	if err := caddy.Load(cfg, true); err != nil {
		e.t.Fatal(err)
	}
}

func (e *edge) readCA() {
	e.t.Helper()
	pem, err := os.ReadFile(filepath.Join(e.dir, "ca.crt"))
	if err != nil || !e.pool.AppendCertsFromPEM(pem) {
		e.t.Fatalf("reading the root certificate: %v\n%s", err, pem)
	}
}

// admin asks the admin API and decodes the answer into v.
func (e *edge) admin(method, path string, v any) (status int, err error) {
	req, err := http.NewRequestWithContext(e.t.Context(), method, "http://localhost"+path, nil)
	if err != nil {
		return 0, err
	}
	res, err := parts.AdminClient(e.dir).Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err == nil && v != nil {
		err = json.Unmarshal(b, v)
	}
	return res.StatusCode, err
}

func (e *edge) awaitReady() {
	e.t.Helper()
	parts.Eventually(e.t, limit, func() error {
		var s struct{ Ready bool }
		_, err := e.admin(http.MethodGet, "/podway/status", &s)
		if err == nil && !s.Ready {
			err = errors.New("the edge is not ready")
		}
		return err
	})
}

// publish adds or changes routes, and waits until the edge has them.
func (e *edge) publish(rs ...routes.Route) {
	e.t.Helper()
	for _, r := range rs {
		e.set(r.Pod, append(without(e.pods[r.Pod], r.Host), r))
		parts.Eventually(e.t, limit, func() error {
			var got routes.Route
			if _, err := e.admin(http.MethodGet, "/podway/routes/"+r.Host, &got); err != nil {
				return err
			}
			got.Version, got.Schema, got.TLS = 0, 0, r.TLS
			if !reflect.DeepEqual(got, r) {
				return fmt.Errorf("got %+v, want %+v", got, r)
			}
			return nil
		})
	}
}

// remove removes the route of a host, and does not wait.
func (e *edge) remove(host string) {
	e.t.Helper()
	for pod, rs := range e.pods {
		e.set(pod, without(rs, host))
	}
}

func (e *edge) set(pod string, rs []routes.Route) {
	e.t.Helper()
	e.pods[pod] = rs
	if err := e.pub.SetPod(e.t.Context(), "dev", pod, rs); err != nil {
		e.t.Fatal(err)
	}
}

func without(rs []routes.Route, host string) []routes.Route {
	var kept []routes.Route
	for _, r := range rs {
		if r.Host != host {
			kept = append(kept, r)
		}
	}
	return kept
}

// pod starts an HTTP server and returns its address.
func pod(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// web returns a live HTTP route.
func web(host, upstream string) routes.Route { return snitest.Route(host, routes.HTTP, upstream) }

// client returns an HTTP client whose requests all go to the edge.
func (e *edge) client(proto string) *http.Client {
	p := new(http.Protocols)
	p.SetHTTP1(proto == "HTTP/1.1")
	p.SetHTTP2(proto == "HTTP/2.0")
	alpn := map[string][]string{"HTTP/1.1": {"http/1.1"}, "HTTP/2.0": {"h2"}}
	tr := &http.Transport{
		Protocols:          p,
		TLSClientConfig:    &tls.Config{RootCAs: e.pool, NextProtos: alpn[proto], MinVersion: tls.VersionTLS12},
		DisableCompression: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", e.addr)
		},
	}
	e.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{
		Transport: tr, Timeout: limit,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// answer is a response with its body read.
type answer struct {
	*http.Response
	body string
}

// get asks for a URL, with headers given as "Name: value".
func (e *edge) get(c *http.Client, url string, headers ...string) answer {
	e.t.Helper()
	return e.do(c, http.MethodGet, url, nil, headers...)
}

func (e *edge) do(c *http.Client, method, url string, body io.Reader, headers ...string) answer {
	e.t.Helper()
	req, err := http.NewRequestWithContext(e.t.Context(), method, url, body)
	if err != nil {
		e.t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			req.Host = value
			continue
		}
		req.Header[name] = append(req.Header[name], value) // as it is written
	}
	res, err := c.Do(req)
	if err != nil {
		e.t.Fatalf("%s %s: %v", method, url, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		e.t.Fatalf("%s %s: %v", method, url, err)
	}
	return answer{res, string(b)}
}

// dial opens a TLS connection to host.
func (e *edge) dial(host string, alpn ...string) (*tls.Conn, error) {
	raw, err := net.DialTimeout("tcp", e.addr, limit)
	if err != nil {
		return nil, err
	}
	c := tls.Client(raw, &tls.Config{ServerName: host, RootCAs: e.pool, NextProtos: alpn, MinVersion: tls.VersionTLS12})
	_ = c.SetDeadline(time.Now().Add(limit))
	if err := c.Handshake(); err != nil {
		raw.Close()
		return nil, err
	}
	return c, nil
}

// connect is dial for connections that have to work.
func (e *edge) connect(host string, alpn ...string) *tls.Conn {
	e.t.Helper()
	c, err := e.dial(host, alpn...)
	if err != nil {
		e.t.Fatalf("connecting to %s: %v", host, err)
	}
	e.t.Cleanup(func() { c.Close() })
	return c
}

// echo sends text and expects it back.
func echo(c net.Conn, text string) error {
	_ = c.SetDeadline(time.Now().Add(limit))
	if _, err := io.WriteString(c, text); err != nil {
		return err
	}
	b := make([]byte, len(text))
	if _, err := io.ReadFull(c, b); err != nil || !bytes.Equal(b, []byte(text)) {
		return fmt.Errorf("got %q, %w, want %q", b, err, text)
	}
	return nil
}

// wantClosed expects the end of a connection within a time.
func wantClosed(t *testing.T, c net.Conn, within time.Duration) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(within))
	if _, err := io.Copy(io.Discard, c); err != nil {
		if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
			t.Errorf("still open after %v", within)
		}
	}
}
