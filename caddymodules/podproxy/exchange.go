package podproxy

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/tapis-project/podway/caddymodules/podproxy/internal/h1"
	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni"
)

// exchange is one request on its way to a pod, and the response on its way back.
// The goroutine of the request does all the work; an upload may have one more.
type exchange struct {
	h        *Handler
	w        http.ResponseWriter
	control  *http.ResponseController
	r        *http.Request
	entry    *routes.Entry
	client   netip.AddrPort
	admitted bool
	ctx      context.Context //nolint:containedctx // it lives as long as the exchange

	upload *upload // the body of the request if it is sent meanwhile
	out    sink    // where the body of the response goes
	unsent bool    // something waits in buffers on its way to the client
	passed passed  // counted if somebody wants to know, and of tunnels
	broken bool    // the pod has not answered, or not all

	mu   sync.Mutex
	conn *h1.Conn // to the pod, while it is used
	over bool     // the context has ended
	done bool     // the handler has returned
}

// attach makes c the connection that ends with the context. It reports false if
// the context has ended already.
func (x *exchange) attach(c *h1.Conn) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.over {
		return false
	}
	x.conn = c
	return true
}

// detach takes the connection back, nil if there is none.
func (x *exchange) detach() *h1.Conn {
	x.mu.Lock()
	defer x.mu.Unlock()
	c := x.conn
	x.conn = nil
	return c
}

// drop ends what goes on with the pod.
func (x *exchange) drop() {
	if c := x.detach(); c != nil {
		c.Abort()
		x.upload.finish(x)
		c.Close()
	}
}

// finish makes sure that the end of the context does nothing after the handler
// has returned.
func (x *exchange) finish() {
	x.drop()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.done = true
}

// ended ends the pod's side when the context ends. If the route was revoked, it
// ends the client's side too.
func (x *exchange) ended() {
	x.mu.Lock()
	x.over = true
	if x.conn != nil {
		x.conn.Abort()
	}
	x.mu.Unlock()
	cause := context.Cause(x.ctx)
	if errors.Is(cause, sni.ErrRevoked) || errors.Is(cause, sni.ErrDraining) {
		x.abort()
	}
}

// abort ends a client that sends or reads nothing, by deadlines. They are set
// again and again, because layers above move them forward with each read and
// write. The first moment belongs to an answer that says why.
func (x *exchange) abort() {
	c := http.NewResponseController(innermost(x.w))
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		x.mu.Lock()
		if x.done {
			x.mu.Unlock()
			return
		}
		_ = c.SetReadDeadline(past) // not every protocol has both
		_ = c.SetWriteDeadline(past)
		x.mu.Unlock()
	}
}

// past is a deadline that is over.
var past = time.Unix(1, 0)

// innermost returns the response writer of net/http below all wrappers. Theirs
// may not be used by two goroutines.
func innermost(w http.ResponseWriter) http.ResponseWriter {
	for {
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return w
		}
		w = u.Unwrap()
	}
}
