package sni

import (
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni/pgwire"
)

// speaksPostgres reports whether a client speaks PostgreSQL: because it said so,
// or because nothing else is spoken at the route e, nil for none.
func speaksPostgres(c *Conn, state tls.ConnectionState, e *routes.Entry) bool {
	return c.Postgres() || state.NegotiatedProtocol == ALPNPostgres || (e != nil && e.Protocol == routes.Postgres)
}

// postgres serves a PostgreSQL client, whose route is e, nil for none. Its first
// packet is read here: it may be a CancelRequest, or name a pod.
func (d *Demux) postgres(tc *tls.Conn, c *Conn, e *routes.Entry) {
	if err := c.SetDeadline(time.Now().Add(c.preface.OpenTimeout)); err != nil {
		d.refuse(tc, c, ClientGone)
		return
	}
	s, err := pgwire.ReadStartup(tc)
	switch {
	case err != nil && outcomeOf(err) == ClientGone:
		d.refuse(tc, c, ClientGone)
		return
	case err != nil:
		d.refusePostgres(tc, c, e, outcomeOfStartup(err))
		return
	case s.Code == pgwire.CancelRequest:
		d.refuse(tc, c, d.cancel(c, s)) // which is no refusal, and has no answer either
		return
	case !s.IsMessage():
		d.refusePostgres(tc, c, e, UnknownProtocol)
		return
	}
	why := UnknownName
	if tc.ConnectionState().ServerName == "" {
		if e, s = d.byOptions(s); e == nil && s.Param("options") == "" {
			why = NoName
		}
	}
	if e == nil {
		d.refusePostgres(tc, c, nil, why)
		return
	}
	if e.Protocol == routes.HTTP {
		d.refusePostgres(tc, c, e, WrongProtocol)
		return
	}
	if err := c.SetDeadline(time.Time{}); err != nil {
		d.refuse(tc, c, ClientGone)
		return
	}
	d.session(visitor{
		down: tc, conn: c,
		refuse: func(why Outcome) { d.refusePostgres(tc, c, e, why) },
		begin: func(up *net.TCPConn) (conversation, func(), error) {
			talk, end := d.talkPostgres(s, e, up.RemoteAddr())
			return talk, end, nil
		},
	}, e)
}

// outcomeOfStartup names the reason why a first packet could not be read.
func outcomeOfStartup(err error) Outcome {
	if o := outcomeOf(err); o != BadHandshake {
		return o
	}
	return WrongProtocol
}

// podOption begins the word of a start-up option that names a pod.
const podOption = "pod="

// byOptions returns the route that a client without server name asks for by the
// option pod=<id> or pod=<host>, nil if there is none, and the packet without
// that option, which no server knows. The route is always in one of the zones.
func (d *Demux) byOptions(s pgwire.Startup) (*routes.Entry, pgwire.Startup) {
	i := slices.IndexFunc(s.Params, func(p pgwire.Param) bool { return p.Name == "options" })
	if i < 0 {
		return nil, s
	}
	words := strings.Split(s.Params[i].Value, " ")
	at := slices.IndexFunc(words, func(w string) bool { return strings.HasPrefix(w, podOption) })
	if at < 0 {
		return nil, s
	}
	name := strings.TrimPrefix(words[at], podOption)
	e := d.inZones(name)
	if e == nil {
		return nil, s
	}
	s.Params = slices.Clone(s.Params)
	s.Params[i].Value = strings.Join(slices.Delete(words, at, at+1), " ")
	if s.Params[i].Value == "" {
		s.Params = slices.Delete(s.Params, i, i+1)
	}
	return e, s
}

// inZones looks up a pod by its host name, or by its first label if there is only
// one zone it can be in.
func (d *Demux) inZones(name string) *routes.Entry {
	if !strings.Contains(name, ".") && len(d.Zones) == 1 {
		name += "." + d.Zones[0]
	}
	host := routes.NormalizeHost(name)
	_, parent, _ := strings.Cut(host, ".")
	if host == "" || !slices.Contains(d.Zones, parent) {
		return nil
	}
	return d.Table.Lookup(host)
}

// postgresTalk follows what the server of a session sends, as far as the edge
// has to understand it. It belongs to the goroutine that copies to the client.
type postgresTalk struct {
	start func([]byte) bool // looks for the cancel key; nil once that is done
	tail  [6]byte           // the last bytes that were sent
}

// saw takes bytes of the server before they are sent on.
func (p *postgresTalk) saw(b []byte) {
	if p.start != nil && !p.start(b) {
		p.start = nil
	}
	n := min(len(b), len(p.tail))
	copy(p.tail[:], p.tail[n:])
	copy(p.tail[len(p.tail)-n:], b[len(b)-n:])
}

// readyForQuery is how each of a server's answers ends, except for its last byte:
// byte 'Z', int32 length 5, byte 'I', 'T' or 'E'.
const readyForQuery = "Z\x00\x00\x00\x05"

