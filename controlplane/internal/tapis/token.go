package tapis

import (
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

const (
	// maxTokenBytes bounds what is parsed at all. Real tokens have about 1 KiB.
	maxTokenBytes = 16 << 10

	// maxVerified bounds the tokens that are remembered as verified. A token
	// lives 4 h, and a busy installation has some hundred users in that time.
	maxVerified = 4096

	// maxUserBytes bounds the name of a user.
	maxUserBytes = 128
)

// claims are the claims of a Tapis token that we read.
type claims struct {
	jwt.RegisteredClaims

	TenantID    string `json:"tapis/tenant_id"`
	Username    string `json:"tapis/username"`
	TokenType   string `json:"tapis/token_type"`   // "access" or "refresh"
	AccountType string `json:"tapis/account_type"` // "user" or "service"
	TargetSite  string `json:"tapis/target_site"`  // of service tokens only
}

// Validate is called by the parser after the signature and the times held.
func (c *claims) Validate() error {
	switch {
	case len(c.Audience) > 0:
		// It was made for somebody in particular, and nobody makes tokens for us.
		return errors.New("the token has an audience")
	case c.TokenType != "access":
		return fmt.Errorf("tapis/token_type is %q, not \"access\"", c.TokenType)
	case c.AccountType != "user" && c.AccountType != "service":
		return fmt.Errorf("tapis/account_type is %q, not \"user\" or \"service\"", c.AccountType)
	}
	return validateUser(c.Username)
}

// validateUser refuses names that mean something else where permissions are
// kept ("*" and "TENANT" stand for everyone, "tenant.x" for another tenant) or
// that would garble a log line.
func validateUser(name string) error {
	odd := func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) || r == '*' }
	switch {
	case name == "":
		return errors.New("the user name is empty")
	case len(name) > maxUserBytes:
		return fmt.Errorf("the user name has %d bytes, at most %d are allowed", len(name), maxUserBytes)
	case name == "TENANT", strings.HasPrefix(name, "tenant."), strings.ContainsFunc(name, odd):
		return fmt.Errorf("the user name %q is not allowed", name)
	}
	return nil
}

// tokenSum is the hash of a token: tokens themselves are not kept.
type tokenSum [sha256.Size]byte

// verified is a token that passed, and the key that signed it: it is as good as
// new while the tenant has that key and the token lives.
type verified struct {
	pods.Token

	targetSite string
	issuer     string
	key        keyID
}

// verify checks everything about a token that does not depend on the request.
func (i *Identity) verify(ctx context.Context, token string) (verified, error) {
	if token == "" {
		return verified{}, pods.Errorf(pods.Unauthorized, "No Tapis access token found in the request.")
	}
	if len(token) > maxTokenBytes {
		return verified{}, unparsable(fmt.Errorf("the token has %d bytes", len(token)))
	}
	sum := tokenSum(sha256.Sum256([]byte(token)))
	if v, ok := i.verified.get(sum); ok && i.stillGood(ctx, v) {
		return v, nil
	}
	unverified, err := readUnverified(token)
	if err != nil {
		return verified{}, err
	}
	t, s, err := i.directory.tenant(ctx, unverified.TenantID)
	if err != nil {
		return verified{}, err
	}
	if t == nil {
		return verified{}, pods.Errorf(pods.Unauthorized, "Unable to process Tapis token; unexpected tenant_id.")
	}
	c, err := i.check(token, t)
	if t.key == nil || errors.Is(err, jwt.ErrTokenSignatureInvalid) {
		t, c, err = i.checkAgain(ctx, token, t, s, err)
	}
	if err != nil {
		return verified{}, err
	}
	v := verified{
		Token: pods.Token{
			User: c.Username, Tenant: t.ID,
			Service: c.AccountType == "service", Expires: c.ExpiresAt.Time,
		},
		targetSite: c.TargetSite,
		issuer:     c.Issuer,
		key:        t.keyID,
	}
	i.verified.add(sum, v)
	return v, nil
}

// stillGood reports whether a remembered token may be used without looking at
// its signature again.
func (i *Identity) stillGood(ctx context.Context, v verified) bool {
	if !i.now().Before(v.Expires) {
		return false
	}
	s, err := i.directory.get(ctx)
	if err != nil {
		return false
	}
	t, ok := s.tenants[v.Tenant]
	return ok && t.key != nil && t.keyID == v.key
}

// readUnverified reads the claims, to learn whose key to check the token with.
func readUnverified(token string) (*claims, error) {
	var c claims
	parsed, _, err := jwt.NewParser().ParseUnverified(token, &c)
	if err != nil && !errors.Is(err, jwt.ErrTokenUnverifiable) {
		return nil, unparsable(err)
	}
	// Refused before any key is looked up: with another algorithm the public key
	// could be taken for a shared secret.
	if parsed.Method != jwt.SigningMethodRS256 {
		return nil, invalid(fmt.Errorf("the algorithm is %v, not RS256", parsed.Header["alg"]))
	}
	return &c, nil
}

// check verifies a token with the key of its tenant.
func (i *Identity) check(token string, t *tenant) (*claims, error) {
	if t.key == nil {
		return nil, pods.Errorf(pods.Unavailable, "Unable to process Tapis token; no public key associated with the tenant_id.")
	}
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodRS256.Alg()}),
		jwt.WithExpirationRequired(),
		jwt.WithTimeFunc(i.now),
	)
	var c claims
	if _, err := parser.ParseWithClaims(token, &c, func(*jwt.Token) (any, error) { return t.key, nil }); err != nil {
		return nil, invalid(err)
	}
	return &c, nil
}

// checkAgain reads the tenants once more, because keys rotate, and repeats a
// check that failed with the key of snapshot old. Where there is no other key it
// returns the old failure.
func (i *Identity) checkAgain(ctx context.Context, token string, t *tenant, old *snapshot, failure error) (*tenant, *claims, error) {
	fresh := i.directory.refresh(ctx)
	if fresh == nil || fresh == old {
		return nil, nil, failure
	}
	now, ok := fresh.tenants[t.ID]
	if !ok || now.keyID == t.keyID {
		return nil, nil, failure
	}
	c, err := i.check(token, now)
	return now, c, err
}

func unparsable(cause error) *pods.Error {
	return &pods.Error{Code: pods.Unauthorized, Messages: []string{"Could not parse the Tapis access token."}, Cause: cause}
}

func invalid(cause error) *pods.Error {
	return &pods.Error{Code: pods.Unauthorized, Messages: []string{"Invalid Tapis token."}, Cause: cause}
}

// keyID is the hash of a public key; the zero value stands for no key.
type keyID [sha256.Size]byte

// parseKey reads a tenant's public key.
func parseKey(pem string) (*rsa.PublicKey, keyID, error) {
	key, err := jwt.ParseRSAPublicKeyFromPEM([]byte(pem))
	if err != nil {
		return nil, keyID{}, fmt.Errorf("reading public key: %w", err)
	}
	return key, keyID(sha256.Sum256([]byte(pem))), nil
}
