package sni

import (
	"cmp"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni/mywire"
	"github.com/tapis-project/podway/sni/pgwire"
)

// Defaults of [Preface].
const (
	DefaultOpenTimeout    = 10 * time.Second
	DefaultMaxOpenBytes   = 64 << 10
	DefaultMaxConnections = 20000
	DefaultMaxHandshakes  = 512
	DefaultMaxPerClient   = 256
	DefaultNewPerSecond   = 50
	DefaultNewBurst       = 200
)

// Why a connection was ended ahead of TLS. Reads of a [Conn] return them.
var (
	ErrPlainHTTP       = errors.New("plain HTTP on a port that speaks TLS")
	ErrPostgresPlain   = errors.New("PostgreSQL client without TLS")
	ErrPostgresCancel  = errors.New("PostgreSQL CancelRequest instead of TLS")
	ErrInjected        = errors.New("bytes between a PostgreSQL request and its answer")
	ErrUnknownProtocol = errors.New("neither TLS nor PostgreSQL")
	ErrProxyHeader     = errors.New("no valid PROXY header from an address that has to send one")
	ErrTooManyBytes    = errors.New("too many bytes before a route was known")
	ErrBusy            = errors.New("too many handshakes at once")
	ErrOverload        = errors.New("too many connections")
)

// Preface makes a [Conn] of each connection of a listener. The zero value works;
// fields must not change after the first Wrap.
type Preface struct {
	// How long a client has from its connect to the end of the TLS handshake.
	// Default: 10s.
	OpenTimeout time.Duration

	// How many bytes are read of a client before the handshake is done.
	// Default: 64 KiB.
	MaxOpenBytes int

	// How many connections may be open. Those beyond are closed at once.
	// Default: 20000.
	MaxConnections int

	// How many handshakes may compute at the same time. One that waits for its
	// client does not count, so silent clients keep nobody out. Default: 512.
	MaxHandshakes int

	// How many connections one client may have open: an IPv4 address, or the /64 of
	// an IPv6 address. Default: 256.
	MaxPerClient int

	// How many connections one client may open per second for long, and how many
	// at once. Default: 50 and 200.
	NewPerSecond, NewBurst int

	// Addresses of load balancers. A connection from one of them has to begin
	// with a PROXY header, version 1 or 2, which names the client; from any other
	// address such a header is not understood. Default: none.
	ProxyProtocolFrom []netip.Prefix

	// Routes whose TLS ends in the pod. Nil: none.
	Passthrough *PassthroughCount

	// Where to count. May be nil.
	Stats *Stats

	// Where to report what the operator can mend. May be nil.
	Log *slog.Logger

	once    sync.Once
	open    atomic.Int64
	slots   chan struct{}
	clients *counts[netip.Prefix]
	rates   *rates
	refused Throttle
}

// Wrap returns a listener of [Conn]s. The connections of ln have to be
// *net.TCPConn.
func (p *Preface) Wrap(ln net.Listener) net.Listener {
	p.once.Do(p.begin)
	return &prefaceListener{Listener: ln, preface: p}
}

// begin sets defaults and makes what counts.
func (p *Preface) begin() {
	p.OpenTimeout = cmp.Or(p.OpenTimeout, DefaultOpenTimeout)
	p.MaxOpenBytes = cmp.Or(p.MaxOpenBytes, DefaultMaxOpenBytes)
	p.MaxConnections = cmp.Or(p.MaxConnections, DefaultMaxConnections)
	p.MaxHandshakes = cmp.Or(p.MaxHandshakes, DefaultMaxHandshakes)
	p.MaxPerClient = cmp.Or(p.MaxPerClient, DefaultMaxPerClient)
	p.NewPerSecond = cmp.Or(p.NewPerSecond, DefaultNewPerSecond)
	p.NewBurst = cmp.Or(p.NewBurst, DefaultNewBurst)
	if p.Stats == nil {
		p.Stats = new(Stats)
	}
	if p.Log == nil {
		p.Log = slog.New(slog.DiscardHandler)
	}
	p.slots = make(chan struct{}, p.MaxHandshakes)
	p.clients = newCounts[netip.Prefix]()
	p.rates = newRates(p.NewPerSecond, p.NewBurst)
}

// Open returns how many connections are open.
func (p *Preface) Open() int { return int(p.open.Load()) }

// Handshaking returns how many handshakes compute right now.
func (p *Preface) Handshaking() int {
	p.once.Do(p.begin)
	return len(p.slots)
}

