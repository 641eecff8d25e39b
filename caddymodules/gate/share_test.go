package gate

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tapis-project/podway/routes/redisgate"
)

const (
	openHost = "open.pods.test" // behind shares only
	open     = "https://" + openHost
)

// newShares returns a site with a host behind shares, and these.
func newShares(t *testing.T, shares ...redisgate.Share) *site {
	s := newSite(t)
	s.route(shared(openHost))
	s.check(s.store.BeginCounting(t.Context()))
	for i := range shares {
		shares[i].Created = time.Now()
	}
	s.check(s.store.SetShares(t.Context(), openHost, shares))
	return s
}

func link(id, secret string) redisgate.Share {
	return redisgate.Share{ID: id, Kind: redisgate.Link, Label: "course " + id, Hash: redisgate.HashLink(openHost, secret)}
}

func password(id, word string) redisgate.Share {
	return redisgate.Share{ID: id, Kind: redisgate.Password, Label: "word", Hash: redisgate.HashPassword(openHost, word)}
}

func (b *browser) redeem(secret string) answer {
	return b.send(open+sharePath, url.Values{"t": {secret}})
}

func TestLinkOpensThePod(t *testing.T) {
	secret := redisgate.NewSecret()
	s := newShares(t, link("a", secret))
	r := shared(openHost)
	r.AccessGate.ReturnPath = "/start"
	s.route(r)
	b := s.browser()
	b.open(open+"/").want(t, 401, "Enter the password")

	// To look at the link, as previews do, is no use of it.
	preview := b.do(http.MethodGet, open+sharePath+"?t="+secret, "", page...)
	preview.want(t, 200, "You are invited")
	if preview.Header.Get("Referrer-Policy") != "no-referrer" || len(preview.Cookies()) != 0 {
		t.Errorf("got %v", preview.Header)
	}
	if uses, _ := s.store.ShareUses(t.Context(), openHost); len(uses) != 0 {
		t.Errorf("got %v uses of what was only looked at", uses)
	}

	a := b.redeem(secret)
	if to := a.Header.Get("Location"); a.StatusCode != http.StatusSeeOther || to != open+"/start" || strings.Contains(b.cookies[openHost][shareCookie], secret) {
		t.Errorf("got %d %q", a.StatusCode, to)
	}
	b.open(open+"/x").want(t, 200, "pod")
	got := s.received()
	if len(got) != 1 || got[0].header.Get("X-Tapis-Gate-Code") != "course a" {
		t.Fatalf("got %+v", got)
	}
	c, err := verifyAssertion(t, s, openHost, got[0].header.Get(assertionHeader))
	if err != nil || c["sub"] != "share:a" || c["tapis/username"] != nil {
		t.Errorf("got %v, %v", c, err)
	}
	if uses, _ := s.store.ShareUses(t.Context(), openHost); uses["a"].Count != 1 {
		t.Errorf("got %v, want one use", uses)
	}
	if strings.Contains(s.log.String(), secret) {
		t.Error("the secret is in the log")
	}
}

func TestPasswordOpensThePod(t *testing.T) {
	s := newShares(t, link("a", "x"), password("b", "open sesame"), password("c", "other"))
	b := s.browser()
	try := func(word string) answer { return b.send(open+sharePath, url.Values{"password": {word}}) }
	try("").want(t, 401, problemEmpty)
	try("wrong").want(t, 401, problemWrong)
	if a := try("open sesame"); a.StatusCode != http.StatusSeeOther {
		t.Errorf("got %d %s", a.StatusCode, a.body)
	}
	b.open(open+"/").want(t, 200, "pod")
}

func TestSharesThatDoNotCount(t *testing.T) {
	secret := redisgate.NewSecret()
	for _, tt := range []struct {
		name, want string
		change     func(*redisgate.Share)
		secret     string
	}{
		{"another secret", "This link is not right", func(*redisgate.Share) {}, redisgate.NewSecret()},
		{"the hash as secret", "This link is not right", func(*redisgate.Share) {}, redisgate.HashLink(openHost, secret)},
		{"a password used as link", "This link is not right", func(s *redisgate.Share) { s.Kind = redisgate.Password }, secret},
		{"a link of another host", "This link is not right", func(s *redisgate.Share) { s.Hash = redisgate.HashLink(host, secret) }, secret},
		{"revoked", problemRevoked, func(s *redisgate.Share) { s.Revoked = true }, secret},
		{"expired", problemExpired, func(s *redisgate.Share) { s.Expires = time.Now().Add(-time.Second) }, secret},
		{"used up", problemExhausted, func(s *redisgate.Share) { s.MaxUses = 1 }, secret},
	} {
		t.Run(tt.name, func(t *testing.T) {
			share := link("a", secret)
			tt.change(&share)
			s := newShares(t, share)
			if tt.name == "used up" {
				s.browser().redeem(secret)
			}
			b := s.browser()
			b.redeem(tt.secret).want(t, 401, tt.want)
			if len(b.cookies[openHost]) != 0 {
				t.Errorf("got cookies %v", b.cookies[openHost])
			}
		})
	}
}

func TestFailedTriesAreLimited(t *testing.T) {
	secret := redisgate.NewSecret()
	s := newShares(t, link("a", secret))
	b := s.browser()
	for range redisgate.ShareTries.Most - 1 {
		b.redeem("wrong-secret-wrong").want(t, 401, "not right")
	}
	if a := b.redeem(secret); a.StatusCode != http.StatusSeeOther { // which clears the count
		t.Fatalf("got %d", a.StatusCode)
	}
	for range redisgate.ShareTries.Most {
		b.redeem("wrong-secret-wrong").want(t, 401, "not right")
	}
	b.redeem(secret).want(t, 429, "Too many tries")
	s.redis.FastForward(time.Minute)
	if a := b.redeem(secret); a.StatusCode != http.StatusSeeOther {
		t.Errorf("a minute later: got %d", a.StatusCode)
	}
}

