// Package certs gets, keeps and shares the certificates of the edge: which names
// get one, from whom, when, and where they are stored.
//
//	storage podway_redis { ... }        in Redis, sealed, for all edges
//	on_demand_tls { permission podway } for hosts with a route only
//	cert_issuer podway { ... }          wildcards by DNS, custom domains on the port
//	podway_certificates { ... }         ahead of the first visitor, within limits
//
// docs/certificates.md explains how they work together.
package certs

import (
	"context"
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddytls"

	"github.com/tapis-project/podway/caddymodules/podway"
	"github.com/tapis-project/podway/routes"
)

func init() { caddy.RegisterModule(new(Permission)) }

// Permission allows certificates only for hosts in the route table, so that
// strangers can't make the edge ask a certificate authority for names. The control
// plane publishes custom domains there once they are verified. A wildcard route
// allows none: that would be any number of names. It answers from memory.
type Permission struct {
	podway *podway.App
	app    *App
}

// CaddyModule returns the Caddy module information.
func (*Permission) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "tls.permission.podway", New: func() caddy.Module { return new(Permission) }}
}

// Provision finds the apps that hold the routes and the zones.
func (p *Permission) Provision(ctx caddy.Context) (err error) {
	if p.podway, err = podway.Get(ctx); err != nil {
		return err
	}
	if p.app, err = appOf(ctx); err != nil {
		return err
	}
	p.app.shareTickets(ctx)
	return nil
}

// CertificateAllowed implements [caddytls.OnDemandPermission].
func (p *Permission) CertificateAllowed(_ context.Context, name string) error {
	host := routes.NormalizeHost(name)
	if domain, ok := strings.CutPrefix(host, warmLabel+"."); ok && p.app.zones.zoneOf(host) == domain {
		return nil // the edge itself, for the wildcard of a zone
	}
	e := p.podway.Table().Get(host)
	switch {
	case host == "" || e == nil:
		return fmt.Errorf("%q has no route: %w", name, caddytls.ErrPermissionDenied)
	case !mayHave(e):
		return fmt.Errorf("%q is a wildcard or has a certificate of its own: %w", name, caddytls.ErrPermissionDenied)
	default:
		return nil
	}
}

// UnmarshalCaddyfile sets up the module from Caddyfile tokens. Syntax:
//
//	permission podway
func (*Permission) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume module name
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		return d.Errf("unrecognized subdirective %q", d.Val())
	}
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Permission)(nil)
	_ caddytls.OnDemandPermission = (*Permission)(nil)
	_ caddyfile.Unmarshaler       = (*Permission)(nil)
)
