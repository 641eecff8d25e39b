package gate

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tapis-project/podway/routes/redisgate"
)

// shareLife is how long a visitor needs no new redemption, at most.
const shareLife = 7 * 24 * time.Hour

// redeemTimeout bounds a redemption, with the wait for others who try passwords.
const redeemTimeout = 20 * time.Second

// maxPasswords bounds how many passwords of a host one try is compared with.
const maxPasswords = 16

// redemption is what the share cookie holds, sealed.
type redemption struct {
	ID      string    `json:"id"`
	Version int       `json:"version"`
	Expires time.Time `json:"expires"`
}

func sharePlace(host, pod string) string { return host + "\x00" + pod }

// sharesOf returns the shares of a route's host by id.
func (g *guard) sharesOf(ctx context.Context, host string) (map[string]redisgate.Share, error) {
	if s, ok := g.shares.get(host); ok {
		return s, nil
	}
	v, err, _ := g.lookups.Do("shares "+host, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), redisTimeout)
		defer cancel()
		before := g.changes.Load()
		s, err := g.store.Shares(ctx, host)
		if err != nil {
			return nil, err
		}
		g.shares.add(host, s, func() bool { return g.changes.Load() != before })
		return s, nil
	})
	if err != nil {
		return nil, err
	}
	return v.(map[string]redisgate.Share), nil
}

// counts reports whether what a visitor redeemed is still worth something.
func counts(shares map[string]redisgate.Share, v *visitor, now time.Time) bool {
	s, ok := shares[v.key]
	return ok && s.Version == v.version && s.Valid(now)
}

// visitorOfShare returns the visitor of a share cookie, or
// [redisgate.ErrNotFound]. Any other error means that Redis does not answer.
func (g *guard) visitorOfShare(ctx context.Context, cookie, host, routeHost, pod string, now time.Time) (*visitor, error) {
	key := redisgate.Hash(cookie, host, pod)
	v, known := g.redeemed.get(key)
	if !known {
		r, err := redisgate.OpenJSON[redemption](g.ring, shareCookie, sharePlace(host, pod), cookie)
		if err != nil {
			return nil, redisgate.ErrNotFound
		}
		v = &visitor{kind: byShare, key: r.ID, version: r.Version, expires: r.Expires}
	}
	shares, err := g.sharesOf(ctx, routeHost)
	if err != nil {
		return nil, err
	}
	if !now.Before(v.expires) || !counts(shares, v, now) {
		return nil, redisgate.ErrNotFound
	}
	if !known {
		v.label = cleanLabel(shares[v.key].Label)
		g.redeemed.add(key, v, nil)
	}
	return v, nil
}

// cleanLabel makes a label fit for a header.
func cleanLabel(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
	return strings.TrimSpace(s[:min(len(s), 255)])
}

// serveShare asks for a password, or whether to use a link, and redeems it. A
// link that is only looked at, by a program that shows previews for example, is
// not used.
func (x *visit) serveShare() {
	if x.e.AccessGate == nil {
		x.answer(pageNoSuchPath)
		return
	}
	switch x.r.Method {
	case http.MethodGet, http.MethodHead:
		if secret := x.r.URL.Query().Get("t"); secret != "" {
			x.answer(pageConfirmShare(x.host, secret))
			return
		}
		x.answer(x.pageSharePassword(""))
	case http.MethodPost:
		x.redeem()
	default:
		x.answerMethod("GET, POST")
	}
}

// redeem uses a share and sends the visitor to its first page.
func (x *visit) redeem() {
	if !sameOrigin(x.r) {
		x.refuse(pageForeignOrigin, badOrigin)
		return
	}
	x.r.Body = http.MaxBytesReader(x.w, x.r.Body, 8<<10)
	if err := x.r.ParseForm(); err != nil {
		x.answer(pageBadForm)
		return
	}
	secret, kind := x.r.PostForm.Get("t"), redisgate.Link
	if secret == "" {
		secret, kind = x.r.PostForm.Get("password"), redisgate.Password
	}
	ctx, cancel := context.WithTimeout(x.r.Context(), redeemTimeout)
	defer cancel()
	who := x.clientKey() + "|" + x.e.Host
	switch ok, err := x.store.Allow(ctx, redisgate.ShareTries, who); {
	case err != nil:
		x.unavailable("counting tries of shares", err)
		return
	case !ok:
		x.refuse(pageTooManyTries, shareLimited)
		return
	}
	share, problem, err := x.findShare(ctx, kind, secret)
	if err == nil && problem == "" {
		problem, err = x.use(ctx, share)
	}
	switch {
	case err != nil:
		x.unavailable("redeeming a share", err)
	case problem != "":
		count(shareFailed)
		p := x.pageSharePassword(problem)
		if kind == redisgate.Link {
			p = pageBadLink(problem)
		}
		x.answer(p)
	default:
		_ = x.store.Forgive(ctx, redisgate.ShareTries, who) // it ends by itself in a minute
		x.welcome(share)
	}
}