func TestWhatWasRedeemedEndsWithTheShare(t *testing.T) {
	secret := redisgate.NewSecret()
	for name, change := range map[string]func(*redisgate.Share){
		"revoked":     func(s *redisgate.Share) { s.Revoked = true },
		"expired":     func(s *redisgate.Share) { s.Expires = time.Now() },
		"deleted":     func(s *redisgate.Share) { s.ID = "b" },
		"new version": func(s *redisgate.Share) { s.Version = 2 },
	} {
		t.Run(name, func(t *testing.T) {
			share := link("a", secret)
			s := newShares(t, share)
			b := s.browser()
			b.redeem(secret)
			b.open(open+"/").want(t, 200, "pod")
			ended := s.goOn(b, open)
			change(&share)
			s.check(s.store.SetShares(t.Context(), openHost, []redisgate.Share{share}))
			s.eventually(func() bool { return b.do(http.MethodGet, open+"/", "", page...).StatusCode == http.StatusUnauthorized })
			s.await(ended)
		})
	}
}

func TestShareCookiesAreForOneHostAndPod(t *testing.T) {
	secret := redisgate.NewSecret()
	s := newShares(t, link("a", secret))
	s.route(shared("open2.pods.test"))
	s.check(s.store.SetShares(t.Context(), "open2.pods.test", []redisgate.Share{link("a", secret)}))
	b := s.browser()
	b.redeem(secret)
	cookie := "Cookie: " + shareCookie + "=" + b.cookies[openHost][shareCookie]
	s.browser().do(http.MethodGet, "https://open2.pods.test/", "", cookie).want(t, 401, "")
	s.browser().do(http.MethodGet, web+"/", "", cookie).want(t, 401, "")
	s.browser().do(http.MethodGet, open+"/", "", cookie).want(t, 200, "pod")
	s.browser().do(http.MethodGet, open+"/", "", cookie+"x").want(t, 401, "")
	r := shared(openHost)
	r.Pod = "other"
	s.route(r)
	s.browser().do(http.MethodGet, open+"/", "", cookie).want(t, 401, "")
}

func TestEitherAdmitsWhereBothAreAsked(t *testing.T) {
	secret := redisgate.NewSecret()
	s := newShares(t, link("a", secret))
	r := gated(openHost, "ada")
	r.AccessGate = shared(openHost).AccessGate
	s.route(r)
	s.browser().open(open+"/deep").want(t, 401, "/.podway/login?return=%2Fdeep")
	guest, user, mallory := s.browser(), s.browser(), s.browser()
	guest.redeem(secret)
	guest.open(open+"/").want(t, 200, "pod")
	s.received()
	user.open(open + loginPath + "?return=%2Fdeep")
	if got := s.received(); len(got) != 1 || got[0].target != "/deep" {
		t.Errorf("got %+v, want /deep", got)
	}
	s.username = "mallory"
	mallory.open(open+loginPath).want(t, 403, "")
	mallory.redeem(secret)
	mallory.open(open+"/").want(t, 200, "pod")
}

func TestSharesFailClosed(t *testing.T) {
	secret := redisgate.NewSecret()
	s := newShares(t, link("a", secret))
	b := s.browser()
	b.redeem(secret)
	b.open(open+"/").want(t, 200, "pod")
	s.redis.Close()
	b.open(open+"/").want(t, 200, "pod") // it is known
	b.redeem(secret).want(t, 503, "")
	s.h.guard.shares.clear()
	b.open(open+"/").want(t, 503, "")
}

// Nobody needs to come between a change of the shares and the end of Redis.
func TestGuestsPassWithoutRedisAfterAChange(t *testing.T) {
	secret := redisgate.NewSecret()
	a, b := link("a", secret), link("b", redisgate.NewSecret())
	s := newShares(t, a)
	guest := s.browser()
	guest.redeem(secret)
	guest.open(open+"/").want(t, 200, "pod")
	s.check(s.store.SetShares(t.Context(), openHost, []redisgate.Share{a, b}))
	s.eventually(func() bool {
		known, _ := s.h.guard.shares.get(openHost)
		return len(known) == 2
	})
	s.redis.Close()
	guest.open(open+"/").want(t, 200, "pod")
}

func TestFormsFromElsewhereAreRefused(t *testing.T) {
	secret := redisgate.NewSecret()
	s := newShares(t, link("a", secret))
	form := url.Values{"t": {secret}}.Encode()
	for name, headers := range map[string][]string{
		"another site":    {"Origin: https://evil.example"},
		"a sibling":       {"Origin: https://" + host},
		"a hidden page":   {"Origin: null"},
		"nothing is said": nil,
		"a frame":         {"Origin: null", "Sec-Fetch-Site: cross-site"},
	} {
		if a := s.browser().do(http.MethodPost, open+sharePath, form, headers...); a.StatusCode != http.StatusForbidden {
			t.Errorf("%s: got %d, want 403", name, a.StatusCode)
		}
	}
	// The edge's own page hides where it is.
	a := s.browser().do(http.MethodPost, open+sharePath, form, "Origin: null", "Sec-Fetch-Site: same-origin")
	if a.StatusCode != http.StatusSeeOther {
		t.Errorf("own page: got %d, want 303", a.StatusCode)
	}
}
