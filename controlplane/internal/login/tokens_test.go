package login_test

import (
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

// claims are those of a good token.
func claims() jwt.MapClaims { return jwt.MapClaims(dev().AccessClaims("dev", "testuser")) }

// unsigned returns a token that asks to be believed.
func unsigned(t *testing.T) string {
	t.Helper()
	token, err := jwt.NewWithClaims(jwt.SigningMethodNone, claims()).SignedString(jwt.UnsafeAllowNoneSignatureType)
	check(t, err)
	return token
}

// sharedSecret returns a token that is signed with the public key, as if that were
// a secret.
func sharedSecret(t *testing.T) string {
	t.Helper()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims()).SignedString([]byte(dev().PublicKey("dev")))
	check(t, err)
	return token
}
