// Package podproxy is the HTTP handler of the edge: it passes each request to
// the pod that its Host names, and answers for pods that can't.
//
//	:443 {
//		bind edge/
//		podway
//	}
package podproxy

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/tapis-project/podway/caddymodules/podway"
	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni"
)

func init() { caddy.RegisterModule(new(Handler)) }

// Handler routes every request by its Host, whatever server name the connection
// was opened with, because browsers reuse connections among names that share a
// certificate. It is the last handler of its server.
//
// A request passes these steps:
//
//  1. The route of the Host: 404 if there is none, 421 if it is not HTTP.
//  2. The route's address list, with the client's address: 403.
//  3. The state of the pod: a page with 503 unless it is live.
//  4. The limits of pod and tenant: 503.
//  5. The request is registered and forwarded over HTTP/1.1, WebSockets too. It
//     is cancelled if the route changes before it is done.
type Handler struct {
	app       *podway.App
	log       *slog.Logger
	proxy     *httputil.ReverseProxy
	transport *transport
	refused   sni.Throttle
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.podway", New: func() caddy.Module { return new(Handler) }}
}

// Provision finds the app that holds the routes, and the connections to pods
// that an earlier configuration has open.
func (h *Handler) Provision(ctx caddy.Context) (err error) {
	h.log = ctx.Slogger()
	if h.app, err = podway.Get(ctx); err != nil {
		return err
	}
	h.transport = takeTransport(h.app.Dialer())
	h.proxy = &httputil.ReverseProxy{
		Rewrite:        rewrite,
		Transport:      h.transport,
		BufferPool:     sni.Buffers{},
		ModifyResponse: cleanResponse,
		ErrorHandler:   h.failed,
		ErrorLog:       slog.NewLogLogger(h.log.Handler(), slog.LevelDebug),
	}
	return nil
}

// Cleanup gives back what Provision took.
func (h *Handler) Cleanup() error {
	if h.transport == nil {
		return nil
	}
	return h.transport.giveBack()
}

// request is what the steps of a forwarded request know of it.
type request struct {
	in     *http.Request // as it came
	entry  *routes.Entry
	client netip.AddrPort
}

// requestKey is the key of a *request in contexts.
type requestKey struct{}

func requestOf(ctx context.Context) *request { return ctx.Value(requestKey{}).(*request) }

// ServeHTTP implements [caddyhttp.MiddlewareHandler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	client := clientOf(r)
	e, p := h.route(r, client)
	if p != nil {
		p.write(w, r)
		return nil
	}
	h.forward(w, r, e, client)
	return nil
}

// route returns the route a request goes to, or the page to answer it with.
func (h *Handler) route(r *http.Request, client netip.AddrPort) (*routes.Entry, *page) {
	e := h.app.Table().Lookup(routes.NormalizeHost(r.Host))
	switch {
	case e == nil && !h.app.Loaded():
		return nil, &pageNotReady
	case e == nil:
		return nil, &pageNotFound
	case e.Protocol != routes.HTTP:
		return nil, &pageMisdirected
	case !e.Allows(client.Addr()):
		return nil, &pageDenied
	case e.Gate != nil:
		// Whoever put a login in front of this pod must not find it open.
		return nil, &pageNoLogin
	case r.Method == http.MethodConnect:
		return nil, &pageNoTunnel
	case e.State != routes.Live:
		return nil, pageOf(e.State)
	default:
		return e, nil
	}
}

// clientOf returns the client's address, as the connection knows it.
func clientOf(r *http.Request) netip.AddrPort {
	a, _ := netip.ParseAddrPort(r.RemoteAddr) // an address of net/http; zero is allowed nowhere but everywhere
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// forward passes a request to the pod of e.
func (h *Handler) forward(w http.ResponseWriter, r *http.Request, e *routes.Entry, client netip.AddrPort) {
	ctx, session := h.app.Sessions().Open(r.Context(), h.app.Table(), e, client)
	defer session.End()
	if err := session.Refused(); err != nil {
		if kept, ok := h.refused.Allow(time.Now()); ok {
			h.log.Warn("refusing requests over a limit", "host", e.Host, "tenant", e.Tenant, "pod_id", e.Pod, "error", err, "not_logged", kept)
		}
		pageBusy.write(w, r)
		return
	}
	x := exchange{w: innermost(w)}
	defer x.finish()
	defer context.AfterFunc(ctx, func() { x.abort(ctx) })()

	w.Header().Del("Server") // the pod's counts
	ctx = context.WithValue(ctx, requestKey{}, &request{in: r, entry: e, client: client})
	h.proxy.ServeHTTP(w, r.WithContext(ctx))
}

// failed answers a request that the pod did not.
func (h *Handler) failed(w http.ResponseWriter, out *http.Request, err error) {
	rq := requestOf(out.Context())
	log := h.log.With("host", rq.entry.Host, "tenant", rq.entry.Tenant, "pod_id", rq.entry.Pod, "remote", rq.client)
	var op *net.OpError
	switch cause := context.Cause(out.Context()); {
	case errors.Is(cause, sni.ErrRevoked):
		// The route is another one now; so is the answer.
		_, p := h.route(rq.in, rq.client)
		if p == nil {
			p = pageOf(routes.Starting)
		}
		p.write(w, rq.in)
	case errors.Is(cause, sni.ErrDraining):
		pageNotReady.write(w, rq.in)
	case cause != nil:
		log.Debug("client left before the pod answered", "error", err)
		panic(http.ErrAbortHandler) // nobody reads an answer
	case errors.Is(err, sni.ErrDenied):
		log.Error("pod has an address that must not be dialled; see upstreams of the app podway", "upstream", rq.entry.Upstreams, "error", err)
		pageBadGateway.write(w, rq.in)
	case errors.As(err, &op) && op.Op == "dial":
		log.Warn("connecting to pod failed", "upstream", rq.entry.Upstreams, "error", err)
		pageNotListening.write(w, rq.in)
	default:
		log.Warn("pod failed to answer", "error", err)
		pageBadGateway.write(w, rq.in)
	}
}

// exchange ends a request and its response whatever they wait for.
type exchange struct {
	w    http.ResponseWriter // of net/http itself
	mu   sync.Mutex
	done bool
}

// finish makes sure that abort does nothing after the handler has returned.
func (x *exchange) finish() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.done = true
}

// abort ends an exchange whose route was revoked. The cancelled context ends
// what happens on the pod's side; a client that sends or reads nothing is ended
// by deadlines. They are set again and again, because layers above move them
// forward with each read and write. The first moment belongs to an answer that
// says why.
func (x *exchange) abort(ctx context.Context) {
	cause := context.Cause(ctx)
	if !errors.Is(cause, sni.ErrRevoked) && !errors.Is(cause, sni.ErrDraining) {
		return // the client left, or all is done
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		x.mu.Lock()
		if x.done {
			x.mu.Unlock()
			return
		}
		c := http.NewResponseController(x.w)
		past := time.Unix(1, 0)
		_ = c.SetReadDeadline(past) // not every protocol has both
		_ = c.SetWriteDeadline(past)
		x.mu.Unlock()
	}
}

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

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
