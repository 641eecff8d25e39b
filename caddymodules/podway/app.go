// Package podway is the Caddy app that holds what the other modules of the edge
// work with: the route table and its watcher, the sessions, the limits.
//
// The app survives a new configuration: as long as the settings of Redis stay
// the same, the table stays in memory and its watcher connected, and sessions go
// on in any case.
//
//	app, err := podway.Get(ctx) // in another module's Provision
//	if err != nil { ... }
//	e := app.Table().Lookup("db.pods.dev.localhost")
package podway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddytls"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/routes/redisroutes"
	"github.com/tapis-project/podway/sni"
)

func init() { caddy.RegisterModule(new(App)) }

// DefaultRedis is where routes are read if nothing else is configured.
const DefaultRedis = "redis://127.0.0.1:6379"

// DefaultGracePeriod is how long sessions may go on when the edge shuts down.
const DefaultGracePeriod = 30 * time.Second

// App watches the routes that the control plane publishes and holds everything
// that lives longer than a configuration.
type App struct {
	// Address of the Redis the routes are published in, for example
	// "rediss://edge:password@redis.example:6379", also Sentinel and Cluster.
	// Placeholders such as {env.PODWAY_REDIS_URL} are replaced.
	// Default: "redis://127.0.0.1:6379".
	Redis string `json:"redis,omitempty"`

	// Allow a Redis beyond this machine without TLS or without a password. Who can
	// write there decides where traffic goes, so it is refused otherwise.
	InsecureRedis bool `json:"insecure_redis,omitempty"`

	// Namespace of the routes in Redis. Default: "default".
	Namespace string `json:"namespace,omitempty"`

	// File that keeps the table for a start without Redis. Placeholders are
	// replaced. Default: none.
	Snapshot string `json:"snapshot,omitempty"`

	// Networks that pods are reached in, as addresses or CIDRs. Nothing else is
	// ever dialled. Loopback has to be listed by itself (127.0.0.0/8); link-local
	// and metadata addresses are refused even if listed. Default: the private
	// networks 10/8, 172.16/12, 192.168/16, 100.64/10 and fc00::/7.
	Upstreams []string `json:"upstreams,omitempty"`

	// Load balancers, as addresses or CIDRs, whose connections begin with a PROXY
	// header. It is required of them and not understood from anyone else.
	// Default: none.
	ProxyProtocolFrom []string `json:"proxy_protocol_from,omitempty"`

	// Names to get and renew certificates for, usually one wildcard per tenant:
	// "*.pods.tacc.tapis.io". How they are issued is configured in the tls app.
	// Default: none.
	Certificates []string `json:"certificates,omitempty"`

	// Domains whose pods PostgreSQL clients that send no server name may ask for by
	// the start-up option pod=<id>, or pod=<host> if there are several domains.
	// Default: those of the wildcards in Certificates.
	PostgresZones []string `json:"postgres_zones,omitempty"`

	// File to write the root certificate of the internal CA to, for clients to
	// trust. Default: none.
	RootCAFile string `json:"root_ca_file,omitempty"`

	// How long sessions and requests may go on when the process ends.
	// Default: 30s.
	GracePeriod caddy.Duration `json:"grace_period,omitempty"`

	// Unix socket by which an edge hands its listening sockets over to the one that
	// is started next with the same path. Placeholders are replaced. Default: none.
	Handover string `json:"handover,omitempty"`

	// After how long without bytes a direction of a TCP session gives back its
	// goroutine and its buffer, at the earliest. Negative: never. Linux only.
	// Default: 2s.
	ParkAfter caddy.Duration `json:"park_after,omitempty"`

	// Where to note connections to TCP routes that have ended. Default: nowhere.
	Records Records `json:"records,omitzero"`

	// Limits of connections.
	Limits Limits `json:"limits,omitzero"`

	ctx     caddy.Context
	log     *slog.Logger
	dialer  *sni.Dialer
	proxies []netip.Prefix // of ProxyProtocolFrom
	zones   []string       // of PostgresZones

	admit      sni.Admit // nil: nothing decides it
	store      *store
	storeKey   string // in stores; "" if not taken
	certified  chan struct{}
	preface    *sni.Preface
	prefaceKey string // in prefaces; "" if not taken
	endLink    func() // set by Start
}

