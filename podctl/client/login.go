package client

import (
	"context"
	"net/http"
	"time"
)

// Token is an access token.
type Token struct {
	AccessToken string    `json:"access_token"`
	ExpiresAt   time.Time `json:"expires_at"`
}

// Login exchanges a name and a password for a token. The client itself does not
// use it: make another one.
func (c *Client) Login(ctx context.Context, username, password string) (Token, error) {
	type tokens struct {
		AccessToken Token `json:"access_token"`
	}
	t, err := call[tokens](ctx, c, http.MethodPost, "/oauth2/tokens", map[string]string{
		"username": username, "password": password, "grant_type": "password",
	})
	return t.AccessToken, err
}
