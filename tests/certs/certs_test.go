//go:build certs

package certs

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/routes/keytext"
	"github.com/tapis-project/podway/routes/redisgate"
	"github.com/tapis-project/podway/routes/redisroutes"
	"github.com/tapis-project/podway/tests/parts"
)

// world is everything around the edges of one test.
type world struct {
	t      *testing.T
	redis  *parts.Redis
	client *redis.Client
	dns    *parts.DNS
	ca     *pebble
	pub    *redisroutes.Publisher
	pod    string // address of a web server
	base   settings
}

// long is how long certificates are good for in tests that are not about their
// renewal. The authority suggests a time for it, two days around two thirds of this.
const long = 30 * 24 * time.Hour

// newWorld starts Redis, DNS and an authority with certificates that are good for a
// time. Options are settings of the authority by their names.
func newWorld(t *testing.T, validity time.Duration, options ...map[string]any) *world {
	t.Helper()
	w := &world{t: t, redis: parts.StartRedis(t), dns: parts.StartDNS(t, "tacc.test", "iu.test", "custom.test")}
	w.client = redis.NewClient(&redis.Options{Addr: w.redis.Addr})
	t.Cleanup(func() { w.client.Close() })
	w.publisher()
	web := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, "pod") }))
	t.Cleanup(web.Close)
	w.pod = web.Listener.Addr().String()
	port := strconv.Itoa(parts.FreePort(t))
	w.ca = startPebble(t, w.dns.Addr, port, validity, options...)
	w.base = w.settings(port, "redis://"+w.redis.Addr)
	w.tenants()
	w.routes()
	return w
}

// settings are those of an edge that looks at its certificates each second.
func (w *world) settings(port, redisURL string) settings {
	return settings{
		Port: port, Redis: redisURL, KeyFile: w.key(), Directory: w.ca.Directory, CAFile: w.ca.CAFile, DNS: w.dns,
		LockTTL: 4 * time.Second, Check: time.Second, MinBackoff: time.Second, PerName: 1000, PerTenant: 1000, Total: 1000, RenewInterval: time.Second,
	}
}

// publisher begins to publish routes anew.
func (w *world) publisher() {
	w.t.Helper()
	var err error
	if w.pub, err = redisroutes.NewPublisher(redisroutes.PublisherOptions{Client: w.client, Logger: slog.New(slog.DiscardHandler)}); err != nil {
		w.t.Fatal(err)
	}
}

// key writes a key of the storage to a file.
func (w *world) key() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b)
	file := filepath.Join(w.t.TempDir(), "certificates.key")
	if err := os.WriteFile(file, []byte(base64.StdEncoding.EncodeToString(b)), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return file
}

// tenants publishes tenants, as the control plane does.
func (w *world) tenants(ids ...string) {
	w.t.Helper()
	ring, err := redisgate.ParseKeyring(keytext.New())
	if err != nil {
		w.t.Fatal(err)
	}
	store, err := redisgate.New(redisgate.Options{Client: w.client, Keyring: ring})
	if err != nil {
		w.t.Fatal(err)
	}
	var all []redisgate.Tenant
	for _, id := range ids {
		all = append(all, redisgate.Tenant{ID: id, LoginURL: "https://" + id + ".test"})
	}
	if err := store.SetTenants(w.t.Context(), all); err != nil {
		w.t.Fatal(err)
	}
}

