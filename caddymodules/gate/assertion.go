package gate

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tapis-project/podway/caddymodules/pages"
	"github.com/tapis-project/podway/routes"
)

// Times of assertions.
const (
	assertionLife = time.Minute
	assertionUse  = 30 * time.Second // after it a new one is made
)

// assertionHeader is the name of the header that carries an assertion.
const assertionHeader = "X-Pods-Assertion"

// assertion says to one pod who a visitor is. Pods verify it with the keys at
// /.podway/jwks.json of their own host.
type assertion struct {
	jwt.RegisteredClaims

	Username string `json:"tapis/username,omitempty"`
	TenantID string `json:"tapis/tenant_id,omitempty"`
	SiteID   string `json:"tapis/site_id,omitempty"`
	Share    string `json:"pods/share,omitempty"` // label of the share
}

// fieldsFor returns what the pod behind e is told of a visitor. The caller must not
// change it.
func (g *guard) fieldsFor(e *routes.Entry, host string, v *visitor, now time.Time) ([]field, error) {
	if t := v.told.Load(); t != nil && t.entry == e && t.host == host && now.Before(t.until) {
		return t.fields, nil
	}
	site := ""
	if t := g.tenants.known(v.tenant); t != nil {
		site = t.SiteID
	}
	signed, err := g.sign(host, v, site, now)
	if err != nil {
		return nil, fmt.Errorf("signing assertion: %w", err)
	}
	fields := append(fieldsOf(e, v, site), field{assertionHeader, []string{signed}})
	t := &told{entry: e, host: host, until: now.Add(assertionUse), fields: fields}
	v.told.Store(t)
	return t.fields, nil
}

func (g *guard) sign(host string, v *visitor, site string, now time.Time) (string, error) {
	subject := v.username
	if v.kind == byShare {
		subject = "share:" + v.key // no user is called so: names hold no colon
	}
	id, key := g.ring.SigningKey()
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, assertion{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: "https://" + host + prefix, Subject: subject, Audience: jwt.ClaimStrings{host},
			IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(assertionLife)),
		},
		Username: v.username, TenantID: v.tenant, SiteID: site, Share: v.label,
	})
	token.Header["kid"] = id
	return token.SignedString(key)
}

// jwk is a public key as RFC 8037 writes it.
type jwk struct {
	KeyType   string `json:"kty"`
	Curve     string `json:"crv"`
	Algorithm string `json:"alg"`
	Use       string `json:"use"`
	ID        string `json:"kid"`
	X         string `json:"x"`
}

// serveKeys answers with the keys that verify assertions.
func (g *guard) serveKeys(w http.ResponseWriter, r *http.Request) {
	keys := []jwk{}
	for _, k := range g.ring.PublicKeys() {
		keys = append(keys, jwk{"OKP", "Ed25519", "EdDSA", "sig", k.ID, base64.RawURLEncoding.EncodeToString(k.Key)})
	}
	w.Header().Set("Cache-Control", "public, max-age=300")
	pages.WriteJSON(w, r, http.StatusOK, map[string]any{"keys": keys})
}
