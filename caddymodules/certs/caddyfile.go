package certs

import (
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

func init() { httpcaddyfile.RegisterGlobalOption("podway_certificates", parseOption) }

// parseOption reads the global option podway_certificates.
func parseOption(d *caddyfile.Dispenser, existing any) (any, error) {
	if existing != nil {
		d.Next()
		return nil, d.Err("the global option podway_certificates was given already")
	}
	app := new(App)
	if err := app.UnmarshalCaddyfile(d); err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: "podway_certificates", Value: caddyconfig.JSON(app, nil)}, nil
}

// UnmarshalCaddyfile sets up the app from the global option. Syntax:
//
//	podway_certificates {
//		tenants
//		pods_label     <label>
//		lazy_hosts
//		check_interval <duration>
//		limits {
//			per_name    <number>
//			per_tenant  <number>
//			total       <number>
//			min_backoff <duration>
//			max_backoff <duration>
//		}
//	}
func (a *App) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume option name
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		if err := a.unmarshalOption(d); err != nil {
			return err
		}
	}
	return nil
}

func (a *App) unmarshalOption(d *caddyfile.Dispenser) error {
	switch name := d.Val(); name {
	case "tenants", "lazy_hosts":
		if d.NextArg() {
			return d.ArgErr()
		}
		a.Tenants, a.LazyHosts = a.Tenants || name == "tenants", a.LazyHosts || name == "lazy_hosts"
		return nil
	case "pods_label":
		if !d.AllArgs(&a.PodsLabel) {
			return d.ArgErr()
		}
		return nil
	case "check_interval":
		return unmarshalDuration(d, &a.CheckInterval)
	case "limits":
		return a.Limits.unmarshal(d)
	default:
		return d.Errf("unrecognized option %q of podway_certificates", name)
	}
}

func (l *Limits) unmarshal(d *caddyfile.Dispenser) error {
	numbers := map[string]*int{"per_name": &l.PerName, "per_tenant": &l.PerTenant, "total": &l.Total}
	durations := map[string]*caddy.Duration{"min_backoff": &l.MinBackoff, "max_backoff": &l.MaxBackoff}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		if p, ok := durations[name]; ok {
			if err := unmarshalDuration(d, p); err != nil {
				return err
			}
			continue
		}
		p, ok := numbers[name]
		if !ok {
			return d.Errf("unrecognized limit %q", name)
		}
		var s string
		if !d.AllArgs(&s) {
			return d.ArgErr()
		}
		n, err := strconv.Atoi(s)
		if err != nil {
			return d.Errf("%s %q is not a number", name, s)
		}
		*p = n
	}
	return nil
}

func unmarshalDuration(d *caddyfile.Dispenser, p *caddy.Duration) error {
	name := d.Val()
	var s string
	if !d.AllArgs(&s) {
		return d.ArgErr()
	}
	v, err := caddy.ParseDuration(s)
	if err != nil {
		return d.Errf("%s: %v", name, err)
	}
	*p = caddy.Duration(v)
	return nil
}

// Interface guards
var _ caddyfile.Unmarshaler = (*App)(nil)