// What is wrong with a share. The last three are for its owner to change.
const (
	problemEmpty     = "Enter the password."
	problemWrong     = "That is not right. Check it and try again."
	problemRevoked   = "This has been withdrawn. Ask the owner of the pod for a new one."
	problemExpired   = "This is not valid any more. Ask the owner of the pod for a new one."
	problemExhausted = "This has been used as often as it may be. Ask the owner of the pod for a new one."
)

// findShare returns the share that a secret belongs to, or what is wrong.
func (x *visit) findShare(ctx context.Context, kind redisgate.ShareKind, secret string) (redisgate.Share, string, error) {
	var none redisgate.Share
	if secret == "" {
		return none, problemEmpty, nil
	}
	shares, err := x.sharesOf(ctx, x.e.Host)
	if err != nil {
		return none, "", err
	}
	found, ok, err := x.match(ctx, kind, secret, shares)
	switch {
	case err != nil:
		return none, "", err
	case !ok:
		return none, problemWrong, nil
	case found.Revoked:
		return none, problemRevoked, nil
	case !found.Valid(time.Now()):
		return none, problemExpired, nil
	default:
		return found, "", nil
	}
}

// match compares a secret with the shares of a kind, those that count first.
// Passwords take long, so few are compared at once.
func (x *visit) match(ctx context.Context, kind redisgate.ShareKind, secret string, shares map[string]redisgate.Share) (redisgate.Share, bool, error) {
	now := time.Now()
	var of []redisgate.Share
	for _, s := range shares {
		if s.Kind == kind {
			of = append(of, s)
		}
	}
	slices.SortFunc(of, func(a, b redisgate.Share) int {
		if a.Valid(now) != b.Valid(now) {
			if a.Valid(now) {
				return -1
			}
			return 1
		}
		return cmp.Compare(b.ID, a.ID)
	})
	if kind == redisgate.Password {
		of = of[:min(len(of), maxPasswords)]
		select {
		case x.passwords <- struct{}{}:
			defer func() { <-x.passwords }()
		case <-ctx.Done():
			return redisgate.Share{}, false, ctx.Err()
		}
	}
	for _, s := range of {
		if s.Matches(x.e.Host, secret) {
			return s, true, nil
		}
	}
	return redisgate.Share{}, false, nil
}

// use counts a use of a share.
func (x *visit) use(ctx context.Context, s redisgate.Share) (problem string, err error) {
	switch ok, err := x.store.Redeem(ctx, x.e.Host, s); {
	case err != nil:
		return "", err
	case !ok:
		return problemExhausted, nil
	default:
		return "", nil
	}
}

// welcome gives the visitor their cookie.
func (x *visit) welcome(s redisgate.Share) {
	expires := x.now.Add(shareLife)
	if !s.Expires.IsZero() && s.Expires.Before(expires) {
		expires = s.Expires
	}
	sealed, err := redisgate.SealJSON(x.ring, shareCookie, sharePlace(x.host, x.e.Pod), redemption{s.ID, s.Version, expires})
	if err != nil {
		x.unavailable("sealing a share", err)
		return
	}
	count(shareRedeemed)
	x.log.Info("visitor redeemed a share", x.facts("share", s.ID)...)
	setCookie(x.w, shareCookie, sealed, max(time.Second, expires.Sub(x.now)))
	x.redirect(http.StatusSeeOther, location(x.r, cmp.Or(x.e.AccessGate.ReturnPath, "/")))
}
