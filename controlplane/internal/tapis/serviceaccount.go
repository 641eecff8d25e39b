package tapis

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// ServiceAccount is the account of this service in Tapis. Its tokens are got
// from the Tokens API when they are needed, and kept while they last.
type ServiceAccount struct {
	Tenant   string // the admin tenant of our site, for example "admin"
	Name     string // for example "pods"
	Password string // secret
}

// validate accepts a nil account, which asks for nothing.
func (a *ServiceAccount) validate(site string) error {
	switch {
	case a == nil:
		return nil
	case a.Tenant == "" || a.Name == "" || a.Password == "":
		return errors.New("checking service account: tenant, name and password must be set")
	case site == "":
		return errors.New("checking service account: the site must be set, tokens are made for it")
	}
	return nil
}

const (
	// serviceTokenTTL is the life we ask for.
	serviceTokenTTL = 4 * time.Hour

	// serviceTokenMargin is what a token must have left to be used.
	serviceTokenMargin = time.Minute
)

// serviceTokens gets and keeps a token of our own account. It is safe for
// concurrent use.
type serviceTokens struct {
	client  *client
	base    string
	account ServiceAccount
	site    string // that the tokens are for
	now     func() time.Time

	mu      sync.Mutex // held while a token is got: one is enough
	current string
	expires time.Time
}

// token returns a token that is good for a while.
func (s *serviceTokens) token(ctx context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != "" && s.now().Add(serviceTokenMargin).Before(s.expires) {
		return s.current, nil
	}
	if err := s.fetch(ctx); err != nil {
		return "", fmt.Errorf("getting a service token: %w", err)
	}
	return s.current, nil
}

// drop forgets a token that was refused.
func (s *serviceTokens) drop(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == token {
		s.current = ""
	}
}

// sign returns an edit that makes a request one of our own: on behalf of nobody
// but ourselves.
func (s *serviceTokens) sign(token string) func(*http.Request) {
	return s.signFor(token, s.account.Tenant, s.account.Name)
}

// signFor returns an edit that makes a request ours on behalf of a user.
func (s *serviceTokens) signFor(token, tenant, user string) func(*http.Request) {
	return func(r *http.Request) {
		r.Header.Set("X-Tapis-Token", token)
		r.Header.Set("X-Tapis-Tenant", tenant)
		r.Header.Set("X-Tapis-User", user)
	}
}

// tokenRequest is the body of POST /v3/tokens.
type tokenRequest struct {
	Tenant   string `json:"token_tenant_id"`
	Username string `json:"token_username"`
	Type     string `json:"account_type"`
	Site     string `json:"target_site_id"`
	TTL      int    `json:"access_token_ttl"` // seconds
	Refresh  bool   `json:"generate_refresh_token"`
}

func (s *serviceTokens) fetch(ctx context.Context) error {
	req := tokenRequest{
		Tenant: s.account.Tenant, Username: s.account.Name, Type: "service",
		Site: s.site, TTL: int(serviceTokenTTL.Seconds()),
	}
	var result struct {
		AccessToken struct {
			Token     string `json:"access_token"`
			ExpiresIn int    `json:"expires_in"` // seconds
		} `json:"access_token"`
	}
	basic := func(r *http.Request) { r.SetBasicAuth(s.account.Name, s.account.Password) }
	if err := s.client.post(ctx, s.base+"/v3/tokens", req, &result, basic); err != nil {
		return err
	}
	if result.AccessToken.Token == "" || result.AccessToken.ExpiresIn <= 0 {
		return errors.New("the answer has no token")
	}
	s.current = result.AccessToken.Token
	s.expires = s.now().Add(time.Duration(result.AccessToken.ExpiresIn) * time.Second)
	return nil
}
