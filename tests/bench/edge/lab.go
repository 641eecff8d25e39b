package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/routes/keytext"
	"github.com/tapis-project/podway/routes/redisgate"
	"github.com/tapis-project/podway/routes/redisroutes"
	"github.com/tapis-project/podway/tests/bench/edge/load"
	"github.com/tapis-project/podway/tests/bench/edge/peer"
)

// lab is what the measuring works with. Servers are started when they are needed
// first and run until it is closed.
type lab struct {
	o     options
	setup peer.Setup
	roots *x509.CertPool

	upstream *load.Upstream
	session  string // cookie of a visitor of gatedHost who is logged in
	redis    *peer.Server
	client   *redis.Client // of it
	postgres *peer.Server  // nil before it is needed
	peers    map[string]*peer.Peer

	certified *authority // of the row certificates; nil before it is needed
}

func openLab(ctx context.Context, o options) (*lab, error) {
	dir, err := os.MkdirTemp("/tmp", "podway-bench-")
	if err != nil {
		return nil, fmt.Errorf("making a folder: %w", err)
	}
	// nginx' workers, which are not root, have files below it.
	l := &lab{o: o, peers: map[string]*peer.Peer{}, setup: peer.Setup{Dir: dir, EdgeProgram: o.edge, TCPHost: tcpHost, Namespace: "bench"}}
	if err := errors.Join(os.Chmod(dir, 0o755), l.open(ctx)); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *lab) open(ctx context.Context) (err error) {
	if l.setup.EdgeProgram == "" {
		if l.setup.EdgeProgram, err = buildEdge(ctx, l.setup.Dir); err != nil {
			return err
		}
	}
	if l.setup.CertFile, l.setup.KeyFile, l.roots, err = makeCertificate(l.setup.Dir); err != nil {
		return err
	}
	if l.upstream, err = load.StartUpstream(ctx); err != nil {
		return err
	}
	if l.redis, err = peer.Redis(ctx, l.setup.Dir); err != nil {
		return err
	}
	l.setup.Upstream, l.setup.Redis = l.upstream.Addr, l.redis.Addr
	l.client = redis.NewClient(&redis.Options{Addr: l.redis.Addr})
	if err := l.login(ctx); err != nil {
		return err
	}
	pub, err := l.publisher(l.setup.Namespace)
	if err != nil {
		return err
	}
	gated := l.route(gatedHost, routes.HTTP, gatedPod)
	gated.Gate = &routes.Gate{AllowedUsers: []string{visitor}}
	return errors.Join(
		pub.SetPod(ctx, "bench", "tcp", []routes.Route{l.route(tcpHost, routes.TCP, "tcp")}),
		pub.SetPod(ctx, "bench", "web", []routes.Route{l.route(webHost, routes.HTTP, "web")}),
		pub.SetPod(ctx, "bench", gatedPod, []routes.Route{gated}),
	)
}

// The routes that every edge has, and who visits the pod behind a login.
const (
	firstRoutes = 3
	gatedPod    = "gated"
	visitor     = "ada"
)

// login makes the key of the gate and begins a visitor's session.
func (l *lab) login(ctx context.Context) error {
	key := keytext.New()
	l.setup.GateKeyFile = filepath.Join(l.setup.Dir, "gate.key")
	if err := os.WriteFile(l.setup.GateKeyFile, []byte(key), 0o600); err != nil {
		return fmt.Errorf("writing the key of the gate: %w", err)
	}
	ring, err := redisgate.ParseKeyring(key)
	if err != nil {
		return err
	}
	store, err := redisgate.New(redisgate.Options{Client: l.client, Namespace: l.setup.Namespace, Keyring: ring})
	if err != nil {
		return err
	}
	now := time.Now()
	id, err := store.CreateSession(ctx, redisgate.Session{
		Host: gatedHost, Pod: gatedPod, Username: visitor, Tenant: "bench", Created: now, Expires: now.Add(time.Hour),
	}, time.Hour)
	l.session = "__Host-pods_session=" + id
	return err
}

// buildEdge builds the edge of this checkout into dir.
func buildEdge(ctx context.Context, dir string) (string, error) {
	path := filepath.Join(dir, "podway-edge")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", path, "github.com/tapis-project/podway/edge")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the edge: %w\n%s", err, out)
	}
	return path, nil
}

// close ends everything.
func (l *lab) close() {
	l.stopPeers()
	if l.postgres != nil {
		l.postgres.Stop()
	}
	if l.client != nil {
		l.client.Close()
	}
	if l.redis != nil {
		l.redis.Stop()
	}
	if l.upstream != nil {
		_ = l.upstream.Close()
	}
	_ = os.RemoveAll(l.setup.Dir)
}

func (l *lab) stopPeers() {
	for name, p := range l.peers {
		p.Stop()
		delete(l.peers, name)
	}
}

