package certs

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/caddymodules/podway"
	"github.com/tapis-project/podway/routes/redisgate"
)

func init() { caddy.RegisterModule(new(App)) }

// Defaults of [App].
const (
	DefaultCheckInterval = 10 * time.Minute
	DefaultPodsLabel     = "pods"
)

// tenantsInterval is how often the list of tenants is read, at least.
const tenantsInterval = 15 * time.Second

// zonesKey is where the zones of tenants are stored.
const zonesKey = "podway/zones.json"

// App gets certificates ahead of their first visitor: a wildcard for each zone, and
// one for each other host that has a route. It asks itself for them the way a
// handshake does, so they are loaded from the storage if another edge was first,
// renewed in time, and ordered by the same rules.
type App struct {
	// Have a zone for each published tenant: pods.<host of its base URL>. The zones of
	// the option certificates of the app podway are there in any case.
	Tenants bool `json:"tenants,omitempty"`

	// First label of the zones of tenants. Default: "pods".
	PodsLabel string `json:"pods_label,omitempty"`

	// Leave hosts that no zone has to their first visitor.
	LazyHosts bool `json:"lazy_hosts,omitempty"`

	// How often each certificate is looked at, and renewed if it is time.
	// Default: 10m.
	CheckInterval caddy.Duration `json:"check_interval,omitempty"`

	// How many certificates are ordered at most.
	Limits Limits `json:"limits,omitzero"`

	// Share the keys of TLS session tickets by the storage, so that clients resume
	// sessions at any edge, see [TicketKeys]. What the app tls has as
	// session_tickets goes before.
	SessionTickets *SessionTickets `json:"session_tickets,omitempty"`

	ctx     caddy.Context
	log     *slog.Logger
	podway  *podway.App
	client  redis.UniversalClient
	keys    keys
	zones   zones
	limiter *limiter

	remembered atomic.Value // string: the zones of tenants as they are stored

	states *states
	get    getCertificate // as a handshake does it

	stop  context.CancelFunc
	queue *queue
}

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "podway_certificates", New: func() caddy.Module { return new(App) }}
}

// appOf returns the app of ctx's configuration, for the other modules.
func appOf(ctx caddy.Context) (*App, error) {
	app, err := ctx.App("podway_certificates")
	if err != nil {
		return nil, fmt.Errorf("loading podway_certificates app: %w", err)
	}
	return app.(*App), nil
}

// Provision fills defaults and finds the other apps, but for tls: that one's
// modules look for this app.
func (a *App) Provision(ctx caddy.Context) error {
	a.ctx, a.log, a.queue = ctx, ctx.Slogger(), newQueue()
	a.CheckInterval = cmp.Or(a.CheckInterval, caddy.Duration(DefaultCheckInterval))
	a.PodsLabel = cmp.Or(a.PodsLabel, DefaultPodsLabel)
	var err error
	if a.podway, err = podway.Get(ctx); err != nil {
		return err
	}
	opts, namespace, err := a.podway.RedisOptions()
	if err != nil {
		return err
	}
	if a.keys, err = newKeys(namespace); err != nil {
		return err
	}
	a.client = redis.NewUniversalClient(opts)
	a.limiter = &limiter{client: a.client, keys: a.keys, limits: a.Limits.withDefaults()}
	a.states = newStates(a.client, a.keys, a.log)
	a.zones.set(a.fixedZones())
	if err := a.subscribe(); err != nil {
		return err
	}
	return a.registerMetrics()
}

// subscribe has certmagic's events come here.
func (a *App) subscribe() error {
	app, err := a.ctx.App("events")
	if err != nil {
		return fmt.Errorf("loading events app: %w", err)
	}
	for _, name := range []string{obtaining, obtained, failed} {
		if err := app.(*caddyevents.App).On(name, a); err != nil {
			return fmt.Errorf("subscribing to %s: %w", name, err)
		}
	}
	return nil
}

// Validate checks values.
func (a *App) Validate() error {
	if a.CheckInterval < 0 {
		return errors.New("check_interval is negative")
	}
	if strings.Contains(a.PodsLabel, ".") {
		return fmt.Errorf("pods_label %q is not one label", a.PodsLabel)
	}
	return errors.Join(a.Limits.check(), a.SessionTickets.check())
}

