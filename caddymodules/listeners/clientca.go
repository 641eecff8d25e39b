package listeners

import (
	"crypto/tls"
	"errors"
	"maps"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddytls"

	"github.com/tapis-project/podway/caddymodules/podway"
	"github.com/tapis-project/podway/routes"
)

func init() { caddy.RegisterModule(new(ClientCAMatcher)) }

// alpnACME is what certificate authorities offer to validate a name.
const alpnACME = "acme-tls/1"

// clientCAMatcher is the name of [ClientCAMatcher] among the matchers.
const clientCAMatcher = "podway_client_ca"

var errClientCertificate = errors.New("the client shows no certificate that the route admits")

// ClientCAMatcher matches TLS handshakes for hosts whose route asks clients for a
// certificate. The wrapper podway_demux puts a policy with it in front of each of
// its server, so it need not be configured.
type ClientCAMatcher struct{ app *podway.App }

// CaddyModule returns the Caddy module information.
func (*ClientCAMatcher) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "tls.handshake_match." + clientCAMatcher, New: func() caddy.Module { return new(ClientCAMatcher) }}
}

// Provision finds the app that holds the routes.
func (m *ClientCAMatcher) Provision(ctx caddy.Context) (err error) {
	m.app, err = podway.Get(ctx)
	return err
}

// Match implements [caddytls.ConnectionMatcher]. A certificate authority that
// validates the name has no certificate to show.
func (m *ClientCAMatcher) Match(hello *tls.ClientHelloInfo) bool {
	if len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == alpnACME {
		return false
	}
	e := m.app.Table().Lookup(routes.NormalizeHost(hello.ServerName))
	return e != nil && e.AsksForCertificate()
}

// UnmarshalCaddyfile sets up the module from Caddyfile tokens. Syntax:
//
//	podway_client_ca
func (*ClientCAMatcher) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { return noArguments(d) }

// askForCertificates puts a policy that asks clients for a certificate in front of
// each policy of a server. It does so before Caddy provisions them.
func askForCertificates(srv *caddyhttp.Server) {
	var all caddytls.ConnectionPolicies
	for _, p := range srv.TLSConnPolicies {
		if _, done := p.MatchersRaw[clientCAMatcher]; done || p.ClientAuthentication != nil {
			all = append(all, p)
			continue
		}
		asking := *p
		asking.MatchersRaw = caddy.ModuleMap{clientCAMatcher: []byte("{}")}
		maps.Copy(asking.MatchersRaw, p.MatchersRaw)
		asking.ClientAuthentication = &caddytls.ClientAuthentication{Mode: "require"} // whose, verifyClient says
		all = append(all, &asking, p)
	}
	srv.TLSConnPolicies = all
}

// verifyClient makes a handshake fail if the route of its server name does not
// admit the certificates of the client, also when a session is resumed.
func verifyClient(table *routes.Table, then func(tls.ConnectionState) error) func(tls.ConnectionState) error {
	return func(cs tls.ConnectionState) error {
		e := table.Lookup(routes.NormalizeHost(cs.ServerName))
		if e != nil && cs.NegotiatedProtocol != alpnACME && !e.AdmitsCertificates(cs.PeerCertificates) {
			return errClientCertificate
		}
		if then == nil {
			return nil
		}
		return then(cs)
	}
}

// Interface guards
var (
	_ caddytls.ConnectionMatcher = (*ClientCAMatcher)(nil)
	_ caddy.Provisioner          = (*ClientCAMatcher)(nil)
	_ caddyfile.Unmarshaler      = (*ClientCAMatcher)(nil)
)
