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
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/tapis-project/podway/caddymodules/pages"
	"github.com/tapis-project/podway/caddymodules/podproxy/internal/h1"
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
//  3. A preflight is answered here if the route has a CORS policy.
//  4. The login, which is an earlier handler's: 403 if that did not admit it.
//  5. The state of the pod: a page with 503 unless it is live.
//  6. The limits of pod and tenant: 503.
//  7. The request is registered and forwarded: over HTTP/1.1, WebSockets too, and
//     over HTTP/2 for gRPC. It is cancelled if the route changes before it is done.
type Handler struct {
	app       edge
	log       *slog.Logger
	upstreams *upstreams
	grpc      http.Handler
	record    func(sni.Record) // nil if nobody wants to know of requests
	refused   sni.Throttle
}

// edge is what the handler needs of the app podway.
type edge interface {
	Table() *routes.Table
	Sessions() *sni.Sessions
	Loaded() bool
	RequestRecorder() func(sni.Record)
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.podway", New: func() caddy.Module { return new(Handler) }}
}

// Provision finds the app that holds the routes, and the connections to pods
// that an earlier configuration has open.
func (h *Handler) Provision(ctx caddy.Context) error {
	app, err := podway.Get(ctx)
	if err != nil {
		return err
	}
	h.serve(app, takeUpstreams(app.Dialer()), ctx.Slogger())
	return nil
}

// serve makes the handler ready.
func (h *Handler) serve(app edge, u *upstreams, log *slog.Logger) {
	h.app, h.upstreams, h.log = app, u, log
	h.grpc = newGRPC(u, log)
	h.record = app.RequestRecorder()
}

// Cleanup gives back what Provision took.
func (h *Handler) Cleanup() error {
	if h.upstreams == nil {
		return nil
	}
	return h.upstreams.giveBack()
}

// ServeHTTP implements [caddyhttp.MiddlewareHandler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	client := addrOf(r.RemoteAddr)
	e, p := h.route(r, client)
	switch {
	case p != nil:
		p.Write(w, r)
	case isPreflight(r, e):
		preflight(w, r, e.CORS)
	default:
		h.forward(w, r, e, client)
	}
	return nil
}

// route returns the route a request goes to, or the page to answer it with.
func (h *Handler) route(r *http.Request, client netip.AddrPort) (*routes.Entry, *pages.Page) {
	e := h.app.Table().Lookup(routes.NormalizeHost(r.Host))
	switch {
	case e == nil && !h.app.Loaded():
		return nil, &pageNotReady
	case e == nil:
		return nil, &pageNotFound
	case e.Protocol != routes.HTTP:
		return nil, &pageMisdirected
	case !e.AdmitsCertificates(shown(r)):
		// The connection was opened for another host, which asks for another one.
		return nil, &pageMisdirected
	case !e.Allows(client.Addr()):
		return nil, &pageDenied
	case isPreflight(r, e):
		return e, nil
	case gated(e) && !admitted(r.Context()):
		// Whoever put a login in front of this pod must not find it open.
		return nil, &pageNoLogin
	case r.Method == http.MethodConnect && !isWebSocketConnect(r):
		return nil, &pageNoTunnel
	case e.State != routes.Live:
		return nil, pageOf(e.State)
	default:
		return e, nil
	}
}

// shown returns the certificates that the client has shown.
func shown(r *http.Request) []*x509.Certificate {
	if r.TLS == nil {
		return nil
	}
	return r.TLS.PeerCertificates
}

// forward passes a request to the pod of e.
func (h *Handler) forward(w http.ResponseWriter, r *http.Request, e *routes.Entry, client netip.AddrPort) {
	ctx, session := h.app.Sessions().Open(r.Context(), h.app.Table(), e, client)
	defer session.End()
	if err := session.Refused(); err != nil {
		if kept, ok := h.refused.Allow(time.Now()); ok {
			h.log.Warn("refusing requests over a limit", "host", e.Host, "tenant", e.Tenant, "pod_id", e.Pod, "error", err, "not_logged", kept)
		}
		pageBusy.Write(w, r)
		return
	}
	if gated(e) {
		endWithVisitor(r.Context(), session)
	}
	x := &exchange{
		h: h, w: w, control: http.NewResponseController(w), r: r, ctx: ctx,
		entry: e, client: client, admitted: gated(e),
	}
	if h.record != nil {
		defer x.recordIn(h.record)()
	}
	defer x.finish()
	defer context.AfterFunc(ctx, x.ended)()

	w.Header().Del("Server") // the pod's counts
	if isGRPC(r) {
		x.call()
		return
	}
	x.serve()
}

// serve passes the request to the pod, and the response to the client.
func (x *exchange) serve() {
	out, err := x.prepare()
	if err != nil {
		x.failed(err)
		return
	}
	key := keyOf(x.entry, x.client)
	res, err := x.ask(key, &out)
	if err == nil && res.Status == http.StatusSwitchingProtocols {
		err = x.tunnel(&out, res)
		x.drop()
	} else if err == nil {
		x.answer(key, res)
	}
	if err != nil {
		x.failed(err)
	}
}

// failed answers a request that the pod did not.
func (x *exchange) failed(err error) {
	x.broken = true
	x.drop()
	log := x.h.log.With("host", x.entry.Host, "tenant", x.entry.Tenant, "pod_id", x.entry.Pod, "remote", x.client)
	var op *net.OpError
	switch cause := context.Cause(x.ctx); {
	case errors.Is(cause, sni.ErrRevoked):
		// The route is another one now; so is the answer.
		_, p := x.h.route(x.r, x.client)
		if p == nil {
			p = pageOf(routes.Starting)
		}
		p.Write(x.w, x.r)
	case errors.Is(cause, sni.ErrDraining):
		pageNotReady.Write(x.w, x.r)
	case cause != nil || errors.Is(err, errClient):
		log.Debug("client left before the pod answered", "error", err)
		panic(http.ErrAbortHandler) // nobody reads an answer
	case errors.Is(err, errUnclear):
		pageUnclear.Write(x.w, x.r)
	case errors.Is(err, sni.ErrDenied):
		log.Error("pod has an address that must not be dialled; see upstreams of the app podway", "upstream", x.entry.Upstreams, "error", err)
		pageBadGateway.Write(x.w, x.r)
	case errors.As(err, &op) && op.Op == "dial":
		log.Warn("connecting to pod failed", "upstream", x.entry.Upstreams, "error", err)
		pageNotListening.Write(x.w, x.r)
	default:
		log.Warn("pod failed to answer", "error", err)
		pageBadGateway.Write(x.w, x.r)
	}
}

// logCut tells why a response ended before its end.
func (h *Handler) logCut(x *exchange, err error) {
	level := slog.LevelDebug // the client left, or the route was revoked
	if x.ctx.Err() == nil && errors.Is(err, errCut) {
		level = slog.LevelWarn
	}
	h.log.Log(x.ctx, level, "response was cut", "host", x.entry.Host, "tenant", x.entry.Tenant, "pod_id", x.entry.Pod, "error", err)
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
	_ h1.Waiter                   = (*exchange)(nil)
)
