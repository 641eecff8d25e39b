package caddymodules_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/caddyserver/caddy/v2"
	"github.com/coder/websocket"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni/snitest"
	"github.com/tapis-project/podway/tests/parts"
)

// The kind of the route decides what a client may ask for: nothing that another
// kind of server could take for its own.
func TestALPN(t *testing.T) {
	e := startEdge(t)
	up := snitest.Echo(t).Addr
	for _, p := range []routes.Protocol{routes.HTTP, routes.TCP, routes.Bolt, routes.MongoDB, routes.Redis, routes.Postgres} {
		e.publish(snitest.Route(string(p)+".pods.test", p, up))
	}
	const none = "no application protocol"
	const unknown = "unrecognized name"
	raw := map[string]string{"": "", "http/1.1": "http/1.1", "h2": none, "h2 http/1.1": "http/1.1", "postgresql": none, "mqtt": none}
	tcp := maps.Clone(raw)
	tcp["postgresql"] = "postgresql" // whose clients begin with TLS where they are told to
	for host, want := range map[string]map[string]string{
		"http":     {"": "", "http/1.1": "http/1.1", "h2": "h2", "h2 http/1.1": "h2", "postgresql": none, "mqtt": none, "podway-connect": none},
		"tcp":      tcp,
		"bolt":     raw,
		"mongodb":  raw,
		"redis":    raw,
		"postgres": {"": "", "http/1.1": "http/1.1", "h2": none, "h2 http/1.1": "http/1.1", "postgresql": "postgresql", "mqtt": none, "podway-connect": "podway-connect"},
		"none":     {"": unknown, "http/1.1": "http/1.1", "h2": "h2", "h2 http/1.1": "h2", "postgresql": none, "mqtt": none},
	} {
		for offer, want := range want {
			t.Run(fmt.Sprintf("%s pod, offer %q", host, offer), func(t *testing.T) {
				c, err := e.dial(host+".pods.test", strings.Fields(offer)...)
				if want == none || want == unknown {
					if err == nil || !strings.Contains(err.Error(), want) {
						t.Fatalf("got %v, want %s", err, want)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if got := c.ConnectionState().NegotiatedProtocol; got != want {
					t.Errorf("got %q, want %q", got, want)
				}
			})
		}
	}
}

func TestNamesWithoutCertificate(t *testing.T) {
	e := startEdge(t)
	for _, host := range []string{"web.other.test", "a.b.pods.test", "pods.test"} {
		if _, err := e.dial(host, "h2", "http/1.1"); err == nil || !strings.Contains(err.Error(), "unrecognized name") {
			t.Errorf("%s: got %v, want unrecognized name", host, err)
		}
	}
	raw, err := net.Dial("tcp", e.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	err = tls.Client(raw, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}).Handshake()
	if err == nil || !strings.Contains(err.Error(), "unrecognized name") {
		t.Errorf("no server name: got %v, want unrecognized name", err)
	}
}

// A ticket is of use for the name it was issued for only.
func TestSessionsResumeOnTheirOwnHostOnly(t *testing.T) {
	e := startEdge(t)
	up := snitest.Echo(t).Addr
	e.publish(snitest.Route("a.pods.test", routes.TCP, up), snitest.Route("b.pods.test", routes.TCP, up))
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cache := &anyHost{tls.NewLRUClientSessionCache(4)}
		resumed := func(host string) bool {
			t.Helper()
			raw, err := net.Dial("tcp", e.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer raw.Close()
			c := tls.Client(raw, &tls.Config{ServerName: host, RootCAs: e.pool, ClientSessionCache: cache, MinVersion: version, MaxVersion: version})
			if err := echo(c, "hello"); err != nil { // tickets come after the handshake
				t.Fatal(err)
			}
			return c.ConnectionState().DidResume
		}
		if resumed("a.pods.test") || !resumed("a.pods.test") {
			t.Errorf("version %x: the second session is not resumed", version)
		}
		if resumed("b.pods.test") {
			t.Errorf("version %x: a ticket of another host is accepted", version)
		}
	}
}

// anyHost offers every ticket to every host.
type anyHost struct{ tls.ClientSessionCache }

func (c *anyHost) Get(string) (*tls.ClientSessionState, bool) { return c.ClientSessionCache.Get("any") }
func (c *anyHost) Put(_ string, s *tls.ClientSessionState)    { c.ClientSessionCache.Put("any", s) }

func TestSessionsOfOtherPodsGoOn(t *testing.T) {
	e := startEdge(t)
	up := snitest.Echo(t).Addr
	a, b := snitest.Route("a.pods.test", routes.TCP, up), snitest.Route("b.pods.test", routes.TCP, up)
	e.publish(a, b)
	var mine, others []net.Conn
	for range 20 {
		mine, others = append(mine, e.connect("a.pods.test")), append(others, e.connect("b.pods.test"))
	}
	for _, c := range append(mine, others...) {
		if err := echo(c, "hello"); err != nil {
			t.Fatal(err)
		}
	}
	e.remove("a.pods.test")
	for _, c := range mine {
		wantClosed(t, c, soon)
	}
	if _, err := e.dial("a.pods.test"); err == nil {
		t.Error("a removed host is served")
	}
	for _, c := range others {
		if err := echo(c, "still here"); err != nil {
			t.Error(err)
		}
	}
	e.publish(a)
	if err := echo(e.connect("a.pods.test"), "back"); err != nil {
		t.Error(err)
	}
}

// A database driver in a browser speaks over a WebSocket to the same host that
// others speak raw bytes to. The pod answers both.
func TestWebSocketToATCPPod(t *testing.T) {
	e := startEdge(t)
	e.publish(snitest.Route("graph.pods.test", routes.TCP, pod(t, sockets)))
	c, _, err := websocket.Dial(t.Context(), "wss://graph.pods.test/ws", &websocket.DialOptions{HTTPClient: e.client("HTTP/1.1")})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow() //nolint:errcheck // the test is over then
	if err := echoSocket(t.Context(), c, "hello"); err != nil {
		t.Error(err)
	}
}

// pgConfig is for a client of the edge that checks the certificate.
func (e *edge) pgConfig(host string) *pgx.ConnConfig {
	e.t.Helper()
	cfg, err := pgx.ParseConfig(fmt.Sprintf("host=%s port=%s user=postgres dbname=postgres sslmode=verify-full sslrootcert=%s connect_timeout=20",
		host, e.port, filepath.Join(e.dir, "ca.crt")))
	if err != nil {
		e.t.Fatal(err)
	}
	cfg.LookupFunc = func(context.Context, string) ([]string, error) { return []string{"127.0.0.1"}, nil }
	return cfg
}

func TestPostgres(t *testing.T) {
	e := startEdge(t)
	pg := parts.StartPostgres(t)
	db := snitest.Route("db.pods.test", routes.Postgres, fmt.Sprintf("127.0.0.1:%d", pg.Port))
	plain := snitest.Route("plain.pods.test", routes.TCP, db.Upstreams...)
	stopped := snitest.Route("stopped.pods.test", routes.Postgres)
	stopped.State, stopped.Upstreams = routes.Stopped, nil
	e.publish(db, plain, stopped, web("web.pods.test", "127.0.0.1:1"))

	for _, tt := range []struct {
		name, host, negotiation string
	}{
		{"a driver", "db.pods.test", "postgres"},
		{"a driver that begins with TLS", "db.pods.test", "direct"},
		{"a driver, to a pod with the protocol tcp", "plain.pods.test", "postgres"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := e.in(t).pgConfig(tt.host)
			cfg.SSLNegotiation = tt.negotiation
			c, err := pgx.ConnectConfig(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close(t.Context()) //nolint:errcheck // the test is over then
			var n int
			if err := c.QueryRow(t.Context(), "select count(*) from generate_series(1, 100000)").Scan(&n); err != nil || n != 100000 {
				t.Errorf("got %d, %v", n, err)
			}
		})
	}

	t.Run("a driver is told that the pod is stopped", func(t *testing.T) {
		_, err := pgx.ConnectConfig(t.Context(), e.in(t).pgConfig("stopped.pods.test"))
		pe, ok := errors.AsType[*pgconn.PgError](err)
		if !ok || pe.Code != "57P03" || pe.Message != "this pod is stopped" || pe.Hint == "" {
			t.Errorf("got %v", err)
		}
	})

	psql := parts.Require(t, "psql", "/usr/lib/postgresql/*/bin/psql")
	run := func(t *testing.T, conninfo, command string) (string, error) {
		cmd := exec.CommandContext(t.Context(), psql, "-X", "-A", "-t", "-c", command,
			"hostaddr=127.0.0.1 port="+e.port+" user=postgres dbname=postgres sslrootcert="+filepath.Join(e.dir, "ca.crt")+" "+conninfo)
		cmd.Env = []string{"HOME=" + e.dir, "PGCONNECT_TIMEOUT=20"}
		b, err := cmd.CombinedOutput()
		return strings.TrimSpace(string(b)), err
	}
	for _, tt := range []struct{ name, conninfo, want string }{
		{"psql", "host=db.pods.test sslmode=verify-full", "42"},
		{"psql without TLS", "host=db.pods.test sslmode=disable", "sslmode=require"},
		{"psql to a stopped pod", "host=stopped.pods.test sslmode=verify-full", "this pod is stopped"},
		{"psql to a web pod", "host=web.pods.test sslmode=verify-full", "this pod does not speak PostgreSQL"},
		{"psql without server name", "host=db.pods.test sslmode=require sslsni=0 options=pod=db", "42"},
		{"psql that names no pod at all", "host=db.pods.test sslmode=require sslsni=0", "options=pod%3D<pod id>"},
		{"psql to no pod", "host=none.pods.test sslmode=verify-full", "there is no pod at this address"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if out, err := run(t, tt.conninfo, "select 6*7"); !strings.Contains(out, tt.want) {
				t.Errorf("got %q, %v, want %q", out, err, tt.want)
			}
		})
	}
}

// The pod ends TLS with a certificate that the edge does not have.
func TestPassthrough(t *testing.T) {
	e := startEdge(t)
	cert, pool := snitest.Certificate(t, "own.pods.test")
	for _, alpn := range []string{"", "own-protocol"} {
		up := snitest.Serve(t, func(c *net.TCPConn) {
			tc := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: strings.Fields(alpn)})
			defer tc.Close()
			_, _ = io.Copy(tc, tc)
		})
		r := snitest.Route("own.pods.test", routes.TCP, up.Addr)
		r.TLS = routes.Passthrough
		e.publish(r)
		raw, err := net.Dial("tcp", e.addr)
		if err != nil {
			t.Fatal(err)
		}
		c := tls.Client(raw, &tls.Config{ServerName: "own.pods.test", RootCAs: pool, NextProtos: strings.Fields(alpn)})
		if err := echo(c, "hello"); err != nil {
			t.Errorf("ALPN %q: %v", alpn, err)
		}
		c.Close()
	}
}

