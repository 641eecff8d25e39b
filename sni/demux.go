package sni

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni/pgwire"
)

// Demux runs TLS handshakes and sends each connection where its server name
// belongs. All fields are required, except Ready and Started; they must not
// change after the first Wrap.
type Demux struct {
	Table    *routes.Table
	Sessions *Sessions
	Dialer   *Dialer
	Stats    *Stats
	Log      *slog.Logger

	// Closed once the table was filled. Handshakes wait for it, so that a client
	// that comes too early is not told that its pod does not exist. Nil: the table
	// is complete.
	Ready <-chan struct{}

	// Closed once the HTTP server has started completely. Its listeners get no
	// connections before. Nil: it has.
	Started <-chan struct{}
}

// Wrap returns a listener of the connections that are for an HTTP server: of
// HTTP routes, and of names without a route whose client speaks HTTP and shall
// be told so. Its connections are *tls.Conn with the handshake done. The
// connections of ln have to be *tls.Conn over [Conn].
//
// Closing the listener ends no session and no handshake.
func (d *Demux) Wrap(hub *Hub, ln net.Listener) net.Listener {
	l := &demuxListener{Listener: ln, hub: hub, out: hub.join()}
	if d.Started == nil {
		hub.start(l.out)
	} else {
		go func() {
			select {
			case <-d.Started:
				hub.start(l.out)
			case <-l.out.closed:
			}
		}()
	}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				if !errors.Is(err, net.ErrClosed) {
					d.Log.Error("accepting connections ended", "error", err)
				}
				_ = l.Close()
				return
			}
			go d.serve(hub, c)
		}
	}()
	return l
}

type demuxListener struct {
	net.Listener
	hub  *Hub
	out  *outlet
	once sync.Once
}

func (l *demuxListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.out.conns:
		return c, nil
	case <-l.out.closed:
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.Addr(), Err: net.ErrClosed}
	}
}

func (l *demuxListener) Close() error {
	var err error
	l.once.Do(func() {
		err = l.Listener.Close()
		l.hub.leave(l.out)
	})
	return err
}

// serve opens one connection, and keeps it if it is a session.
func (d *Demux) serve(hub *Hub, nc net.Conn) {
	tc, ok := nc.(*tls.Conn)
	if !ok {
		d.Log.Error("refusing connection without TLS; the wrapper podway_demux belongs after tls", "remote", nc.RemoteAddr())
		nc.Close()
		return
	}
	c, ok := tc.NetConn().(*Conn)
	if !ok {
		d.Log.Error("refusing connection; the wrapper podway_preface belongs before tls", "remote", nc.RemoteAddr())
		nc.Close()
		return
	}
	defer func() {
		// As in net/http: a mistake met by one connection ends that one only.
		if p := recover(); p != nil {
			d.Log.Error("serving connection panicked", "remote", c.RemoteAddr(), "error", fmt.Sprint(p), "stack", string(debug.Stack()))
			c.Abandon()
			_ = c.Close()
		}
	}()
	if err := d.handshake(tc, c); err != nil {
		c.Abandon()
		_ = c.Close()
		o := outcomeOf(err)
		d.Stats.Opened(o)
		d.Log.Debug("opening connection failed", "remote", c.RemoteAddr(), "result", o.String(), "error", err)
		return
	}
	d.dispatch(hub, tc, c)
}

func (d *Demux) handshake(tc *tls.Conn, c *Conn) error {
	if err := d.wait(c.deadline); err != nil {
		return err
	}
	if err := tc.Handshake(); err != nil { //nolint:noctx // the connection has its deadline since it was accepted
		return err
	}
	d.Stats.Handshakes.Add(1)
	return c.Opened()
}

// wait waits for the table.
func (d *Demux) wait(deadline time.Time) error {
	if d.Ready == nil {
		return nil
	}
	select {
	case <-d.Ready:
		return nil
	default:
	}
	t := time.NewTimer(time.Until(deadline))
	defer t.Stop()
	select {
	case <-d.Ready:
		return nil
	case <-t.C:
		return os.ErrDeadlineExceeded
	}
}

// dispatch sends a connection on its way.
func (d *Demux) dispatch(hub *Hub, tc *tls.Conn, c *Conn) {
	state := tc.ConnectionState()
	e := d.Table.Lookup(routes.NormalizeHost(state.ServerName))
	switch {
	case state.NegotiatedProtocol == alpnACME:
		// The handshake was all a certificate authority asks for.
		d.Stats.Opened(ClientGone)
		closeClient(tc)
	case e == nil && c.Postgres():
		d.refuse(tc, c, nil, UnknownName)
	case e == nil && state.NegotiatedProtocol == "":
		d.refuse(tc, c, nil, UnknownName)
	case c.Postgres() && e.Protocol == routes.HTTP:
		d.refuse(tc, c, e, WrongProtocol)
	case e == nil || e.Protocol == routes.HTTP:
		d.Stats.Opened(HTTPConnection)
		hub.deliver(tc)
	default:
		d.session(tc, c, e)
	}
}

