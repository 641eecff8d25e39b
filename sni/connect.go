package sni

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"time"

	"github.com/coder/websocket"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni/connectwire"
)

// Admit decides who may pass to a route behind a login, by the token that a client
// sends. The context that it returns ends with [ErrRevoked] as soon as that changes;
// the caller calls end when the session is over. The error is [ErrBadToken],
// [ErrNotAllowed], or anything else if nothing can be decided now. It reads memory
// only, except for a token whose signature does not hold.
type Admit func(ctx context.Context, e *routes.Entry, token string) (_ context.Context, end func(), err error)

// Why a client may not pass to a route behind a login.
var (
	ErrBadToken   = errors.New("the token does not count")
	ErrNotAllowed = errors.New("the user may not pass")
)

const (
	// webGrace is how long a client that could speak HTTP has to begin, before it is
	// taken for one that waits for the pod to speak first.
	webGrace = time.Second

	// maxWebHeader bounds the request of a WebSocket.
	maxWebHeader = 32 << 10

	// webStart is how the request of a WebSocket begins.
	webStart = http.MethodGet + " " + connectwire.Path
)

// Tokens that do not count, of one client: as many at once, and then one each ten
// seconds.
const (
	badTokenBurst = 10
	badTokenRate  = 0.1
)

func newTries() *rates {
	r := newRates(0, badTokenBurst)
	r.perSecond = badTokenRate
	return r
}

// has reports whether a client may do it once more, and counts nothing.
func (r *rates) has(c *Conn, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, known := r.buckets[clientPrefix(AddrOf(c.RemoteAddr()).Addr())]
	return !known || r.leftOf(b, now) >= 1
}

// connectsDirectly reports whether a client says by TLS that it begins with a
// [connectwire.Hello].
func connectsDirectly(state tls.ConnectionState, e *routes.Entry) bool {
	return e != nil && e.Protocol != routes.HTTP && state.NegotiatedProtocol == connectwire.ALPN
}

// mayConnectByWeb reports whether a client of a TCP route may begin with an HTTP
// request. At a login that is also one that offers no protocol, as programs do behind
// some proxies; elsewhere it may wait for the pod to speak first.
func mayConnectByWeb(c *Conn, state tls.ConnectionState, e *routes.Entry) bool {
	if e == nil || e.Protocol == routes.HTTP || c.Postgres() {
		return false
	}
	return state.NegotiatedProtocol == alpnHTTP11 || state.NegotiatedProtocol == "" && e.Gated()
}

// connectDirectly serves a client that begins with a Hello.
func (d *Demux) connectDirectly(tc *tls.Conn, c *Conn, e *routes.Entry) {
	h, err := readHello(tc, c)
	if err != nil {
		d.Log.Debug("reading hello failed", "host", e.Host, "remote", c.RemoteAddr(), "error", err)
		d.refuse(tc, c, outcomeOfHello(err))
		return
	}
	d.connectSession(connecting{
		demux: d, tls: tc, conn: c, entry: e, token: h.Token, down: tc,
		accept: func(context.Context) error { return connectwire.Send(tc, connectwire.Answer{OK: true}) },
		deny: func(code connectwire.Code, text string) {
			_ = connectwire.Send(tc, connectwire.Answer{Code: code, Message: text}) // it was worth a try
		},
	})
}

func readHello(tc *tls.Conn, c *Conn) (connectwire.Hello, error) {
	if err := c.SetDeadline(time.Now().Add(c.preface.OpenTimeout)); err != nil {
		return connectwire.Hello{}, err
	}
	return connectwire.ReadHello(tc)
}

// outcomeOfHello names the reason why a Hello could not be read.
func outcomeOfHello(err error) Outcome {
	switch o := outcomeOf(err); {
	case errors.Is(err, connectwire.ErrTooLong):
		return TooManyBytes
	case o == BadHandshake:
		return UnknownProtocol
	default:
		return o
	}
}

