package rfc2136

import (
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/libdns/libdns"
)

func init() { caddy.RegisterModule(new(Provider)) }

// CaddyModule returns the Caddy module information.
func (*Provider) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "dns.providers.rfc2136", New: func() caddy.Module { return new(Provider) }}
}

// Provision replaces placeholders and checks the settings.
func (p *Provider) Provision(caddy.Context) error {
	repl := caddy.NewReplacer()
	for _, s := range []*string{&p.Server, &p.KeyName, &p.KeyAlgorithm, &p.Key} {
		*s = repl.ReplaceAll(*s, "")
	}
	if err := p.check(); err != nil {
		return fmt.Errorf("reading settings of rfc2136: %w", err)
	}
	return nil
}

// UnmarshalCaddyfile sets up the module from Caddyfile tokens. Syntax:
//
//	rfc2136 {
//		server   <host>[:<port>]
//		key_name <name>
//		key_alg  <algorithm>
//		key      <base64>
//	}
func (p *Provider) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume provider name
	if d.NextArg() {
		return d.ArgErr()
	}
	settings := map[string]*string{"server": &p.Server, "key_name": &p.KeyName, "key_alg": &p.KeyAlgorithm, "key": &p.Key}
	for d.NextBlock(0) {
		s, known := settings[d.Val()]
		if !known {
			return d.Errf("unrecognized subdirective %q", d.Val())
		}
		if !d.AllArgs(s) {
			return d.ArgErr()
		}
	}
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner     = (*Provider)(nil)
	_ caddyfile.Unmarshaler = (*Provider)(nil)
	_ libdns.RecordGetter   = (*Provider)(nil)
	_ libdns.RecordAppender = (*Provider)(nil)
	_ libdns.RecordSetter   = (*Provider)(nil)
	_ libdns.RecordDeleter  = (*Provider)(nil)
)
