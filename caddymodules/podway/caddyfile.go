package podway

import (
	"slices"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/tapis-project/podway/caddymodules/internal/options"
)

func init() { options.Register("podway", func() caddyfile.Unmarshaler { return new(App) }) }

// UnmarshalCaddyfile sets up the app from the global option. Syntax:
//
//	podway {
//		redis               <url>
//		insecure_redis
//		namespace           <name>
//		snapshot            <file>
//		upstreams           <cidrs...>
//		proxy_protocol_from <cidrs...>
//		certificates        <names...>
//		postgres_zones      <domains...>
//		root_ca_file        <file>
//		grace_period        <duration>
//		handover            <path>
//		park_after          <duration>|off
//		records {
//			log
//			stream [<entries>]
//			requests
//			edge   <name>
//		}
//		limits {
//			open_timeout    <duration>
//			dial_timeout    <duration>
//			max_open_bytes  <number>
//			max_connections <number>
//			max_handshakes  <number>
//			max_per_client  <number>
//			new_per_second  <number>
//			new_burst       <number>
//			max_per_pod     <number>
//			max_per_tenant  <number>
//		}
//	}
func (a *App) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return options.Each(d, a.unmarshalOption)
}

func (a *App) unmarshalOption(d *caddyfile.Dispenser) error {
	texts := map[string]*string{
		"redis": &a.Redis, "namespace": &a.Namespace, "snapshot": &a.Snapshot, "root_ca_file": &a.RootCAFile, "handover": &a.Handover,
	}
	lists := map[string]*[]string{
		"upstreams": &a.Upstreams, "proxy_protocol_from": &a.ProxyProtocolFrom, "certificates": &a.Certificates, "postgres_zones": &a.PostgresZones,
	}
	name := d.Val()
	if p, ok := texts[name]; ok {
		if !d.AllArgs(p) {
			return d.ArgErr()
		}
		return nil
	}
	if p, ok := lists[name]; ok {
		args := d.RemainingArgs()
		if len(args) == 0 {
			return d.ArgErr()
		}
		*p = append(*p, args...)
		return nil
	}
	switch name {
	case "insecure_redis":
		a.InsecureRedis = true
		if d.NextArg() {
			return d.ArgErr()
		}
		return nil
	case "grace_period":
		return options.Duration(d, &a.GracePeriod)
	case "park_after":
		return a.unmarshalParkAfter(d)
	case "records":
		return a.Records.unmarshal(d)
	case "limits":
		return a.Limits.unmarshal(d)
	default:
		return d.Errf("unrecognized option %q of podway", name)
	}
}

func (a *App) unmarshalParkAfter(d *caddyfile.Dispenser) error {
	if d.CountRemainingArgs() != 1 {
		return d.ArgErr()
	}
	d.NextArg()
	if d.Val() == "off" {
		a.ParkAfter = -1
		return nil
	}
	v, err := caddy.ParseDuration(d.Val())
	if err != nil {
		return d.Errf("park_after: %v", err)
	}
	a.ParkAfter = caddy.Duration(v)
	return nil
}

func (r *Records) unmarshal(d *caddyfile.Dispenser) error {
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name, args := d.Val(), d.RemainingArgs()
		switch {
		case name == "log" && len(args) == 0:
			r.Log = true
		case name == "stream" && len(args) == 0:
			r.Stream = DefaultStream
		case name == "stream" && len(args) == 1:
			n, err := strconv.Atoi(args[0])
			if err != nil {
				return d.Errf("stream %q is not a number", args[0])
			}
			r.Stream = n
		case name == "requests" && len(args) == 0:
			r.Requests = true
		case name == "edge" && len(args) == 1:
			r.Edge = args[0]
		case slices.Contains([]string{"log", "stream", "requests", "edge"}, name):
			return d.ArgErr()
		default:
			return d.Errf("unrecognized option %q of records", name)
		}
	}
	return nil
}

func (l *Limits) unmarshal(d *caddyfile.Dispenser) error {
	numbers := l.byName()
	durations := map[string]*caddy.Duration{"open_timeout": &l.OpenTimeout, "dial_timeout": &l.DialTimeout}
	return options.Limits(d, numbers, durations)
}

// Interface guards
var _ caddyfile.Unmarshaler = (*App)(nil)