// Limits bound what clients can hold. Zero fields mean the default.
type Limits struct {
	// From the connect to the end of the TLS handshake. Default: 10s.
	OpenTimeout caddy.Duration `json:"open_timeout,omitempty"`
	// For an upstream to accept a connection. Default: 5s.
	DialTimeout caddy.Duration `json:"dial_timeout,omitempty"`
	// Bytes read from a client before the handshake is done. Default: 65536.
	MaxOpenBytes int `json:"max_open_bytes,omitempty"`
	// Connections open at once. Default: 20000.
	MaxConnections int `json:"max_connections,omitempty"`
	// Handshakes that compute at once. Default: 512.
	MaxHandshakes int `json:"max_handshakes,omitempty"`
	// Connections one client may have open: an IPv4 address or the /64 of an IPv6
	// address. Default: 256.
	MaxPerClient int `json:"max_per_client,omitempty"`
	// Connections one client may open per second for long. Default: 50.
	NewPerSecond int `json:"new_per_second,omitempty"`
	// Connections one client may open at once. Default: 200.
	NewBurst int `json:"new_burst,omitempty"`
	// Sessions and requests that go on at one pod, unless its route says otherwise.
	// Default: 1000.
	MaxPerPod int `json:"max_per_pod,omitempty"`
	// Sessions and requests that go on at all pods of one tenant. Default: 5000.
	MaxPerTenant int `json:"max_per_tenant,omitempty"`
}

// byName returns the numbers among the limits by their names in a Caddyfile.
func (l *Limits) byName() map[string]*int {
	return map[string]*int{
		"max_open_bytes": &l.MaxOpenBytes, "max_connections": &l.MaxConnections, "max_handshakes": &l.MaxHandshakes,
		"max_per_client": &l.MaxPerClient, "new_per_second": &l.NewPerSecond, "new_burst": &l.NewBurst,
		"max_per_pod": &l.MaxPerPod, "max_per_tenant": &l.MaxPerTenant,
	}
}

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "podway", New: func() caddy.Module { return new(App) }}
}

// Get returns the app of ctx's configuration, for the other modules.
func Get(ctx caddy.Context) (*App, error) {
	app, err := ctx.App("podway")
	if err != nil {
		return nil, fmt.Errorf("loading podway app: %w", err)
	}
	return app.(*App), nil
}

// Provision checks the settings and takes up what an earlier configuration left.
// It opens no connection: a slow Redis must not fail a new configuration.
func (a *App) Provision(ctx caddy.Context) error {
	a.ctx, a.log, a.certified = ctx, ctx.Slogger(), make(chan struct{})
	repl := caddy.NewReplacer()
	opts, err := redisroutes.ParseURL(repl.ReplaceAll(cmp.Or(a.Redis, DefaultRedis), ""))
	if err != nil {
		return err
	}
	if err := redisroutes.CheckExposed(opts); err != nil && !a.InsecureRedis {
		return fmt.Errorf("%w; or set insecure_redis", err)
	}
	if err := a.provisionNetworks(); err != nil {
		return err
	}
	if err := a.takeStore(redisroutes.WatcherOptions{
		Redis: opts, Namespace: a.Namespace, SnapshotFile: repl.ReplaceAll(a.Snapshot, ""),
	}); err != nil {
		return err
	}
	a.takePreface()
	useHandover(repl.ReplaceAll(a.Handover, ""))
	return a.registerMetrics()
}

func (a *App) provisionNetworks() error {
	upstreams, err := prefixes(a.Upstreams)
	if err != nil {
		return fmt.Errorf("reading upstreams: %w", err)
	}
	if a.proxies, err = prefixes(a.ProxyProtocolFrom); err != nil {
		return fmt.Errorf("reading proxy_protocol_from: %w", err)
	}
	a.zones = a.PostgresZones
	if a.zones == nil {
		a.zones = wildcardDomains(a.Certificates)
	}
	a.dialer = &sni.Dialer{Allow: upstreams, Timeout: time.Duration(a.Limits.DialTimeout)}
	a.GracePeriod = cmp.Or(a.GracePeriod, caddy.Duration(DefaultGracePeriod))
	return nil
}

