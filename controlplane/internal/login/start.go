package login

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/routes/redisgate"
)

// timeout bounds a page of the login, calls of Tapis included.
const timeout = 30 * time.Second

// Start begins the login of a browser that an edge has sent. What goes wrong is told
// to people by a page; for anybody else it is the error, and nothing was written.
func (s *Service) Start(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	r = r.WithContext(ctx)
	if p := s.start(w, r); p != nil {
		return s.answer(w, r, *p)
	}
	return nil
}

// start returns a page if the browser is not sent on.
func (s *Service) start(w http.ResponseWriter, r *http.Request) *page {
	t, bad := s.tenantOf(r)
	if bad != nil {
		return bad
	}
	asked, ok := redisgate.ParseLogin(r.URL.Query())
	if !ok {
		return &pageBadRequest
	}
	gated, err := s.gated(r.Context(), t.ID, asked.Host)
	switch {
	case err != nil:
		return s.unavailable(err)
	case !gated:
		return &pageNoSuchPod
	}
	client, bad := s.client(r, t)
	if bad != nil {
		return bad
	}
	a := attempt{
		State: redisgate.NewSecret(), Verifier: redisgate.NewSecret(),
		Login: asked, Expires: s.Now().Add(redisgate.AttemptTTL),
	}
	to, err := s.Tapis.AuthorizeURL(r.Context(), t.ID, url.Values{
		"client_id": {client.ID}, "redirect_uri": {client.CallbackURL}, "response_type": {"code"}, "state": {a.State},
		"code_challenge": {challenge(a.Verifier)}, "code_challenge_method": {"S256"},
	})
	if err == nil {
		err = s.remember(w, r, t, a)
	}
	if err != nil {
		return s.unavailable(err)
	}
	redirect(w, to)
	return nil
}

// challenge is what PKCE (RFC 7636) shows of a verifier.
func challenge(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// tenantOf returns the tenant that is asked, unless too much is.
func (s *Service) tenantOf(r *http.Request) (pods.Tenant, *page) {
	switch ok, err := s.Gate.Allow(r.Context(), visits, clientOf(r)); {
	case err != nil:
		return pods.Tenant{}, s.unavailable(err)
	case !ok:
		return pods.Tenant{}, &pageTooMany
	}
	t, err := s.Tapis.TenantAt(r.Context(), r.Host)
	switch {
	case pods.ErrorCode(err) == pods.NotFound:
		return t, &pageNoSuchPod
	case err != nil:
		return t, s.unavailable(err)
	}
	return t, nil
}

// client returns the OAuth2 client of a tenant. If there is none, none is made.
func (s *Service) client(r *http.Request, t pods.Tenant) (pods.OAuthClient, *page) {
	c, err := s.Store.OAuthClient(r.Context(), t.ID)
	switch {
	case pods.ErrorCode(err) == pods.NotFound:
		return c, &pageNoClient
	case err != nil:
		return c, s.unavailable(err)
	}
	return c, nil
}

func redirect(w http.ResponseWriter, to string) {
	h := w.Header()
	h.Set("Location", to)
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(http.StatusFound)
}
