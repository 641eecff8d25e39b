package podproxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/tapis-project/podway/caddymodules/podproxy/internal/h1"
)

// smallBody is the largest request body that is read before a pod is asked. It
// travels with the head, and can be sent again.
const smallBody = 16 << 10

// outgoing is a request as it is sent to a pod, but for its connection.
type outgoing struct {
	target string
	small  []byte // the body, if it is small
	// The body, if it is sent meanwhile, has the length of the client's. -1 is an
	// unknown one, which is sent in chunks.
	streams bool
	length  int64
	upgrade string // the protocol to change to, "" for none
	key     string // of a WebSocket that the client did not open by HTTP/1.1
}

// prepare makes the request, with its body if that is small.
func (x *exchange) prepare() (out outgoing, err error) {
	r := x.r
	out.target = r.RequestURI
	if !h1.ValidTarget(out.target) {
		out.target = r.URL.RequestURI() // in absolute form, or rewritten
	}
	if !h1.ValidTarget(out.target) || !validMethod(r.Method) {
		return out, errUnclear
	}
	if err := probe(r); err != nil {
		return out, err
	}
	switch length := r.ContentLength; {
	case r.Body == nil || r.Body == http.NoBody || length == 0:
	case length > 0 && length <= smallBody && len(r.Trailer) == 0 && !expects(r):
		out.small = make([]byte, length)
		if _, err := io.ReadFull(r.Body, out.small); err != nil {
			return out, fmt.Errorf("%w: %w", errClient, err)
		}
	default:
		out.streams, out.length = true, length
		if len(r.Trailer) > 0 {
			out.length = -1 // only chunks can have trailers
		}
	}
	x.prepareUpgrade(&out)
	return out, nil
}

// probe finds out whether there is a body behind a request that usually has none
// and does not say. HTTP/3 tells it by the end of the stream only, and a pod should
// not be sent an empty body for it.
func probe(r *http.Request) error {
	if r.ContentLength >= 0 || r.ProtoMajor < 2 || len(r.Trailer) > 0 {
		return nil
	}
	switch r.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodConnect:
		return nil
	}
	var first [1]byte
	switch _, err := io.ReadFull(r.Body, first[:]); {
	case errors.Is(err, io.EOF):
		r.ContentLength = 0
	case err != nil:
		return fmt.Errorf("%w: %w", errClient, err)
	default:
		r.Body = probed{io.MultiReader(bytes.NewReader(first[:]), r.Body), r.Body}
	}
	return nil
}

// probed is a body whose first byte was read already.
type probed struct {
	io.Reader
	io.Closer
}

// prepareUpgrade makes the request one for another protocol, if it asks for one.
func (x *exchange) prepareUpgrade(out *outgoing) {
	switch {
	case isWebSocketConnect(x.r):
		out.upgrade, out.key, out.streams = "websocket", newKey(), false // the body is the client's side of the tunnel
	case !out.streams && out.small == nil:
		out.upgrade = upgradeOf(x.r)
	}
}

func validMethod(m string) bool { return h1.ValidField(m, "") }

// expects reports whether the client waits for 100 before it sends the body.
func expects(r *http.Request) bool {
	v := r.Header["Expect"]
	return len(v) > 0 && httpguts.HeaderValuesContainsToken(v, "100-continue")
}

// repeatable reports whether a request may be sent again if a connection turned
// out to be closed: nothing is lost of it, and twice is as good as once.
func (x *exchange) repeatable(out *outgoing) bool {
	if out.streams || out.upgrade != "" {
		return false
	}
	switch x.r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}

// appendHead appends the request's head, and its body if that is small.
func (x *exchange) appendHead(b []byte, out *outgoing) []byte {
	r := x.r
	method := r.Method
	if out.key != "" {
		method = http.MethodGet // of a CONNECT that stands for an upgrade
	}
	b = h1.AppendRequestLine(b, method, out.target)
	b = h1.AppendField(b, "Host", r.Host) // the client's
	b = x.appendFields(b)
	b = x.appendForwarded(b)
	b = x.appendFraming(b, out)
	b = h1.AppendEnd(b)
	return append(b, out.small...)
}

// appendFields appends what passes of the client's own fields, and those that
// the route sets.
func (x *exchange) appendFields(b []byte) []byte {
	f := x.filter()
	for name, values := range x.r.Header {
		if f.drops(name) {
			continue
		}
		for _, v := range values {
			b = h1.AppendField(b, name, v)
		}
	}
	if trailersWanted(x.r.Header) {
		b = h1.AppendField(b, "Te", "trailers")
	}
	if rules := x.entry.Headers; rules != nil {
		for name, value := range rules.SetRequest {
			b = h1.AppendField(b, name, value)
		}
	}
	return b
}

// trailersWanted reports whether a client says that it reads trailers.
func trailersWanted(h http.Header) bool {
	v := h["Te"]
	return len(v) > 0 && httpguts.HeaderValuesContainsToken(v, "trailers")
}

// appendForwarded appends what the edge itself says of the client.
func (x *exchange) appendForwarded(b []byte) []byte {
	if ip := x.client.Addr(); ip.IsValid() {
		var buf [48]byte
		s := ip.AppendTo(buf[:0])
		b = append(append(append(b, "X-Forwarded-For: "...), s...), "\r\n"...)
		b = append(append(append(b, "X-Real-Ip: "...), s...), "\r\n"...)
	}
	b = h1.AppendField(b, "X-Forwarded-Host", x.r.Host)
	return h1.AppendField(b, "X-Forwarded-Proto", scheme(x.r))
}

func scheme(r *http.Request) string {
	if r.TLS == nil {
		return "http"
	}
	return "https"
}

// appendFraming appends what the connection and the body need.
func (x *exchange) appendFraming(b []byte, out *outgoing) []byte {
	switch {
	case out.upgrade != "":
		b = h1.AppendField(b, "Connection", "Upgrade")
		b = h1.AppendField(b, "Upgrade", out.upgrade)
		if out.key != "" {
			b = h1.AppendField(b, "Sec-WebSocket-Key", out.key)
		}
	case out.streams && out.length < 0:
		b = h1.AppendField(b, "Transfer-Encoding", "chunked")
		if names := x.trailerNames(); names != "" {
			b = h1.AppendField(b, "Trailer", names)
		}
	case out.streams:
		b = h1.AppendLength(b, out.length)
	case len(out.small) > 0 || hasEmptyBody(x.r):
		b = h1.AppendLength(b, int64(len(out.small)))
	}
	return b
}

// hasEmptyBody reports whether a request has a body, of no bytes: some servers
// refuse those that have none.
func hasEmptyBody(r *http.Request) bool {
	switch r.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
		return true
	}
	return len(r.Header["Content-Length"]) > 0
}

// trailerNames lists the trailers that pass.
func (x *exchange) trailerNames() string {
	var names []string
	for name := range x.r.Trailer {
		if x.trailerPasses(name) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// trailerPasses reports whether a field may stand behind a body. Servers may mix
// trailers with headers, so they can't say more than those.
func trailerPasses(name string) bool {
	return httpguts.ValidTrailerHeader(name) && !isHop(name) && !isClaim(name) && !isIdentity(name) &&
		name != "Set-Cookie" && name != "Alt-Svc"
}

// trailerPasses reports whether a trailer of the request passes. It can't be what
// the gate or the route says in a header, nor a cookie, of which some are the gate's.
func (x *exchange) trailerPasses(name string) bool {
	if f := (filter{rules: x.entry.Headers}); f.rules != nil && f.ruled(name) {
		return false
	}
	return trailerPasses(name) && name != "Cookie" && !claims(x.r.Context(), name)
}