// Clients returns how many clients have connections.
func (p *Preface) Clients() int {
	p.once.Do(p.begin)
	return p.clients.size()
}

// trusts reports whether connections from a have to begin with a PROXY header.
func (p *Preface) trusts(a net.Addr) bool {
	if len(p.ProxyProtocolFrom) == 0 {
		return false
	}
	ip := AddrOf(a).Addr()
	return slices.ContainsFunc(p.ProxyProtocolFrom, func(f netip.Prefix) bool { return f.Contains(ip) })
}

type prefaceListener struct {
	net.Listener
	preface *Preface
}

func (l *prefaceListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if conn := l.preface.admit(c); conn != nil {
			return conn, nil
		}
	}
}

// admit counts a new connection in, or closes it and returns nil.
func (p *Preface) admit(c net.Conn) *Conn {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		p.Log.Error("refusing connection of an unknown kind; listen on the network edge/", "remote", c.RemoteAddr())
		c.Close()
		return nil
	}
	p.Stats.Accepted.Add(1)
	conn := &Conn{TCPConn: tcp, preface: p, deadline: time.Now().Add(p.OpenTimeout), left: p.MaxOpenBytes}
	conn.proxied = p.trusts(tcp.RemoteAddr())
	if err := p.enter(conn); err != nil {
		o := outcomeOf(err)
		p.Stats.Opened(o)
		p.logRefusal(conn, o)
		_ = tcp.SetLinger(0) // the cheapest end: no state is kept of it
		_ = conn.Close()
		return nil
	}
	if err := tcp.SetDeadline(conn.deadline); err != nil {
		p.Stats.Opened(ClientGone)
		_ = conn.Close()
		return nil
	}
	return conn
}

// enter counts a connection, which Close counts out. One that begins with a PROXY
// header has no client yet.
func (p *Preface) enter(c *Conn) error {
	if p.open.Add(1) > int64(p.MaxConnections) {
		return ErrOverload
	}
	if c.proxied {
		return nil
	}
	return p.enterClient(c)
}

// enterClient counts a connection of its client.
func (p *Preface) enterClient(c *Conn) error {
	client := clientPrefix(AddrOf(c.RemoteAddr()).Addr())
	if !p.rates.take(client, time.Now()) {
		return ErrClientRate
	}
	if !p.clients.enter(client, p.MaxPerClient) {
		return ErrClientLimit
	}
	c.client = client
	return nil
}

// logRefusal tells the operator that a limit was reached.
func (p *Preface) logRefusal(c *Conn, o Outcome) {
	if kept, ok := p.refused.Allow(time.Now()); ok {
		p.Log.Warn("refusing connections over a limit", "remote", c.RemoteAddr(), "result", o.String(), "not_logged", kept)
	}
}

// Conn is a client's connection below TLS. It reads what comes ahead of the
// handshake itself, in the buffer of the first Read, so that a TLS connection
// costs no copy and no buffer of its own.
//
// Until [Conn.Opened] is called, reads stop at the deadline and the byte limit
// of its [Preface], and count against the handshakes that may compute at once.
type Conn struct {
	*net.TCPConn
	preface *Preface

	// The rest belongs to the goroutine that reads, up to Opened.
	deadline time.Time
	left     int  // bytes that may still be read
	proxied  bool // a PROXY header has to come first
	gssDone  bool // a GSSENCRequest was answered
	postgres bool // an SSLRequest was answered
	sniffed  bool // TLS has begun
	opened   bool
	slot     bool            // this handshake is one of those that compute
	cancel   *pgwire.Startup // a CancelRequest came instead of TLS

	client netip.Prefix // under which it is counted; zero if it is not

	recording bool          // the bytes of the handshake are kept
	record    []byte        // those bytes
	through   *routes.Entry // TLS ends in the pod of this route

	shown []*x509.Certificate // by the client, in the handshake

	remote, local net.Addr // of the PROXY header; nil: the socket's
	closed        atomic.Bool
}

// Postgres reports whether the client asked for TLS the way PostgreSQL clients
// do, and so speaks that protocol. It is known when TLS has begun.
func (c *Conn) Postgres() bool { return c.postgres }

// RemoteAddr returns the client's address: the one a trusted PROXY header
// names, else the socket's.
func (c *Conn) RemoteAddr() net.Addr {
	if c.remote != nil {
		return c.remote
	}
	return c.TCPConn.RemoteAddr()
}

