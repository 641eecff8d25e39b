package login

import (
	"context"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/routes/redisgate"
)

const (
	// keepEvery is how often tenants are published again, and clients that are
	// missing are tried.
	keepEvery = 30 * time.Second

	// checkEvery is how often Tapis is asked whether it still has a client.
	checkEvery = 5 * time.Minute
)

// checked is when a tenant's client was looked at last.
type checked struct {
	at   time.Time
	fine bool
}

// Run publishes the tenants, has the uses of shares counted, and makes Tapis have our
// client in those of our site, until ctx ends. Every control plane may run it: all do the same.
func (s *Service) Run(ctx context.Context) error {
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	for {
		s.Keep(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Keep does once what [Service.Run] does again and again. Failures are logged; what
// was published or made before stays.
func (s *Service) Keep(ctx context.Context) {
	if err := s.Gate.BeginCounting(ctx); err != nil {
		s.Logger.Warn("links that may be used a number of times may not work", "error", err)
	}
	tenants, err := s.Tapis.LoginTenants(ctx)
	if err != nil {
		s.Logger.Warn("tenants are not known, nobody new can log in", "error", err)
		return
	}
	if err := s.publish(ctx, tenants); err != nil {
		s.Logger.Warn("publishing tenants for logins failed", "error", err)
	}
	for _, t := range tenants {
		if t.Site == s.Site && ctx.Err() == nil {
			s.keepClient(ctx, t.Tenant)
		}
	}
}

// publish tells the edges what they need to know of the tenants. They use it
// while we are away.
func (s *Service) publish(ctx context.Context, tenants []pods.LoginTenant) error {
	all := make([]redisgate.Tenant, 0, len(tenants))
	for _, t := range tenants {
		all = append(all, redisgate.Tenant{
			ID: t.ID, SiteID: t.Site, Issuer: t.Issuer, PublicKeys: []string{t.PublicKey}, LoginURL: t.BaseURL,
		})
	}
	return s.Gate.SetTenants(ctx, all)
}

// keepClient makes sure of the client of a tenant, now and then.
func (s *Service) keepClient(ctx context.Context, t pods.Tenant) {
	last := s.checked[t.ID]
	if last.fine && s.Now().Sub(last.at) < checkEvery {
		return
	}
	err := s.ensureClient(ctx, t)
	s.checked[t.ID] = checked{at: s.Now(), fine: err == nil}
	if err != nil {
		s.Logger.Warn("the OAuth2 client of a tenant is not kept", "tenant", t.ID, "error", err)
	}
}

func (s *Service) ensureClient(ctx context.Context, t pods.Tenant) error {
	got, err := s.Tapis.EnsureClient(ctx, t.ID, pods.OAuthClient{
		ID: clientID(s.Site, t.ID), CallbackURL: t.BaseURL + callbackPath, DisplayName: "Tapis Pods",
	})
	if err != nil {
		return err
	}
	has, err := s.Store.OAuthClient(ctx, t.ID)
	if err == nil && has.ID == got.ID && has.Key == got.Key && has.CallbackURL == got.CallbackURL {
		return nil
	}
	// Also where it can't be read: the key may be of another keyring.
	s.Logger.Info("keeping the OAuth2 client of a tenant", "tenant", t.ID, "client_id", got.ID)
	return s.Store.SetOAuthClient(ctx, t.ID, got)
}

// clientID names the client of a tenant.
func clientID(site, tenant string) string { return "PODS-SERVICE-" + site + "-" + tenant }