// routes publishes routes to the web server, by host, and says that these are all.
func (w *world) routes(hosts ...string) {
	w.t.Helper()
	for _, h := range hosts {
		w.route(h, routes.HTTP, w.pod)
	}
	if err := w.pub.Complete(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) route(host string, p routes.Protocol, upstream string) {
	w.t.Helper()
	id := strings.ReplaceAll(host, ".", "-")
	r := routes.Route{Host: host, Tenant: "tacc", Pod: id, Net: "default", Instance: "1", Protocol: p, State: routes.Live, Upstreams: []string{upstream}}
	if err := w.pub.SetPod(w.t.Context(), r.Tenant, r.Pod, []routes.Route{r}); err != nil {
		w.t.Fatal(err)
	}
}

// edge starts an edge. The first one has the port that the authority knows.
func (w *world) edge(adjust ...func(*settings)) *edge {
	w.t.Helper()
	s := w.base
	for _, f := range adjust {
		f(&s)
	}
	return start(w.t, s, w.ca.roots())
}

// elsewhere gives an edge another port.
func (w *world) elsewhere(s *settings) { s.Port = strconv.Itoa(parts.FreePort(w.t)) }

// get asks a host for its page.
func get(e *edge, host string) error {
	c, err := e.dial(host, "http/1.1")
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(limit))
	if _, err := fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host); err != nil {
		return err
	}
	b, err := io.ReadAll(c)
	if err == nil && !bytes.HasSuffix(b, []byte("pod")) {
		err = fmt.Errorf("got %q", b)
	}
	return err
}

func TestWildcardOfANewTenantIsThereBeforeItsFirstPod(t *testing.T) {
	w := newWorld(t, long)
	e := w.edge()
	w.tenants("tacc")
	s := e.awaitState("*.pods.tacc.test", "valid")
	if s.Tenant != "tacc" || w.ca.issued() != 1 {
		t.Errorf("got %+v and %d certificates, want one of tacc", s, w.ca.issued())
	}
	w.routes("web.pods.tacc.test", "api.pods.tacc.test")
	for _, host := range []string{"web.pods.tacc.test", "api.pods.tacc.test"} {
		parts.Eventually(t, limit, func() error { return get(e, host) })
	}
	if n := w.ca.issued(); n != 1 {
		t.Errorf("got %d certificates, want 1 for all of the tenant", n)
	}
	if v := e.metric(`podway_edge_certificates{kind="wildcard",status="valid"}`); v != 1 {
		t.Errorf("got %v valid wildcards, want 1", v)
	}
	noted := w.client.HGet(t.Context(), "podway:{default}:certs:state", "*.pods.tacc.test").Val()
	if !strings.Contains(noted, `"status":"valid"`) {
		t.Errorf("noted in Redis is %q", noted)
	}
	noReadableKey(t, w)
}

// noReadableKey looks at everything in Redis.
func noReadableKey(t *testing.T, w *world) {
	t.Helper()
	values := w.client.HGetAll(t.Context(), "podway:{default}:certs:values").Val()
	var private int
	for key, v := range values {
		if strings.HasSuffix(key, ".key") {
			private++
		}
		if strings.Contains(v, "PRIVATE KEY") || strings.Contains(v, "BEGIN ") {
			t.Errorf("%s can be read", key)
		}
	}
	if private == 0 {
		t.Errorf("got no private key among %d values", len(values))
	}
}

func TestCustomDomainOnTheSharedPortWhileTrafficRuns(t *testing.T) {
	w := newWorld(t, long)
	pg := parts.StartPostgres(t)
	w.tenants("tacc")
	w.route("db.pods.tacc.test", routes.Postgres, net.JoinHostPort("127.0.0.1", strconv.Itoa(pg.Port)))
	w.routes("web.pods.tacc.test")
	e := w.edge()
	e.awaitState("*.pods.tacc.test", "valid")

	ctx, stop := context.WithCancel(t.Context())
	var traffic sync.WaitGroup
	var requests, queries int
	traffic.Go(func() {
		for ctx.Err() == nil {
			if err := get(e, "web.pods.tacc.test"); err != nil {
				t.Errorf("http: %v", err)
				return
			}
			requests++
		}
	})
	traffic.Go(func() {
		for ctx.Err() == nil {
			if err := query(ctx, e, "db.pods.tacc.test"); err != nil && ctx.Err() == nil {
				t.Errorf("postgres: %v", err)
				return
			}
			queries++
		}
	})
	w.routes("www.custom.test")
	e.awaitState("www.custom.test", "valid")
	if err := get(e, "www.custom.test"); err != nil {
		t.Error(err)
	}
	stop()
	traffic.Wait()
	t.Logf("%d requests and %d queries meanwhile, %d orders", requests, queries, w.ca.orders())
	if requests == 0 || queries == 0 {
		t.Errorf("got %d requests and %d queries, want some of both", requests, queries)
	}
	if n := w.ca.issued(); n != 2 {
		t.Errorf("got %d certificates, want 2", n)
	}
}