// fixedZones returns the zones that are configured.
func (a *App) fixedZones() map[string]string {
	fixed := map[string]string{}
	for _, name := range a.podway.Certificates {
		if domain, ok := strings.CutPrefix(name, "*."); ok {
			fixed[domain] = ""
		}
	}
	return fixed
}

// Start begins to get certificates.
func (a *App) Start() error {
	policies := caddytls.ConnectionPolicies{new(caddytls.ConnectionPolicy)}
	if err := policies.Provision(a.ctx); err != nil {
		return fmt.Errorf("preparing to get certificates: %w", err)
	}
	if err := a.checkTickets(); err != nil {
		return err
	}
	a.get = policies[0].TLSConfig.GetCertificate
	a.podway.Run()
	observe(a.podway.Table(), a)
	ctx, stop := context.WithCancel(context.Background())
	a.stop = stop
	// Nobody waits for these: an order may take minutes, and can't be hurried.
	go a.watchTenants(ctx)
	go a.sweep(ctx)
	go a.states.write(ctx)
	for range workers {
		go a.work(ctx)
	}
	return nil
}

// Stop ends what Start began.
func (a *App) Stop() error {
	if a.stop != nil {
		a.stop()
	}
	return nil
}

// Cleanup gives back what Provision took.
func (a *App) Cleanup() error {
	_ = a.Stop()
	if a.podway != nil {
		unobserve(a.podway.Table(), a)
	}
	if a.client == nil {
		return nil
	}
	// An order may wait for its certificate authority for long; what it does with
	// Redis fails from now on.
	return a.client.Close()
}

// watchTenants keeps the zones as the tenants are published.
func (a *App) watchTenants(ctx context.Context) {
	if !a.Tenants {
		return
	}
	tick := time.NewTicker(min(tenantsInterval, time.Duration(a.CheckInterval)))
	defer tick.Stop()
	for {
		a.readTenants(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (a *App) readTenants(ctx context.Context) {
	tenants, err := redisgate.ReadTenants(ctx, a.client, a.keys.namespace)
	if err != nil {
		a.log.Debug("reading tenants failed; their zones stay as they are", "error", err)
		a.recallZones(ctx)
		return
	}
	found := tenantZones(tenants, a.PodsLabel)
	if len(found) == 0 {
		// A Redis that was emptied has no tenants for a while. Their hosts must not
		// order certificates of their own because of that.
		a.recallZones(ctx)
		return
	}
	a.rememberZones(ctx, found)
	a.useZones(found)
}

// useZones takes zones of tenants into use, beside those that are configured.
func (a *App) useZones(found map[string]string) {
	all := a.fixedZones()
	for domain, tenant := range found {
		all[domain] = cmp.Or(tenant, all[domain])
	}
	if a.zones.set(all) {
		a.log.Info("zones of certificates changed", "zones", len(all))
		a.enqueueZones()
	}
}

// rememberZones stores zones where the certificates are, whose mirror has them for
// a start without Redis.
func (a *App) rememberZones(ctx context.Context, found map[string]string) {
	b, err := json.Marshal(found)
	if err != nil || a.remembered.Load() == string(b) {
		return
	}
	if err := a.ctx.Storage().Store(ctx, zonesKey, b); err != nil {
		a.log.Debug("storing zones of certificates failed", "error", err)
		return
	}
	a.remembered.Store(string(b))
}

// recallZones uses the zones of an earlier process if none of tenants are known yet.
func (a *App) recallZones(ctx context.Context) {
	if a.remembered.Load() != nil {
		return
	}
	b, err := a.ctx.Storage().Load(ctx, zonesKey)
	if err != nil {
		return
	}
	var found map[string]string
	if err := json.Unmarshal(b, &found); err == nil {
		a.useZones(found)
	}
}

// learnZone reads the tenants if a host looks like one of a tenant that is not
// known yet, and returns the host's zone: its route may be known first.
func (a *App) learnZone(ctx context.Context, host string) string {
	if a.Tenants && a.zones.zoneOf(host) == "" && strings.Contains(host, "."+a.PodsLabel+".") {
		a.readTenants(ctx)
	}
	return a.zones.zoneOf(host)
}

// Interface guards
var (
	_ caddy.App           = (*App)(nil)
	_ caddy.Provisioner   = (*App)(nil)
	_ caddy.Validator     = (*App)(nil)
	_ caddy.CleanerUpper  = (*App)(nil)
	_ caddyevents.Handler = (*App)(nil)
)
