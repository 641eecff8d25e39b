// Package listeners connects the wire code of the edge to Caddy's HTTP server:
// the network edge, whose socket outlives configurations, two listener wrappers
// around Caddy's own TLS, and a matcher that chooses the TLS settings by what
// the pod speaks.
//
//	{
//		servers edge/:443 {
//			listener_wrappers {
//				podway_preface
//				tls
//				podway_demux
//			}
//		}
//	}
package listeners

import (
	"context"
	"fmt"
	"net"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/tapis-project/podway/caddymodules/podway"
	"github.com/tapis-project/podway/sni"
)

// Network is the network to listen on, as in "edge/:443". On the network tcp a
// new configuration opens a second socket, and what waits in the old one is
// reset when that closes.
const Network = "edge"

func init() {
	caddy.RegisterNetwork(Network, listen)
	caddyhttp.RegisterNetworkHTTP3(Network, "udp")
}

// listen returns a handle on the socket of an address.
func listen(ctx context.Context, network, host, ports string, offset uint, cfg net.ListenConfig) (any, error) {
	na, err := caddy.ParseNetworkAddress(caddy.JoinNetworkAddress(network, host, ports))
	if err != nil {
		return nil, fmt.Errorf("reading address: %w", err)
	}
	return sni.ListenWith(ctx, na.JoinHostPort(offset), podway.OpenSocket(cfg))
}