// LocalAddr returns the address the client connected to, as RemoteAddr does.
func (c *Conn) LocalAddr() net.Addr {
	if c.local != nil {
		return c.local
	}
	return c.TCPConn.LocalAddr()
}

// Close closes the connection and counts it out.
func (c *Conn) Close() error {
	if c.closed.CompareAndSwap(false, true) {
		c.preface.open.Add(-1)
		if c.client.IsValid() {
			c.preface.clients.leave(c.client)
		}
	}
	return c.TCPConn.Close()
}

// Opened ends the limits that hold before a route is known. The goroutine that
// ran the handshake calls it once the handshake is done.
func (c *Conn) Opened() error {
	c.opened = true
	c.recording, c.record = false, nil
	c.release()
	return c.SetDeadline(time.Time{})
}

// Abandon gives back what a failed handshake holds. It does not close c.
func (c *Conn) Abandon() { c.release() }

// Read reads the client's bytes from the TLS handshake on. The first call needs
// a buffer of at least 16 bytes, and answers what comes ahead of TLS; crypto/tls
// passes 512 or more.
func (c *Conn) Read(b []byte) (int, error) {
	if c.opened {
		return c.TCPConn.Read(b)
	}
	if c.through != nil {
		return 0, errPassthrough
	}
	next := c.sniff
	if c.sniffed {
		next = c.read
	}
	n, err := next(b)
	if c.recording {
		c.record = append(c.record, b[:n]...)
	}
	return n, err
}

// Write sends bytes to the client, but none of a handshake that is the pod's to
// answer.
func (c *Conn) Write(b []byte) (int, error) {
	if c.through != nil && !c.opened {
		return 0, errPassthrough
	}
	return c.TCPConn.Write(b)
}

// read reads from the socket within the limits.
func (c *Conn) read(b []byte) (int, error) {
	if c.left <= 0 {
		return 0, ErrTooManyBytes
	}
	// The slot is for computing: whoever waits for a client has to give it back,
	// or 512 silent clients would keep everybody else out.
	c.release()
	n, err := c.TCPConn.Read(b[:min(len(b), c.left)])
	c.left -= n
	if err != nil {
		return n, err
	}
	return n, c.acquire()
}

func (c *Conn) acquire() error {
	select {
	case c.preface.slots <- struct{}{}:
		c.slot = true
		return nil
	default:
	}
	t := time.NewTimer(time.Until(c.deadline))
	defer t.Stop()
	select {
	case c.preface.slots <- struct{}{}:
		c.slot = true
		return nil
	case <-t.C:
		return ErrBusy
	}
}

func (c *Conn) release() {
	if c.slot {
		c.slot = false
		<-c.preface.slots
	}
}

// minSniff is the least buffer that tells protocols apart.
const minSniff = 16

// First bytes that tell protocols apart.
const (
	tlsHandshake  = 0x16 // content type of the record a TLS connection begins with
	postgresStart = 0x00 // high byte of the length of any PostgreSQL start-up packet
)

// sniff reads and answers what comes ahead of TLS, and returns the first bytes
// of TLS in b.
func (c *Conn) sniff(b []byte) (int, error) {
	if len(b) < minSniff {
		return 0, io.ErrShortBuffer
	}
	if c.proxied {
		if err := c.readProxyHeader(); err != nil {
			return 0, err
		}
	}
	for first := true; ; first = false {
		n, err := c.read(b)
		if n == 0 || err != nil {
			if first && errors.Is(err, os.ErrDeadlineExceeded) {
				c.answerSilence()
			}
			return 0, err
		}
		switch {
		case b[0] == tlsHandshake:
			c.sniffed = true
			c.recording = c.preface.Passthrough.any()
			return n, nil
		case b[0] == postgresStart && !c.postgres:
			err = c.answerPostgres(b, n)
		case !c.postgres && !c.gssDone:
			err = c.answerOther(b, n)
		default:
			err = ErrUnknownProtocol
		}
		if err != nil {
			return 0, err
		}
	}
}

