// Package certs decides which names the edge gets certificates for.
package certs

import (
	"context"
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddytls"

	"github.com/tapis-project/podway/caddymodules/podway"
	"github.com/tapis-project/podway/routes"
)

func init() { caddy.RegisterModule(new(Permission)) }

// Permission allows on-demand certificates only for hosts in the route table, so
// that strangers can't make the edge ask a certificate authority for names. A
// wildcard route allows none: that would be any number of names. It answers from
// memory.
type Permission struct{ app *podway.App }

// CaddyModule returns the Caddy module information.
func (*Permission) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "tls.permission.podway", New: func() caddy.Module { return new(Permission) }}
}

// Provision finds the app that holds the routes.
func (p *Permission) Provision(ctx caddy.Context) (err error) {
	p.app, err = podway.Get(ctx)
	return err
}

// CertificateAllowed implements [caddytls.OnDemandPermission].
func (p *Permission) CertificateAllowed(_ context.Context, name string) error {
	host := routes.NormalizeHost(name)
	e := p.app.Table().Get(host)
	switch {
	case host == "" || e == nil:
		return fmt.Errorf("%q has no route: %w", name, caddytls.ErrPermissionDenied)
	case e.TLS == routes.Passthrough:
		return fmt.Errorf("%q has a certificate of its own: %w", name, caddytls.ErrPermissionDenied)
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