// Ctrl-C in psql: a second connection, without TLS, that names its session by a
// key. The key is in Redis for other edges, until the session ends.
func TestPsqlCancels(t *testing.T) {
	rs := miniredis.RunT(t)
	e := startEdgeOn(t, rs.Addr())
	pg := parts.StartPostgres(t)
	e.publish(snitest.Route("db.pods.test", routes.Postgres, fmt.Sprintf("127.0.0.1:%d", pg.Port)))
	keys := func(want int) {
		t.Helper()
		parts.Eventually(t, limit, func() error {
			n := 0
			for _, k := range rs.Keys() {
				if strings.HasPrefix(k, "podway:{default}:cancel:") {
					n++
				}
			}
			if n != want {
				return fmt.Errorf("got %d cancel keys in Redis, want %d", n, want)
			}
			return nil
		})
	}
	c, err := pgx.ConnectConfig(t.Context(), e.pgConfig("db.pods.test"))
	if err != nil {
		t.Fatal(err)
	}
	keys(1)
	failed := make(chan error, 1)
	go func() {
		_, err := c.Exec(t.Context(), "select pg_sleep(600)")
		failed <- err
	}()
	parts.Eventually(t, limit, func() error { // a request may come before the statement, and is of no effect then
		if err := c.PgConn().CancelRequest(t.Context()); err != nil {
			return err
		}
		select {
		case err := <-failed:
			if pe, ok := errors.AsType[*pgconn.PgError](err); !ok || pe.Code != "57014" {
				t.Errorf("got %v, want query_canceled", err)
			}
			return nil
		case <-time.After(200 * time.Millisecond):
			return errors.New("the statement goes on")
		}
	})
	_ = c.Close(t.Context())
	keys(0)
}

