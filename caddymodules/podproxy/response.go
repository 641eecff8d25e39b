package podproxy

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/tapis-project/podway/caddymodules/podproxy/internal/h1"
	"github.com/tapis-project/podway/sni"
)

// sink is where the body of a response goes.
type sink interface {
	io.Writer
	// Flush sends on what is buffered.
	Flush() error
	// Close ends the body. What it sends on may stay in buffers of net/http.
	Close() error
}

// plain is the sink of bodies that pass as they are.
type plain struct{ x *exchange }

func (p plain) Write(b []byte) (int, error) { return p.x.w.Write(b) }
func (p plain) Flush() error                { return p.x.control.Flush() }
func (p plain) Close() error                { return nil }

// BeforeWait implements [h1.Waiter]: what the pod has sent must not wait for what
// it will send.
func (x *exchange) BeforeWait() {
	if x.unsent {
		x.unsent = false
		_ = x.out.Flush() // the next write will tell
	}
}

// interim passes on an interim response, such as 103 with links to preload.
func (x *exchange) interim(res h1.Response) {
	if !x.r.ProtoAtLeast(1, 1) {
		return
	}
	h := x.w.Header()
	final := maps.Clone(h)
	clear(h)
	x.copyFields(h, res)
	delete(h, "Set-Cookie")
	x.w.WriteHeader(res.Status)
	clear(h)
	maps.Copy(h, final)
}

// copyFields copies what passes of a response's fields into h.
func (x *exchange) copyFields(h http.Header, res h1.Response) {
	values := make([]string, len(res.Fields)) // one piece of memory for all
	for i, f := range res.Fields {
		if isHop(f.Name) || reachesBeyond(f.Name, f.Value) {
			continue
		}
		if res.Connection != nil && httpguts.HeaderValuesContainsToken(res.Connection, f.Name) {
			continue
		}
		if old, ok := h[f.Name]; ok {
			h[f.Name] = append(old, f.Value)
			continue
		}
		values[i] = f.Value
		h[f.Name] = values[i : i+1 : i+1]
	}
}

// reachesBeyond reports whether a field of a pod's response would have an effect on
// other hosts, or on who serves its own.
func reachesBeyond(name, value string) bool {
	switch name {
	case "Alt-Svc": // it sends clients to another server
		return true
	case "Clear-Site-Data":
		// Browsers clear the cookies of the whole registrable domain: those of all pods.
		return strings.Contains(strings.ToLower(value), "cookies") || strings.Contains(value, "*")
	default:
		return false
	}
}

// answer passes the response on, and gives the connection back.
func (x *exchange) answer(key poolKey, res h1.Response) {
	h := x.w.Header()
	x.copyFields(h, res)
	x.cleanHeader(h)
	if _, ok := h["Content-Type"]; !ok {
		h["Content-Type"] = nil // net/http would guess one
	}
	x.out = plain{x}
	if enc := x.encoding(h, res); enc != "" {
		x.out = x.compressed(h, enc)
	} else if res.Length >= 0 && hasLength(res.Status) {
		h["Content-Length"] = []string{strconv.FormatInt(res.Length, 10)}
	}
	announceTrailers(h, res)
	x.w.WriteHeader(res.Status)
	x.unsent = res.Length < 0 // streams begin before their first byte
	if err := x.copyBody(); err != nil {
		x.cut(err)
	}
	x.sendTrailers(h)
	x.release(key)
}

// hasLength reports whether a response of this status may say how long its body
// is.
func hasLength(status int) bool {
	return status != http.StatusNoContent && status != http.StatusNotModified
}

// announceTrailers says which trailers will follow. HTTP/1.1 needs it.
func announceTrailers(h http.Header, res h1.Response) {
	for _, f := range res.Fields {
		if f.Name != "Trailer" {
			continue
		}
		for name := range strings.SplitSeq(f.Value, ",") {
			name = http.CanonicalHeaderKey(strings.TrimSpace(name))
			if h1.ValidField(name, "") && trailerPasses(name) {
				h.Add("Trailer", name)
			}
		}
	}
}

// sendTrailers passes on what followed the body.
func (x *exchange) sendTrailers(h http.Header) {
	fields := x.conn.Trailers()
	if len(fields) == 0 {
		return
	}
	announced := h["Trailer"]
	_ = x.control.Flush() // a body that fits a buffer would get a length, and no trailers
	for _, f := range fields {
		name := f.Name
		if !trailerPasses(name) {
			continue
		}
		if !httpguts.HeaderValuesContainsToken(announced, name) {
			name = http.TrailerPrefix + name
		}
		h.Add(name, f.Value)
	}
}

// errCut is the error of a response that ended before its end.
var errCut = errors.New("reading response body")

// copyBody copies the body of the response to the client.
func (x *exchange) copyBody() error {
	c := x.conn
	if b := c.Buffered(); b != nil { // most responses: head and body came at once
		_, err := x.out.Write(b)
		c.Discard()
		return errors.Join(err, x.out.Close())
	}
	if c.Done() {
		return x.out.Close()
	}
	buf := sni.Buffers{}.Get()
	defer sni.Buffers{}.Put(buf)
	for {
		n, err := c.ReadBody(buf)
		if n > 0 {
			if _, err := x.out.Write(buf[:n]); err != nil {
				return err
			}
			x.unsent = true
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			return x.out.Close()
		default:
			return errors.Join(errCut, err)
		}
	}
}

// cut ends a response that can't be ended properly, so that no client takes it
// for whole.
func (x *exchange) cut(err error) {
	x.broken = true
	x.h.logCut(x, err)
	x.drop()
	panic(http.ErrAbortHandler)
}
