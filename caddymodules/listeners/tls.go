package listeners

import (
	"bytes"
	"crypto/tls"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni"
)

type getCertificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)

// knownNamesOnly makes a handshake fail with the alert unrecognized_name if no
// route, and no protocol that could tell so, is behind its server name. That is
// what crypto/tls makes of a GetCertificate that finds none. A name that get has
// no certificate for is not recognized either. A client that will name its pod
// later is shown a certificate of the first zone.
func knownNamesOnly(table *routes.Table, zones []string, get getCertificate) getCertificate {
	return func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if !sni.HelloAdmitted(table, hello) {
			return nil, nil //nolint:nilnil // see above
		}
		if sni.HelloUnnamed(hello) && len(zones) > 0 {
			named := *hello
			named.ServerName = "pod." + zones[0]
			hello = &named
		}
		cert, err := get(hello)
		if err != nil || cert == nil || len(cert.Certificate) == 0 {
			return nil, nil //nolint:nilerr,nilnil // see above; certmagic has logged err
		}
		return cert, nil
	}
}

// ticketTag precedes the server name in the session tickets of the edge.
var ticketTag = []byte("podway:")

// bindTickets makes a session ticket good for the server name it was issued for
// and no other. Tickets of all tenants are encrypted with the same key, and one
// that resumes a session is accepted without a look at the certificate.
func bindTickets(cfg *tls.Config) {
	tag := func(cs tls.ConnectionState) []byte {
		return append(bytes.Clone(ticketTag), routes.NormalizeHost(cs.ServerName)...)
	}
	cfg.WrapSession = func(cs tls.ConnectionState, ss *tls.SessionState) ([]byte, error) {
		ss.Extra = append(ss.Extra, tag(cs))
		return cfg.EncryptTicket(cs, ss)
	}
	cfg.UnwrapSession = func(identity []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
		ss, err := cfg.DecryptTicket(identity, cs)
		if err != nil || ss == nil {
			return nil, err
		}
		want := tag(cs)
		for _, e := range ss.Extra {
			if bytes.Equal(e, want) {
				return ss, nil
			}
		}
		return nil, nil //nolint:nilnil // a full handshake instead
	}
}

// adjusted reports whether cfg was changed by this package before: a server may
// have several listeners.
func adjusted(cfg *tls.Config) bool { return cfg.WrapSession != nil }
