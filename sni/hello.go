package sni

import (
	"crypto/tls"
	"slices"

	"github.com/tapis-project/podway/routes"
)

// Names of application protocols in a TLS handshake.
const (
	alpnHTTP11   = "http/1.1"
	alpnHTTP2    = "h2"
	alpnHTTP3    = "h3"
	alpnACME     = "acme-tls/1"
	ALPNPostgres = "postgresql" // of clients that begin with TLS, since PostgreSQL 17
)

// HelloProtocol returns what a client that sends hello will speak: PostgreSQL if
// it said so before TLS, or says so in hello where any protocol may be spoken; else
// the protocol of its host's route, else "".
func HelloProtocol(table *routes.Table, hello *tls.ClientHelloInfo) routes.Protocol {
	e := table.Lookup(routes.NormalizeHost(hello.ServerName))
	passThrough(hello, e)
	if c, ok := hello.Conn.(*Conn); ok && c.Postgres() {
		return routes.Postgres
	}
	postgres := slices.Contains(hello.SupportedProtos, ALPNPostgres)
	if e != nil && (e.Protocol != routes.TCP || !postgres) {
		return e.Protocol
	}
	if postgres && (e != nil || hello.ServerName == "") {
		return routes.Postgres
	}
	return ""
}

// HelloUnnamed reports whether a client names no server, and may do so later in
// its own protocol. It has to be shown a certificate of a name it might mean.
func HelloUnnamed(hello *tls.ClientHelloInfo) bool {
	if hello.ServerName != "" {
		return false
	}
	c, ok := hello.Conn.(*Conn)
	return ok && c.Postgres() || slices.Contains(hello.SupportedProtos, ALPNPostgres)
}

// HelloAdmitted reports whether a client shall be shown a certificate at all.
// Without a route for its server name it is refused, unless it speaks a protocol
// in which the reason can be told.
func HelloAdmitted(table *routes.Table, hello *tls.ClientHelloInfo) bool {
	if slices.Equal(hello.SupportedProtos, []string{alpnACME}) {
		return true
	}
	if HelloUnnamed(hello) {
		return true
	}
	name := routes.NormalizeHost(hello.ServerName)
	if name == "" {
		return false
	}
	if e := table.Lookup(name); e != nil {
		passThrough(hello, e)
		return e.TLS != routes.Passthrough // its certificate is in the pod
	}
	if c, ok := hello.Conn.(*Conn); ok && c.Postgres() {
		return true
	}
	return slices.ContainsFunc(hello.SupportedProtos, func(p string) bool {
		return p == alpnHTTP11 || p == alpnHTTP2 || p == alpnHTTP3
	})
}