// query runs a query over a connection of its own.
func query(ctx context.Context, e *edge, host string) error {
	cfg, err := pgx.ParseConfig(fmt.Sprintf("postgres://postgres@%s:%s/postgres?sslmode=require", host, e.s.Port))
	if err != nil {
		return err
	}
	cfg.TLSConfig.RootCAs, cfg.TLSConfig.InsecureSkipVerify, cfg.TLSConfig.ServerName = e.roots, false, host
	cfg.LookupFunc = func(context.Context, string) ([]string, error) { return []string{"127.0.0.1"}, nil }
	c, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(context.WithoutCancel(ctx)) }()
	var n int
	return c.QueryRow(ctx, "select 1").Scan(&n)
}

func TestRenewalWithoutAFailedHandshake(t *testing.T) {
	w := newWorld(t, 24*time.Second)
	w.tenants("tacc")
	w.routes("web.pods.tacc.test", "www.custom.test")
	e := w.edge()
	e.awaitState("*.pods.tacc.test", "valid")
	e.awaitState("www.custom.test", "valid")
	serials := map[string]map[string]bool{"web.pods.tacc.test": {}, "www.custom.test": {}}
	var handshakes int
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); {
		done := true
		for host, seen := range serials {
			cert, err := e.handshake(host)
			if err != nil {
				t.Fatalf("%s after %d handshakes: %v", host, handshakes, err)
			}
			handshakes++
			seen[cert.SerialNumber.String()] = true
			done = done && len(seen) >= 4
		}
		if done {
			break
		}
	}
	t.Logf("%d handshakes, certificates seen: %d and %d", handshakes, len(serials["web.pods.tacc.test"]), len(serials["www.custom.test"]))
	for host, seen := range serials {
		if len(seen) < 4 {
			t.Errorf("%s: got %d certificates, want 4", host, len(seen))
		}
	}
	if v := e.metric(`podway_edge_certificate_orders_total{result="renewed"}`); v < 6 {
		t.Errorf("got %v renewals, want 6 or more", v)
	}
}

func TestOldCertificatesServeWhileTheAuthorityIsDown(t *testing.T) {
	w := newWorld(t, 60*time.Second)
	w.tenants("tacc")
	w.routes("web.pods.tacc.test")
	e := w.edge()
	until := e.awaitState("*.pods.tacc.test", "valid").NotAfter
	w.ca.kill()
	// Well within the time in which it would have been renewed.
	for time.Until(until) > 8*time.Second {
		if _, err := e.handshake("web.pods.tacc.test"); err != nil {
			t.Fatalf("with %v left: %v", time.Until(until), err)
		}
	}
	if s, err := e.state("*.pods.tacc.test"); err != nil || s.Error == "" || s.Status != "valid" {
		t.Errorf("got %+v, %v, want an error of the renewal", s, err)
	}
	w.ca.start() // it has another root, and forgot the account
	e.roots = w.ca.roots()
	parts.Eventually(t, limit, func() error {
		_, err := e.handshake("web.pods.tacc.test")
		return err
	})
}

func TestExpiredCertificateIsReplaced(t *testing.T) {
	w := newWorld(t, 12*time.Second)
	w.tenants("tacc")
	w.routes("web.pods.tacc.test")
	e := w.edge()
	until := e.awaitState("*.pods.tacc.test", "valid").NotAfter
	e.kill()
	parts.Eventually(t, limit, func() error { // nobody renews it
		if left := time.Until(until); left > 0 {
			return fmt.Errorf("%v are left", left)
		}
		return nil
	})
	e.run()
	parts.Eventually(t, limit, func() error {
		cert, err := e.handshake("web.pods.tacc.test")
		if err == nil && !cert.NotAfter.After(until) {
			err = errors.New("it is the old one")
		}
		return err
	})
}

