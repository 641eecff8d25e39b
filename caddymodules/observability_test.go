package caddymodules_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni/snitest"
	"github.com/tapis-project/podway/tests/parts"
)

// metricName matches what Prometheus calls a metric.
var metricName = regexp.MustCompile(`\b(podway_edge|process|go)_[a-z_]+\b`)

// metricNames returns the metrics that a text names.
func metricNames(text string) []string {
	names := metricName.FindAllString(text, -1)
	slices.Sort(names)
	return slices.Compact(names)
}

// The reference and the dashboard name metrics that exist, and the reference names
// all of them.
func TestMetricsAreAsDocumented(t *testing.T) {
	e := startEdge(t)
	e.loadWithApp("podway_certificates", "")
	parts.Eventually(t, limit, func() error {
		if !strings.Contains(e.metrics(), "podway_edge_certificate_days_left{") {
			return errors.New("the edge has no certificate yet")
		}
		return nil
	})
	exported := map[string]bool{}
	for line := range strings.Lines(e.metrics()) {
		if name, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, _, _ = strings.Cut(name, " ")
			exported[name] = true
		}
	}
	var documented []string
	for _, file := range []string{"docs/observability.md", "deploy/grafana/podway-edge.json"} {
		b, err := os.ReadFile(filepath.Join("..", file))
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(file, ".json") && !json.Valid(b) {
			t.Errorf("%s is not JSON", file)
		}
		names := metricNames(string(b))
		if len(names) < 10 {
			t.Errorf("%s: got %d metrics, want many", file, len(names))
		}
		for _, name := range names {
			if !exported[name] {
				t.Errorf("%s names %s, which the edge does not export", file, name)
			}
		}
		if strings.HasSuffix(file, ".md") {
			documented = names
		}
	}
	for name := range exported {
		if strings.HasPrefix(name, "podway_edge_") && !slices.Contains(documented, name) {
			t.Errorf("the edge exports %s, which docs/observability.md lacks", name)
		}
	}
}

// loadWith runs the configuration with another option of the app podway.
func (e *edge) loadWith(option string) {
	e.t.Helper()
	e.loadWithApp("", option)
}

// loadWithApp runs the configuration with another app, "" for none, and another
// option of the app podway.
func (e *edge) loadWithApp(app, option string) {
	e.t.Helper()
	body, err := os.ReadFile(filepath.Join("..", "edge", "Caddyfile.dev"))
	if err != nil {
		e.t.Fatal(err)
	}
	text := strings.Replace(string(body), "\tpodway {\n", app+"\n\tpodway {\n"+option+"\n", 1)
	cfg, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		e.t.Fatal(err)
	}
	if err := caddy.Load(cfg, true); err != nil {
		e.t.Fatal(err)
	}
}

func TestConnectionRecords(t *testing.T) {
	rs := parts.StartRedis(t)
	e := startEdgeOn(t, rs.Addr)
	e.loadWith("records {\nlog\nstream 100\nrequests\nedge edge-1\n}")
	stopped := snitest.Route("stopped.pods.test", routes.TCP, "127.0.0.1:1")
	stopped.State = routes.Stopped
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	e.publish(snitest.Route("echo.pods.test", routes.TCP, snitest.Echo(t).Addr), stopped,
		snitest.Route("web.pods.test", routes.HTTP, web.Listener.Addr().String()))

	c := e.connect("echo.pods.test")
	if err := echo(c, "hello"); err != nil {
		t.Fatal(err)
	}
	c.Close()
	c = e.connect("stopped.pods.test")
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	kicked := e.connect("echo.pods.test")
	if err := echo(kicked, "hello"); err != nil {
		t.Fatal(err)
	}
	e.awaitSessions("echo.pods.test", 1)
	if status, err := e.admin(http.MethodDelete, "/podway/sessions?host=echo.pods.test", nil); status != http.StatusOK || err != nil {
		t.Errorf("got %d, %v", status, err)
	}
	wantClosed(t, kicked, soon)

	e.get(e.client("HTTP/2.0"), "https://web.pods.test/")
	client := redis.NewClient(&redis.Options{Addr: rs.Addr})
	defer client.Close()
	byResult := map[string]map[string]any{}
	parts.Eventually(t, limit, func() error {
		entries, err := client.XRange(t.Context(), "podway:{default}:connections", "-", "+").Result()
		if err != nil {
			return err
		}
		for _, x := range entries {
			byResult[fmt.Sprint(x.Values["result"], x.Values["status"])] = x.Values
		}
		if len(byResult) < 4 {
			return fmt.Errorf("got %v, want 4 kinds of records", byResult)
		}
		return nil
	})
	for result, want := range map[string]map[string]string{
		"ended<nil>":    {"edge": "edge-1", "host": "echo.pods.test", "tenant": "dev", "pod": "echo", "net": "default", "protocol": "tcp", "client": "127.0.0.1", "received": "5", "sent": "5"},
		"ended404":      {"host": "web.pods.test", "protocol": "http", "sent": "19"},
		"not_live<nil>": {"host": "stopped.pods.test", "received": "0"},
		"kicked<nil>":   {"host": "echo.pods.test", "sent": "5"},
	} {
		for name, value := range want {
			if got := byResult[result][name]; got != value {
				t.Errorf("%s: got %s %v, want %v", result, name, got, value)
			}
		}
	}

	// Without Redis records are lost, and connections are not.
	rs.Kill()
	if err := echo(e.connect("echo.pods.test"), "hello"); err != nil {
		t.Error(err)
	}
}

