package certs

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3/acme"
)

func init() { caddy.RegisterModule(new(Issuer)) }

// Issuer orders wildcards from one issuer and certificates of hosts from another:
// a wildcard takes a challenge in the DNS of the installation, a custom domain one
// on the shared port. Names in a zone get its wildcard, never one of their own.
type Issuer struct {
	// Issuer of wildcards, usually acme with a DNS challenge. Without one none are
	// ordered.
	WildcardsRaw json.RawMessage `json:"wildcards,omitempty" caddy:"namespace=tls.issuance inline_key=module"`

	// Issuer of certificates for hosts. Without one none are ordered.
	HostsRaw json.RawMessage `json:"hosts,omitempty" caddy:"namespace=tls.issuance inline_key=module"`

	wildcards, hosts certmagic.Issuer
	app              *App
}

// errNoIssuer says that a kind of certificate is not ordered.
var errNoIssuer = errors.New("no issuer is configured for it")

// CaddyModule returns the Caddy module information.
func (*Issuer) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "tls.issuance.podway", New: func() caddy.Module { return new(Issuer) }}
}

// Provision loads the issuers, and finds the app that knows the zones.
func (i *Issuer) Provision(ctx caddy.Context) (err error) {
	if i.wildcards, err = load(ctx, i, "WildcardsRaw", i.WildcardsRaw); err != nil {
		return fmt.Errorf("loading issuer of wildcards: %w", err)
	}
	if i.hosts, err = load(ctx, i, "HostsRaw", i.HostsRaw); err != nil {
		return fmt.Errorf("loading issuer of hosts: %w", err)
	}
	if i.wildcards == nil && i.hosts == nil {
		return errors.New("the issuer podway needs an issuer of wildcards or of hosts")
	}
	i.app, err = appOf(ctx)
	return err
}

func load(ctx caddy.Context, i *Issuer, field string, raw json.RawMessage) (certmagic.Issuer, error) {
	if raw == nil {
		return nil, nil //nolint:nilnil // none is configured
	}
	v, err := ctx.LoadModule(i, field)
	if err != nil {
		return nil, err
	}
	return v.(certmagic.Issuer), nil
}

// SetConfig implements [caddytls.ConfigSetter]. It has names in a zone get the
// zone's wildcard, which certmagic does not know of.
func (i *Issuer) SetConfig(cfg *certmagic.Config) {
	cfg.SubjectTransformer = func(_ context.Context, name string) string { return i.app.zones.subject(name) }
	for _, inner := range i.all() {
		if s, ok := inner.(caddytls.ConfigSetter); ok {
			s.SetConfig(cfg)
		}
	}
}

func (i *Issuer) all() []certmagic.Issuer {
	var all []certmagic.Issuer
	for _, inner := range []certmagic.Issuer{i.hosts, i.wildcards} {
		if inner != nil {
			all = append(all, inner)
		}
	}
	return all
}

// issuerOf returns the issuer of a name, nil if none is configured.
func (i *Issuer) issuerOf(name string) certmagic.Issuer {
	if name != "" && name[0] == '*' {
		return i.wildcards
	}
	return i.hosts
}

// IssuerKey implements [certmagic.Issuer]. Both kinds are stored under the key of
// the issuer of hosts.
func (i *Issuer) IssuerKey() string { return i.all()[0].IssuerKey() }

// PreCheck implements [certmagic.PreChecker].
func (i *Issuer) PreCheck(ctx context.Context, names []string, interactive bool) error {
	for _, name := range names {
		inner := i.issuerOf(name)
		if inner == nil {
			return certmagic.ErrNoRetry{Err: fmt.Errorf("ordering a certificate for %s: %w", name, errNoIssuer)}
		}
		if p, ok := inner.(certmagic.PreChecker); ok {
			if err := p.PreCheck(ctx, []string{name}, interactive); err != nil {
				return err
			}
		}
	}
	return nil
}

// Issue implements [certmagic.Issuer].
func (i *Issuer) Issue(ctx context.Context, csr *x509.CertificateRequest) (*certmagic.IssuedCertificate, error) {
	if len(csr.DNSNames) != 1 {
		return nil, certmagic.ErrNoRetry{Err: fmt.Errorf("ordering a certificate: got %d names, want one", len(csr.DNSNames))}
	}
	inner := i.issuerOf(csr.DNSNames[0])
	if inner == nil {
		return nil, certmagic.ErrNoRetry{Err: fmt.Errorf("ordering a certificate for %s: %w", csr.DNSNames[0], errNoIssuer)}
	}
	cert, err := inner.Issue(ctx, csr)
	if err != nil {
		// The app tries again, as its limits have it.
		return nil, certmagic.ErrNoRetry{Err: err}
	}
	return cert, nil
}

// Revoke implements [certmagic.Revoker].
func (i *Issuer) Revoke(ctx context.Context, cert certmagic.CertificateResource, reason int) error {
	for _, name := range cert.SANs {
		if r, ok := i.issuerOf(name).(certmagic.Revoker); ok {
			return r.Revoke(ctx, cert, reason)
		}
	}
	return fmt.Errorf("revoking the certificate for %v: %w", cert.SANs, errNoIssuer)
}

// GetRenewalInfo implements [certmagic.RenewalInfoGetter].
func (i *Issuer) GetRenewalInfo(ctx context.Context, cert certmagic.Certificate) (acme.RenewalInfo, error) {
	for _, name := range cert.Names {
		if g, ok := i.issuerOf(name).(certmagic.RenewalInfoGetter); ok {
			return g.GetRenewalInfo(ctx, cert)
		}
	}
	return acme.RenewalInfo{}, errNoIssuer
}

// GetACMEIssuer returns the issuer of hosts if it is one of ACME, for the modules of
// Caddy that tell it its ports.
func (i *Issuer) GetACMEIssuer() *caddytls.ACMEIssuer {
	if a, ok := i.hosts.(interface {
		GetACMEIssuer() *caddytls.ACMEIssuer
	}); ok {
		return a.GetACMEIssuer()
	}
	return new(caddytls.ACMEIssuer) // whatever is set there has no effect
}

// UnmarshalCaddyfile sets up the module from Caddyfile tokens. Syntax:
//
//	podway {
//		wildcards <issuer> ...
//		hosts     <issuer> ...
//	}
func (i *Issuer) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume issuer name
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		kinds := map[string]*json.RawMessage{"wildcards": &i.WildcardsRaw, "hosts": &i.HostsRaw}
		raw, known := kinds[d.Val()]
		if !known {
			return d.Errf("unrecognized subdirective %q", d.Val())
		}
		if *raw != nil {
			return d.Errf("%s was given already", d.Val())
		}
		if !d.NextArg() {
			return d.ArgErr()
		}
		name := d.Val()
		inner, err := caddyfile.UnmarshalModule(d, "tls.issuance."+name)
		if err != nil {
			return err
		}
		*raw = caddyconfig.JSONModuleObject(inner, "module", name, nil)
	}
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Issuer)(nil)
	_ caddyfile.Unmarshaler       = (*Issuer)(nil)
	_ caddytls.ConfigSetter       = (*Issuer)(nil)
	_ certmagic.Issuer            = (*Issuer)(nil)
	_ certmagic.PreChecker        = (*Issuer)(nil)
	_ certmagic.Revoker           = (*Issuer)(nil)
	_ certmagic.RenewalInfoGetter = (*Issuer)(nil)
)
