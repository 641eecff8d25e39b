package login

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/routes/redisgate"
)

// callbackPath is where Tapis sends browsers, below a tenant's base URL.
const callbackPath = "/v3/pods/auth/callback"

// Tapis is what logins need of Tapis.
type Tapis interface {
	// LoginTenants returns all tenants whose tokens can be verified.
	LoginTenants(ctx context.Context) ([]pods.LoginTenant, error)

	// TenantAt returns the tenant whose API a host is. NotFound if it is none's.
	TenantAt(ctx context.Context, host string) (pods.Tenant, error)

	// EnsureClient makes an OAuth2 client, or changes the one of that id, and
	// returns it with its key.
	EnsureClient(ctx context.Context, tenant string, want pods.OAuthClient) (pods.OAuthClient, error)

	// AuthorizeURL returns where a browser logs in, with q for its query.
	AuthorizeURL(ctx context.Context, tenant string, q url.Values) (string, error)

	// ExchangeCode returns the access token of a login. Invalid if it is refused.
	ExchangeCode(ctx context.Context, tenant string, c pods.OAuthClient, code, verifier string) (string, error)

	// VerifyToken verifies a user's access token of a tenant.
	VerifyToken(ctx context.Context, token, tenant string) (pods.Token, error)
}

// Store is what logins keep.
type Store interface {
	pods.OAuthClientStore
	pods.AccessTokenStore
}

// Options are the parts of a [Service]. Those without a default are required.
type Options struct {
	Tapis Tapis
	Store Store
	Gate  *redisgate.Store

	// Route returns the published route of a host, and false if there is none.
	Route func(ctx context.Context, host string) (routes.Route, bool, error)

	// EdgePort is the port of the edges. Default: 443.
	EdgePort int

	// Site is the one whose tenants get an OAuth2 client.
	Site string

	Now    func() time.Time // default: time.Now
	Logger *slog.Logger     // default: slog.Default()
}

// Service logs visitors in. Make one with [New]. It is safe for concurrent use.
type Service struct {
	Options

	checked map[string]checked // by tenant; used by Run only
}

// New returns a Service. It does no I/O.
func New(o Options) (*Service, error) {
	if o.Tapis == nil || o.Store == nil || o.Gate == nil || o.Route == nil {
		return nil, errors.New("creating login: it needs Tapis, a store, a gate and routes")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Logger = cmp.Or(o.Logger, slog.Default())
	return &Service{Options: o, checked: map[string]checked{}}, nil
}

// LogoutEverywhere ends all sessions of a user, at all pods.
func (s *Service) LogoutEverywhere(ctx context.Context, tenant, user string) error {
	if err := s.Gate.LogoutEverywhere(ctx, tenant, user); err != nil {
		return &pods.Error{Code: pods.Unavailable, Messages: []string{"The sessions could not be ended. Please try again."}, Cause: err}
	}
	return nil
}

// LoginURL returns where a person logs in to the pod at a host: at that host.
// NotFound if there is no pod behind it that asks for a login of the tenant whose
// API is at apiHost.
func (s *Service) LoginURL(ctx context.Context, apiHost, pod, net string) (string, error) {
	return s.placeAt(ctx, apiHost, pod, net, "login", func(r routes.Route) bool { return r.Gate != nil })
}

// ShareURL returns where people use a link or a password for the pod at a host: at
// that host. NotFound if there is no pod behind it that is shared, of the tenant
// whose API is at apiHost.
func (s *Service) ShareURL(ctx context.Context, apiHost, pod, net string) (string, error) {
	return s.placeAt(ctx, apiHost, pod, net, "share", func(r routes.Route) bool { return r.AccessGate != nil })
}

// placeAt returns the address of a page of the edge at a pod's host, which has to
// have a route that asks for it.
func (s *Service) placeAt(ctx context.Context, apiHost, pod, net, page string, asks func(routes.Route) bool) (string, error) {
	t, err := s.Tapis.TenantAt(ctx, apiHost)
	if err != nil {
		return "", err
	}
	host := routes.PodHost(t.Domain(), pod, net)
	there, err := s.routed(ctx, t.ID, host, asks)
	switch {
	case err != nil:
		return "", &pods.Error{Code: pods.Unavailable, Messages: []string{"The login is not available. Please try again."}, Cause: err}
	case !there:
		return "", pods.Errorf(pods.NotFound, "There is no pod that asks for a %s at '%s'", page, host)
	}
	return "https://" + host + port(strconv.Itoa(cmp.Or(s.EdgePort, 443))) + "/.podway/" + page, nil
}

// gated reports whether a host leads to a pod of a tenant that asks for a login.
func (s *Service) gated(ctx context.Context, tenant, host string) (bool, error) {
	return s.routed(ctx, tenant, host, func(r routes.Route) bool { return r.Gate != nil })
}

// routed reports whether a host has a route of a tenant that asks for something.
func (s *Service) routed(ctx context.Context, tenant, host string, asks func(routes.Route) bool) (bool, error) {
	if routes.NormalizeHost(host) != host || host == "" {
		return false, nil
	}
	r, ok, err := s.Route(ctx, host)
	if err != nil {
		return false, fmt.Errorf("looking up route: %w", err)
	}
	return ok && r.Tenant == tenant && asks(r), nil
}
