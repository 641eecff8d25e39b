// Package options reads what the global options of the Caddyfile have in common: each
// configures one app, in a block of options that take a duration, a number, or a block
// of limits.
package options

import (
	"errors"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

// Register registers a global option that configures the app of the same name. It may
// be given once.
func Register(name string, newApp func() caddyfile.Unmarshaler) {
	httpcaddyfile.RegisterGlobalOption(name, func(d *caddyfile.Dispenser, existing any) (any, error) {
		if existing != nil {
			d.Next()
			return nil, d.Errf("the global option %s was given already", name)
		}
		app := newApp()
		if err := app.UnmarshalCaddyfile(d); err != nil {
			return nil, err
		}
		return httpcaddyfile.App{Name: name, Value: caddyconfig.JSON(app, nil)}, nil
	})
}

// Each calls read for each option in the block of a global option, which takes no
// argument itself. The name of the option is the dispenser's value.
func Each(d *caddyfile.Dispenser, read func(d *caddyfile.Dispenser) error) error {
	d.Next() // consume option name
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		if err := read(d); err != nil {
			return err
		}
	}
	return nil
}

// Duration reads the one argument of an option, such as 90s or 2d.
func Duration(d *caddyfile.Dispenser, p *caddy.Duration) error {
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

// Number reads the one argument of an option, a whole number.
func Number(d *caddyfile.Dispenser, p *int) error {
	name := d.Val()
	var s string
	if !d.AllArgs(&s) {
		return d.ArgErr()
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		return d.Errf("%s %q is not a number", name, s)
	}
	*p = n
	return nil
}

// Limits reads the block of an option: numbers and durations by their names.
func Limits(d *caddyfile.Dispenser, numbers map[string]*int, durations map[string]*caddy.Duration) error {
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		var err error
		if p, ok := durations[name]; ok {
			err = Duration(d, p)
		} else if p, ok := numbers[name]; ok {
			err = Number(d, p)
		} else {
			err = d.Errf("unrecognized limit %q", name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// App returns the app of that name in the running configuration, nil if it is not
// configured there.
func App[T any](ctx caddy.Context, name string) (*T, error) {
	app, err := ctx.AppIfConfigured(name)
	if errors.Is(err, caddy.ErrNotConfigured) {
		return nil, nil //nolint:nilnil // its callers ask whether there is one
	}
	if err != nil {
		return nil, err
	}
	return app.(*T), nil
}
