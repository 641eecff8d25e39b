package sni

import (
	"sync/atomic"

	"github.com/tapis-project/podway/routes"
)

// Outcome says how the opening of a connection ended. The names are labels of
// metrics, so there are few of them.
type Outcome uint8

// The outcomes.
const (
	HTTPConnection      Outcome = iota // passed on to the HTTP server
	TCPSession                         // became a session of a TCP route
	ClientGone                         // closed or reset before anything was decided
	Timeout                            // not done within the time allowed
	Overload                           // over a limit of the edge
	TooManyBytes                       // over the byte limit before a route was known
	PlainHTTP                          // HTTP without TLS
	PlainPostgres                      // PostgreSQL without TLS
	PostgresCancel                     // CancelRequest for no session that goes on
	CancelForwarded                    // CancelRequest that was passed to its pod
	UnknownProtocol                    // neither TLS nor PostgreSQL
	BadProxyHeader                     // no valid PROXY header where one is required
	BadHandshake                       // TLS failed: versions, ALPN, certificates, alerts
	UnknownName                        // no route for the server name
	NoName                             // no server name where one is needed
	NotLive                            // the route's pod does not run
	WrongProtocol                      // the pod does not speak what the client speaks
	AddressDenied                      // not on the route's address list
	UpstreamFailed                     // the pod did not accept the connection
	ClientLimit                        // over the connections of one client
	ClientRate                         // over the new connections per second of one client
	PodLimit                           // over the connections of one pod
	TenantLimit                        // over the connections of one tenant's pods
	LoginRequired                      // the pod asks for a login, and the client has none
	LoginRefused                       // the token of the client does not let it pass
	CertificateRequired                // the client was not asked for the certificate that the route wants
	outcomes                           // how many there are
)

var outcomeNames = [outcomes]string{
	"http", "tcp", "client_gone", "timeout", "overload", "too_many_bytes", "plain_http", "plain_postgres",
	"postgres_cancel", "cancel_forwarded", "unknown_protocol", "bad_proxy_header", "bad_handshake", "unknown_name",
	"no_name", "not_live", "wrong_protocol", "address_denied", "upstream_failed", "client_limit", "client_rate",
	"pod_limit", "tenant_limit", "login_required", "login_refused", "certificate_required",
}

// String returns the outcome's label.
func (o Outcome) String() string { return outcomeNames[o] }

// Stats counts what passes the edge. Its labels are fixed, so it never grows.
// The zero value is ready; it must not be copied, and is safe for concurrent use.
type Stats struct {
	Accepted   atomic.Uint64 // connections
	Handshakes atomic.Uint64 // TLS handshakes that succeeded

	// Cancel keys that could not be shared because too many others waited.
	CancelsDropped atomic.Uint64

	opened    [outcomes]atomic.Uint64
	protocols [8]protocolStats // by index in protocols
}

type protocolStats struct {
	opened, refused, revoked, active, received, sent atomic.Int64
	_                                                [2]int64 // a cache line of its own: bytes are counted often
}

// Opened counts how the opening of a connection ended.
func (s *Stats) Opened(o Outcome) { s.opened[o].Add(1) }

// Opening returns how many connections were accepted and have not come to an
// outcome yet.
func (s *Stats) Opening() int {
	n := int64(s.Accepted.Load())
	for i := range s.opened {
		n -= int64(s.opened[i].Load())
	}
	return int(max(n, 0))
}

// Outcomes calls f for each outcome with its count.
func (s *Stats) Outcomes(f func(o Outcome, n uint64)) {
	for i := range s.opened {
		f(Outcome(i), s.opened[i].Load())
	}
}

// ProtocolStats are the counts of one protocol.
type ProtocolStats struct {
	Protocol routes.Protocol
	Opened   uint64 // sessions and HTTP requests that were begun
	Refused  uint64 // those that were not, over a limit of the pod or the tenant
	Active   int64  // those that go on
	Revoked  uint64 // those that were ended because their route changed
	Received uint64 // bytes from clients, of sessions only
	Sent     uint64 // bytes to clients, of sessions only
}

// protocols gives each protocol its place in [Stats].
var protocols = routes.Protocols()

// Protocols returns the counts of each protocol.
func (s *Stats) Protocols() []ProtocolStats {
	var all []ProtocolStats
	for i, p := range protocols {
		c := &s.protocols[i]
		all = append(all, ProtocolStats{
			Protocol: p,
			Opened:   uint64(c.opened.Load()),
			Refused:  uint64(c.refused.Load()),
			Active:   c.active.Load(),
			Revoked:  uint64(c.revoked.Load()),
			Received: uint64(c.received.Load()),
			Sent:     uint64(c.sent.Load()),
		})
	}
	return all
}

// of returns the counters of a protocol. Validated routes have none but those of
// protocols.
func (s *Stats) of(p routes.Protocol) *protocolStats {
	for i, q := range protocols {
		if p == q {
			return &s.protocols[i]
		}
	}
	return &s.protocols[len(s.protocols)-1]
}
