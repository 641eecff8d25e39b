package main

import (
	"context"
	"fmt"
	"time"

	"github.com/tapis-project/podway/tests/bench/edge/load"
	"github.com/tapis-project/podway/tests/bench/edge/peer"
)

// The names of what is measured. Those of HAProxy begin with "haproxy": targets
// are against the better of them.
const (
	edge  = "edge"
	caddy = "caddy"
	nginx = "nginx"

	// The same edge, asked for a pod without a login.
	ungated = "ungated"

	// An edge with one certificate for all hosts that another has one for each of.
	wildcard = "wildcard"

	// The upstream itself, in plaintext and with its own TLS.
	direct    = "direct"
	directTLS = "direct-tls"
)

// starters start the peers, by name.
var starters = map[string]peer.Starter{
	edge: peer.Edge, caddy: peer.Caddy, nginx: peer.NGINX,
	"haproxy-1": peer.HAProxy(1), "haproxy-2": peer.HAProxy(2),
}

// Server names of the routes.
const (
	tcpHost = "tcp.bench.test"
	webHost = "web.bench.test"
	// webHost's upstream behind a login, by a visitor who is logged in.
	gatedHost = "gated.bench.test"
	pgHost    = "pg.bench.test"
)

// row is one kind of work that is measured.
type row struct {
	name, title string
	peers       []string // who does it; the edge is first
	metrics     []metric // what is measured, in the order of the table
	rounds      int      // at most; 0 for no bound
	slow        bool     // one round is enough when it has to be quick
	targets     []target
	measure     func(ctx context.Context, l *lab, peer string) (sample, error)
}

// metric is something that is measured, with its unit.
type metric string

// sample is what one round of one peer measured.
type sample map[metric]float64

// The metrics.
const (
	perSecond  metric = "per second"
	megabytes  metric = "MB per second"
	cpuEach    metric = "CPU µs each"
	cpuPerMB   metric = "CPU µs per MB"
	kbPerConn  metric = "kB per connection"
	loadTime   metric = "load s"
	bytesEach  metric = "bytes per route"
	servingP50 metric = "serving p50 ms"
	servingP99 metric = "serving p99 ms"
	connectP50 metric = "of that a connect p50 ms"
	connectP99 metric = "a connect p99 ms"
	failed     metric = "failed connects"
	connects   metric = "connects"
	reloadTime metric = "reload p50 ms"
)

var (
	tcpPeers  = []string{edge, "haproxy-1", "haproxy-2", nginx}
	httpPeers = []string{edge, caddy, "haproxy-1", "haproxy-2", nginx}
	// HAProxy and nginx can't answer PostgreSQL's request for TLS.
	databasePeers = []string{edge, direct, directTLS}
)