func TestLookupAndKick(t *testing.T) {
	e := startEdge(t)
	e.publish(snitest.Route("a.pods.test", routes.TCP, snitest.Echo(t).Addr))
	var conns []net.Conn
	for range 2 {
		c := e.connect("a.pods.test")
		if err := echo(c, "hello"); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	var list struct{ Sessions []struct{ ID uint64 } }
	if _, err := e.admin(http.MethodGet, "/podway/sessions", &list); err != nil || len(list.Sessions) != 2 {
		t.Fatalf("got %+v, %v", list, err)
	}
	for _, tt := range []struct {
		method, path string
		status       int
		want         string
	}{
		{"GET", "/podway/lookup?host=A.pods.test", 200, `"host":"a.pods.test"`},
		{"GET", "/podway/lookup?host=b.pods.test", 404, "no route for"},
		{"GET", "/podway/sync", 200, `"synced":true`},
		{"DELETE", "/podway/sessions", 400, "say which"},
		{"DELETE", "/podway/sessions?id=x", 400, "not a number"},
		{"DELETE", "/podway/sessions?id=1&host=a.pods.test", 400, "say which"},
		{"DELETE", "/podway/sessions?host=b.pods.test", 200, `{"kicked":0}`},
		{"PUT", "/podway/sessions", 405, "use DELETE or GET"},
		{"DELETE", fmt.Sprintf("/podway/sessions?id=%d", list.Sessions[0].ID), 200, `{"kicked":1}`},
	} {
		var got json.RawMessage
		status, err := e.admin(tt.method, tt.path, &got)
		if text := strings.ReplaceAll(string(got), " ", ""); err != nil || status != tt.status || !strings.Contains(text, strings.ReplaceAll(tt.want, " ", "")) {
			t.Errorf("%s %s: got %d %s, %v, want %d with %s", tt.method, tt.path, status, got, err, tt.status, tt.want)
		}
	}
	wantClosed(t, conns[0], soon)
	if err := echo(conns[1], "hello"); err != nil {
		t.Errorf("the other session: %v", err)
	}
}

// Who drains takes no connections, and ends none.
func TestDrainByTheAdminAPI(t *testing.T) {
	e := startEdge(t)
	e.publish(snitest.Route("a.pods.test", routes.TCP, snitest.Echo(t).Addr))
	c := e.connect("a.pods.test")
	var got struct{ Sessions int }
	if status, err := e.admin(http.MethodPost, "/podway/drain", &got); status != http.StatusOK || err != nil {
		t.Fatalf("got %d, %v", status, err)
	}
	if raw, err := net.Dial("tcp", e.addr); err == nil {
		raw.Close()
		t.Error("a new connection is accepted")
	}
	if err := echo(c, "hello"); err != nil {
		t.Errorf("the session before: %v", err)
	}
	var s struct{ Ready, Draining bool }
	if _, err := e.admin(http.MethodGet, "/podway/status", &s); err != nil || s.Ready || !s.Draining {
		t.Errorf("got %+v, %v, want draining", s, err)
	}
	if !strings.Contains(e.metrics(), "podway_edge_draining 1") {
		t.Error("the metrics do not say that it drains")
	}

	// Another configuration begins again.
	e.load("1001ms")
	parts.Eventually(t, limit, func() error {
		c, err := e.dial("a.pods.test")
		if err != nil {
			return err
		}
		defer c.Close()
		return echo(c, "hello")
	})
	if _, err := e.admin(http.MethodGet, "/podway/status", &s); err != nil || !s.Ready || s.Draining {
		t.Errorf("got %+v, %v, want ready", s, err)
	}
	if err := echo(c, "hello"); err != nil && !errors.Is(err, net.ErrClosed) {
		t.Errorf("the first session: %v", err)
	}
}