// connectByWeb serves a client that may begin with the request of a WebSocket. One
// that begins otherwise is any client of the pod.
func (d *Demux) connectByWeb(tc *tls.Conn, c *Conn, e *routes.Entry) {
	first, isWeb := peekWeb(tc, c)
	if c.SetDeadline(time.Time{}) != nil {
		d.refuse(tc, c, ClientGone)
		return
	}
	switch {
	case isWeb:
		d.upgrade(tc, c, e, first)
	case e.Protocol == routes.Postgres && e.Gated():
		d.refusePostgres(tc, c, e, LoginRequired)
	case e.Protocol == routes.Postgres:
		d.refusePostgres(tc, c, e, WrongProtocol)
	default:
		d.session(visitor{
			down: tc, conn: c,
			refuse: func(why Outcome) { d.refuseSession(tc, io.MultiReader(bytes.NewReader(first), tc), c, e, why) },
			begin: func(*net.TCPConn) (conversation, func(), error) {
				return conversation{first: first}, func() {}, nil
			},
		}, e)
	}
}

// peekWeb reads as many bytes as it takes to know whether a client begins with the
// request of a WebSocket, and returns them.
func peekWeb(tc *tls.Conn, c *Conn) (first []byte, isWeb bool) {
	if c.SetReadDeadline(time.Now().Add(webGrace)) != nil {
		return nil, false
	}
	first = make([]byte, 0, len(webStart))
	for len(first) < len(webStart) {
		n, err := tc.Read(first[len(first):cap(first)])
		first = first[:len(first)+n]
		if err != nil || string(first) != webStart[:len(first)] {
			return first, false
		}
	}
	return first, true
}

// upgrade serves a client that asks for a WebSocket.
func (d *Demux) upgrade(tc *tls.Conn, c *Conn, e *routes.Entry, first []byte) {
	if c.SetDeadline(time.Now().Add(c.preface.OpenTimeout)) != nil {
		d.refuse(tc, c, ClientGone)
		return
	}
	limited := &io.LimitedReader{R: tc, N: maxWebHeader}
	in := bufio.NewReader(io.MultiReader(bytes.NewReader(first), limited))
	r, err := http.ReadRequest(in)
	if err != nil {
		d.refuse(tc, c, outcomeOfHello(err))
		return
	}
	w := &upgrade{refusal: &refusal{reader: in, conn: tc}, header: http.Header{}}
	if status := checkUpgrade(r, tc.ConnectionState().ServerName); status != 0 {
		http.Error(w, "this path is for podctl connect", status)
		d.refuse(tc, c, WrongProtocol)
		return
	}
	limited.N = math.MaxInt64 // what follows are the bytes of the pod
	down := &webDuplex{Conn: tc}
	d.connectSession(connecting{
		demux: d, tls: tc, conn: c, entry: e, token: r.Header.Get(connectwire.TokenHeader), down: down, unparked: true,
		accept: func(ctx context.Context) error {
			ws, err := websocket.Accept(w, r, nil)
			if err != nil {
				return fmt.Errorf("opening WebSocket: %w", err)
			}
			down.stream = connectwire.NewStream(ctx, ws)
			return nil
		},
		deny: func(code connectwire.Code, text string) {
			w.header.Set("Podway-Code", string(code))
			http.Error(w, text, statusOf(code))
		},
	})
}

// checkUpgrade returns the status to refuse a request with, 0 if it is one for a
// WebSocket of this host. No browser sends such: a page that is open somewhere must
// not reach what its visitor's address may reach.
func checkUpgrade(r *http.Request, name string) int {
	switch {
	case r.URL.Path != connectwire.Path:
		return http.StatusNotFound
	case routes.NormalizeHost(r.Host) != routes.NormalizeHost(name):
		return http.StatusMisdirectedRequest
	case r.Header.Get("Origin") != "":
		return http.StatusForbidden
	default:
		return 0 // websocket.Accept looks at the rest
	}
}

func statusOf(code connectwire.Code) int {
	switch code {
	case connectwire.LoginRequired:
		return http.StatusUnauthorized
	case connectwire.BadToken, connectwire.NotAllowed:
		return http.StatusForbidden
	case connectwire.TooManyTries:
		return http.StatusTooManyRequests
	default:
		return http.StatusServiceUnavailable
	}
}

// webDuplex is the bytes in a WebSocket, once that has begun. What is below TLS
// closes it, and has its deadlines.
type webDuplex struct {
	*tls.Conn
	stream *connectwire.Stream
}