// rows is all that is measured. A new one needs nothing but its line here, and
// what it does if that is new.
var rows = []row{
	{
		name: "handshake", title: "Full TLS 1.3 handshake to a TCP route, one byte echoed",
		peers: tcpPeers, metrics: []metric{perSecond, cpuEach},
		targets: []target{{of: cpuEach, against: "haproxy", atMost: 1.0, text: "CPU per TLS handshake"}},
		measure: loaded(tcpHost, perSecond, cpuEach, func(ctx context.Context, t load.Target, d time.Duration) (load.Result, error) {
			return load.Handshakes(ctx, t, 8, d)
		}),
	},
	{
		name: "h1", title: "HTTP/1.1 requests over 16 connections",
		peers: httpPeers, metrics: []metric{perSecond, cpuEach},
		targets: []target{{of: cpuEach, against: caddy, inverse: true, atLeast: 1.3, text: "HTTP/1.1 requests per CPU"}},
		measure: loaded(webHost, perSecond, cpuEach, load.HTTP1),
	},
	{
		name: "h2", title: "HTTP/2 requests over 8 connections, 16 at once on each",
		peers: httpPeers, metrics: []metric{perSecond, cpuEach},
		targets: []target{{of: cpuEach, against: caddy, inverse: true, atLeast: 1.3, text: "HTTP/2 requests per CPU"}},
		measure: loaded(webHost, perSecond, cpuEach, load.HTTP2),
	},
	{
		name: "gate-h1", title: "HTTP/1.1 requests of a visitor who is logged in, beside those to a pod without a login",
		peers: []string{edge, ungated}, metrics: []metric{perSecond, cpuEach},
		targets: []target{{of: cpuEach, against: ungated, atMost: 1.15, text: "CPU per HTTP/1.1 request behind a login"}},
		measure: visits(load.HTTP1),
	},
	{
		name: "gate-h2", title: "HTTP/2 requests of a visitor who is logged in, beside those to a pod without a login",
		peers: []string{edge, ungated}, metrics: []metric{perSecond, cpuEach},
		targets: []target{{of: cpuEach, against: ungated, atMost: 1.15, text: "CPU per HTTP/2 request behind a login"}},
		measure: visits(load.HTTP2),
	},
	{
		name: "down", title: "Bulk from the pod, 2 connections",
		peers: tcpPeers, metrics: []metric{megabytes, cpuPerMB},
		targets: []target{{of: megabytes, against: "haproxy", atLeast: 1.0, text: "bulk from the pod"}},
		measure: loaded(tcpHost, megabytes, cpuPerMB, func(ctx context.Context, t load.Target, d time.Duration) (load.Result, error) {
			return load.Down(ctx, t, 2, d)
		}),
	},
	{
		name: "up", title: "Bulk to the pod, 2 connections",
		peers: tcpPeers, metrics: []metric{megabytes, cpuPerMB},
		targets: []target{{of: megabytes, against: "haproxy", atLeast: 1.0, text: "bulk to the pod"}},
		measure: loaded(tcpHost, megabytes, cpuPerMB, func(ctx context.Context, t load.Target, d time.Duration) (load.Result, error) {
			return load.Up(ctx, t, 2, d)
		}),
	},
	{
		name: "roundtrip", title: "Round trips of 100 bytes over one TLS connection",
		peers: tcpPeers, metrics: []metric{perSecond, cpuEach},
		measure: loaded(tcpHost, perSecond, cpuEach, load.RoundTrips),
	},
	{
		name: "pg-connect", title: "PostgreSQL connect and `select 1`, one after the other",
		peers: databasePeers, metrics: []metric{perSecond, cpuEach},
		measure: database(load.PostgresConnects),
	},
	{
		name: "pgbench", title: "pgbench -S, 4 connections",
		peers: databasePeers, metrics: []metric{perSecond, cpuEach},
		targets: []target{{of: perSecond, against: direct, atLeast: 0.8, text: "pgbench -S"}},
		measure: database(func(ctx context.Context, db load.Database, d time.Duration) (load.Result, error) {
			return load.Pgbench(ctx, db, false, d)
		}),
	},
	{
		name: "pgbench-connect", title: "pgbench -S -C, a connection for each transaction",
		peers: databasePeers, metrics: []metric{perSecond, cpuEach},
		measure: database(func(ctx context.Context, db load.Database, d time.Duration) (load.Result, error) {
			return load.Pgbench(ctx, db, true, d)
		}),
	},
	{
		name: "idle", title: "Memory of idle TLS connections to a TCP route",
		peers: tcpPeers, metrics: []metric{kbPerConn}, rounds: 3, slow: true,
		targets: []target{
			{of: kbPerConn, against: "haproxy", atMost: 1.0, text: "memory per idle connection"},
			{of: kbPerConn, atMost: 14, text: "memory per idle connection, kB"},
		},
		measure: idle,
	},
	{
		name: "routes-10k", title: "10,000 routes: load, and a new route from its write until it serves",
		peers: []string{edge}, metrics: routeMetrics, rounds: 1,
		measure: routeTable(10_000),
	},
	{
		name: "routes-100k", title: "100,000 routes: load, and a new route from its write until it serves",
		peers: []string{edge}, metrics: routeMetrics, rounds: 1,
		targets: []target{
			{of: servingP50, atMost: 3, text: "route write → serving at 100,000 routes, p50 ms"},
			{of: servingP99, atMost: 25, text: "route write → serving at 100,000 routes, p99 ms"},
		},
		measure: routeTable(100_000),
	},
	{
		name: "reload", title: "Connects at full rate while the configuration is reloaded",
		peers: []string{edge}, metrics: []metric{failed, connects, reloadTime}, rounds: 1,
		targets: []target{{of: failed, atMost: 0, text: "failed connects over the reloads"}},
		measure: reload,
	},
	{
		name: "certificates", title: "Full TLS 1.3 handshakes to 20,000 hosts that have a certificate each, beside those to as many under one wildcard",
		peers: []string{edge, wildcard}, metrics: []metric{perSecond, cpuEach},
		targets: []target{{of: cpuEach, against: wildcard, atMost: 1.1, text: "CPU per TLS handshake with 20,000 certificates"}},
		measure: certified,
	},
}

