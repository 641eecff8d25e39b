package podproxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"github.com/tapis-project/podway/caddymodules/podproxy/internal/h1"
	"github.com/tapis-project/podway/routes"
)

const (
	// idleTimeout is how long a connection to a pod is kept for the next request.
	idleTimeout = 90 * time.Second

	// freshTimeout is how long a connection may have been idle for a request that
	// can't be repeated. Pods close idle ones too, some after a few seconds, and
	// may do it in the moment the request is sent.
	freshTimeout = 2 * time.Second

	maxIdlePerPod = 128
	maxIdle       = 4096

	// maxTries bounds the connections that are tried for one request.
	maxTries = 3

	// maxInterim bounds the interim responses (1xx) to one request.
	maxInterim = 32
)

var (
	// errUnclear is the error of a request that could be read in two ways.
	errUnclear = errors.New("unclear request")
	// errClient is the error of a request whose body did not come.
	errClient = errors.New("reading request body")
)

// poolKey stands for one run of a pod behind one route, so that an idle connection
// to an earlier run, or to another pod that had the same address before, is never
// used again.
type poolKey struct {
	host, tenant, pod, net, instance, upstreams string

	// A connection that began with a client's address is for that client only.
	client netip.AddrPort
}

func keyOf(e *routes.Entry, client netip.AddrPort) poolKey {
	key := poolKey{e.Host, e.Tenant, e.Pod, e.Net, e.Instance, strings.Join(e.Upstreams, " "), netip.AddrPort{}}
	if e.ProxyProtocol > 0 {
		key.client = client
	}
	return key
}

// connect returns a connection to the pod: one that is idle, or a new one.
func (x *exchange) connect(key poolKey, repeatable bool) (*h1.Conn, error) {
	fresh := freshTimeout
	if repeatable {
		fresh = idleTimeout
	}
	c := x.h.upstreams.pool.Get(key, fresh)
	if c == nil {
		var err error
		if c, err = x.dial(); err != nil {
			return nil, err
		}
	}
	if !x.attach(c) {
		c.Close()
		return nil, context.Cause(x.ctx)
	}
	c.Notify(x)
	return c, nil
}

func (x *exchange) dial() (*h1.Conn, error) {
	raw, err := x.h.upstreams.dial(x.ctx, x)
	if err != nil {
		return nil, err
	}
	c, err := h1.NewConn(raw)
	if err != nil {
		_ = raw.Close()
		return nil, err
	}
	return c, nil
}

// ask sends the request and reads the head of the response, on another
// connection if the first turns out to be closed and nothing is lost by that.
func (x *exchange) ask(key poolKey, out *outgoing) (h1.Response, error) {
	repeatable := x.repeatable(out)
	for try := 1; ; try++ {
		c, err := x.connect(key, repeatable)
		if err != nil {
			return h1.Response{}, err
		}
		sent, err := x.send(c, out)
		var res h1.Response
		if err == nil || sent > 0 {
			// A pod that refuses to read on may have said why.
			var readErr error
			if res, readErr = x.receive(c, out); readErr == nil {
				return res, nil
			}
			err = cmp.Or(err, readErr)
		}
		stale := c.Reused() && (sent == 0 || (repeatable && isClosed(err)))
		failed := x.clientFailure()
		x.drop()
		switch {
		case failed != nil:
			return res, failed
		case !stale || out.streams || try == maxTries || x.ctx.Err() != nil:
			return res, err
		}
	}
}

// isClosed reports whether a connection ended before a response began.
func isClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// clientFailure returns why the client did not send its body.
func (x *exchange) clientFailure() error {
	if u := x.upload; u != nil {
		select {
		case <-u.ended:
			return u.failed
		default:
		}
	}
	return nil
}

// send sends the head of the request, and starts to send its body. It returns
// how many bytes may have reached the pod.
func (x *exchange) send(c *h1.Conn, out *outgoing) (int, error) {
	n, err := c.WriteHead(x.appendHead(c.Scratch(), out))
	if err != nil {
		c.Spoil()
		return n, fmt.Errorf("sending request: %w", err)
	}
	if out.streams {
		x.startUpload(c, out)
	}
	return n, nil
}

// receive reads the head of the response, and passes on interim ones.
func (x *exchange) receive(c *h1.Conn, out *outgoing) (h1.Response, error) {
	for range maxInterim {
		res, err := c.ReadResponse(x.r.Method)
		switch {
		case err != nil:
			return res, err
		case res.Status >= http.StatusOK:
			return res, nil
		case res.Status == http.StatusSwitchingProtocols:
			if out.upgrade == "" {
				return res, fmt.Errorf("%w: a protocol that nobody asked for", h1.ErrMalformed)
			}
			return res, nil
		case res.Status == http.StatusContinue:
			x.upload.continues() // net/http tells the client when the body is read
		default:
			x.interim(res)
		}
	}
	return h1.Response{}, fmt.Errorf("%w: too many interim responses", h1.ErrMalformed)
}

// release gives the connection back after the response was read to its end.
func (x *exchange) release(key poolKey) {
	complete := x.upload.finish(x)
	c := x.detach()
	if !complete {
		c.Spoil()
	}
	x.h.upstreams.pool.Put(key, c)
}
