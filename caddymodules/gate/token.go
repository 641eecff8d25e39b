package gate

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tapis-project/podway/routes/redisgate"
)

const (
	// maxTokenBytes bounds what is parsed at all. Real tokens have about 1 KiB.
	maxTokenBytes = 16 << 10

	// maxUserBytes bounds the name of a user.
	maxUserBytes = 128
)

// errToken is returned for a token that does not count.
var errToken = errors.New("the token does not count")

// claims are the claims of a Tapis token that are read.
type claims struct {
	jwt.RegisteredClaims

	TenantID    string `json:"tapis/tenant_id"`
	Username    string `json:"tapis/username"`
	TokenType   string `json:"tapis/token_type"`
	AccountType string `json:"tapis/account_type"`
}

// Validate is called by the parser after the signature and the times held.
func (c *claims) Validate() error {
	switch {
	case len(c.Audience) > 0:
		return errors.New("the token was made for somebody in particular")
	case c.TokenType != "access":
		return fmt.Errorf("tapis/token_type is %q, not \"access\"", c.TokenType)
	case c.AccountType != "user":
		return fmt.Errorf("tapis/account_type is %q, not \"user\"", c.AccountType)
	case !validUser(c.Username):
		return errors.New("the user name is not allowed")
	}
	return nil
}

// validUser refuses names that mean something else in lists of users, that would
// garble a header, or that look like something in an assertion that they are not.
func validUser(name string) bool {
	odd := func(r rune) bool {
		return r > unicode.MaxASCII || !unicode.IsGraphic(r) || strings.ContainsRune(" *:,;<>\"\\", r)
	}
	return name != "" && len(name) <= maxUserBytes && !strings.HasPrefix(name, "tenant.") && !strings.ContainsFunc(name, odd)
}

// takeToken removes the Tapis token from a request and returns it. Pods must never
// get one, so a token that is sent as any other bearer token is taken too.
func takeToken(h http.Header) (token string, ok bool) {
	if values := h["X-Tapis-Token"]; len(values) > 0 {
		delete(h, "X-Tapis-Token")
		token, ok = values[0], true
	}
	for _, value := range h["Authorization"] {
		scheme, bearer, _ := strings.Cut(value, " ")
		bearer = strings.TrimSpace(bearer)
		if !strings.EqualFold(scheme, "Bearer") || !looksTapis(bearer) {
			continue
		}
		delete(h, "Authorization")
		if !ok {
			token, ok = bearer, true
		}
		break
	}
	return token, ok
}

// looksTapis reports whether a bearer token says that it is from Tapis. Those of
// pods themselves are not ours to look at.
func looksTapis(token string) bool {
	parts := strings.Split(token, ".")
	if len(parts) != 3 || len(token) > maxTokenBytes {
		return false
	}
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return false
	}
	var c map[string]any
	if json.Unmarshal(b, &c) != nil {
		return false
	}
	_, ok := c["tapis/tenant_id"]
	return ok
}

// visitorOfToken returns who sends a token. It returns errToken, with a reason for
// the log that does not hold the token.
func (g *guard) visitorOfToken(ctx context.Context, token string, now time.Time) (*visitor, error) {
	if len(token) > maxTokenBytes {
		return nil, fmt.Errorf("%w: it has %d bytes", errToken, len(token))
	}
	key := redisgate.Hash(token)
	if v, ok := g.tokens.get(key); ok {
		if now.Before(v.expires) {
			return v, nil
		}
		g.tokens.remove(key)
	}
	keys := g.tenants.now.Load()
	c, err := g.verify(ctx, token)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errToken, err)
	}
	v := &visitor{kind: byToken, key: key, username: c.Username, tenant: c.TenantID, expires: c.ExpiresAt.Time}
	g.tokens.add(key, v, func() bool { return g.tenants.now.Load() != keys })
	return v, nil
}

// verify checks everything about a token. Once a minute, one that fails makes the
// edge read the tenants' keys again: they may have been replaced.
func (g *guard) verify(ctx context.Context, token string) (*claims, error) {
	c, err := g.verifyOnce(token)
	if errors.Is(err, jwt.ErrTokenSignatureInvalid) || errors.Is(err, jwt.ErrTokenUnverifiable) {
		if g.tenants.again(ctx) {
			c, err = g.verifyOnce(token)
		}
	}
	return c, err
}

func (g *guard) verifyOnce(token string) (*claims, error) {
	c := new(claims)
	var of *tenant
	_, err := jwt.ParseWithClaims(token, c, func(*jwt.Token) (any, error) {
		if of = g.tenants.known(c.TenantID); of == nil || len(of.keys) == 0 {
			return nil, errors.New("the tenant is not known")
		}
		set := jwt.VerificationKeySet{}
		for _, k := range of.keys {
			set.Keys = append(set.Keys, k)
		}
		return set, nil
	}, jwt.WithValidMethods([]string{"RS256"}), jwt.WithExpirationRequired())
	if err != nil {
		return nil, err
	}
	if of.Issuer != "" && c.Issuer != of.Issuer {
		return nil, errors.New("the issuer is not the tenant's")
	}
	return c, nil
}