// session relays one connection of a TCP route.
func (d *Demux) session(tc *tls.Conn, c *Conn, e *routes.Entry) {
	client := AddrOf(c.RemoteAddr())
	if !e.Allows(client.Addr()) {
		d.refuse(tc, c, e, AddressDenied)
		return
	}
	if e.State != routes.Live {
		d.refuse(tc, c, e, NotLive)
		return
	}
	ctx, x := d.Sessions.Open(context.Background(), d.Table, e, client)
	defer x.End()
	up, err := d.dial(ctx, c, e)
	if err != nil {
		if ctx.Err() == nil { // else the route changed meanwhile
			d.Log.Warn("connecting to pod failed", "host", e.Host, "tenant", e.Tenant, "pod_id", e.Pod, "remote", client, "error", err)
		}
		d.refuse(tc, c, e, UpstreamFailed)
		return
	}
	d.Stats.Opened(TCPSession)
	err = relay(ctx, tc, up, x)
	d.Log.Debug("session ended", "host", e.Host, "tenant", e.Tenant, "pod_id", e.Pod, "remote", client,
		"duration", time.Since(x.Since), "received", x.received.Load(), "sent", x.sent.Load(), "error", err)
}

func (d *Demux) dial(ctx context.Context, c *Conn, e *routes.Entry) (*net.TCPConn, error) {
	up, err := d.Dialer.Dial(ctx, e)
	if err != nil || e.ProxyProtocol == 0 {
		return up, err
	}
	if err := writeProxyHeader(up, e.ProxyProtocol, c.RemoteAddr(), c.LocalAddr()); err != nil {
		_ = up.Close()
		return nil, err
	}
	return up, nil
}

// refuse ends a connection after its handshake. PostgreSQL clients are told why,
// in their protocol; for the others there is nothing to say it in.
func (d *Demux) refuse(tc *tls.Conn, c *Conn, e *routes.Entry, why Outcome) {
	defer closeClient(tc)
	d.Stats.Opened(why)
	d.Log.Debug("refusing connection", "remote", c.RemoteAddr(), "result", why.String())
	if !c.Postgres() && tc.ConnectionState().NegotiatedProtocol != ALPNPostgres && (e == nil || e.Protocol != routes.Postgres) {
		return
	}
	if err := c.SetDeadline(time.Now().Add(c.preface.OpenTimeout)); err != nil {
		return
	}
	s, err := pgwire.ReadStartup(tc)
	if err != nil || !s.IsMessage() {
		return // a CancelRequest gets no answer
	}
	_, _ = tc.Write(postgresRefusal(e, why).Append(nil)) // nobody is left to tell if it fails
}

// postgresRefusal says why a PostgreSQL client can't be served by route e, nil
// for none.
func postgresRefusal(e *routes.Entry, why Outcome) pgwire.ErrorResponse {
	switch why {
	case UnknownName:
		return pgwire.ErrorResponse{
			Code: pgwire.ConnectionRejected, Message: "there is no pod at this address",
			Hint: "Check the host name of the pod's networking entry.",
		}
	case WrongProtocol:
		return pgwire.ErrorResponse{
			Code: pgwire.ConnectionRejected, Message: "this pod does not speak PostgreSQL",
			Hint: "It is reached by https. Give its networking entry the protocol postgres if it is a PostgreSQL server.",
		}
	case AddressDenied:
		return pgwire.ErrorResponse{
			Code: pgwire.InvalidAuthorization, Message: "this pod does not accept connections from your address",
			Hint: "Its owner can change the pod's ip_allow_list.",
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

func notLive(s routes.State) pgwire.ErrorResponse {
	r := pgwire.ErrorResponse{Code: pgwire.CannotConnectNow}
	switch s {
	case routes.Stopped:
		r.Message, r.Hint = "this pod is stopped", "Start it, then connect again."
	case routes.Error:
		r.Message, r.Hint = "this pod failed to start", "Its logs and action logs say why."
	case routes.Finished:
		r.Message, r.Hint = "this pod has finished", "Restart it, then connect again."
	case routes.Deleting:
		r.Message, r.Hint = "this pod is shutting down", "It can't be reached any more."
	default:
		r.Message, r.Hint = "this pod is starting", "Try again in a few seconds."
	}
	return r
}

// outcomeOf names the reason why a handshake failed.
func outcomeOf(err error) Outcome {
	for _, o := range []struct {
		err error
		o   Outcome
	}{
		{ErrPlainHTTP, PlainHTTP},
		{ErrPostgresPlain, PlainPostgres},
		{ErrPostgresCancel, PostgresCancel},
		{ErrInjected, UnknownProtocol},
		{ErrUnknownProtocol, UnknownProtocol},
		{ErrProxyHeader, BadProxyHeader},
		{ErrTooManyBytes, TooManyBytes},
		{ErrBusy, Overload},
		{os.ErrDeadlineExceeded, Timeout},
		{io.EOF, ClientGone},
		{io.ErrUnexpectedEOF, ClientGone},
		{net.ErrClosed, ClientGone},
	} {
		if errors.Is(err, o.err) {
			return o.o
		}
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "read" {
		return ClientGone
	}
	return BadHandshake
}
