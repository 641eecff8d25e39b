package sni

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni/pgwire"
)

// errPassthrough ends the handshake of a client whose pod ends TLS itself.
var errPassthrough = errors.New("TLS of this connection ends in the pod")

// PassthroughCount counts the routes whose TLS ends in the pod. As long as there
// is none, a [Preface] keeps no bytes of handshakes. The zero value is ready; it
// is safe for concurrent use.
type PassthroughCount struct{ n atomic.Int64 }

// Watch counts the routes of a table, too. It comes before the table's first
// route. A route is counted as long as anybody can find it and a moment longer:
// the handshake of a client that finds one has to be kept from its first byte.
func (p *PassthroughCount) Watch(table *routes.Table) {
	table.BeforeChange(func(_ string, _, now *routes.Entry) {
		if now != nil && now.TLS == routes.Passthrough {
			p.n.Add(1)
		}
	})
	table.OnChange(func(_ string, old, _ *routes.Entry) {
		if old != nil && old.TLS == routes.Passthrough {
			p.n.Add(-1)
		}
	})
}

// any reports whether there is such a route.
func (p *PassthroughCount) any() bool { return p != nil && p.n.Load() > 0 }

// passThrough marks the connection of a hello whose route e ends TLS in the pod.
// The handshake fails at its next step then, with nothing sent, and [Demux] finds
// the mark. It takes crypto/tls to read a ClientHello, which comes in any number
// of pieces.
func passThrough(hello *tls.ClientHelloInfo, e *routes.Entry) {
	if c, ok := hello.Conn.(*Conn); ok && c.recording && e != nil && e.TLS == routes.Passthrough {
		c.through = e
	}
}

// passthrough relays a connection below TLS.
func (d *Demux) passthrough(c *Conn) {
	e, hello := c.through, c.record
	if err := c.Opened(); err != nil {
		d.refuse(c, c, ClientGone)
		return
	}
	d.session(visitor{
		down: c, conn: c,
		refuse: func(why Outcome) {
			_ = c.SetWriteDeadline(time.Now().Add(time.Second))
			_, _ = c.Write(alert(why)) // nobody is left to tell if it fails
			d.refuse(c, c, why)
		},
		begin: func(up *net.TCPConn) (conversation, func(), error) {
			talk := conversation{first: hello}
			if c.Postgres() {
				return talk, func() {}, askForTLS(up)
			}
			return talk, func() {}, nil
		},
	}, e)
}

// askForTLS repeats to a server what the edge has answered to its client: an
// SSLRequest.
func askForTLS(up *net.TCPConn) error {
	if err := up.SetDeadline(time.Now().Add(DefaultDialTimeout)); err != nil {
		return err
	}
	if _, err := up.Write(pgwire.Startup{Code: pgwire.SSLRequest}.Append(nil)); err != nil {
		return fmt.Errorf("asking the pod for TLS: %w", err)
	}
	var answer [1]byte
	if _, err := up.Read(answer[:]); err != nil {
		return fmt.Errorf("asking the pod for TLS: %w", err)
	}
	if answer[0] != pgwire.AnswerSSL {
		return errors.New("the pod has no TLS of its own, which its route asks for")
	}
	return up.SetDeadline(time.Time{})
}

// Descriptions of TLS alerts.
const (
	alertAccessDenied  = 49
	alertInternalError = 80
)

// alert returns a fatal alert in clear: a record of type 21, version 3.3, two
// bytes, level 2.
func alert(why Outcome) []byte {
	description := byte(alertInternalError)
	if why == AddressDenied || why == LoginRequired {
		description = alertAccessDenied
	}
	return []byte{21, 3, 3, 0, 2, 2, description}
}
