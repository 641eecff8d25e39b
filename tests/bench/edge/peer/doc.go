// Package peer starts what the edge's benchmark measures, and what that needs,
// as processes of its own on free ports of loopback: the edge, a stock Caddy,
// HAProxy, nginx, Redis and PostgreSQL.
//
//	s := peer.Setup{Dir: dir, EdgeProgram: edge, CertFile: cert, KeyFile: key, Upstream: up.Addr}
//	p, err := peer.HAProxy(2)(ctx, s)
//	if err != nil { ... }
//	defer p.Stop()
//	before, err := p.CPU()
//
// All of them end the client's TLS with the same certificate and forward to the
// same upstream, each with the configuration in conf, which is as near as can be
// to what Debian ships. They end with the program that started them.
package peer