// takeStore takes the table and its watcher, making them if no configuration has
// them.
func (a *App) takeStore(opts redisroutes.WatcherOptions) error {
	// The user and password belong to the identity too, so that new ones are used.
	a.storeKey = fmt.Sprintf("%q %q %q %q %q %q", a.Redis, opts.Redis.Addrs, opts.Redis.Username, opts.Redis.Password, opts.Namespace, opts.SnapshotFile)
	v, _, err := stores.LoadOrNew(a.storeKey, func() (caddy.Destructor, error) { return newStore(opts) })
	if err != nil {
		a.storeKey = ""
		return err
	}
	a.store = v.(*store)
	a.store.log.use(a.log)
	return nil
}

// takePreface takes the counters of open connections, which must not begin at
// zero with each configuration.
func (a *App) takePreface() {
	a.prefaceKey = fmt.Sprintf("%v %+v", a.proxies, a.Limits)
	v, _, _ := prefaces.LoadOrNew(a.prefaceKey, func() (caddy.Destructor, error) {
		return pooledPreface{&sni.Preface{
			OpenTimeout:       time.Duration(a.Limits.OpenTimeout),
			MaxOpenBytes:      a.Limits.MaxOpenBytes,
			MaxConnections:    a.Limits.MaxConnections,
			MaxHandshakes:     a.Limits.MaxHandshakes,
			MaxPerClient:      a.Limits.MaxPerClient,
			NewPerSecond:      a.Limits.NewPerSecond,
			NewBurst:          a.Limits.NewBurst,
			ProxyProtocolFrom: a.proxies,
			Passthrough:       through,
			Stats:             stats,
			Log:               a.log,
		}}, nil
	})
	a.preface = v.(pooledPreface).Preface
}

// Validate checks values.
func (a *App) Validate() error {
	for _, name := range a.Certificates {
		if err := routes.ValidateHost(name); err != nil {
			return fmt.Errorf("reading certificates: %w", err)
		}
	}
	for _, name := range a.PostgresZones {
		if err := routes.ValidateHost(name); err != nil {
			return fmt.Errorf("reading postgres_zones: %w", err)
		}
	}
	if a.Records.Stream < 0 {
		return errors.New("reading records: the length of the stream is negative")
	}
	l := a.Limits
	if l.OpenTimeout < 0 || l.DialTimeout < 0 {
		return errors.New("reading limits: a limit is negative")
	}
	for name, n := range l.byName() {
		if *n < 0 {
			return fmt.Errorf("reading limits: a limit is negative: %s", name)
		}
	}
	return nil
}

// Start begins to watch routes and to manage certificates, and announces the edge.
func (a *App) Start() error {
	a.Run()
	if err := a.manageCertificates(); err != nil {
		return err
	}
	if err := a.writeRootCA(); err != nil {
		return err
	}
	return a.runLink()
}

// Run makes sure that routes are watched. Apps start in no order, so the one
// that listens calls it too.
func (a *App) Run() {
	a.store.run()
	settle()
	cancels.Share(a.store.cancels)
	sessions.Limit(cmp.Or(a.Limits.MaxPerPod, sni.DefaultMaxPerPod), cmp.Or(a.Limits.MaxPerTenant, sni.DefaultMaxPerTenant))
}

// manageCertificates tells the tls app which names to keep certificates for.
func (a *App) manageCertificates() error {
	if len(a.Certificates) == 0 {
		close(a.certified)
		return nil
	}
	app, err := a.ctx.AppIfConfigured("tls")
	if err != nil {
		return fmt.Errorf("managing certificates: %w; they are of use to a server only", err)
	}
	names := make(map[string]struct{}, len(a.Certificates))
	for _, n := range a.Certificates {
		names[n] = struct{}{}
	}
	if err := app.(*caddytls.TLS).Manage(names); err != nil {
		return fmt.Errorf("managing certificates: %w", err)
	}
	go a.awaitCertificates()
	return nil
}

