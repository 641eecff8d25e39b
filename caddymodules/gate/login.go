package gate

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/tapis-project/podway/routes/redisgate"
)

// attempt is what the login cookie holds, sealed for its host: everything that is
// known of a login that has begun.
type attempt struct {
	ID         string    `json:"id"`
	ReturnPath string    `json:"return_path"`
	Expires    time.Time `json:"expires"`
}

// startLogin sends a browser to the login of the pod's tenant. Nothing is stored
// but a cookie.
func (x *visit) startLogin(returnPath string) {
	ctx, cancel := context.WithTimeout(x.r.Context(), redisTimeout)
	defer cancel()
	switch ok, err := x.store.Allow(ctx, redisgate.LoginStarts, x.clientKey()); {
	case err != nil:
		x.unavailable("counting logins", err)
		return
	case !ok:
		x.refuse(pageTooManyLogins, loginLimited)
		return
	}
	t := x.tenants.get(ctx, x.e.Tenant)
	if t == nil || t.LoginURL == "" {
		x.unavailable("starting a login", errors.New("the tenant is not published"))
		return
	}
	a := attempt{ID: redisgate.NewSecret(), ReturnPath: safePath(returnPath), Expires: x.now.Add(redisgate.AttemptTTL)}
	sealed, err := redisgate.SealJSON(x.ring, loginCookie, x.host, a)
	if err != nil {
		x.unavailable("starting a login", err)
		return
	}
	count(loginStarted)
	setCookie(x.w, loginCookie, sealed, redisgate.AttemptTTL)
	_, port, _ := strings.Cut(x.r.Host, ":")
	if port == "443" {
		port = ""
	}
	x.redirect(http.StatusFound, t.LoginURLFor(redisgate.LoginRequest{Host: x.host, Port: port, Attempt: redisgate.Hash(a.ID)}))
}

// serveLogin starts a login that somebody asked for by a link.
func (x *visit) serveLogin() {
	switch {
	case x.e.Gate == nil:
		x.answer(pageNoSuchPath)
	case x.r.Method != http.MethodGet:
		x.answerMethod("GET")
	default:
		x.startLogin(cmp.Or(x.r.URL.Query().Get("return"), x.e.Gate.ReturnPath, "/"))
	}
}

// serveCallback takes over from the control plane somebody who has logged in.
func (x *visit) serveCallback() {
	switch {
	case x.e.Gate == nil:
		x.answer(pageNoSuchPath)
		return
	case x.r.Method != http.MethodGet:
		x.answerMethod("GET")
		return
	}
	a, ok := x.attempt()
	code := x.r.URL.Query().Get("code")
	if !ok || code == "" || len(code) > 128 {
		x.refuse(pageLoginAgain, loginFailed)
		return
	}
	ctx, cancel := context.WithTimeout(x.r.Context(), redisTimeout)
	defer cancel()
	h, err := x.store.TakeHandoff(ctx, code)
	switch {
	case errors.Is(err, redisgate.ErrNotFound):
		x.refuse(pageLoginAgain, loginFailed)
	case err != nil:
		x.unavailable("taking over a login", err)
	case h.Host != x.host || h.Attempt != redisgate.Hash(a.ID) || !validUser(h.Username):
		x.log.Warn("refusing a login that was begun elsewhere", x.facts()...)
		x.refuse(pageLoginAgain, loginFailed)
	case !x.e.Admits(h.Tenant, h.Username):
		dropCookie(x.w, loginCookie)
		x.log.Info("visitor logged in but may not pass", x.facts("username", h.Username, "user_tenant", h.Tenant)...)
		x.refuse(pageDenied, loginDenied)
	default:
		x.beginSession(ctx, h, a)
	}
}

// attempt returns the login that this browser has begun at this host.
func (x *visit) attempt() (attempt, bool) {
	for _, c := range x.own.login.list() {
		a, err := redisgate.OpenJSON[attempt](x.ring, loginCookie, x.host, c)
		if err == nil && x.now.Before(a.Expires) {
			return a, true
		}
	}
	return attempt{}, false
}

// beginSession gives somebody who logged in a session, in the place of any they
// had.
func (x *visit) beginSession(ctx context.Context, h redisgate.Handoff, a attempt) {
	s := redisgate.Session{
		Host: x.host, Pod: x.e.Pod, Username: h.Username, Tenant: h.Tenant,
		Created: x.now, Expires: x.now.Add(x.lifetime),
	}
	if x.untilToken && !h.TokenExpires.IsZero() && h.TokenExpires.Before(s.Expires) {
		s.Expires = h.TokenExpires
	}
	id, err := x.store.CreateSession(ctx, s, x.idle)
	if err != nil {
		x.unavailable("beginning a session", err)
		return
	}
	for _, old := range x.own.session.list() {
		if err := x.endSession(ctx, old, x.host, x.e.Pod); err != nil {
			x.log.Warn("ending an earlier session failed", x.facts("error", err)...)
		}
	}
	count(loginDone)
	x.log.Info("visitor logged in", x.facts("username", h.Username, "user_tenant", h.Tenant)...)
	dropCookie(x.w, loginCookie)
	setCookie(x.w, sessionCookie, id, 0)
	x.redirect(http.StatusSeeOther, location(x.r, a.ReturnPath))
}

// serveLogout asks whether to log out, and does it.
func (x *visit) serveLogout() {
	switch x.r.Method {
	case http.MethodGet, http.MethodHead:
		x.answer(x.pageLogout())
	case http.MethodPost:
		x.logout()
	default:
		x.answerMethod("GET, POST")
	}
}

// logout ends the session of this browser, or all sessions of its user.
func (x *visit) logout() {
	if !sameOrigin(x.r) {
		x.refuse(pageForeignOrigin, badOrigin)
		return
	}
	ctx, cancel := context.WithTimeout(x.r.Context(), 2*redisTimeout)
	defer cancel()
	everywhere := x.r.URL.Query().Get("everywhere") != ""
	for _, id := range x.own.session.list() {
		if err := x.leave(ctx, id, everywhere); err != nil {
			x.unavailable("logging out", err)
			return
		}
	}
	count(loggedOut)
	dropCookie(x.w, sessionCookie)
	dropCookie(x.w, shareCookie)
	x.answer(x.pageLoggedOut(everywhere))
}

func (x *visit) leave(ctx context.Context, id string, everywhere bool) error {
	if everywhere {
		v, err := x.sessionOf(ctx, id, x.host, x.e.Pod, x.idle, x.now)
		switch {
		case errors.Is(err, redisgate.ErrNotFound):
			return nil
		case err != nil:
			return err
		}
		if err := x.store.LogoutEverywhere(ctx, v.tenant, v.username); err != nil {
			return err
		}
		x.learn(redisgate.Event{Kind: redisgate.UserLoggedOut, Tenant: v.tenant, Username: v.username, Until: time.Now()})
	}
	return x.endSession(ctx, id, x.host, x.e.Pod)
}
