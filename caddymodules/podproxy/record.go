package podproxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/tapis-project/podway/sni"
)

// passed counts the bytes of bodies, and of tunnels, that went to and from a client.
type passed struct{ received, sent atomic.Int64 }

// recordIn notes what passes from here on. The function it returns passes on the
// record: it belongs to the end of the request.
func (x *exchange) recordIn(record func(sni.Record)) (end func()) {
	since := time.Now()
	w := &countingWriter{ResponseWriter: x.w, passed: &x.passed}
	x.w, x.control = w, http.NewResponseController(w)
	if x.r.Body != nil && x.r.Body != http.NoBody {
		x.r.Body = countingBody{x.r.Body, &x.passed}
	}
	return func() {
		record(sni.Record{
			Route: x.entry, Client: x.client, Since: since, Duration: time.Since(since),
			Received: x.passed.received.Load(), Sent: x.passed.sent.Load(),
			Result: sni.ResultOf(x.outcome()), Status: w.status,
		})
	}
}

// errBroken is the outcome of a request that ended otherwise than by its response.
var errBroken = errors.New("no whole response")

// outcome returns why the request ended, nil if the pod has answered it.
func (x *exchange) outcome() error {
	if cause := context.Cause(x.ctx); cause != nil {
		return cause
	}
	if x.broken {
		return errBroken
	}
	return nil
}

// countingBody counts the bytes of a request's body.
type countingBody struct {
	io.ReadCloser
	passed *passed
}

func (b countingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.passed.received.Add(int64(n))
	return n, err
}

// countingWriter counts the bytes of a response's body, and keeps its status.
type countingWriter struct {
	http.ResponseWriter
	passed *passed
	status int
}

func (w *countingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *countingWriter) WriteHeader(status int) {
	if status >= http.StatusOK || status == http.StatusSwitchingProtocols { // else more will follow
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *countingWriter) Write(b []byte) (int, error) {
	n, err := w.ResponseWriter.Write(b)
	w.passed.sent.Add(int64(n))
	return n, err
}