// Read reads of the stream.
func (w *webDuplex) Read(b []byte) (int, error) { return w.stream.Read(b) }

// Write writes to the stream.
func (w *webDuplex) Write(b []byte) (int, error) { return w.stream.Write(b) }

// CloseWrite ends this direction of the stream.
func (w *webDuplex) CloseWrite() error { return w.stream.CloseWrite() }

// connecting is a client that has said who it is.
type connecting struct {
	demux    *Demux
	tls      *tls.Conn
	conn     *Conn
	entry    *routes.Entry
	token    string
	down     duplex
	unparked bool

	accept func(context.Context) error // tells the client to go on
	deny   func(code connectwire.Code, text string)
}

// connectSession serves a client that has said who it is.
func (d *Demux) connectSession(x connecting) {
	ctx, end := context.Background(), func() {}
	if x.entry.Gated() {
		var err error
		if ctx, end, err = d.admit(x.conn, x.entry, x.token); err != nil {
			x.refuseLogin(err)
			return
		}
	}
	started := false
	defer func() {
		if !started { // else the session does
			end()
		}
	}()
	d.session(visitor{
		down: x.down, conn: x.conn, ctx: ctx, unparked: x.unparked,
		refuse: func(why Outcome) {
			x.deny(connectwire.Refused, textOf(d.postgresRefusal(x.entry, why)))
			d.refuse(x.tls, x.conn, why)
		},
		begin: func(*net.TCPConn) (conversation, func(), error) {
			if err := x.accept(ctx); err != nil {
				return conversation{}, func() {}, err
			}
			if err := x.conn.SetDeadline(time.Time{}); err != nil {
				return conversation{}, func() {}, err
			}
			started = true
			return conversation{}, end, nil
		},
	}, x.entry)
}

// Errors of admit, besides those of [Admit].
var (
	errNoToken  = errors.New("there is no token")
	errTooMany  = errors.New("too many tokens did not count")
	errNoKeeper = errors.New("this edge has no gate")
)

// admit asks who may pass, within what one client may try.
func (d *Demux) admit(c *Conn, e *routes.Entry, token string) (context.Context, func(), error) {
	d.triesOnce.Do(func() { d.tries = newTries() })
	switch {
	case token == "":
		return nil, nil, errNoToken
	case d.Admit == nil:
		return nil, nil, errNoKeeper
	case !d.tries.has(c, time.Now()):
		return nil, nil, errTooMany
	}
	ctx, end, err := d.Admit(context.Background(), e, token)
	if errors.Is(err, ErrBadToken) {
		d.tries.take(clientPrefix(AddrOf(c.RemoteAddr()).Addr()), time.Now())
	}
	return ctx, end, err
}

// refuseLogin ends a connection whose client may not pass.
func (x connecting) refuseLogin(err error) {
	d, why := x.demux, LoginRefused
	d.Log.Debug("refusing client at a login", "host", x.entry.Host, "tenant", x.entry.Tenant, "pod_id", x.entry.Pod, "remote", x.conn.RemoteAddr(), "error", err)
	switch {
	case errors.Is(err, errNoToken):
		why = LoginRequired
		x.deny(connectwire.LoginRequired, "this pod asks for a login with Tapis; send a token")
	case errors.Is(err, ErrBadToken):
		x.deny(connectwire.BadToken, "the Tapis token is not valid for this pod, or has expired")
	case errors.Is(err, ErrNotAllowed):
		x.deny(connectwire.NotAllowed, "you may not use this pod; its owner can give you a permission")
	case errors.Is(err, errTooMany):
		x.deny(connectwire.TooManyTries, "too many tokens were not valid; try again in a minute")
	default:
		d.Log.Warn("client at a login can't be served", "host", x.entry.Host, "remote", x.conn.RemoteAddr(), "error", err)
		x.deny(connectwire.Refused, "logins can't be checked at the moment; try again in a minute")
	}
	d.recordRefusal(x.entry, AddrOf(x.conn.RemoteAddr()), time.Now(), why)
	d.refuse(x.tls, x.conn, why)
}
