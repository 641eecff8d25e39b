package devtapis

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
)

// The login by browser, as far as a person sees it:
//
//  1. A client sends the browser to GET /v3/oauth2/authorize.
//  2. Without a session that leads to the login, and back from there.
//  3. The person consents; the browser goes to the client's callback URL with a
//     code, which [Server.codeGrant] exchanges for tokens, once.

// authorization is what a client asks for, in the words of the query. Forms have
// them with the prefix client_.
type authorization struct {
	ClientID     string
	RedirectURI  string
	ResponseType string
	State        string
	Challenge    string // PKCE, "" for none
	Method       string // of Challenge
}

// readAuthorization reads a query, or a form with the prefix client_.
func readAuthorization(v url.Values, prefix string) authorization {
	return authorization{
		ClientID:    v.Get("client_id"), // in forms, too
		RedirectURI: v.Get(prefix + "redirect_uri"), ResponseType: v.Get(prefix + "response_type"), State: v.Get(prefix + "state"),
		Challenge: v.Get(prefix + "code_challenge"), Method: v.Get(prefix + "code_challenge_method"),
	}
}

// query is the reverse of readAuthorization without prefix.
func (a authorization) query() string {
	v := url.Values{"client_id": {a.ClientID}, "redirect_uri": {a.RedirectURI}, "response_type": {a.ResponseType}}
	for name, value := range map[string]string{"state": a.State, "code_challenge": a.Challenge, "code_challenge_method": a.Method} {
		if value != "" {
			v.Set(name, value)
		}
	}
	return v.Encode()
}

// check returns the client that asks. Nothing that is wrong here may be told to
// the redirect URI: it could be anybody's.
func (s *Server) check(t *tenant, a authorization) (client, error) {
	c, ok := s.clients.get(t.ID, a.ClientID)
	switch {
	case !ok || !c.Active:
		return client{}, problemf(http.StatusBadRequest, "There is no client %q.", a.ClientID)
	case a.RedirectURI == "" || a.RedirectURI != c.CallbackURL:
		return client{}, problemf(http.StatusBadRequest, "The redirect_uri is not the callback URL of the client.")
	case a.ResponseType != "code":
		return client{}, problemf(http.StatusBadRequest, "The response_type must be code.")
	case a.Challenge != "" && a.Method != "S256", len(a.Challenge) > 128, len(a.State) > 1024:
		return client{}, problemf(http.StatusBadRequest, "The code_challenge_method must be S256.")
	}
	return c, nil
}

// getAuthorize answers GET /v3/oauth2/authorize: with the login, or the question
// for consent.
func (s *Server) getAuthorize(w http.ResponseWriter, r *http.Request) {
	t, a := s.tenantOf(r), readAuthorization(r.URL.Query(), "")
	c, err := s.check(t, a)
	if err != nil {
		s.failPage(w, err)
		return
	}
	user, ok := s.sessionUser(t, r)
	if !ok {
		redirect(w, http.StatusFound, "/v3/oauth2/login?"+a.query())
		return
	}
	s.page(w, http.StatusOK, pageData{
		Title: "Allow access?", Form: "/v3/oauth2/authorize", Hidden: a,
		User: user, Client: cmp.Or(c.DisplayName, c.ClientID), Kind: "consent",
	})
}

// postAuthorize answers the consent: the browser goes back to the client.
func (s *Server) postAuthorize(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		s.failPage(w, problemf(http.StatusBadRequest, "The form can't be read."))
		return
	}
	t, a := s.tenantOf(r), readAuthorization(r.PostForm, "client_")
	c, err := s.check(t, a)
	if err != nil {
		s.failPage(w, err)
		return
	}
	user, ok := s.sessionUser(t, r)
	if !ok {
		redirect(w, http.StatusSeeOther, "/v3/oauth2/login?"+a.query())
		return
	}
	result := url.Values{}
	if a.State != "" {
		result.Set("state", a.State)
	}
	if r.PostForm.Get("approve") == "" {
		result.Set("error", "access_denied")
	} else {
		result.Set("code", s.codes.add(code{
			tenant: t.ID, user: user, client: c.ClientID, redirectURI: a.RedirectURI, challenge: a.Challenge,
		}))
	}
	redirect(w, http.StatusFound, withQuery(c.CallbackURL, result))
}

// withQuery adds parameters to a URL.
func withQuery(to string, v url.Values) string {
	u, err := url.Parse(to)
	if err != nil {
		return to // a callback URL that no browser understands either
	}
	q := u.Query()
	for name := range v {
		q.Set(name, v.Get(name))
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// codeGrant exchanges a code for tokens.
func (s *Server) codeGrant(t *tenant, client string, req tokenRequest) (any, error) {
	if client == "" {
		return nil, problemf(http.StatusBadRequest, "A client is required for grant_type authorization_code.")
	}
	c, ok := s.codes.take(req.Code)
	if !ok || c.tenant != t.ID || c.client != client || c.redirectURI != req.RedirectURI || !c.verifiedBy(req.CodeVerifier) {
		return nil, problemf(http.StatusBadRequest, "Invalid authorization code.")
	}
	if _, ok := s.user(t, c.user); !ok {
		return nil, problemf(http.StatusBadRequest, "Invalid authorization code.")
	}
	return s.issue(t, c.user, client, "authorization_code", 0)
}

// verifiedBy reports whether the one who has a code is the one who asked for it.
func (c code) verifiedBy(verifier string) bool {
	if c.challenge == "" {
		return true
	}
	sum := sha256.Sum256([]byte(verifier))
	return equal(base64.RawURLEncoding.EncodeToString(sum[:]), c.challenge)
}

// newCode returns a code of 40 characters.
func newCode() string { return (rand.Text() + rand.Text())[:40] }