// goodbye returns what to tell the client before its session is ended. It is nil
// in the middle of an answer, of which it would seem to be a part.
func (p *postgresTalk) goodbye(cause error) []byte {
	last := len(p.tail) - 1
	if string(p.tail[:last]) != readyForQuery || !strings.ContainsRune("ITE", rune(p.tail[last])) {
		return nil
	}
	r := pgwire.ErrorResponse{Code: pgwire.AdminShutdown, Message: "the pod was stopped or changed", Hint: "Look at the pod's status, then connect again."}
	switch {
	case errors.Is(cause, ErrDraining):
		r.Message, r.Hint = "the connection ends because of maintenance", "Connect again: the pod goes on."
	case errors.Is(cause, ErrKicked):
		r.Message, r.Hint = "an administrator ended this connection", "Ask them why before you connect again."
	}
	return r.Append(nil)
}

// refusePostgres ends a connection whose client speaks PostgreSQL, and tells it
// why.
func (d *Demux) refusePostgres(tc *tls.Conn, c *Conn, e *routes.Entry, why Outcome) {
	sendLast(tc, c, d.postgresRefusal(e, why).Append(nil))
	d.refuse(tc, c, why)
}

// postgresRefusal says why a PostgreSQL client can't be served by route e, nil
// for none.
func (d *Demux) postgresRefusal(e *routes.Entry, why Outcome) pgwire.ErrorResponse {
	switch why {
	case NoName:
		return pgwire.ErrorResponse{
			Code: pgwire.ConnectionRejected, Message: "your client does not say which pod it wants",
			Hint: "Connect by host name with a client that sends it in TLS (libpq 14 or newer), or add " + d.optionsHint() + " to the connection string.",
		}
	case UnknownName:
		return pgwire.ErrorResponse{
			Code: pgwire.ConnectionRejected, Message: "there is no pod at this address",
			Hint: "Check the host name of the pod's networking entry. Without a host name in TLS, " + d.optionsHint() + " names the pod.",
		}
	case WrongProtocol, UnknownProtocol, Timeout:
		return wrongProtocol(e)
	case AddressDenied:
		return pgwire.ErrorResponse{
			Code: pgwire.InvalidAuthorization, Message: "this pod does not accept connections from your address",
			Hint: "Its owner can change the pod's ip_allow_list.",
		}
	case CertificateRequired:
		return pgwire.ErrorResponse{
			Code: pgwire.InvalidAuthorization, Message: "this pod asks clients for a certificate",
			Hint: "Connect by host name with a client that sends it in TLS (libpq 14 or newer): only then is it asked for its certificate.",
		}
	case LoginRequired:
		return pgwire.ErrorResponse{
			Code: pgwire.InvalidAuthorization, Message: "this pod asks for a login with Tapis",
			Hint: "Run: " + connectCommand(e) + ", and connect to the address that it prints.",
		}
	case PodLimit, TenantLimit:
		return pgwire.ErrorResponse{
			Code: pgwire.TooManyConnections, Message: "this pod has too many connections",
			Hint: "Close some, for example with a connection pool.",
		}
	case NotLive:
		return notLive(e.State)
	default:
		return pgwire.ErrorResponse{
			Code: pgwire.CannotConnectNow, Message: "the pod did not accept the connection",
			Hint: "It may still be starting: try again in a few seconds.",
		}
	}
}

// connectCommand is the command that reaches a pod behind a login.
func connectCommand(e *routes.Entry) string {
	command := "podctl connect " + e.Pod
	if e.Net != "default" {
		command += " --net " + e.Net
	}
	return command
}

func (d *Demux) optionsHint() string {
	if len(d.Zones) == 1 {
		return "options=pod%3D<pod id>"
	}
	return "options=pod%3D<host name of the pod>"
}

func wrongProtocol(e *routes.Entry) pgwire.ErrorResponse {
	if e != nil && e.Protocol == routes.HTTP {
		return pgwire.ErrorResponse{
			Code: pgwire.ConnectionRejected, Message: "this pod does not speak PostgreSQL",
			Hint: "It is reached by https. Give its networking entry the protocol postgres if it is a PostgreSQL server.",
		}
	}
	return pgwire.ErrorResponse{
		Code: pgwire.ProtocolViolation, Message: "this is no start of a PostgreSQL session",
		Hint: "Connect with a PostgreSQL client.",
	}
}

func notLive(s routes.State) pgwire.ErrorResponse {
	message, hint := stateText(s)
	return pgwire.ErrorResponse{Code: pgwire.CannotConnectNow, Message: message, Hint: hint}
}

// stateText tells people about a pod that does not run, and what to do about it.
func stateText(s routes.State) (message, hint string) {
	switch s {
	case routes.Stopped:
		return "this pod is stopped", "Start it, then connect again."
	case routes.Error:
		return "this pod failed to start", "Its logs and action logs say why."
	case routes.Finished:
		return "this pod has finished", "Restart it, then connect again."
	case routes.Deleting:
		return "this pod is shutting down", "It can't be reached any more."
	default:
		return "this pod is starting", "Try again in a few seconds."
	}
}

// talkPostgres prepares the relay of a PostgreSQL session: the packet that was
// read already, the cancel key, the goodbye.
func (d *Demux) talkPostgres(s pgwire.Startup, e *routes.Entry, up net.Addr) (talk conversation, forget func()) {
	watch, forget := d.Cancels.newKeyWatcher(e, up)
	p := &postgresTalk{start: watch}
	return conversation{first: s.Append(nil), saw: p.saw, goodbye: p.goodbye}, forget
}
