package gate

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("podway_gate", parseDirective)
	// The handler podway, which registers itself later, takes the same place and so
	// comes after this one.
	httpcaddyfile.RegisterDirectiveOrder("podway_gate", httpcaddyfile.Before, "reverse_proxy")
}

func parseDirective(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	handler := new(Handler)
	return handler, handler.UnmarshalCaddyfile(h.Dispenser)
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	podway_gate {
//		key                 <keys>
//		key_file            <file>
//		session_lifetime    <duration>
//		session_idle        <duration>
//		session_until_token
//		identity_headers    <names...>
//	}
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume directive name
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		if err := h.option(d); err != nil {
			return err
		}
	}
	return nil
}

func (h *Handler) option(d *caddyfile.Dispenser) error {
	switch d.Val() {
	case "key":
		return one(d, &h.Key)
	case "key_file":
		return one(d, &h.KeyFile)
	case "session_lifetime":
		return duration(d, &h.SessionLifetime)
	case "session_idle":
		return duration(d, &h.SessionIdle)
	case "session_until_token":
		h.SessionUntilToken = true
		if d.NextArg() {
			return d.ArgErr()
		}
	case "identity_headers":
		names := d.RemainingArgs()
		if len(names) == 0 {
			return d.ArgErr()
		}
		h.IdentityHeaders = append(h.IdentityHeaders, names...)
	default:
		return d.Errf("unrecognized subdirective %q", d.Val())
	}
	return nil
}

func one(d *caddyfile.Dispenser, to *string) error {
	if !d.AllArgs(to) {
		return d.ArgErr()
	}
	return nil
}

func duration(d *caddyfile.Dispenser, to *caddy.Duration) error {
	var s string
	if err := one(d, &s); err != nil {
		return err
	}
	t, err := caddy.ParseDuration(s)
	if err != nil {
		return d.Errf("parsing duration %q: %v", s, err)
	}
	*to = caddy.Duration(t)
	return nil
}

// Interface guards
var _ caddyfile.Unmarshaler = (*Handler)(nil)
