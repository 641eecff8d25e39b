// Package devtokens makes good and bad tokens of a [devtapis.Server] for tests:
//
//	token := devtokens.User(t, dev, "dev", "testuser")
//	stale := devtokens.User(t, dev, "dev", "testuser", devtokens.Set("exp", 0))
package devtokens

import (
	"crypto/rand"
	"crypto/rsa"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tapis-project/podway/controlplane/internal/devtapis"
)

// Edit changes the claims of a token before it is signed.
type Edit func(devtapis.Claims)

// Set sets a claim.
func Set(name string, value any) Edit { return func(c devtapis.Claims) { c[name] = value } }

// Drop removes a claim.
func Drop(name string) Edit { return func(c devtapis.Claims) { delete(c, name) } }

// User returns an access token of a user, good unless edited. Neither the user
// nor, if edited, the tenant need exist.
func User(t testing.TB, s *devtapis.Server, tenant, user string, edits ...Edit) string {
	t.Helper()
	return mint(t, s, tenant, s.AccessClaims(tenant, user), edits)
}

// Service returns an access token of a service account of the site.
func Service(t testing.TB, s *devtapis.Server, tenant, name string, edits ...Edit) string {
	t.Helper()
	return mint(t, s, tenant, s.ServiceClaims(name), edits)
}

// Expired returns a token of a user that has expired a minute ago.
func Expired(t testing.TB, s *devtapis.Server, tenant, user string) string {
	t.Helper()
	return User(t, s, tenant, user, Set("exp", time.Now().Add(-time.Minute).Unix()))
}

// Refresh returns a token as refresh tokens are: it renews others and opens
// nothing.
func Refresh(t testing.TB, s *devtapis.Server, tenant, user string) string {
	t.Helper()
	return User(t, s, tenant, user, Set("tapis/token_type", "refresh"), Drop("tapis/username"),
		Drop("tapis/account_type"), Set("tapis/access_token", s.AccessClaims(tenant, user)))
}

// OtherKey returns a token with good claims that is signed by a key of nobody.
func OtherKey(t testing.TB, s *devtapis.Server, tenant, user string) string {
	t.Helper()
	key, err := otherKey()
	if err != nil {
		t.Fatalf("generating key: %v", err)
	}
	return sign(t, jwt.SigningMethodRS256, key, s.AccessClaims(tenant, user))
}

var otherKey = sync.OnceValues(func() (*rsa.PrivateKey, error) {
	return rsa.GenerateKey(rand.Reader, 2048)
})

// None returns a token with good claims and the algorithm none: unsigned.
func None(t testing.TB, s *devtapis.Server, tenant, user string) string {
	t.Helper()
	return sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, s.AccessClaims(tenant, user))
}

// HMAC returns a token with good claims that is signed with HS256 and the
// tenant's public key as the secret, which fools a verifier that lets the token
// choose the algorithm.
func HMAC(t testing.TB, s *devtapis.Server, tenant, user string) string {
	t.Helper()
	return sign(t, jwt.SigningMethodHS256, []byte(s.PublicKey(tenant)), s.AccessClaims(tenant, user))
}

func mint(t testing.TB, s *devtapis.Server, tenant string, c devtapis.Claims, edits []Edit) string {
	t.Helper()
	for _, e := range edits {
		e(c)
	}
	token, err := s.Mint(tenant, c)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func sign(t testing.TB, m jwt.SigningMethod, key any, c devtapis.Claims) string {
	t.Helper()
	token, err := jwt.NewWithClaims(m, jwt.MapClaims(c)).SignedString(key)
	if err != nil {
		t.Fatalf("signing token: %v", err)
	}
	return token
}
