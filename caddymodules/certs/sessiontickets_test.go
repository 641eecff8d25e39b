package certs

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddytls"

	"github.com/tapis-project/podway/routes/keytext"
	"github.com/tapis-project/podway/tests/parts"
)

func TestTheAppTLSTakesTheKeysOfSessionTicketsFromTheStorage(t *testing.T) {
	r, key := parts.StartRedis(t), keytext.New()
	const permission = `"automation":{"on_demand":{"permission":{"module":"podway"}}}`
	for name, tt := range map[string]struct {
		certificates, tls string
		want              time.Duration // between rotations; 0: there are no settings
		refused           bool
	}{
		"by default it does not":         {`{}`, permission, 0, false},
		"with the option it does":        {`{"session_tickets":{}}`, permission, 12 * time.Hour, false},
		"as often as it is asked to":     {`{"session_tickets":{"rotation_interval":"6h"}}`, permission, 6 * time.Hour, false},
		"settings of its own go before":  {`{"session_tickets":{}}`, permission + `,"session_tickets":{"key_source":{"provider":"podway"},"rotation_interval":"1h"}`, time.Hour, false},
		"without permission it can't be": {`{"session_tickets":{}}`, ``, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			text := fmt.Sprintf(`{"admin":{"disabled":true},"storage":{"module":"podway_redis","key":%q},"apps":{"podway":{"redis":"redis://%s"},"podway_certificates":%s,"tls":{%s}}}`,
				key, r.Addr, tt.certificates, tt.tls)
			var cfg caddy.Config
			if err := json.Unmarshal([]byte(text), &cfg); err != nil {
				t.Fatal(err)
			}
			ctx, err := caddy.ProvisionContext(&cfg)
			if err != nil {
				t.Fatal(err)
			}
			a, err := appOf(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if err := a.checkTickets(); (err != nil) != tt.refused {
				t.Errorf("got %v, want refused %v", err, tt.refused)
			}
			app, err := ctx.App("tls")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				_ = app.(*caddytls.TLS).Stop()
				_ = a.Cleanup()
				_ = a.podway.Cleanup()
			})
			var got time.Duration
			if s := app.(*caddytls.TLS).SessionTickets; s != nil {
				got = time.Duration(s.RotationInterval)
			}
			if got != tt.want {
				t.Errorf("got new keys each %v, want %v", got, tt.want)
			}
		})
	}
}
