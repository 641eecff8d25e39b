package listeners

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddytls"

	"github.com/tapis-project/podway/caddymodules/podway"
	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni"
)

func init() { caddy.RegisterModule(new(Matcher)) }

// Matcher matches TLS handshakes by the protocol of the pod they are for, so
// that each protocol has an ALPN of its own. A client that asked for TLS the way
// PostgreSQL clients do counts as postgres, whatever the pod speaks.
type Matcher struct {
	// Protocols to match: "http", "tcp", "bolt", "mongodb", "redis", "postgres".
	Protocols []routes.Protocol `json:"protocols"`

	app *podway.App
}

// CaddyModule returns the Caddy module information.
func (*Matcher) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "tls.handshake_match.podway", New: func() caddy.Module { return new(Matcher) }}
}

// Provision finds the app that holds the routes.
func (m *Matcher) Provision(ctx caddy.Context) (err error) {
	m.app, err = podway.Get(ctx)
	return err
}

// Validate checks the protocols.
func (m *Matcher) Validate() error {
	if len(m.Protocols) == 0 {
		return errors.New("no protocols to match")
	}
	for _, p := range m.Protocols {
		if !slices.Contains(routes.Protocols(), p) {
			return fmt.Errorf("protocol %q is not one of %v", p, routes.Protocols())
		}
	}
	return nil
}

// Match implements [caddytls.ConnectionMatcher].
func (m *Matcher) Match(hello *tls.ClientHelloInfo) bool {
	return slices.Contains(m.Protocols, sni.HelloProtocol(m.app.Table(), hello))
}

// UnmarshalCaddyfile sets up the module from Caddyfile tokens. Syntax:
//
//	podway <protocols...>
func (m *Matcher) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume matcher name
	for d.NextArg() {
		m.Protocols = append(m.Protocols, routes.Protocol(d.Val()))
	}
	if len(m.Protocols) == 0 {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		return d.Errf("unrecognized subdirective %q", d.Val())
	}
	return nil
}

// Interface guards
var (
	_ caddytls.ConnectionMatcher = (*Matcher)(nil)
	_ caddy.Provisioner          = (*Matcher)(nil)
	_ caddy.Validator            = (*Matcher)(nil)
	_ caddyfile.Unmarshaler      = (*Matcher)(nil)
)