// readMore reads until b holds at least want bytes, n of which it has.
func (c *Conn) readMore(b []byte, n, want int) (int, error) {
	for n < want {
		m, err := c.read(b[n:])
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// answerPostgres answers a PostgreSQL start-up packet, whose first n bytes are
// in b. It returns nil if the client shall go on.
func (c *Conn) answerPostgres(b []byte, n int) error {
	n, err := c.readMore(b, n, pgwire.RequestLen)
	if err != nil {
		return err
	}
	_, code, err := pgwire.Head(b)
	if err != nil {
		return ErrUnknownProtocol
	}
	switch code {
	case pgwire.SSLRequest, pgwire.GSSENCRequest:
		// Bytes that arrive with the request were sent in clear, and would seem to
		// come out of TLS later: CVE-2021-23214, CVE-2021-23222.
		if n > pgwire.RequestLen {
			return ErrInjected
		}
		if code == pgwire.SSLRequest {
			c.postgres = true
			return c.send(pgwire.AnswerSSL)
		}
		if c.gssDone {
			return ErrUnknownProtocol
		}
		c.gssDone = true
		return c.send(pgwire.AnswerNo)
	case pgwire.CancelRequest:
		return c.readCancel(b, n)
	default:
		return c.refuse(ErrPostgresPlain, pgwire.ErrorResponse{
			Code:    pgwire.InvalidAuthorization,
			Message: "this server accepts encrypted connections only",
			Hint:    "Connect with sslmode=require, or sslmode=verify-full to also check the certificate.",
		}.Append(nil))
	}
}

// readCancel reads the rest of a CancelRequest, whose first n bytes are in b. It
// names a session by a key, not a host: [Demux] finds out where that is.
func (c *Conn) readCancel(b []byte, n int) error {
	want, _, _ := pgwire.Head(b) // checked by the caller
	if n > want || want > len(b) {
		return ErrInjected
	}
	if _, err := c.readMore(b[:want], n, want); err != nil {
		return err
	}
	s, err := pgwire.ParseStartup(b[:want])
	if err != nil {
		return ErrUnknownProtocol
	}
	c.release()
	c.cancel = &s
	return ErrPostgresCancel
}

// plainHTTP is the answer to a client that does not speak TLS.
var plainHTTP = func() []byte {
	const text = "this port speaks TLS: use https://\n"
	return []byte("HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n" +
		"Content-Length: 35\r\nConnection: close\r\n\r\n" + text)
}()

// httpStarts are the first five bytes of what HTTP clients send.
var httpStarts = []string{"GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "PATCH", "DELET", "CONNE", "TRACE", "PRI *"}

// answerOther refuses a client that speaks neither TLS nor PostgreSQL.
func (c *Conn) answerOther(b []byte, n int) error {
	if !slices.ContainsFunc(httpStarts, func(s string) bool { return s[0] == b[0] }) {
		return ErrUnknownProtocol
	}
	if _, err := c.readMore(b, n, len(httpStarts[0])); err != nil {
		return err
	}
	if !slices.ContainsFunc(httpStarts, func(s string) bool { return strings.HasPrefix(string(b[:len(s)]), s) }) {
		return ErrUnknownProtocol
	}
	return c.refuse(ErrPlainHTTP, plainHTTP)
}

// answerSilence tells a client that has sent nothing up to the deadline what it
// should have done. Only those of MySQL wait for the server's first word.
func (c *Conn) answerSilence() {
	if c.SetWriteDeadline(time.Now().Add(time.Second)) != nil {
		return
	}
	_, _ = c.Write(mywire.AppendError(nil, mysqlHint))
}

// mysqlHint is for people who connect with a client of MySQL or MariaDB.
const mysqlHint = "this port speaks TLS from the first byte, which clients of MySQL do not: connect through a program such as stunnel"

func (c *Conn) send(b byte) error {
	_, err := c.Write([]byte{b})
	return err
}

// refuse sends a last answer and returns why. It waits a moment for the client
// to read it: a close while bytes of the client are unread makes the kernel send
// a reset, which can overtake the answer.
func (c *Conn) refuse(why error, answer []byte) error {
	c.release()
	if _, err := c.Write(answer); err != nil {
		return why
	}
	lingerClose(c.TCPConn)
	return why
}

// lingerClose closes the sending side and discards what the client still sends,
// for a second at most.
func lingerClose(c *net.TCPConn) {
	if c.CloseWrite() != nil || c.SetReadDeadline(time.Now().Add(time.Second)) != nil {
		return
	}
	b := buffers.get()
	defer buffers.put(b)
	for range 16 {
		if _, err := c.Read(b); err != nil {
			return
		}
	}
}

// AddrOf returns a TCP or UDP address in comparable form, or the zero value. An
// IPv4 address is one, even where the socket shows it as IPv6.
func AddrOf(a net.Addr) netip.AddrPort {
	var ap netip.AddrPort
	switch a := a.(type) {
	case *net.TCPAddr:
		ap = a.AddrPort()
	case *net.UDPAddr:
		ap = a.AddrPort()
	default:
		return ap
	}
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}
