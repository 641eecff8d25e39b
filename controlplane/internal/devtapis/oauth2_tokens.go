package devtapis

import (
	"crypto/subtle"
	"fmt"
	"mime"
	"net/http"
	"time"
)

// tokenRequest is the body of POST /v3/oauth2/tokens, as JSON or as a form.
type tokenRequest struct {
	GrantType    string `json:"grant_type"`
	Username     string `json:"username"`
	Password     string `json:"password"`
	RefreshToken string `json:"refresh_token"`
	Code         string `json:"code"`
	RedirectURI  string `json:"redirect_uri"`
	CodeVerifier string `json:"code_verifier"` // PKCE
}

// tokenResult is an access token, and a refresh token for clients.
type tokenResult struct {
	AccessToken  accessToken   `json:"access_token"`
	RefreshToken *refreshToken `json:"refresh_token,omitempty"`
}

type accessToken struct {
	AccessToken string `json:"access_token"`
	validity
}

type refreshToken struct {
	RefreshToken string `json:"refresh_token"`
	validity
}

type validity struct {
	ExpiresAt string `json:"expires_at"` // "2030-01-01T00:00:00.000000+00:00"
	ExpiresIn int    `json:"expires_in"` // seconds
	JTI       string `json:"jti"`
}

func (s *Server) validity(c Claims, ttl time.Duration) validity {
	exp, _ := c["exp"].(int64)
	jti, _ := c["jti"].(string)
	return validity{
		ExpiresAt: time.Unix(exp, 0).UTC().Format("2006-01-02T15:04:05.000000+00:00"),
		ExpiresIn: int(ttl.Seconds()),
		JTI:       jti,
	}
}

// createToken answers POST /v3/oauth2/tokens.
func (s *Server) createToken(r *http.Request) (any, error) {
	req, err := readTokenRequest(r)
	if err != nil {
		return nil, err
	}
	t := s.tenantOf(r)
	client, err := s.callingClient(t, r)
	if err != nil {
		return nil, err
	}
	switch req.GrantType {
	case "password":
		return s.passwordGrant(t, client, req)
	case "refresh_token":
		return s.refreshGrant(t, client, req)
	case "authorization_code":
		return s.codeGrant(t, client, req)
	default:
		return nil, problemf(http.StatusBadRequest, "Invalid grant_type %q; use password, authorization_code or refresh_token.", req.GrantType)
	}
}

func readTokenRequest(r *http.Request) (tokenRequest, error) {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if kind != "application/x-www-form-urlencoded" {
		var req tokenRequest
		err := decode(r, &req, false)
		return req, err
	}
	if err := r.ParseForm(); err != nil {
		return tokenRequest{}, problemf(http.StatusBadRequest, "Invalid request body: %v.", err)
	}
	return tokenRequest{
		GrantType:    r.PostForm.Get("grant_type"),
		Username:     r.PostForm.Get("username"),
		Password:     r.PostForm.Get("password"),
		RefreshToken: r.PostForm.Get("refresh_token"),
		Code:         r.PostForm.Get("code"),
		RedirectURI:  r.PostForm.Get("redirect_uri"),
		CodeVerifier: r.PostForm.Get("code_verifier"),
	}, nil
}

// callingClient returns the id of the client that makes a request with HTTP
// Basic, "" if it is made without.
func (s *Server) callingClient(t *tenant, r *http.Request) (string, error) {
	id, key, ok := r.BasicAuth()
	if !ok {
		return "", nil
	}
	c, found := s.clients.get(t.ID, id)
	if !found || !equal(c.ClientKey, key) {
		return "", problemf(http.StatusBadRequest, "Invalid client credentials.")
	}
	return id, nil
}

func (s *Server) passwordGrant(t *tenant, client string, req tokenRequest) (any, error) {
	u, ok := s.user(t, req.Username)
	if !ok || !equal(u.Password, req.Password) {
		return nil, problemf(http.StatusBadRequest, "Invalid username/password combination.")
	}
	return s.issue(t, u.Name, client, "password", 0)
}

func (s *Server) refreshGrant(t *tenant, client string, req tokenRequest) (any, error) {
	if client == "" {
		return nil, problemf(http.StatusBadRequest, "A client is required for grant_type refresh_token.")
	}
	c, err := s.parse(t, req.RefreshToken)
	access, _ := c["tapis/access_token"].(map[string]any)
	if err != nil || c["tapis/token_type"] != "refresh" || access["tapis/client_id"] != client {
		return nil, problemf(http.StatusBadRequest, "Invalid refresh token.")
	}
	name, _ := access["tapis/username"].(string)
	if _, ok := s.user(t, name); !ok {
		return nil, problemf(http.StatusBadRequest, "Invalid refresh token.")
	}
	count, _ := access["tapis/refresh_count"].(float64)
	return s.issue(t, name, client, "refresh_token", int(count)+1)
}

// issue makes the tokens of a user; the refresh token only for a client.
func (s *Server) issue(t *tenant, user, client, grant string, refreshes int) (*tokenResult, error) {
	c := s.AccessClaims(t.ID, user)
	c["tapis/grant_type"] = grant
	c["tapis/refresh_count"] = refreshes
	if client != "" {
		c["tapis/client_id"] = client
	}
	result, err := s.accessToken(t, c, accessTTL)
	if err != nil || client == "" {
		return result, err
	}
	rc := s.refreshClaims(t.ID, user, c)
	signed, err := s.Mint(t.ID, rc)
	if err != nil {
		return nil, fmt.Errorf("making refresh token: %w", err)
	}
	result.RefreshToken = &refreshToken{RefreshToken: signed, validity: s.validity(rc, refreshTTL)}
	return result, nil
}

func (s *Server) accessToken(t *tenant, c Claims, ttl time.Duration) (*tokenResult, error) {
	signed, err := s.Mint(t.ID, c)
	if err != nil {
		return nil, fmt.Errorf("making access token: %w", err)
	}
	return &tokenResult{AccessToken: accessToken{AccessToken: signed, validity: s.validity(c, ttl)}}, nil
}

// equal compares secrets.
func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
