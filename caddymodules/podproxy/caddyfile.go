package podproxy

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddytls"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni/connectwire"
)

func init() {
	httpcaddyfile.RegisterDirective("podway", parseDirective)
	httpcaddyfile.RegisterDirectiveOrder("podway", httpcaddyfile.Before, "reverse_proxy")
}

// parseDirective reads the directive podway of a site without host names. It
// adds the handler, and a TLS connection policy for each kind of protocol.
func parseDirective(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	handler := new(Handler)
	if err := handler.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	values := h.NewRoute(nil, handler)
	for _, p := range policies {
		cp := &caddytls.ConnectionPolicy{ALPN: p.alpn}
		if len(p.protocols) > 0 {
			cp.MatchersRaw = caddy.ModuleMap{
				"podway": h.JSON(map[string][]routes.Protocol{"protocols": p.protocols}),
			}
		}
		values = append(values, httpcaddyfile.ConfigValue{Class: "tls.connection_policy", Value: cp})
	}
	return values, nil
}

// policies are the application protocols that a TLS client may choose, by what
// the pod speaks. A client that offers others only is refused, so that it can't
// be lured into talking to a server of another kind under the same certificate.
//
// HTTP/2 is never chosen for a pod that ends up with raw bytes; http/1.1 is, for
// database drivers in browsers, which speak over WebSockets, and for clients that get
// through to the edge by no other way.
var policies = []struct {
	protocols []routes.Protocol // none: everything else
	alpn      []string
}{
	{[]routes.Protocol{routes.Postgres}, []string{"postgresql", connectwire.ALPN, "http/1.1"}},
	{[]routes.Protocol{routes.TCP, routes.Bolt, routes.MongoDB, routes.Redis}, []string{connectwire.ALPN, "http/1.1"}},
	{nil, []string{"h2", "http/1.1"}},
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	podway
func (*Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume directive name
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		return d.Errf("unrecognized subdirective %q", d.Val())
	}
	return nil
}

// Interface guards
var _ caddyfile.Unmarshaler = (*Handler)(nil)
