package tapis

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// Options configure an [Identity]. Only TenantsURL is required.
type Options struct {
	// TenantsURL is the base URL of the Tapis whose /v3/tenants and /v3/sites are
	// read, for example "https://admin.tapis.io". Whoever answers there decides
	// which keys are trusted: outside development use https.
	TenantsURL string

	// Site is the site this service runs at. Service tokens must be made for it;
	// if it is empty they are all refused.
	Site string

	// Service is our own account, shown to the Security Kernel when it is asked
	// for roles, and with which OAuth2 clients are kept. Nil: the kernel is asked
	// without a token, and there are no clients.
	Service *ServiceAccount

	// Services names the service accounts that may act for users. Default: none.
	Services []string

	// AdminRoles are the roles of which one makes a user an admin of the pods of
	// the tenant. Default: pods_admin and PODS_ADMIN.
	AdminRoles []string

	// DevHosts are host names or addresses, without port, that belong to no
	// tenant: there the tenant of the token counts. For development, for example
	// localhost and 127.0.0.1. Default: none.
	DevHosts []string

	// RefreshWindow is the shortest time between two reads of the tenants.
	// Default: 90s.
	RefreshWindow time.Duration

	// MaxAge is how old the tenants may get before they are read again in the
	// background. It bounds how long a key that was withdrawn goes on being
	// accepted. Default: 15m.
	MaxAge time.Duration

	// RolesTTL is how long roles are remembered. Default: 60s.
	RolesTTL time.Duration

	// Transport makes the outbound calls, so that development and tests can
	// answer them in process. Default: one with a connect timeout of 3 s.
	Transport http.RoundTripper

	Now    func() time.Time // default: time.Now
	Logger *slog.Logger     // default: slog.Default()
}