func TestThreeEdgesMakeOneOrder(t *testing.T) {
	w := newWorld(t, long)
	edges := []*edge{w.edge(), w.edge(w.elsewhere), w.edge(w.elsewhere)}
	w.tenants("tacc")
	w.routes("www.custom.test", "web.pods.tacc.test")
	for _, e := range edges {
		e.awaitState("*.pods.tacc.test", "valid")
		e.awaitState("www.custom.test", "valid")
	}
	serials := map[string]bool{}
	for _, e := range edges {
		for _, host := range []string{"www.custom.test", "web.pods.tacc.test"} {
			cert, err := e.handshake(host)
			if err != nil {
				t.Fatal(err)
			}
			serials[cert.SerialNumber.String()] = true
		}
	}
	if w.ca.orders() != 2 || w.ca.issued() != 2 || len(serials) != 2 {
		t.Errorf("got %d orders, %d certificates, %d in use, want 2 of each", w.ca.orders(), w.ca.issued(), len(serials))
	}
}

func TestHolderOfTheLockIsKilledInTheMiddleOfAnOrder(t *testing.T) {
	w := newWorld(t, long)
	w.base.LockTTL = 10 * time.Second // an order takes a few, and so much longer on a machine that has much to do
	first := w.edge(w.elsewhere)
	w.dns.Kill() // the order gets to the point where it needs DNS, and waits
	w.tenants("tacc")
	parts.Eventually(t, limit, func() error {
		if n := w.client.Get(t.Context(), "podway:{default}:certs:lock:issue_cert_*.pods.tacc.test").Val(); n == "" || strings.HasSuffix(n, ":") {
			return fmt.Errorf("the lock is %q", n)
		}
		return nil
	})
	second := w.edge(w.elsewhere)
	w.dns.Start()
	first.kill()
	killed := time.Now()
	second.awaitState("*.pods.tacc.test", "valid")
	took := time.Since(killed)
	t.Logf("another edge had the certificate %v after the holder was killed, with a lock of %v", took.Round(time.Millisecond), w.base.LockTTL)
	if took > 2*w.base.LockTTL {
		t.Errorf("it took %v, want less than %v", took, 2*w.base.LockTTL)
	}
	if n := w.ca.issued(); n != 1 {
		t.Errorf("got %d certificates, want 1", n)
	}
}

func TestRedisIsLostAndNothingIsIssuedAgain(t *testing.T) {
	w := newWorld(t, long)
	w.tenants("tacc")
	w.routes("web.pods.tacc.test", "www.custom.test")
	mirror := t.TempDir()
	mirrored := func(s *settings) { s.Storage = "mirror " + mirror }
	e := w.edge(mirrored)
	e.awaitState("*.pods.tacc.test", "valid")
	e.awaitState("www.custom.test", "valid")

	w.redis.Kill()
	e.kill()
	e.run() // without Redis, from its snapshot and its mirror
	for _, host := range []string{"web.pods.tacc.test", "www.custom.test"} {
		parts.Eventually(t, limit, func() error { return get(e, host) })
	}
	w.redis.Start() // empty
	parts.Eventually(t, limit, func() error {
		if n := w.client.HLen(t.Context(), "podway:{default}:certs:values").Val(); n < 6 {
			return fmt.Errorf("got %d values in Redis, want those of 2 certificates", n)
		}
		return nil
	})
	w.publisher() // the control plane publishes again what was lost
	w.tenants("tacc")
	w.routes("web.pods.tacc.test", "www.custom.test")
	for _, host := range []string{"web.pods.tacc.test", "www.custom.test"} {
		parts.Eventually(t, limit, func() error { return get(e, host) })
	}
	other := w.edge(w.elsewhere)
	other.awaitState("*.pods.tacc.test", "valid")
	other.awaitState("www.custom.test", "valid")
	if n := w.ca.issued(); n != 2 {
		t.Errorf("got %d certificates, want the 2 of the beginning", n)
	}
}