func TestRoutesOutliveRedisAndTheEdge(t *testing.T) {
	rs := parts.StartRedis(t, "--appendonly", "yes", "--appendfsync", "always")
	e := startEdgeOn(t, rs.Addr)
	e.publish(snitest.Route("echo.pods.test", routes.TCP, snitest.Echo(t).Addr), web("web.pods.test", pod(t, telling)))
	session := e.connect("echo.pods.test")
	rs.Kill()
	parts.Eventually(t, limit, func() error {
		var s struct{ Routes struct{ Synced bool } }
		if _, err := e.admin(http.MethodGet, "/podway/status", &s); err != nil {
			return err
		}
		if s.Routes.Synced {
			return errors.New("synced without Redis")
		}
		return nil
	})
	for _, c := range []net.Conn{session, e.connect("echo.pods.test")} {
		if err := echo(c, "hello"); err != nil {
			t.Errorf("without Redis: %v", err)
		}
	}

	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	wantClosed(t, session, limit)
	e.load("1s")
	e.awaitReady()
	if err := echo(e.connect("echo.pods.test"), "hello"); err != nil {
		t.Errorf("from the snapshot: %v", err)
	}
	if a := e.get(e.client("HTTP/2.0"), "https://web.pods.test/"); a.StatusCode != http.StatusOK {
		t.Errorf("from the snapshot: got %d", a.StatusCode)
	}

	rs.Start()
	e.publish(snitest.Route("new.pods.test", routes.TCP, snitest.Echo(t).Addr))
	if err := echo(e.connect("new.pods.test"), "hello"); err != nil {
		t.Errorf("after Redis came back: %v", err)
	}
}