// withDefaults returns o with its empty optional fields filled in.
func (o Options) withDefaults() Options {
	if len(o.AdminRoles) == 0 {
		o.AdminRoles = []string{"pods_admin", "PODS_ADMIN"}
	}
	o.RefreshWindow = cmp.Or(o.RefreshWindow, 90*time.Second)
	o.MaxAge = cmp.Or(o.MaxAge, 15*time.Minute)
	o.RolesTTL = cmp.Or(o.RolesTTL, time.Minute)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	if o.Transport == nil {
		o.Transport = newTransport()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Identity implements [pods.Identity] with Tapis. It is safe for concurrent use.
type Identity struct {
	site     string
	services []string
	devHosts []string

	client    *client
	directory *directory
	roles     *roles
	service   *serviceTokens // nil without a service account
	verified  *lru[tokenSum, verified]

	now func() time.Time
	log *slog.Logger
}

var _ pods.Identity = (*Identity)(nil)

// New returns an Identity, or an error if an option is wrong. It makes no call:
// the tenants are read when they are needed first.
func New(o Options) (*Identity, error) {
	base, err := parseBaseURL(o.TenantsURL)
	if err != nil {
		return nil, err
	}
	if err := o.Service.validate(o.Site); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	c := newClient(o.Transport)
	id := &Identity{
		site:      o.Site,
		client:    c,
		services:  slices.Clone(o.Services),
		directory: &directory{client: c, base: base, window: o.RefreshWindow, maxAge: o.MaxAge, now: o.Now, log: o.Logger},
		roles:     newRoles(c, o),
		verified:  newLRU[tokenSum, verified](maxVerified),
		now:       o.Now,
		log:       o.Logger,
	}
	if o.Service != nil {
		id.service = &serviceTokens{client: c, base: base, account: *o.Service, site: o.Site, now: o.Now}
		id.roles.service = id.service
	}
	for _, h := range o.DevHosts {
		id.devHosts = append(id.devHosts, hostName(h))
	}
	return id, nil
}

// Authenticate implements [pods.Identity]. The messages of its errors are those
// of the Tapis services.
func (i *Identity) Authenticate(ctx context.Context, c pods.Credential) (pods.Principal, error) {
	tok, err := i.verify(ctx, c.Token)
	if err != nil {
		return pods.Principal{}, err
	}
	if tok.Service {
		return i.actFor(ctx, tok, c.OnBehalfOfTenant, c.OnBehalfOfUser)
	}
	if c.OnBehalfOfTenant != "" || c.OnBehalfOfUser != "" {
		return pods.Principal{}, pods.Errorf(pods.Unauthorized, "Invalid request; cannot set OBO headers with a user token.")
	}
	t, err := i.tenantAt(ctx, c.Host, tok.Tenant)
	if err != nil {
		return pods.Principal{}, err
	}
	return pods.Principal{User: tok.User, Tenant: t}, nil
}

// VerifyToken verifies a user's access token that must belong to tenantID, as
// the login in front of a pod needs it. Unauthorized if the token is missing,
// unreadable, expired, of a service, not signed by its tenant, or from another
// token service than the tenant's; Forbidden if it belongs to another tenant;
// Unavailable if the tenant's key can't be had.
func (i *Identity) VerifyToken(ctx context.Context, token, tenantID string) (pods.Token, error) {
	tok, err := i.verify(ctx, token)
	switch {
	case err != nil:
		return pods.Token{}, err
	case tok.Service:
		return pods.Token{}, pods.Errorf(pods.Unauthorized, "Invalid Tapis token.")
	case tok.Tenant != tenantID:
		return pods.Token{}, wrongTenant(tok.Tenant, tenantID)
	}
	t, _, err := i.directory.tenant(ctx, tenantID)
	switch {
	case err != nil:
		return pods.Token{}, err
	case t == nil, t.issuer != "" && t.issuer != tok.issuer:
		return pods.Token{}, invalid(errors.New("the issuer is not the tenant's"))
	}
	return tok.Token, nil
}

// Admin implements [pods.Identity]: it asks the Security Kernel of the
// principal's tenant, at most once per [Options.RolesTTL], and is false when the
// kernel does not answer.
func (i *Identity) Admin(ctx context.Context, p pods.Principal) bool {
	s, err := i.directory.get(ctx)
	if err != nil {
		i.log.Warn("asking for roles failed, treating the user as no admin", "tenant", p.Tenant.ID, "error", err)
		return false
	}
	t, ok := s.tenants[p.Tenant.ID]
	if !ok {
		return false
	}
	return i.roles.admin(ctx, t, p.User)
}

// Tenant implements [pods.Identity]. Unavailable if the tenants were never read.
func (i *Identity) Tenant(ctx context.Context, id string) (pods.Tenant, error) {
	t, _, err := i.directory.tenant(ctx, id)
	if err != nil {
		return pods.Tenant{}, err
	}
	if t == nil {
		return pods.Tenant{}, pods.Errorf(pods.NotFound, "Tenant with identifier tenant_id: '%s' not found", id)
	}
	return t.Tenant, nil
}

// tenantAt resolves the tenant of a request that a user of tenant own makes to a
// host. It must be own: data of one tenant is never reached by another's host.
func (i *Identity) tenantAt(ctx context.Context, host, own string) (pods.Tenant, error) {
	if slices.Contains(i.devHosts, hostName(host)) {
		return i.Tenant(ctx, own)
	}
	t, err := i.directory.atHost(ctx, host)
	switch {
	case err != nil:
		return pods.Tenant{}, err
	case t == nil:
		return pods.Tenant{}, pods.Errorf(pods.Forbidden, "The host '%s' is not that of a tenant; use the base URL of the tenant '%s'.", host, own)
	case t.ID != own:
		return pods.Tenant{}, wrongTenant(own, t.ID)
	}
	return t.Tenant, nil
}

func wrongTenant(token, url string) *pods.Error {
	return pods.Errorf(pods.Forbidden, "The tenant_id claim in the token, %s does not match the URL tenant, %s.", token, url)
}
