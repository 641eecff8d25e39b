package podproxy

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"golang.org/x/net/http/httpguts"

	"github.com/tapis-project/podway/caddymodules/podproxy/internal/h1"
	"github.com/tapis-project/podway/sni"
)

// lastWords is how long one direction of a tunnel may go on after the other has
// ended.
const lastWords = 5 * time.Second

// isWebSocketConnect reports whether a CONNECT opens a WebSocket (RFC 8441, RFC
// 9220): HTTP/2 and HTTP/3 have no upgrades.
func isWebSocketConnect(r *http.Request) bool {
	if r.Method != http.MethodConnect {
		return false
	}
	v := r.Header[":protocol"]
	return (r.ProtoMajor == 2 && len(v) == 1 && v[0] == "websocket") || (r.ProtoMajor == 3 && r.Proto == "websocket")
}

// upgradeOf returns the protocol that a request asks to change to, "" for none.
func upgradeOf(r *http.Request) string {
	v := r.Header["Upgrade"]
	if r.ProtoMajor != 1 || len(v) != 1 || !r.ProtoAtLeast(1, 1) || !httpguts.HeaderValuesContainsToken(r.Header["Connection"], "upgrade") {
		return ""
	}
	if strings.EqualFold(v[0], "h2c") || strings.HasPrefix(strings.ToUpper(v[0]), "TLS/") {
		return "" // of this connection, not of the one to the pod; requests inside would pass unseen
	}
	return v[0]
}

// newKey returns a key for a WebSocket's handshake.
func newKey() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.StdEncoding.EncodeToString(b[:])
}

// tunnel copies bytes both ways after the pod has changed the protocol.
func (x *exchange) tunnel(out *outgoing, res h1.Response) error {
	for _, f := range res.Fields {
		if f.Name == "Upgrade" && !strings.EqualFold(f.Value, out.upgrade) {
			return fmt.Errorf("%w: a protocol that nobody asked for", h1.ErrMalformed)
		}
	}
	x.conn.Notify(nil)
	if out.key != "" {
		x.tunnelStream(res)
		return nil
	}
	return x.tunnelConn(out, res)
}

// patience is longer than anybody waits.
const patience = 365 * 24 * time.Hour

// wait lets the client send nothing for as long as it likes. Caddy would take a
// WebSocket or a call that is silent for a minute for a slow upload.
func (x *exchange) wait() (restore func()) {
	body, ok := unwrapBody(x.r.Body).(*caddyhttp.IdleTimeoutReader)
	if !ok {
		return func() {}
	}
	return body.Override(patience, 0)
}

func unwrapBody(body io.Reader) io.Reader {
	if c, ok := body.(countingBody); ok {
		return c.ReadCloser
	}
	return body
}

// tunnelStream is a tunnel inside one stream of HTTP/2 or HTTP/3.
func (x *exchange) tunnelStream(res h1.Response) {
	defer x.wait()()
	h := x.w.Header()
	x.copyFields(h, res)
	delete(h, "Sec-Websocket-Accept")
	x.cleanHeader(h)
	x.w.WriteHeader(http.StatusOK)
	if x.control.Flush() != nil {
		return
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		copyBytes(x.conn, x.r.Body, nil)
		_ = x.conn.CloseWrite()
		x.conn.SetReadDeadline(time.Now().Add(lastWords))
	}()
	client := newFarewell(x.w, true)
	copyBytes(client, x.conn, x.control.Flush)
	if client.say(x.ctx) == nil {
		_ = x.control.Flush()
	}
	x.conn.Abort()
	x.unblock(ended)
}

// tunnelConn is a tunnel that has the client's connection for itself.
func (x *exchange) tunnelConn(out *outgoing, res h1.Response) error {
	h := x.w.Header()
	x.copyFields(h, res)
	x.cleanHeader(h)
	h.Set("Connection", "Upgrade")
	h.Set("Upgrade", out.upgrade)
	x.w.WriteHeader(http.StatusSwitchingProtocols)
	client, rw, err := x.control.Hijack()
	if err != nil {
		return fmt.Errorf("taking over connection: %w", err)
	}
	defer client.Close()
	if rw.Flush() != nil {
		return nil
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		x.passed.received.Add(copyBytes(x.conn, rw, nil))
		_ = x.conn.CloseWrite()
		x.conn.SetReadDeadline(time.Now().Add(lastWords))
	}()
	to := newFarewell(client, strings.EqualFold(out.upgrade, "websocket"))
	x.passed.sent.Add(copyBytes(to, x.conn, nil))
	_ = to.say(x.ctx)
	if c, ok := client.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite()
	}
	_ = client.SetReadDeadline(time.Now().Add(lastWords))
	<-ended
	return nil
}

// copyBytes copies until src ends, and flushes after each piece if flush is set. It
// returns how many bytes it copied. Who reads from it notices its end by itself.
func copyBytes(dst io.Writer, src io.Reader, flush func() error) (copied int64) {
	buf := sni.Buffers{}.Get()
	defer sni.Buffers{}.Put(buf)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			m, werr := dst.Write(buf[:n])
			copied += int64(m)
			if werr == nil && flush != nil {
				werr = flush()
			}
			err = errors.Join(err, werr)
		}
		if err != nil {
			return copied
		}
	}
}