// Before there is any table, nothing is said to be missing.
func TestStartWithoutRedisAndSnapshot(t *testing.T) {
	e := startEdge(t)
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PODWAY_REDIS_URL", "redis://127.0.0.1:1")
	t.Setenv("PODWAY_EDGE_DIR", t.TempDir())
	e.load("1s")
	e.readCA()
	a := e.get(e.client("HTTP/2.0"), "https://web.pods.test/")
	if a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Retry-After") != "10" {
		t.Errorf("got %d %v, want 503", a.StatusCode, a.Header)
	}
	var s struct {
		Ready  bool
		Routes struct{ Loaded bool }
	}
	if _, err := e.admin(http.MethodGet, "/podway/status", &s); err != nil || s.Ready || s.Routes.Loaded {
		t.Errorf("got %+v, %v, want not ready", s, err)
	}
}

func TestAdminAPI(t *testing.T) {
	e := startEdge(t)
	e.publish(snitest.Route("a.pods.test", routes.TCP, snitest.Echo(t).Addr), web("b.pods.test", "127.0.0.1:1"))
	c := e.connect("a.pods.test")
	if err := echo(c, "hello"); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		method, path string
		status       int
		want         string
	}{
		{"GET", "/podway/status", 200, `"ready":true`},
		{"GET", "/podway/status", 200, `"certificates":{"*.pods.test":true}`},
		{"GET", "/podway/routes", 200, `"host":"b.pods.test"`},
		{"GET", "/podway/routes?limit=1", 200, `"next":"a.pods.test"`},
		{"GET", "/podway/routes?limit=1&after=a.pods.test", 200, `{"routes":[{"schema":1,"host":"b.pods.test"`},
		{"GET", "/podway/routes?limit=0", 400, "limit is not between 1 and 10000"},
		{"GET", "/podway/routes/A.pods.test.", 200, `"host":"a.pods.test"`},
		{"GET", "/podway/routes/c.pods.test", 404, "no route for"},
		{"GET", "/podway/sessions", 200, `"total":1`},
		{"GET", "/podway/sessions?host=a.pods.test", 200, `"received":5,"sent":5`},
		{"GET", "/podway/sessions?host=b.pods.test", 200, `{"sessions":[],"total":1}`},
		{"GET", "/podway/sessions?limit=x", 400, "limit is not"},
		{"POST", "/podway/routes/confirm", 200, `{"dropped":0}`},
		{"GET", "/podway/routes/confirm", 405, "use POST"},
		{"POST", "/podway/status", 405, "use GET"},
		{"GET", "/podway/else", 404, "known are"},
	} {
		var got json.RawMessage
		status, err := e.admin(tt.method, tt.path, &got)
		if text := strings.ReplaceAll(string(got), " ", ""); err != nil || status != tt.status || !strings.Contains(text, strings.ReplaceAll(tt.want, " ", "")) {
			t.Errorf("%s %s: got %d %s, %v, want %d with %s", tt.method, tt.path, status, got, err, tt.status, tt.want)
		}
	}
	c.Close()
	e.awaitSessions("a.pods.test", 0)

	metrics := e.metrics()
	for _, want := range []string{
		`podway_edge_routes 2`, `podway_edge_routes_synced 1`, `podway_edge_sessions{protocol="tcp"} 0`,
		`podway_edge_session_bytes_total{direction="sent",protocol="tcp"}`, `podway_edge_connections_opened_total{result="tcp"}`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	if strings.Contains(metrics, "pods.test") {
		t.Error("the metrics name hosts")
	}
}

