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
)

// Demux runs TLS handshakes and sends each connection where its server name
// belongs. All fields are required, except Zones, Parker, Admit, Record, Ready
// and Started; they must not change after the first Wrap.
type Demux struct {
	Table    *routes.Table
	Sessions *Sessions
	Dialer   *Dialer
	Cancels  *Cancels
	Stats    *Stats
	Log      *slog.Logger

	// Domains whose pods PostgreSQL clients without server name may ask for by a
	// start-up option, such as "pods.dev.localhost". Nil: none.
	Zones []string

	// Parks idle sessions. Nil: each has two goroutines and two buffers.
	Parker *Parker

	// Decides who may pass to TCP routes behind a login. Nil: nobody.
	Admit Admit

	// Called for each connection to a TCP route, at its end. It must not block. Nil:
	// nobody wants to know.
	Record func(Record)

	// Closed once the table was filled and the certificates were loaded. Handshakes
	// wait for it, so that a client that comes too early is not told that its pod
	// does not exist. Nil: all is there.
	Ready <-chan struct{}

	// Closed once the HTTP server has started completely. Its listeners get no
	// connections before. Nil: it has.
	Started <-chan struct{}

	refused   Throttle
	tries     *rates // tokens that did not count
	triesOnce sync.Once
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
		if c.through != nil {
			d.passthrough(c)
			return
		}
		o := outcomeOf(err)
		if c.cancel != nil {
			o = d.cancel(c, *c.cancel)
		}
		_ = c.Close()
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
	c.shown = state.PeerCertificates
	e := d.Table.Lookup(routes.NormalizeHost(state.ServerName))
	switch {
	case state.NegotiatedProtocol == alpnACME:
		// The handshake was all a certificate authority asks for.
		d.Stats.Opened(ClientGone)
		closeClient(tc)
	case connectsDirectly(state, e):
		d.connectDirectly(tc, c, e)
	case mayConnectByWeb(c, state, e):
		d.connectByWeb(tc, c, e)
	case speaksPostgres(c, state, e):
		d.postgres(tc, c, e)
	case e == nil && state.NegotiatedProtocol == "":
		d.refuse(tc, c, UnknownName)
	case e == nil || e.Protocol == routes.HTTP:
		d.Stats.Opened(HTTPConnection)
		hub.deliver(tc)
	default:
		d.session(visitor{
			down: tc, conn: c,
			refuse: func(why Outcome) { d.refuseSession(tc, tc, c, e, why) },
			begin:  func(*net.TCPConn) (conversation, func(), error) { return conversation{}, func() {}, nil },
		}, e)
	}
}

// visitor is a client whose route is known.
type visitor struct {
	down duplex // what to relay: TLS, or below it if that ends in the pod
	conn *Conn

	// Ends the connection and says why, as far as the protocol can.
	refuse func(why Outcome)

	// Prepares the relay, once the pod is connected. What it returns is called at
	// the end of the session.
	begin func(up *net.TCPConn) (talk conversation, end func(), err error)

	// Ends when the client may not pass any more. Nil: nothing is known of it.
	ctx context.Context //nolint:containedctx // it is the client's

	unparked bool // down has no socket that tells when bytes come
}

func (v visitor) context() context.Context {
	if v.ctx == nil {
		return context.Background()
	}
	return v.ctx
}

func (d *Demux) parkerOf(v visitor) *Parker {
	if v.unparked {
		return nil
	}
	return d.Parker
}

// session relays one connection of a TCP route.
func (d *Demux) session(v visitor, e *routes.Entry) {
	client, begun := AddrOf(v.conn.RemoteAddr()), time.Now()
	refuse := func(why Outcome) {
		d.recordRefusal(e, client, begun, why)
		v.refuse(why)
	}
	if !e.Allows(client.Addr()) {
		refuse(AddressDenied)
		return
	}
	// The handshake has checked certificates, but for clients that name their pod later.
	if !e.AdmitsCertificates(v.conn.shown) {
		refuse(CertificateRequired)
		return
	}
	if e.Gated() && v.ctx == nil {
		refuse(LoginRequired)
		return
	}
	if e.State != routes.Live {
		refuse(NotLive)
		return
	}
	ctx, x := d.Sessions.Open(v.context(), d.Table, e, client)
	relayed := false
	defer func() {
		if !relayed {
			x.End()
		}
	}()
	if err := x.Refused(); err != nil {
		if kept, ok := d.refused.Allow(time.Now()); ok {
			d.Log.Warn("refusing sessions over a limit", "host", e.Host, "tenant", e.Tenant, "pod_id", e.Pod, "error", err, "not_logged", kept)
		}
		refuse(outcomeOf(err))
		return
	}
	up, talk, end, err := d.connect(ctx, v, e)
	if err != nil {
		if ctx.Err() == nil { // else the route changed meanwhile
			d.Log.Warn("connecting to pod failed", "host", e.Host, "tenant", e.Tenant, "pod_id", e.Pod, "remote", client, "error", err)
		}
		refuse(UpstreamFailed)
		return
	}
	d.Stats.Opened(TCPSession)
	relayed = true
	relay(ctx, v.down, up, x, talk, d.parkerOf(v), func(err error) {
		end()
		if errors.Is(err, errPanicked) {
			d.Log.Error("relaying session panicked", "host", e.Host, "remote", client, "error", err)
		}
		d.Log.Debug("session ended", "host", e.Host, "tenant", e.Tenant, "pod_id", e.Pod, "remote", client,
			"duration", time.Since(x.Since), "received", x.received.Load(), "sent", x.sent.Load(), "error", err)
		d.recordSession(x, err)
		x.End()
	})
}

// connect connects to the pod and prepares the relay.
func (d *Demux) connect(ctx context.Context, v visitor, e *routes.Entry) (*net.TCPConn, conversation, func(), error) {
	up, err := d.dial(ctx, v.conn, e)
	if err != nil {
		return nil, conversation{}, nil, err
	}
	talk, end, err := v.begin(up)
	if err != nil {
		end()
		_ = up.Close()
		return nil, conversation{}, nil, err
	}
	return up, talk, end, nil
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

// refuse ends a connection whose handshake is done.
func (d *Demux) refuse(down net.Conn, c *Conn, why Outcome) {
	d.Stats.Opened(why)
	d.Log.Debug("refusing connection", "remote", c.RemoteAddr(), "result", why.String())
	closeClient(down)
}

// refuseSession ends a connection to route e, and tells the client why if it is
// one of those that can be told. In is what the client sends.
func (d *Demux) refuseSession(tc *tls.Conn, in io.Reader, c *Conn, e *routes.Entry, why Outcome) {
	d.tell(tc, in, c, e, why)
	d.refuse(tc, c, why)
}

// sendLast sends a last answer, and waits a moment for the client to read it, as
// [Conn.refuse] does.
func sendLast(tc *tls.Conn, c *Conn, answer []byte) {
	if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return
	}
	if _, err := tc.Write(answer); err != nil || tc.CloseWrite() != nil {
		return // nobody is left to tell
	}
	lingerClose(c.TCPConn)
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
		{ErrOverload, Overload},
		{ErrClientLimit, ClientLimit},
		{ErrClientRate, ClientRate},
		{ErrPodLimit, PodLimit},
		{ErrTenantLimit, TenantLimit},
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
