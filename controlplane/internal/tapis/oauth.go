package tapis

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// clientOwner is the user who owns our OAuth2 clients, in every tenant.
const clientOwner = "_tapis_pods"

// EnsureClient makes the authenticator of a tenant know an OAuth2 client of ours
// with this id and callback URL, and returns it with its key. It takes the service
// account; without one it is Unavailable. It is for our own time, never for a
// request of somebody unknown.
func (i *Identity) EnsureClient(ctx context.Context, tenantID string, want pods.OAuthClient) (pods.OAuthClient, error) {
	t, err := i.loginTenant(ctx, tenantID)
	if err != nil {
		return pods.OAuthClient{}, err
	}
	if i.service == nil {
		return pods.OAuthClient{}, pods.Errorf(pods.Unavailable, "There is no service account to keep OAuth2 clients with.")
	}
	token, err := i.service.token(ctx)
	if err != nil {
		return pods.OAuthClient{}, err
	}
	c := clientsAPI{i.client, t.authenticator + "/clients", i.service.signFor(token, tenantID, clientOwner)}
	got, err := c.ensure(ctx, want)
	if e, ok := errors.AsType[statusError](err); ok && (e == http.StatusUnauthorized || e == http.StatusForbidden) {
		i.service.drop(token)
	}
	if err != nil {
		return pods.OAuthClient{}, fmt.Errorf("keeping the OAuth2 client of tenant %s: %w", tenantID, err)
	}
	return got, nil
}

// clientsAPI is where the authenticator keeps clients.
type clientsAPI struct {
	client *client
	url    string
	sign   func(*http.Request)
}

// clientRecord is a client as the authenticator sends and takes it.
type clientRecord struct {
	ID          string `json:"client_id,omitempty"`
	Key         string `json:"client_key,omitempty"`
	CallbackURL string `json:"callback_url"`
	DisplayName string `json:"display_name"`
	Description string `json:"description,omitempty"`
}

func (c clientsAPI) ensure(ctx context.Context, want pods.OAuthClient) (pods.OAuthClient, error) {
	var has clientRecord
	err := c.client.get(ctx, c.of(want.ID), &has, c.sign)
	// Authenticators answer 400 or 404 for a client they do not have.
	if e, ok := errors.AsType[statusError](err); ok && (e == http.StatusNotFound || e == http.StatusBadRequest) {
		has, err = c.create(ctx, want)
	}
	if err == nil && has.CallbackURL != want.CallbackURL {
		has, err = c.update(ctx, want, has.Key)
	}
	if err != nil {
		return pods.OAuthClient{}, err
	}
	if has.Key == "" {
		return pods.OAuthClient{}, errors.New("the authenticator shows no key")
	}
	want.Key = has.Key
	return want, nil
}

func (c clientsAPI) of(id string) string { return c.url + "/" + url.PathEscape(id) }

// create makes the client. If it is there all the same, it is changed.
func (c clientsAPI) create(ctx context.Context, want pods.OAuthClient) (clientRecord, error) {
	var made clientRecord
	err := c.client.post(ctx, c.url, clientRecord{
		ID: want.ID, CallbackURL: want.CallbackURL, DisplayName: want.DisplayName, Description: want.DisplayName,
	}, &made, c.sign)
	if _, ok := errors.AsType[takenError](err); ok {
		return c.update(ctx, want, "")
	}
	return made, err
}

// update changes what may be changed. The key is looked up unless it is known.
func (c clientsAPI) update(ctx context.Context, want pods.OAuthClient, key string) (clientRecord, error) {
	var now clientRecord
	change := clientRecord{CallbackURL: want.CallbackURL, DisplayName: want.DisplayName}
	if err := c.client.put(ctx, c.of(want.ID), change, &now, c.sign); err != nil {
		return clientRecord{}, err
	}
	if key == "" {
		return now, c.client.get(ctx, c.of(want.ID), &now, c.sign)
	}
	now.Key, now.CallbackURL = key, want.CallbackURL
	return now, nil
}

// AuthorizeURL returns where a browser is sent to log in and consent, with q for
// its query. NotFound if there is no such tenant.
func (i *Identity) AuthorizeURL(ctx context.Context, tenantID string, q url.Values) (string, error) {
	t, err := i.loginTenant(ctx, tenantID)
	if err != nil {
		return "", err
	}
	return t.authenticator + "/authorize?" + q.Encode(), nil
}

// ExchangeCode exchanges the code of a login for the user's access token. An error
// that is [pods.Invalid] means that the authenticator refused it.
func (i *Identity) ExchangeCode(ctx context.Context, tenantID string, c pods.OAuthClient, code, verifier string) (token string, err error) {
	t, err := i.loginTenant(ctx, tenantID)
	if err != nil {
		return "", err
	}
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {c.CallbackURL}, "code_verifier": {verifier},
	}
	var result struct {
		AccessToken struct {
			Token string `json:"access_token"`
		} `json:"access_token"`
	}
	err = i.client.call(ctx, http.MethodPost, t.authenticator+"/tokens", []byte(form.Encode()), &result, func(r *http.Request) {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.SetBasicAuth(c.ID, c.Key)
	})
	if e, ok := errors.AsType[statusError](err); ok && e >= 400 && e < 500 {
		return "", &pods.Error{Code: pods.Invalid, Messages: []string{"The login was refused. Please try again."}, Cause: err}
	}
	if err == nil && strings.TrimSpace(result.AccessToken.Token) == "" {
		err = errors.New("the answer has no token")
	}
	if err != nil {
		return "", fmt.Errorf("exchanging the code of a login: %w", err)
	}
	return result.AccessToken.Token, nil
}

func (i *Identity) loginTenant(ctx context.Context, id string) (*tenant, error) {
	t, _, err := i.directory.tenant(ctx, id)
	if err != nil {
		return nil, err
	}
	if t == nil {
		return nil, pods.Errorf(pods.NotFound, "Tenant with identifier tenant_id: '%s' not found", id)
	}
	return t, nil
}
