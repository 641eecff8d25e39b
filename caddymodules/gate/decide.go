package gate

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/tapis-project/podway/caddymodules/pages"
	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/routes/redisgate"
)

// visit is a request to a gated host, and what is known of it.
type visit struct {
	*guard
	settings
	log *slog.Logger

	w        http.ResponseWriter
	r        *http.Request
	e        *routes.Entry
	host     string // that was asked for; that of e may be a wildcard
	client   netip.Addr
	own      ownCookies
	token    string
	hasToken bool
	now      time.Time
}

// errRefused is returned when a request was answered and must go no further.
var errRefused = errors.New("the request was refused")

// maxDecisions bounds how often a decision is made again because something changed
// meanwhile.
const maxDecisions = 5

// pass decides whether a request may go on, and lets it.
func (x *visit) pass(table *routes.Table, next caddyhttp.Handler) error {
	for range maxDecisions {
		before := x.changes.Load()
		v, err := x.decide()
		if err != nil {
			return nil // it was answered
		}
		ctx, end := lives.open(x.r.Context(), &request{
			entry: x.e, visitor: v, excluded: func(e *routes.Entry) bool { return excluded(e, x.r.URL) },
		})
		// What changed until here did not find the request among those that go on.
		now := table.Lookup(x.host)
		if now == x.e && x.changes.Load() == before {
			defer end()
			return x.admit(ctx, v, next)
		}
		end()
		if now == nil || !now.Gated() {
			return next.ServeHTTP(x.w, x.r) // it looks for itself
		}
		x.e = now
	}
	x.unavailable("deciding", errors.New("everything changed all the time"))
	return nil
}

// admit passes a request on, with what the pod is told of the visitor.
func (x *visit) admit(ctx context.Context, v *visitor, next caddyhttp.Handler) error {
	if v != nil {
		fields, err := x.fieldsFor(x.e, x.host, v, x.now)
		if err != nil {
			x.unavailable("telling the pod", err)
			return nil
		}
		for _, f := range fields {
			x.r.Header[f.name] = f.values
		}
	}
	return next.ServeHTTP(x.w, x.r.WithContext(context.WithValue(ctx, admittedKey{}, true)))
}

// decide returns who may pass, nil if the path needs no proof. The proofs are
// tried in this order, and the first that is there and of use counts:
//
//  1. the path needs none
//  2. a Tapis token in a header; a bad one is refused, whatever else there is
//  3. a session
//  4. a share
//
// Else it answers the request and returns errRefused.
func (x *visit) decide() (*visitor, error) {
	if excluded(x.e, x.r.URL) {
		count(passExcluded)
		return nil, nil
	}
	if x.hasToken && x.e.Gate != nil {
		return x.byToken()
	}
	var refused *pages.Page
	for _, try := range []func() (*visitor, error){x.bySession, x.byShare} {
		v, err := try()
		switch {
		case errors.Is(err, redisgate.ErrNotFound):
		case err != nil:
			x.unavailable("looking up the visitor", err)
			return nil, errRefused
		case !v.mayPass(x.e, x.now):
			refused = &pageDenied
		case !fromHere(x.r, x.e):
			x.refuse(pageForeignOrigin, badOrigin)
			return nil, errRefused
		default:
			count(passOf(v))
			return v, nil
		}
	}
	if refused != nil {
		x.refuse(*refused, notAllowed)
		return nil, errRefused
	}
	x.challenge()
	return nil, errRefused
}

func passOf(v *visitor) event {
	if v.kind == byShare {
		return passShare
	}
	return passSession
}

func (x *visit) byToken() (*visitor, error) {
	v, err := x.visitorOfToken(x.r.Context(), x.token, x.now)
	switch {
	case err != nil:
		x.log.Debug("refusing a token", x.facts("error", err)...)
		x.refuse(pageBadToken, badToken)
		return nil, errRefused
	case !v.mayPass(x.e, x.now):
		x.refuse(pageDenied, notAllowed)
		return nil, errRefused
	}
	count(passToken)
	return v, nil
}

func (x *visit) bySession() (*visitor, error) {
	if x.e.Gate == nil {
		return nil, redisgate.ErrNotFound
	}
	for _, id := range x.own.session {
		v, err := x.sessionOf(x.r.Context(), id, x.host, x.e.Pod, x.idle, x.now)
		if !errors.Is(err, redisgate.ErrNotFound) {
			return v, err
		}
	}
	return nil, redisgate.ErrNotFound
}

func (x *visit) byShare() (*visitor, error) {
	if x.e.AccessGate == nil {
		return nil, redisgate.ErrNotFound
	}
	for _, c := range x.own.share {
		v, err := x.visitorOfShare(x.r.Context(), c, x.host, x.e.Host, x.e.Pod, x.now)
		if !errors.Is(err, redisgate.ErrNotFound) {
			return v, err
		}
	}
	return nil, redisgate.ErrNotFound
}

// challenge tells somebody unknown how to prove who they are.
func (x *visit) challenge() {
	if !isNavigation(x.r, pages.AcceptsHTML(x.r.Header["Accept"])) {
		x.w.Header().Set("WWW-Authenticate", `Tapis realm="`+x.host+`"`)
		x.refuse(pageUnauthorized, needToken)
		return
	}
	count(needLogin)
	switch {
	case x.e.Gate == nil:
		x.answer(x.pageSharePassword(""))
	case x.e.AccessGate == nil:
		x.startLogin(wantedPath(x.r, x.e.Gate.ReturnPath))
	default:
		x.answer(x.pageChoice(wantedPath(x.r, x.e.Gate.ReturnPath)))
	}
}

// serveOwn answers a request for one of the edge's own paths.
func (x *visit) serveOwn(path string) {
	switch path {
	case loginPath:
		x.serveLogin()
	case callbackPath:
		x.serveCallback()
	case logoutPath:
		x.serveLogout()
	case sharePath:
		x.serveShare()
	case jwksPath:
		if x.r.Method != http.MethodGet && x.r.Method != http.MethodHead {
			x.answerMethod("GET")
			return
		}
		x.serveKeys(x.w, x.r)
	default:
		x.answer(pageNoSuchPath)
	}
}

func (x *visit) answer(p pages.Page) { p.Write(x.w, x.r) }

// refuse answers a request that may not pass.
func (x *visit) refuse(p pages.Page, e event) {
	count(e)
	x.answer(p)
}

func (x *visit) answerMethod(allow string) {
	x.w.Header().Set("Allow", allow)
	x.answer(pageMethod)
}

// unavailable answers a request on which nothing can be decided. Doing says what
// failed.
func (x *visit) unavailable(doing string, err error) {
	count(noAnswer)
	x.log.Warn("visitor can't be served", x.facts("doing", doing, "error", err)...)
	x.answer(pageUnavailable)
}

// redirect sends the browser elsewhere, without telling where from.
func (x *visit) redirect(status int, to string) {
	h := x.w.Header()
	h.Del("Server")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Location", to)
	x.w.WriteHeader(status)
}

// facts returns what a line of the log says of a request, and more.
func (x *visit) facts(more ...any) []any {
	return append([]any{"host", x.host, "tenant", x.e.Tenant, "pod_id", x.e.Pod, "remote", x.client.String()}, more...)
}

// clientKey returns what counts as one client: an IPv4 address or the /64 of an
// IPv6 address.
func (x *visit) clientKey() string {
	if x.client.Is4() {
		return x.client.String()
	}
	p, err := x.client.Prefix(64)
	if err != nil {
		return "unknown"
	}
	return p.Addr().String()
}