// awaitCertificates closes certified when the certificates that are managed are
// there, or patience ends: they are read, or obtained, in the background.
func (a *App) awaitCertificates() {
	defer close(a.certified)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	enough := time.After(patience)
	missing := func(name string) bool { return !hasCertificate(name) }
	for slices.ContainsFunc(a.Certificates, missing) {
		select {
		case <-tick.C:
		case <-enough:
			return
		case <-a.ctx.Done():
			return
		}
	}
}

// Stop begins to drain sessions if the process ends, and does nothing if another
// configuration takes over. It does not wait: apps are stopped one by one, and
// the server that accepts new connections may come after this one. Cleanup
// waits, when all are stopped.
func (a *App) Stop() error {
	if caddy.Exiting() {
		go a.Drain()
	}
	return nil
}

// Drain lets sessions and requests go on for the grace period and then ends
// them. It returns when none is left. Only the first call does it; others wait
// for it.
func (a *App) Drain() {
	draining.Do(func() {
		grace, cancel := context.WithTimeout(context.Background(), time.Duration(a.GracePeriod))
		defer cancel()
		start, n := time.Now(), sessions.Len()
		ended := sessions.Drain(grace)
		left, cancel2 := context.WithTimeout(context.Background(), time.Second)
		defer cancel2()
		sessions.WaitEmpty(left)
		a.log.Info("drained sessions", "sessions", n, "ended", ended, "duration", time.Since(start))
	})
}

// Cleanup gives back what Provision took, after the sessions have ended if the
// process does.
func (a *App) Cleanup() error {
	if caddy.Exiting() && a.storeKey != "" {
		a.Drain()
	}
	if a.endLink != nil {
		a.endLink()
	}
	if a.prefaceKey != "" {
		_, _ = prefaces.Delete(a.prefaceKey)
	}
	if a.storeKey == "" {
		return nil
	}
	_, err := stores.Delete(a.storeKey)
	return err
}

// Table returns the route table.
func (a *App) Table() *routes.Table { return a.store.table }

// Sessions returns the registry of what goes on, one for the process.
func (a *App) Sessions() *sni.Sessions { return sessions }

// Cancels returns the cancel keys of PostgreSQL sessions, one map for the process.
func (a *App) Cancels() *sni.Cancels { return cancels }

// Zones returns the domains whose pods PostgreSQL clients without server name may
// ask for.
func (a *App) Zones() []string { return a.zones }

// Parker returns what waits for idle sessions, nil if nothing does.
func (a *App) Parker() *sni.Parker { return parkerOf(time.Duration(a.ParkAfter), a.log) }

// Stats returns the counters of the process.
func (a *App) Stats() *sni.Stats { return stats }

// Dialer returns what connects to pods.
func (a *App) Dialer() *sni.Dialer { return a.dialer }

// Preface returns what makes connections of a listener ready for TLS.
func (a *App) Preface() *sni.Preface { return a.preface }

// Ready returns a channel that is closed when the table can be relied on, or
// when waiting for it has taken too long.
func (a *App) Ready() <-chan struct{} { return a.store.ready }

// Certified returns a channel that is closed when the certificates of this
// configuration are there, or when waiting for them has taken too long.
func (a *App) Certified() <-chan struct{} { return a.certified }

// Loaded reports whether the table was filled since the start, from Redis or
// from the snapshot. Before that, a name that is not in it may well exist.
func (a *App) Loaded() bool { return a.store.loaded.Load() }

// wildcardDomains returns "pods.dev.localhost" for "*.pods.dev.localhost".
func wildcardDomains(names []string) []string {
	var domains []string
	for _, n := range names {
		if d, ok := strings.CutPrefix(n, "*."); ok {
			domains = append(domains, d)
		}
	}
	return domains
}

func prefixes(list []string) ([]netip.Prefix, error) {
	var ps []netip.Prefix
	for _, s := range list {
		p, err := routes.ParsePrefix(s)
		if err != nil {
			return nil, err
		}
		ps = append(ps, p)
	}
	return ps, nil
}

// Interface guards
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.Validator    = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)