func TestRandomNamesCostNothing(t *testing.T) {
	w := newWorld(t, long)
	w.tenants("tacc")
	w.routes("web.pods.tacc.test")
	e := w.edge()
	e.awaitState("*.pods.tacc.test", "valid")
	usage := func() (goroutines, heap float64, stored int64) {
		if _, err := e.admin("/debug/pprof/heap?gc=1"); err != nil {
			t.Fatal(err)
		}
		return e.metric("go_goroutines"), e.metric("go_memstats_alloc_bytes"), w.client.DBSize(t.Context()).Val() + w.client.HLen(t.Context(), "podway:{default}:certs:values").Val()
	}
	handshakes := func(n int) {
		var all sync.WaitGroup
		for worker := range 8 {
			all.Go(func() {
				for i := range n / 8 {
					host := fmt.Sprintf("x%d-%d.custom.test", worker, i)
					switch i % 3 {
					case 1:
						host = fmt.Sprintf("x%d-%d.pods.tacc.test", worker, i)
					case 2:
						host = fmt.Sprintf("x%d-%d.pods.nobody.test", worker, i)
					}
					if _, err := e.handshake(host); err == nil {
						t.Errorf("%s: got a certificate", host)
						return
					}
				}
			})
		}
		all.Wait()
	}
	handshakes(800) // what is allocated once
	orders := w.ca.orders()
	g, h, s := usage()
	begin := time.Now()
	handshakes(10000)
	took := time.Since(begin)
	parts.Eventually(t, limit, func() error {
		g2, h2, s2 := usage()
		if g2 > g+20 || h2 > h+4e6 || s2 != s || w.ca.orders() != orders {
			return fmt.Errorf("got %v goroutines, %.1f MB, %d values, %d orders, before %v, %.1f MB, %d, %d", g2, h2/1e6, s2, w.ca.orders(), g, h/1e6, s, orders)
		}
		t.Logf("10,000 handshakes in %v: %v → %v goroutines, %.1f → %.1f MB heap, %d → %d values, 0 orders", took.Round(time.Second), g, g2, h/1e6, h2/1e6, s, s2)
		return nil
	})
}

func TestLimitsAreSharedByEdges(t *testing.T) {
	w := newWorld(t, long)
	few := func(s *settings) { s.PerTenant = 2 }
	edges := []*edge{w.edge(few), w.edge(few, w.elsewhere)}
	var hosts []string
	for i := range 4 {
		hosts = append(hosts, fmt.Sprintf("h%d.custom.test", i))
	}
	w.routes(hosts...)
	parts.Eventually(t, limit, func() error {
		var valid, refused int
		for _, h := range hosts {
			s, err := edges[1].state(h)
			if err != nil {
				return err
			}
			if s.Status == "valid" {
				valid++
			}
			if strings.Contains(s.Error, "within a day") {
				refused++
			}
		}
		if valid != 2 || refused != 2 {
			return fmt.Errorf("got %d valid and %d refused, want 2 and 2", valid, refused)
		}
		return nil
	})
	if n := w.ca.orders(); n != 2 {
		t.Errorf("got %d orders, want 2", n)
	}
}

func TestFailedOrdersAreTriedLessAndLess(t *testing.T) {
	w := newWorld(t, long)
	w.routes("www.elsewhere.test") // no DNS server knows it
	e := w.edge()
	e.awaitState("www.elsewhere.test", "failed")
	parts.Eventually(t, limit, func() error {
		if n := atoi(t, w.client.HGet(t.Context(), "podway:{default}:certs:backoff:www.elsewhere.test", "failures").Val()); n < 3 {
			return fmt.Errorf("got %d failures, want 3", n)
		}
		return nil
	})
	orders := w.ca.orders()
	for range 50 { // visitors do not make it try more
		if _, err := e.handshake("www.elsewhere.test"); err == nil {
			t.Fatal("got a certificate")
		}
	}
	if n := w.ca.orders() - orders; n > 1 {
		t.Errorf("got %d orders by 50 visits, want 1 at most", n)
	}
}
