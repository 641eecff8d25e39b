package gate

import (
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/tapis-project/podway/caddymodules/pages"
	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/routes/redisgate"
)

// visit is a request to a gated host, and what is known of it.
type visit struct {
	*guard
	*settings
	log *slog.Logger

	w        http.ResponseWriter
	r        *http.Request
	e        *routes.Entry
	host     string // that was asked for; that of e may be a wildcard
	own      ownCookies
	token    string
	hasToken bool
	now      time.Time

	live request // is part of it to save an allocation
}

// maxDecisions bounds how often a decision is made again because something changed
// meanwhile.
const maxDecisions = 5

// pass decides whether a request may go on, and lets it.
func (x *visit) pass(table *routes.Table, next caddyhttp.Handler) error {
	live := &x.live
	for range maxDecisions {
		before := x.changes.Load()
		v, ok := x.decide()
		if !ok {
			return nil
		}
		live.entry, live.visitor, live.url, live.identity = x.e, v, x.r.URL, x.identity
		lives.enter(live)
		// What changed until here did not find the request among those that go on.
		now := table.Lookup(x.host)
		if now == x.e && x.changes.Load() == before {
			return x.admit(live, next)
		}
		lives.leave(live)
		if now == nil || !now.Gated() {
			return next.ServeHTTP(x.w, x.r) // it looks for itself
		}
		x.e, live = now, new(request) // the last one may have been ended
	}
	x.unavailable("deciding", errors.New("everything changed all the time"))
	return nil
}

// admit passes a registered request on, with what the pod is told of the visitor.
func (x *visit) admit(live *request, next caddyhttp.Handler) error {
	defer lives.leave(live)
	if v := live.visitor; v != nil {
		fields, err := x.fieldsFor(x.e, x.host, v, x.now)
		if err != nil {
			x.unavailable("telling the pod", err)
			return nil
		}
		for _, f := range fields {
			x.r.Header[f.name] = f.values
		}
	}
	admit(x.r.Context(), live)
	return next.ServeHTTP(x.w, x.r)
}

// decide returns who may pass, nil if the path needs no proof. The proofs are
// tried in this order, and the first that is there and of use counts:
//
//  1. the path needs none
//  2. a Tapis token in a header; a bad one is refused, whatever else there is
//  3. a session
//  4. a share
//
// Else it answers the request, which must go no further.
func (x *visit) decide() (_ *visitor, ok bool) {
	if excluded(x.e, x.r.URL) {
		count(passExcluded)
		return nil, true
	}
	if x.hasToken && x.e.Gate != nil {
		return x.byToken()
	}
	refused := false
	for _, proof := range [...]kind{bySession, byShare} {
		v, err := x.visitorBy(proof)
		switch {
		case errors.Is(err, redisgate.ErrNotFound):
		case err != nil:
			x.unavailable("looking up the visitor", err)
			return nil, false
		case !v.mayPass(x.e, x.now):
			refused = true
			x.endFor(v)
		case !fromHere(x.r, x.e):
			x.refuse(pageForeignOrigin, badOrigin)
			return nil, false
		default:
			count(passOf(v))
			return v, true
		}
	}
	if refused {
		x.refuse(pageDenied, notAllowed)
		return nil, false
	}
	x.challenge()
	return nil, false
}

func passOf(v *visitor) event {
	if v.kind == byShare {
		return passShare
	}
	return passSession
}

func (x *visit) byToken() (_ *visitor, ok bool) {
	v, err := x.visitorOfToken(x.r.Context(), x.token, x.now)
	switch {
	case err != nil:
		x.log.Debug("refusing a token", x.facts("error", err)...)
		x.refuse(pageBadToken, badToken)
		return nil, false
	case !v.mayPass(x.e, x.now):
		x.refuse(pageDenied, notAllowed)
		return nil, false
	}
	count(passToken)
	return v, true
}

// visitorBy returns who proves by a cookie of this kind that they may pass.
func (x *visit) visitorBy(proof kind) (*visitor, error) {
	if proof == byShare {
		return x.byShare()
	}
	return x.bySession()
}

func (x *visit) bySession() (*visitor, error) {
	if x.e.Gate == nil {
		return nil, redisgate.ErrNotFound
	}
	for _, id := range x.own.session.list() {
		v, err := x.sessionOf(x.r.Context(), id, x.host, x.e.Pod, x.idle, x.now)
		again := err == nil && v.ended.Load() && v.mayPass(x.e, x.now) // but not by this session
		if !errors.Is(err, redisgate.ErrNotFound) && !again {
			return v, err
		}
	}
	return nil, redisgate.ErrNotFound
}

func (x *visit) byShare() (*visitor, error) {
	if x.e.AccessGate == nil {
		return nil, redisgate.ErrNotFound
	}
	for _, c := range x.own.share.list() {
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
	return append([]any{"host", x.host, "tenant", x.e.Tenant, "pod_id", x.e.Pod, "remote", clientOf(x.r).String()}, more...)
}

// clientKey returns what counts as one client: an IPv4 address or the /64 of an
// IPv6 address.
func (x *visit) clientKey() string {
	client := clientOf(x.r)
	if client.Is4() {
		return client.String()
	}
	p, err := client.Prefix(64)
	if err != nil {
		return "unknown"
	}
	return p.Addr().String()
}
