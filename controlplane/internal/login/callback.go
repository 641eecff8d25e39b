package login

import (
	"context"
	"errors"
	"net/http"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/routes/redisgate"
)

// maxCode bounds the code of a login.
const maxCode = 1024

// Callback ends a login at Tapis and hands the visitor over to the pod's host. It
// answers and fails as [Service.Start] does.
func (s *Service) Callback(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	r = r.WithContext(ctx)
	if p := s.callback(w, r); p != nil {
		return s.answer(w, r, *p)
	}
	return nil
}

func (s *Service) callback(w http.ResponseWriter, r *http.Request) *page {
	t, bad := s.tenantOf(r)
	if bad != nil {
		return bad
	}
	a, bad := s.returned(r, t)
	if bad != nil {
		return bad
	}
	forget(w, t, a.State)
	if r.URL.Query().Get("error") != "" {
		p := pageRefused
		p.Link = "https://" + a.Login.Host + port(a.Login.Port) + "/"
		return &p
	}
	token, bad := s.exchange(r, t, a)
	if bad != nil {
		return bad
	}
	user, err := s.Tapis.VerifyToken(r.Context(), token, t.ID)
	switch {
	case pods.ErrorCode(err) == pods.Unavailable:
		return s.unavailable(err)
	case err != nil:
		s.Logger.Warn("refusing the token of a login", "tenant", t.ID, "host", a.Login.Host, "error", err)
		return &pageBadToken
	}
	code, err := s.Gate.PutHandoff(r.Context(), redisgate.Handoff{
		Host: a.Login.Host, Attempt: a.Login.Attempt, Username: user.User, Tenant: user.Tenant, TokenExpires: user.Expires,
	})
	if err != nil {
		return s.unavailable(err)
	}
	s.Logger.Info("visitor logged in with Tapis", "tenant", t.ID, "username", user.User, "host", a.Login.Host)
	redirect(w, a.Login.CallbackURL(code))
	return nil
}

func port(p string) string {
	if p == "" || p == "443" {
		return ""
	}
	return ":" + p
}

// returned returns the attempt that a browser comes back from, which is used up by
// it: it comes back with the state that it was given, for the first time.
func (s *Service) returned(r *http.Request, t pods.Tenant) (attempt, *page) {
	state := r.URL.Query().Get("state")
	a, ok := s.recall(r, t, state)
	if !ok {
		return a, &pageStale
	}
	switch first, err := s.Gate.UseState(r.Context(), state); {
	case err != nil:
		return a, s.unavailable(err)
	case !first:
		return a, &pageStale
	}
	return a, nil
}

// exchange exchanges the code for a token.
func (s *Service) exchange(r *http.Request, t pods.Tenant, a attempt) (string, *page) {
	code := r.URL.Query().Get("code")
	if code == "" || len(code) > maxCode {
		return "", &pageBadRequest
	}
	client, bad := s.client(r, t)
	if bad != nil {
		return "", bad
	}
	token, err := s.Tapis.ExchangeCode(r.Context(), t.ID, client, code, a.Verifier)
	switch {
	case pods.ErrorCode(err) == pods.Invalid:
		// The cause names the status that Tapis answered, not the code.
		s.Logger.Warn("Tapis refused the code of a login", "tenant", t.ID, "error", errors.Unwrap(err))
		return "", &pageStale
	case err != nil:
		return "", s.unavailable(err)
	}
	return token, nil
}