// loaded returns what measures a peer under a load: the rate of its clients, and
// its own processor time for each operation.
func loaded(host string, rate, cpu metric, do func(context.Context, load.Target, time.Duration) (load.Result, error)) func(context.Context, *lab, string) (sample, error) {
	return func(ctx context.Context, l *lab, name string) (sample, error) {
		p, err := l.peer(ctx, name)
		if err != nil {
			return nil, err
		}
		addr := p.TCP
		if host == webHost {
			addr = p.HTTPS
		}
		t := l.target(addr, host)
		return underLoad(p, rate, cpu, func() (load.Result, error) { return do(ctx, t, l.o.duration) })
	}
}

// visits returns what measures the edge while it serves visitors: of the pod behind
// a login, who send the cookie of their session, or of the one without.
func visits(do func(context.Context, load.Target, time.Duration) (load.Result, error)) func(context.Context, *lab, string) (sample, error) {
	return func(ctx context.Context, l *lab, name string) (sample, error) {
		p, err := l.peer(ctx, edge)
		if err != nil {
			return nil, err
		}
		t := l.target(p.HTTPS, webHost)
		if name == edge {
			t.Host, t.Cookie = gatedHost, l.session
		}
		return underLoad(p, perSecond, cpuEach, func() (load.Result, error) { return do(ctx, t, l.o.duration) })
	}
}

// underLoad runs a load and measures rate and the processor time of p, unless
// that is nil.
func underLoad(p *peer.Peer, rate, cpu metric, do func() (load.Result, error)) (sample, error) {
	if p == nil {
		res, err := do()
		return sample{rate: res.Rate()}, err
	}
	before, err := p.CPU()
	if err != nil {
		return nil, err
	}
	res, err := do()
	if err != nil {
		return nil, err
	}
	if res.Ops == 0 {
		return nil, fmt.Errorf("measuring under load: nothing was done in %v", res.Took)
	}
	after, err := p.CPU()
	return sample{rate: res.Rate(), cpu: float64((after - before).Microseconds()) / res.Ops}, err
}

// database returns what measures a load of database clients.
func database(do func(context.Context, load.Database, time.Duration) (load.Result, error)) func(context.Context, *lab, string) (sample, error) {
	return func(ctx context.Context, l *lab, name string) (sample, error) {
		addr, err := l.database(ctx)
		if err != nil {
			return nil, err
		}
		db := load.Database{Target: l.target(addr, pgHost), TLS: name != direct}
		var p *peer.Peer
		if name == edge {
			if p, err = l.peer(ctx, name); err != nil {
				return nil, err
			}
			db.Addr = p.TCP
		}
		return underLoad(p, perSecond, cpuEach, func() (load.Result, error) { return do(ctx, db, l.o.duration) })
	}
}

// idle measures the memory of a peer that was just started, before connections
// are open and after nothing happened on them for a while.
func idle(ctx context.Context, l *lab, name string) (sample, error) {
	p, err := starters[name](ctx, l.setup)
	if err != nil {
		return nil, err
	}
	defer p.Stop()
	t := l.target(p.TCP, tcpHost)
	if err := load.Try(ctx, t); err != nil { // what the first connection needs is not of each
		return nil, err
	}
	before, err := p.Memory()
	if err != nil {
		return nil, err
	}
	conns, err := load.OpenIdle(ctx, t, l.o.idle)
	if err != nil {
		return nil, err
	}
	defer conns.Close()
	if err := wait(ctx, l.o.settle); err != nil {
		return nil, err
	}
	after, err := p.Memory()
	return sample{kbPerConn: float64(after-before) / float64(l.o.idle)}, err
}
