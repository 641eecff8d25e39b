package sni

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni/boltwire"
	"github.com/tapis-project/podway/sni/mongowire"
	"github.com/tapis-project/podway/sni/pgwire"
	"github.com/tapis-project/podway/sni/rediswire"
)

const (
	// refusalTimeout is how long a client has to begin, so that it can be told in
	// its own protocol why it is refused. One whose server would speak first says
	// nothing and is closed after this time.
	refusalTimeout = 2 * time.Second

	// maxRefusals bounds the answers on one connection: drivers send several
	// commands to open one.
	maxRefusals = 16

	// refusalBytes bounds what is read of a client that is refused.
	refusalBytes = 128 << 10

	// refusalBuffer is the longest line of a Redis client that is refused.
	refusalBuffer = 4 << 10
)

// refusal tells one client why it is refused.
type refusal struct {
	reader *bufio.Reader
	conn   net.Conn
	why    Outcome
	state  routes.State
	text   string
}

// tell tells a client of route e, in the protocol of the route or, if that is any,
// the one it begins with, why it can't be served. Nothing of a session that is
// served passes here.
func (d *Demux) tell(tc *tls.Conn, in io.Reader, c *Conn, e *routes.Entry, why Outcome) {
	if err := c.SetDeadline(time.Now().Add(refusalTimeout)); err != nil {
		return
	}
	f := &refusal{reader: bufio.NewReaderSize(io.LimitReader(in, refusalBytes), refusalBuffer), conn: tc, why: why, state: e.State, text: textOf(d.postgresRefusal(e, why))}
	if f.answer(e.Protocol) && tc.CloseWrite() == nil {
		lingerClose(c.TCPConn)
	}
}

// textOf returns what people read of a refusal where there is only one text.
func textOf(r pgwire.ErrorResponse) string {
	if r.Hint == "" {
		return r.Message
	}
	return r.Message + ". " + r.Hint
}

// answer answers the client, and reports whether it said anything.
func (f *refusal) answer(p routes.Protocol) bool {
	speak := map[routes.Protocol]func() bool{
		routes.Bolt: f.bolt, routes.MongoDB: f.mongo, routes.Redis: f.redis,
	}[p]
	switch {
	case p == routes.Redis:
		// Its server may answer a command before it has come: nothing to wait for.
		f.send(rediswire.Error(f.text))
	case f.begins("GET "):
		speak = f.web
	case p == routes.TCP:
		speak = f.recognise()
	}
	return speak != nil && speak()
}

// recognise returns how to answer by what the client begins with, nil if it is
// nothing known.
func (f *refusal) recognise() func() bool {
	if f.begins(boltwire.Magic) {
		return f.bolt
	}
	if f.begins(string(rediswire.Begin)) {
		if b, err := f.reader.Peek(2); err == nil && b[1] >= '0' && b[1] <= '9' {
			return f.redisFromStart
		}
	}
	if b, err := f.reader.Peek(mongowire.HeaderLen); err == nil && mongowire.Recognise(b) {
		return f.mongo
	}
	return nil
}

// begins reports whether the client begins with s. It waits for no more bytes than
// it takes to know.
func (f *refusal) begins(s string) bool {
	for n := range len(s) {
		if b, err := f.reader.Peek(n + 1); err != nil || b[n] != s[n] {
			return false
		}
	}
	return true
}

// send sends an answer, and reports whether it could.
func (f *refusal) send(b []byte) bool {
	_, err := f.conn.Write(b)
	return err == nil
}

// forbidden reports whether it is not the pod that is at fault.
func (f *refusal) forbidden() bool {
	return f.why == AddressDenied || f.why == LoginRequired || f.why == CertificateRequired
}

// transient reports whether it helps to try again.
func (f *refusal) transient() bool {
	return !f.forbidden() && (f.why != NotLive || f.state == routes.Starting)
}

