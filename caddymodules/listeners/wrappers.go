package listeners

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddytls"

	"github.com/tapis-project/podway/caddymodules/podway"
	"github.com/tapis-project/podway/sni"
)

func init() {
	caddy.RegisterModule(new(Preface))
	caddy.RegisterModule(new(Demux))
}

// Preface reads what clients send ahead of TLS: PROXY headers of trusted load
// balancers, PostgreSQL's requests to switch to TLS. It belongs before tls.
type Preface struct{ app *podway.App }

// CaddyModule returns the Caddy module information.
func (*Preface) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.listeners.podway_preface", New: func() caddy.Module { return new(Preface) }}
}

// Provision finds the app that holds the limits.
func (p *Preface) Provision(ctx caddy.Context) (err error) {
	p.app, err = podway.Get(ctx)
	return err
}

// WrapListener implements [caddy.ListenerWrapper].
func (p *Preface) WrapListener(ln net.Listener) net.Listener { return p.app.Preface().Wrap(ln) }

// UnmarshalCaddyfile sets up the module from Caddyfile tokens. Syntax:
//
//	podway_preface
func (*Preface) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { return noArguments(d) }

// Demux runs TLS handshakes, each under a deadline, and keeps the connections
// of TCP routes from the HTTP server: they become sessions. It belongs after
// tls.
type Demux struct {
	app     *podway.App
	server  *caddyhttp.Server
	log     *slog.Logger
	started chan struct{} // closed when the configuration has started
	once    sync.Once
	ended   <-chan struct{} // closed when the configuration is given up
}

// CaddyModule returns the Caddy module information.
func (*Demux) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.listeners.podway_demux", New: func() caddy.Module { return new(Demux) }}
}

// Provision finds the app that holds the routes, and the server.
func (m *Demux) Provision(ctx caddy.Context) (err error) {
	m.log, m.ended = ctx.Slogger(), ctx.Done()
	if m.app, err = podway.Get(ctx); err != nil {
		return err
	}
	srv, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok {
		return errors.New("podway_demux belongs to the listener_wrappers of an HTTP server")
	}
	m.server = srv
	askForCertificates(srv)
	srv.RegisterOnShutdown(func() {
		if caddy.Exiting() {
			// Begin now: the app podway may be stopped only after this server is.
			m.app.Drain()
		}
	})
	return m.awaitStart(ctx)
}

// awaitStart makes sure that Caddy tells when the configuration has started. An
// HTTP server is still being set up when it begins to accept.
func (m *Demux) awaitStart(ctx caddy.Context) error {
	m.started = make(chan struct{})
	app, err := ctx.App("events")
	if err != nil {
		return fmt.Errorf("loading events app: %w", err)
	}
	return app.(*caddyevents.App).On("started", m)
}

// Handle implements [caddyevents.Handler].
func (m *Demux) Handle(context.Context, caddy.Event) error {
	m.once.Do(func() {
		close(m.started)
		m.app.Started()
	})
	return nil
}

// hubs hands connections from an old configuration to the new one, by address.
var hubs sync.Map // string → *sni.Hub

// WrapListener implements [caddy.ListenerWrapper]. Caddy calls it after the TLS
// connection policies of the server were provisioned.
func (m *Demux) WrapListener(ln net.Listener) net.Listener {
	m.app.Run()
	m.adjustPolicies()
	hub, _ := hubs.LoadOrStore(ln.Addr().String(), new(sni.Hub))
	demux := &sni.Demux{
		Table:    m.app.Table(),
		Sessions: m.app.Sessions(),
		Dialer:   m.app.Dialer(),
		Cancels:  m.app.Cancels(),
		Zones:    m.app.Zones(),
		Parker:   m.app.Parker(),
		Admit:    m.app.Admit(),
		Record:   m.app.Recorder(),
		Stats:    m.app.Stats(),
		Log:      m.log,
		Ready:    m.ready(),
		Started:  m.started,
	}
	return demux.Wrap(hub.(*sni.Hub), ln)
}

// ready returns a channel that is closed when the routes and the certificates are
// there, or took too long: a handshake before that would fail as if the name did
// not exist.
func (m *Demux) ready() <-chan struct{} {
	both := make(chan struct{})
	go func() {
		defer close(both)
		for _, there := range []<-chan struct{}{m.app.Ready(), m.app.Certified()} {
			select {
			case <-there:
			case <-m.ended:
			}
		}
	}()
	return both
}

// UnmarshalCaddyfile sets up the module from Caddyfile tokens. Syntax:
//
//	podway_demux
func (*Demux) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { return noArguments(d) }

func noArguments(d *caddyfile.Dispenser) error {
	d.Next() // consume wrapper name
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		return d.Errf("unrecognized subdirective %q", d.Val())
	}
	return nil
}

// adjustPolicies completes the TLS settings that Caddy made of the server's
// connection policies.
func (m *Demux) adjustPolicies() {
	for _, p := range m.server.TLSConnPolicies {
		cfg := p.TLSConfig
		if cfg == nil || adjusted(cfg) {
			continue
		}
		cfg.GetCertificate = knownNamesOnly(m.app.Table(), m.app.Zones(), cfg.GetCertificate)
		cfg.VerifyConnection = verifyClient(m.app.Table(), cfg.VerifyConnection)
		bindTickets(cfg)
		// Small first records help pages to render early. In a database session
		// they only cost.
		cfg.DynamicRecordSizingDisabled = !forBrowsers(p)
	}
}

// forBrowsers reports whether a policy is for HTTP pods, by its ALPN.
func forBrowsers(p *caddytls.ConnectionPolicy) bool { return slices.Contains(p.ALPN, "h2") }

// Interface guards
var (
	_ caddy.ListenerWrapper = (*Preface)(nil)
	_ caddy.ListenerWrapper = (*Demux)(nil)
	_ caddy.Provisioner     = (*Preface)(nil)
	_ caddy.Provisioner     = (*Demux)(nil)
	_ caddyevents.Handler   = (*Demux)(nil)
	_ caddyfile.Unmarshaler = (*Preface)(nil)
	_ caddyfile.Unmarshaler = (*Demux)(nil)
)
