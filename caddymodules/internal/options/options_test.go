package options_test

import (
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/tapis-project/podway/caddymodules/internal/options"
)

func TestBlock(t *testing.T) {
	for _, tt := range []struct{ name, text, err string }{
		{"everything", "app {\n wait 90s\n limits {\n  most 7\n  pause 2d\n }\n}", ""},
		{"an argument", "app x {\n}", "wrong argument count"},
		{"no duration", "app {\n wait\n}", "wrong argument count"},
		{"a bad duration", "app {\n wait soon\n}", "wait: "},
		{"a bad number", "app {\n limits {\n  most many\n }\n}", `most "many" is not a number`},
		{"two numbers", "app {\n limits {\n  most 1 2\n }\n}", "wrong argument count"},
		{"an unknown limit", "app {\n limits {\n  least 1\n }\n}", `unrecognized limit "least"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var wait, pause caddy.Duration
			var most int
			err := options.Each(caddyfile.NewTestDispenser(tt.text), func(d *caddyfile.Dispenser) error {
				if d.Val() == "wait" {
					return options.Duration(d, &wait)
				}
				return options.Limits(d, map[string]*int{"most": &most}, map[string]*caddy.Duration{"pause": &pause})
			})
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil || time.Duration(wait) != 90*time.Second || time.Duration(pause) != 48*time.Hour || most != 7 {
				t.Errorf("got %v, %v, %d and %v", time.Duration(wait), time.Duration(pause), most, err)
			}
		})
	}
}
