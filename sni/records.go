package sni

import (
	"errors"
	"net/netip"
	"time"

	"github.com/tapis-project/podway/routes"
)

// Record says what became of one connection to a TCP route, or of one HTTP request.
type Record struct {
	Route    *routes.Entry
	Client   netip.AddrPort
	Since    time.Time
	Duration time.Duration
	Received int64  // bytes from the client; of a request, its body
	Sent     int64  // bytes to the client; of a request, the body of its response
	Status   int    // of the response to a request; 0 if there was none
	Result   string // "ended", "failed", "revoked", "kicked", "draining", or the label of an [Outcome]
}

// ResultOf names how a session ended, in a [Record].
func ResultOf(err error) string {
	switch {
	case err == nil:
		return "ended"
	case errors.Is(err, ErrKicked):
		return "kicked"
	case errors.Is(err, ErrRevoked):
		return "revoked"
	case errors.Is(err, ErrDraining):
		return "draining"
	default:
		return "failed"
	}
}

// recordRefusal notes a connection that did not become a session.
func (d *Demux) recordRefusal(e *routes.Entry, client netip.AddrPort, since time.Time, why Outcome) {
	if d.Record != nil {
		d.Record(Record{Route: e, Client: client, Since: since, Duration: time.Since(since), Result: why.String()})
	}
}

// recordSession notes a session that has ended.
func (d *Demux) recordSession(x *Session, err error) {
	if d.Record != nil {
		d.Record(Record{
			Route: x.Entry, Client: x.Client, Since: x.Since, Duration: time.Since(x.Since),
			Received: x.received.Load(), Sent: x.sent.Load(), Result: ResultOf(err),
		})
	}
}
