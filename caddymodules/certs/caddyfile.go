package certs

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/tapis-project/podway/caddymodules/internal/options"
)

func init() {
	options.Register("podway_certificates", func() caddyfile.Unmarshaler { return new(App) })
}

// UnmarshalCaddyfile sets up the app from the global option. Syntax:
//
//	podway_certificates {
//		tenants
//		pods_label     <label>
//		lazy_hosts
//		check_interval <duration>
//		session_tickets [<rotation interval>]
//		limits {
//			per_name    <number>
//			per_tenant  <number>
//			total       <number>
//			min_backoff <duration>
//			max_backoff <duration>
//		}
//	}
func (a *App) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return options.Each(d, a.unmarshalOption)
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
		return options.Duration(d, &a.CheckInterval)
	case "session_tickets":
		a.SessionTickets = new(SessionTickets)
		if d.CountRemainingArgs() == 0 {
			return nil
		}
		return options.Duration(d, &a.SessionTickets.RotationInterval)
	case "limits":
		return a.Limits.unmarshal(d)
	default:
		return d.Errf("unrecognized option %q of podway_certificates", name)
	}
}

func (l *Limits) unmarshal(d *caddyfile.Dispenser) error {
	numbers := map[string]*int{"per_name": &l.PerName, "per_tenant": &l.PerTenant, "total": &l.Total}
	durations := map[string]*caddy.Duration{"min_backoff": &l.MinBackoff, "max_backoff": &l.MaxBackoff}
	return options.Limits(d, numbers, durations)
}

// Interface guards
var _ caddyfile.Unmarshaler = (*App)(nil)
