package main

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tapis-project/podway/controlplane/internal/certificates"
	"github.com/tapis-project/podway/controlplane/internal/config"
	"github.com/tapis-project/podway/controlplane/internal/domains"
	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// domainOptions say how custom domains are checked.
type domainOptions struct {
	servers []string
	recheck time.Duration
}

func newDomainOptions(c config.Config) domainOptions {
	return domainOptions{servers: c.DNSServers, recheck: time.Duration(c.DomainRecheck) * time.Second}
}

// withCertificates returns what the leader does: run, and beside it the lines that
// action logs get about certificates.
func (p parts) withCertificates(run func(context.Context) error, certs *certificates.Watcher) func(context.Context) error {
	return func(ctx context.Context) error {
		group, ctx := errgroup.WithContext(ctx)
		group.Go(func() error { return run(ctx) })
		group.Go(func() error { return certs.Report(ctx, certificates.Reports{Store: p.store, Tenants: p.identity}) })
		return group.Wait()
	}
}

// withDomains returns what the leader does: run, and beside it the checks of
// custom domains. Routes follow at once that way: the process that finds a proof
// is the one that publishes.
func (p parts) withDomains(run func(context.Context) error, changed func(pods.Key)) func(context.Context) error {
	resolver, err := domains.NewResolver(domains.ResolverOptions{Servers: p.domains.servers})
	if err != nil {
		p.log.Warn("custom domains are not checked; set PODWAY_DNS_SERVERS", "error", err)
		return run
	}
	recheck := p.domains.recheck
	verifier := domains.New(domains.Deps{
		Store: p.store, Tenants: p.identity, DNS: resolver, Changed: changed, Logger: p.log,
		// Who wants to know sooner about a verified name is as impatient with others.
		Settings: domains.Settings{Recheck: recheck, MaxBackoff: recheck},
	})
	return func(ctx context.Context) error {
		group, ctx := errgroup.WithContext(ctx)
		group.Go(func() error { return run(ctx) })
		group.Go(func() error { return verifier.Run(ctx) })
		return group.Wait()
	}
}
