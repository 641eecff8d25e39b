package tapis

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"time"

	"golang.org/x/sync/singleflight"
)

const (
	// maxRoleEntries bounds the users whose roles are remembered.
	maxRoleEntries = 4096

	// rolesRetry is how long an answer that failed counts: it keeps requests from
	// waiting for a kernel that is away, one after the other.
	rolesRetry = 5 * time.Second
)

// roles asks the Security Kernel who is an admin, and remembers.
type roles struct {
	client  *client
	service *serviceTokens // nil: ask without a token
	admins  []string       // roles that make an admin
	ttl     time.Duration
	now     func() time.Time
	log     *slog.Logger

	cache  *lru[roleKey, roleEntry]
	flight singleflight.Group
}

type roleKey struct{ tenant, user string }

// String cannot clash: a tenant's id holds no slash.
func (k roleKey) String() string { return k.tenant + "/" + k.user }

type roleEntry struct {
	admin bool
	until time.Time
}

func newRoles(c *client, o Options) *roles {
	return &roles{
		client: c,
		admins: slices.Clone(o.AdminRoles),
		ttl:    o.RolesTTL,
		now:    o.Now,
		log:    o.Logger,
		cache:  newLRU[roleKey, roleEntry](maxRoleEntries),
	}
}

// admin reports whether a user holds one of the admin roles in a tenant. False
// if the kernel does not answer, or if ctx ends before it does.
func (r *roles) admin(ctx context.Context, t *tenant, user string) bool {
	key := roleKey{t.ID, user}
	if e, ok := r.cache.get(key); ok && r.now().Before(e.until) {
		return e.admin
	}
	answer := r.flight.DoChan(key.String(), func() (any, error) {
		return r.ask(context.WithoutCancel(ctx), t, key), nil
	})
	select {
	case a := <-answer:
		return a.Val.(bool)
	case <-ctx.Done():
		return false
	}
}

// ask asks the kernel and remembers the answer.
func (r *roles) ask(ctx context.Context, t *tenant, key roleKey) bool {
	names, err := r.fetch(ctx, t, key.user)
	e := roleEntry{until: r.now().Add(r.ttl)}
	if err != nil {
		r.log.Warn("asking for roles failed, treating the user as no admin", "tenant", t.ID, "user", key.user, "error", err)
		e.until = r.now().Add(min(r.ttl, rolesRetry))
	}
	e.admin = slices.ContainsFunc(names, func(n string) bool { return slices.Contains(r.admins, n) })
	r.cache.add(key, e)
	return e.admin
}

// fetch returns the roles of a user.
func (r *roles) fetch(ctx context.Context, t *tenant, user string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	u := t.kernel + "/user/roles/" + url.PathEscape(user) + "?tenant=" + url.QueryEscape(t.ID)
	var result struct {
		Names []string `json:"names"`
	}
	if r.service == nil {
		err := r.client.get(ctx, u, &result)
		return result.Names, err
	}
	token, err := r.service.token(ctx)
	if err != nil {
		return nil, err
	}
	err = r.client.get(ctx, u, &result, r.service.sign(token))
	if s, ok := errors.AsType[statusError](err); ok && s == http.StatusUnauthorized {
		r.service.drop(token)
	}
	return result.Names, err
}
