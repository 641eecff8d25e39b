package devtapis

import (
	"net/http"
	"time"
)

// serviceTokenRequest is the body of POST /v3/tokens.
type serviceTokenRequest struct {
	TokenTenantID  string `json:"token_tenant_id"`
	TokenUsername  string `json:"token_username"`
	AccountType    string `json:"account_type"`
	TargetSiteID   string `json:"target_site_id"`
	AccessTokenTTL int    `json:"access_token_ttl"` // seconds; 0 means the usual
}

// createServiceToken answers POST /v3/tokens: a service gets a token of its own
// with HTTP Basic.
func (s *Server) createServiceToken(r *http.Request) (any, error) {
	name, password, _ := r.BasicAuth()
	want, known := s.services[name]
	if !known || !equal(want, password) {
		return nil, problemf(http.StatusUnauthorized, "Invalid service/password combination.")
	}
	var req serviceTokenRequest
	if err := decode(r, &req, false); err != nil {
		return nil, err
	}
	admin := s.tenants[0]
	switch {
	case req.AccountType != "service":
		return nil, problemf(http.StatusBadRequest, "account_type must be service.")
	case req.TokenUsername != name || req.TokenTenantID != admin.ID:
		return nil, problemf(http.StatusForbidden, "%s can get tokens for %s@%s only.", name, name, admin.ID)
	case req.TargetSiteID != s.site:
		return nil, problemf(http.StatusBadRequest, "target_site_id must be %s.", s.site)
	}
	ttl := accessTTL
	if req.AccessTokenTTL > 0 {
		ttl = time.Duration(min(req.AccessTokenTTL, int(refreshTTL.Seconds()))) * time.Second
	}
	c := s.ServiceClaims(name)
	c["exp"] = s.now().Add(ttl).Unix()
	return s.accessToken(admin, c, ttl)
}
