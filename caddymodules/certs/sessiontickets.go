package certs

import (
	"errors"
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
)

// SessionTickets says how edges share the keys of TLS session tickets.
type SessionTickets struct {
	// How often a new key takes the place of the oldest of four. A ticket is good for
	// three times that at least. Default: 12h.
	RotationInterval caddy.Duration `json:"rotation_interval,omitempty"`
}

func (s *SessionTickets) check() error {
	if s != nil && s.RotationInterval < 0 {
		return errors.New("session_tickets: the rotation interval is negative")
	}
	return nil
}

// sharedSource is the setting of the app tls that makes [TicketKeys] its source.
var sharedSource = []byte(`{"provider":"podway"}`)

// shareTickets has the app tls take the keys of session tickets from the storage.
// Caddyfiles have no option for that. So a module that tls loads, whose context is
// given, changes the settings of tls before those of session tickets are looked at.
func (a *App) shareTickets(ctx caddy.Context) {
	if a.SessionTickets == nil {
		return
	}
	for _, m := range ctx.Modules() {
		if t, ok := m.(*caddytls.TLS); ok && t.SessionTickets == nil {
			t.SessionTickets = &caddytls.SessionTicketService{KeySource: sharedSource, RotationInterval: a.SessionTickets.RotationInterval}
		}
	}
}

// checkTickets makes sure that shareTickets was called if it is asked for.
func (a *App) checkTickets() error {
	if a.SessionTickets == nil {
		return nil
	}
	app, err := a.ctx.App("tls")
	if err != nil {
		return fmt.Errorf("loading tls app: %w", err)
	}
	if app.(*caddytls.TLS).SessionTickets == nil {
		return errors.New("session_tickets of podway_certificates needs on_demand_tls with permission podway")
	}
	return nil
}