// peer returns a running peer.
func (l *lab) peer(ctx context.Context, name string) (*peer.Peer, error) {
	if p := l.peers[name]; p != nil {
		return p, nil
	}
	p, err := starters[name](ctx, l.setup)
	if err == nil {
		l.peers[name] = p
	}
	return p, err
}

// database returns the address of a running PostgreSQL with the tables of
// pgbench, which the edge has a route to.
func (l *lab) database(ctx context.Context) (string, error) {
	if l.postgres != nil {
		return l.postgres.Addr, nil
	}
	s, err := peer.Postgres(ctx, l.setup)
	if err != nil {
		return "", err
	}
	l.postgres = s
	if err := load.PgbenchTables(ctx, load.Database{Target: l.target(s.Addr, pgHost)}); err != nil {
		return "", err
	}
	pub, err := l.publisher(l.setup.Namespace)
	if err != nil {
		return "", err
	}
	r := l.route(pgHost, routes.Postgres, "pg")
	r.Upstreams = []string{s.Addr}
	if err := pub.SetPod(ctx, "bench", "pg", []routes.Route{r}); err != nil {
		return "", err
	}
	return s.Addr, l.awaitDatabase(ctx)
}

// awaitDatabase waits until the edge serves the route to the database, if it
// runs already.
func (l *lab) awaitDatabase(ctx context.Context) error {
	p := l.peers[edge]
	if p == nil {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, servesWithin, errors.New("the edge did not take the route to the database"))
	defer cancel()
	for {
		s, err := p.Admin.Status(ctx)
		if err != nil || s.Routes.Count == firstRoutes+1 {
			return err
		}
		if err := wait(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
}

// publisher writes routes of a namespace.
func (l *lab) publisher(namespace string) (*redisroutes.Publisher, error) {
	return redisroutes.NewPublisher(redisroutes.PublisherOptions{
		Client: l.client, Namespace: namespace, Logger: slog.New(slog.DiscardHandler),
	})
}

// route is a route of the edge to the upstream.
func (l *lab) route(host string, p routes.Protocol, pod string) routes.Route {
	return routes.Route{
		Host: host, Tenant: "bench", Pod: pod, Net: routes.DefaultNet, Instance: "1",
		Protocol: p, State: routes.Live, Upstreams: []string{l.upstream.Addr},
	}
}

func (l *lab) target(addr, host string) load.Target {
	return load.Target{Addr: addr, Host: host, Roots: l.roots}
}

// measure measures a row in interleaved rounds: each is one turn of every peer,
// in one order and then in the other.
func (l *lab) measure(ctx context.Context, r row) (figures, error) {
	f := figures{row: r, samples: map[string][]sample{}}
	for _, p := range r.peers {
		if p == edge || l.o.peers == nil || slices.Contains(l.o.peers, p) {
			f.peers = append(f.peers, p)
		}
	}
	rounds := l.o.rounds
	if r.rounds > 0 {
		rounds = min(rounds, r.rounds)
	}
	if r.slow && l.o.quick {
		rounds = 1
	}
	order := slices.Clone(f.peers)
	for i := range rounds {
		for _, p := range order {
			progress("%s, round %d of %d: %s", r.name, i+1, rounds, p)
			s, err := r.measure(ctx, l, p)
			if err != nil {
				return f, fmt.Errorf("%s: %w", p, err)
			}
			f.samples[p] = append(f.samples[p], s)
		}
		slices.Reverse(order)
	}
	progress("")
	return f, l.profile(ctx, r)
}

// profile has the edge do the work of a row once more and writes a CPU profile
// of it, if that was asked for. The profiling costs time, so this round does not
// count.
func (l *lab) profile(ctx context.Context, r row) error {
	if l.o.profile == "" || l.peers[edge] == nil {
		return nil
	}
	type answer struct {
		profile []byte
		err     error
	}
	got := make(chan answer, 1)
	go func() {
		b, err := l.peers[edge].Admin.Profile(ctx, l.o.duration)
		got <- answer{b, err}
	}()
	_, err := r.measure(ctx, l, edge)
	a := <-got
	if err := errors.Join(err, a.err); err != nil {
		return fmt.Errorf("profiling the edge: %w", err)
	}
	path := filepath.Join(l.o.profile, r.name+".pprof")
	if err := errors.Join(os.MkdirAll(l.o.profile, 0o750), os.WriteFile(path, a.profile, 0o600)); err != nil {
		return fmt.Errorf("writing a profile: %w", err)
	}
	return nil
}

// wait waits for a time, unless ctx ends before.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

func rowNames() []string {
	var names []string
	for _, r := range rows {
		names = append(names, r.name)
	}
	return names
}

// peerNames returns the names of what the edge is compared with.
func peerNames() []string {
	names := slices.Collect(maps.Keys(starters))
	names = append(slices.DeleteFunc(names, func(n string) bool { return n == edge }), direct, directTLS, ungated, wildcard)
	slices.Sort(names)
	return names
}
