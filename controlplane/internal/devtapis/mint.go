package devtapis

import (
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// How long tokens live.
const (
	accessTTL  = 4 * time.Hour
	refreshTTL = 365 * 24 * time.Hour
)

// Claims are the claims of a token, by name.
type Claims map[string]any

// AccessClaims returns the claims of a good token of a user, for tests that make
// them bad.
func (s *Server) AccessClaims(tenantID, user string) Claims {
	return s.claims(tenantID, user, accessTTL, Claims{
		"tapis/token_type":     "access",
		"tapis/account_type":   "user",
		"tapis/delegation":     false,
		"tapis/delegation_sub": nil,
		"tapis/client_id":      nil,
		"tapis/grant_type":     "password",
		"tapis/redirect_uri":   nil,
		"tapis/refresh_count":  0,
		"tapis/idp_id":         "dev",
	})
}

// ServiceClaims returns the claims of a good token of a service, made for our
// own site.
func (s *Server) ServiceClaims(service string) Claims {
	return s.claims(s.tenants[0].ID, service, accessTTL, Claims{
		"tapis/token_type":     "access",
		"tapis/account_type":   "service",
		"tapis/delegation":     false,
		"tapis/delegation_sub": nil,
		"tapis/target_site":    s.site,
	})
}

// refreshClaims returns the claims of a token that renews one with the claims
// access.
func (s *Server) refreshClaims(tenantID, user string, access Claims) Claims {
	c := s.claims(tenantID, user, refreshTTL, Claims{
		"tapis/token_type":   "refresh",
		"tapis/initial_ttl":  int(refreshTTL.Seconds()),
		"tapis/access_token": access,
	})
	delete(c, "tapis/username")
	return c
}

// claims returns extra with the claims that all tokens have.
func (s *Server) claims(tenantID, user string, ttl time.Duration, extra Claims) Claims {
	c := Claims{
		"jti":             newUUID(),
		"iss":             s.issuer(tenantID),
		"sub":             user + "@" + tenantID,
		"exp":             s.now().Add(ttl).Unix(),
		"tapis/tenant_id": tenantID,
		"tapis/username":  user,
	}
	maps.Copy(c, extra)
	return c
}

// issuer is the tenant's token service, by its configured name.
func (s *Server) issuer(tenantID string) string {
	t := s.tenant(tenantID)
	if t == nil {
		return ""
	}
	return t.BaseURL + "/v3/tokens"
}

// Mint signs claims with the key of a tenant, whatever they say.
func (s *Server) Mint(tenantID string, c Claims) (string, error) {
	t := s.tenant(tenantID)
	if t == nil {
		return "", fmt.Errorf("minting token: there is no tenant %q", tenantID)
	}
	signed, err := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims(c)).SignedString(t.key)
	if err != nil {
		return "", fmt.Errorf("minting token: %w", err)
	}
	return signed, nil
}

// PublicKey returns the public key of a tenant in PEM form, "" if there is no
// such tenant.
func (s *Server) PublicKey(tenantID string) string {
	t := s.tenant(tenantID)
	if t == nil {
		return ""
	}
	return t.publicKey
}

// parse verifies a token of a tenant and returns its claims.
func (s *Server) parse(t *tenant, token string) (jwt.MapClaims, error) {
	c := jwt.MapClaims{}
	_, err := jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodRS256.Alg()}),
		jwt.WithExpirationRequired(),
		jwt.WithTimeFunc(s.now),
	).ParseWithClaims(token, c, func(*jwt.Token) (any, error) { return &t.key.PublicKey, nil })
	if err == nil && c["tapis/tenant_id"] != t.ID {
		err = errors.New("the token belongs to another tenant")
	}
	return c, err
}

// caller returns the name of the user who makes a request with a token in the
// header.
func (s *Server) caller(r *http.Request) (string, error) {
	token := r.Header.Get("X-Tapis-Token")
	if token == "" {
		return "", problemf(http.StatusUnauthorized, "No Tapis access token found in the request.")
	}
	c, err := s.parse(s.tenantOf(r), token)
	user, _ := c["tapis/username"].(string)
	if err != nil || c["tapis/token_type"] != "access" || user == "" {
		return "", problemf(http.StatusUnauthorized, "Invalid Tapis token.")
	}
	return user, nil
}

// clientOwner returns whose clients a request is about: the caller's, or those of
// the user whom a service acts for. Services do so in every tenant.
func (s *Server) clientOwner(r *http.Request) (string, error) {
	tenant, user := r.Header.Get("X-Tapis-Tenant"), r.Header.Get("X-Tapis-User")
	if tenant == "" && user == "" {
		return s.caller(r)
	}
	c, err := s.parse(s.tenants[0], r.Header.Get("X-Tapis-Token"))
	name, _ := c["tapis/username"].(string)
	_, known := s.services[name]
	switch {
	case err != nil || c["tapis/token_type"] != "access" || c["tapis/account_type"] != "service" || !known:
		return "", problemf(http.StatusUnauthorized, "Invalid Tapis token.")
	case tenant != s.tenantOf(r).ID || user == "":
		return "", problemf(http.StatusForbidden, "X-Tapis-Tenant and X-Tapis-User must name a user of the tenant that is asked.")
	}
	return user, nil
}

// newUUID returns a random UUID (version 4), the form of a jti.
func newUUID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:])
}