// metrics returns what Prometheus would read.
func (e *edge) metrics() string {
	e.t.Helper()
	c, err := net.Dial("unix", filepath.Join(e.dir, "admin.sock"))
	if err != nil {
		e.t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n"); err != nil {
		e.t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil {
		e.t.Fatal(err)
	}
	return string(b)
}

// A route's own limit counts requests as it counts sessions.
func TestPodLimitOfRequests(t *testing.T) {
	e := startEdge(t)
	entered, leave := make(chan struct{}), make(chan struct{})
	up := pod(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(entered)
			<-leave
		}
		_, _ = io.WriteString(w, "pod")
	})
	r := web("web.pods.test", up)
	r.Limits = &routes.Limits{MaxConnections: 1}
	e.publish(r)
	first := make(chan error, 1)
	go func() {
		res, err := e.client("HTTP/1.1").Get("https://web.pods.test:" + e.port + "/slow")
		if err == nil {
			res.Body.Close()
		}
		first <- err
	}()
	<-entered
	a := e.get(e.client("HTTP/2.0"), "https://web.pods.test/")
	if a.StatusCode != http.StatusServiceUnavailable || !strings.Contains(a.body, "as many connections as it may have") {
		t.Errorf("got %d %q, want 503", a.StatusCode, a.body)
	}
	close(leave)
	if err := <-first; err != nil {
		t.Error(err)
	}
	parts.Eventually(t, limit, func() error {
		if a := e.get(e.client("HTTP/2.0"), "https://web.pods.test/"); a.body != "pod" {
			return fmt.Errorf("got %d %q after the first has left", a.StatusCode, a.body)
		}
		return nil
	})
	if !strings.Contains(e.metrics(), `podway_edge_sessions_refused_total{protocol="http"}`) {
		t.Error("the metrics lack the refused requests")
	}
}
