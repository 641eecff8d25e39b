package gate

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tapis-project/podway/routes/redisgate"
	"github.com/tapis-project/podway/tests/parts"
)

// idleCommands are those that an edge sends whether requests come or not: it waits for
// changes of routes, and keeps its connections.
var idleCommands = regexp.MustCompile(`^cmdstat_(xread|xrange|xinfo.*|mget|ping|info|client.*|hello|subscribe|psubscribe|command.*|hscan|hlen|get|multi|exec)$`)

// TestRequestsAskRedisNothing: whoever is known costs no command, by session or by
// token.
func TestRequestsAskRedisNothing(t *testing.T) {
	e := startEdge(t)
	pod := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "pod") }))
	t.Cleanup(pod.Close)
	e.publish("web", "http", strings.TrimPrefix(pod.URL, "http://"), "ada")
	now := time.Now()
	id, err := e.store.CreateSession(t.Context(), redisgate.Session{
		Host: "web." + zone, Pod: "web", Username: "ada", Tenant: "dev", Created: now, Expires: now.Add(time.Hour),
	}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		header http.Header
		behind string // the command that follows the first request, behind its back
	}{
		"by session": {http.Header{"Cookie": {sessionCookie + id}}, "cmdstat_pexpire"},
		"by token":   {http.Header{"X-Tapis-Token": {e.token("ada")}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c, header := e.client(t), tt.header
			parts.Eventually(t, limit, func() error { return e.get(c, header) }) // the first one may ask
			if tt.behind != "" {
				parts.Eventually(t, limit, func() error {
					if e.commands(t)[tt.behind] == 0 {
						return fmt.Errorf("Redis was not sent %s", tt.behind)
					}
					return nil
				})
			}
			before := e.commands(t)
			const workers, each = 8, 250
			var all sync.WaitGroup
			errs := make(chan error, workers)
			for range workers {
				all.Go(func() {
					for range each {
						if err := e.get(c, header); err != nil {
							errs <- err
							return
						}
					}
				})
			}
			all.Wait()
			select {
			case err := <-errs:
				t.Fatal(err)
			default:
			}
			after := e.commands(t)
			for _, command := range slices.Sorted(maps.Keys(after)) {
				if n := after[command] - before[command]; n > 0 && !idleCommands.MatchString(command) {
					t.Errorf("got %d of %s for %d requests, want none", n, command, workers*each)
				}
			}
			total := 0
			for command, n := range after {
				total += n - before[command]
			}
			// Those that an idle edge sends do not grow with the requests.
			if total > workers*each/10 {
				t.Errorf("got %d commands during %d requests", total, workers*each)
			}
			t.Logf("%d commands during %d requests, none of them for a request", total, workers*each)
		})
	}
}

func (e *edge) client(t *testing.T) *http.Client {
	t.Helper()
	roots, err := e.roots()
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots}, MaxIdleConnsPerHost: 16,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", strconv.Itoa(e.port)))
		},
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: limit}
}

func (e *edge) get(c *http.Client, header http.Header) error {
	r, err := http.NewRequestWithContext(e.t.Context(), http.MethodGet, "https://web."+zone+"/", nil)
	if err != nil {
		return err
	}
	r.Header = header.Clone()
	res, err := c.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || string(b) != "pod" {
		return fmt.Errorf("got %s %.100s, %w", res.Status, b, err)
	}
	return nil
}

// commands returns how often Redis has run each command.
func (e *edge) commands(t *testing.T) map[string]int {
	t.Helper()
	info, err := e.redis.Info(t.Context(), "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for l := range strings.Lines(info) {
		// cmdstat_get:calls=2,usec=…
		name, rest, ok := strings.Cut(strings.TrimSpace(l), ":calls=")
		if !ok {
			continue
		}
		n, _, _ := strings.Cut(rest, ",")
		if counts[name], err = strconv.Atoi(n); err != nil {
			t.Fatalf("reading %q: %v", l, err)
		}
	}
	return counts
}