// bolt answers a Bolt handshake and its first message.
func (f *refusal) bolt() bool {
	h, err := boltwire.ReadHandshake(f.reader)
	if err != nil {
		return false
	}
	v, ok := h.Choose()
	if !f.send(v.Answer()) || !ok {
		return true // of no version: the client says so
	}
	code := boltwire.NotFound
	switch {
	case f.forbidden():
		code = boltwire.Forbidden
	case f.transient():
		code = boltwire.Unavailable
	}
	answer := boltwire.Failure(code, f.text)
	for range maxRefusals {
		m, err := boltwire.ReadMessage(f.reader)
		if err != nil || m == boltwire.Goodbye {
			break
		}
		if m == boltwire.Reset {
			answer = boltwire.Failure(code, f.text)
		}
		if !f.send(answer) {
			break
		}
		answer = boltwire.Ignored()
	}
	return true
}

// mongo answers commands of a MongoDB client.
func (f *refusal) mongo() bool {
	code := mongowire.Unavailable
	switch {
	case f.forbidden():
		code = mongowire.Unauthorized
	case f.transient():
		code = mongowire.Unreachable
	}
	said := false
	for range maxRefusals {
		m, err := mongowire.Read(f.reader)
		if err != nil || !f.send(m.Refuse(code, f.text)) {
			break
		}
		said = true
	}
	return said
}

// redis answers commands of a Redis client whose first was answered already.
func (f *refusal) redis() bool {
	if rediswire.ReadCommand(f.reader) == nil {
		f.redisFromStart()
	}
	return true
}

// redisFromStart answers commands of a Redis client.
func (f *refusal) redisFromStart() bool {
	said := false
	for range maxRefusals {
		if rediswire.ReadCommand(f.reader) != nil || !f.send(rediswire.Error(f.text)) {
			break
		}
		said = true
	}
	return said
}

// web answers an HTTP request. Neo4j Browser speaks Bolt in a WebSocket; for
// everything else there is a status.
func (f *refusal) web() bool {
	r, err := http.ReadRequest(f.reader)
	if err != nil {
		return false
	}
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		return f.send(unavailable(f.text))
	}
	ws, err := websocket.Accept(&upgrade{refusal: f, header: http.Header{}}, r, &websocket.AcceptOptions{
		InsecureSkipVerify: true, // of any origin: it is told nothing but an error
	})
	if err != nil {
		return true // Accept has answered
	}
	defer ws.CloseNow() //nolint:errcheck // the caller closes the connection in any case
	ws.SetReadLimit(boltwire.MaxMessageLen)
	inner := websocket.NetConn(r.Context(), ws, websocket.MessageBinary)
	_ = inner.SetDeadline(time.Now().Add(refusalTimeout))
	in := *f
	in.reader, in.conn = bufio.NewReaderSize(inner, refusalBuffer), inner
	said := in.bolt()
	_ = ws.Close(websocket.StatusTryAgainLater, f.text[:min(len(f.text), 120)]) // 123 bytes at most
	return said
}

// unavailable returns an HTTP answer of status 503.
func unavailable(text string) []byte {
	return []byte("HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n" +
		"Cache-Control: no-store\r\nConnection: close\r\n\r\n" + text + "\n")
}

// upgrade lets a WebSocket begin on a connection that no HTTP server has.
type upgrade struct {
	*refusal
	header http.Header
}

// Header implements [http.ResponseWriter].
func (u *upgrade) Header() http.Header { return u.header }

// WriteHeader implements [http.ResponseWriter].
func (u *upgrade) WriteHeader(status int) {
	if status != http.StatusSwitchingProtocols {
		u.header.Set("Connection", "close")
	}
	var b strings.Builder // it takes everything
	_, _ = fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
	_ = u.header.Write(&b)
	b.WriteString("\r\n")
	u.send([]byte(b.String()))
}

// Write implements [http.ResponseWriter].
func (u *upgrade) Write(b []byte) (int, error) { return u.conn.Write(b) }

// Hijack implements [http.Hijacker].
func (u *upgrade) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return u.conn, bufio.NewReadWriter(u.reader, bufio.NewWriter(u.conn)), nil
}
