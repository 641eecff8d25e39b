package pods

import (
	"context"
	"time"
)

// Token is what a verified access token says.
type Token struct {
	User    string // or the name of the service
	Tenant  string
	Service bool
	Expires time.Time
}

// LoginTenant is a tenant with what others need to verify its tokens.
type LoginTenant struct {
	Tenant

	Issuer    string // "iss" of its tokens; "": unknown
	PublicKey string // PEM
}

// OAuthClient is what the control plane is to the OAuth2 server of a tenant.
type OAuthClient struct {
	ID          string
	Key         string // secret
	CallbackURL string
	DisplayName string
}

// OAuthClientStore keeps the clients of the tenants, so that they are not made
// again.
type OAuthClientStore interface {
	// OAuthClient returns the client of a tenant. NotFound if there is none.
	OAuthClient(ctx context.Context, tenant string) (OAuthClient, error)

	// SetOAuthClient replaces the client of a tenant.
	SetOAuthClient(ctx context.Context, tenant string, c OAuthClient) error
}

// AccessTokenKind says how an access token is redeemed.
type AccessTokenKind string

// The kinds of access tokens.
const (
	AccessLink     AccessTokenKind = "link"     // by a secret in a URL
	AccessPassword AccessTokenKind = "password" // by a word that people tell each other
)

// AccessToken lets people without an account pass to the entries of a pod that
// have an access gate.
type AccessToken struct {
	ID        string
	Pod       Key
	Label     string
	Kind      AccessTokenKind
	CreatedBy string
	CreatedAt time.Time
	ExpiresAt *time.Time // nil: never
	MaxUses   int        // 0: no bound
	Revoked   bool

	// Hashes of the secret by networking key: the secret itself is not kept.
	Hashes map[string]string
}

// AccessTokenUses is how often an access token was redeemed.
type AccessTokenUses struct {
	Count int
	Last  time.Time // zero: never
}

// AccessTokenStore keeps the access tokens of pods. They are deleted with their
// pod.
type AccessTokenStore interface {
	// AddAccessToken writes a new token. NotFound if its pod is gone or has another
	// uid, Invalid if it has as many as [MaxAccessTokens] allows.
	AddAccessToken(ctx context.Context, uid string, t AccessToken) error

	// AccessTokens returns the tokens of a pod, the oldest first.
	AccessTokens(ctx context.Context, k Key) ([]AccessToken, error)

	// RevokeAccessToken ends a token for good. NotFound if there is none.
	RevokeAccessToken(ctx context.Context, k Key, id string) error
}

// MaxAccessTokens bounds the access tokens of a pod that are not revoked.
const MaxAccessTokens = 100
