package accept_test

import (
	"testing"

	"github.com/tapis-project/podway/caddymodules/internal/accept"
)

func TestRefused(t *testing.T) {
	for params, want := range map[string]bool{
		"":                  false,
		"q=1":               false,
		"q=0.001":           false,
		"q=0":               true,
		" Q = 0.000 ":       true,
		"level=1;q=0":       true,
		"charset=utf-8":     false,
		"q=none":            false,
		"version=0;q=0.5":   false,
		"q=0;charset=utf-8": true,
	} {
		if got := accept.Refused(params); got != want {
			t.Errorf("%q: got %v, want %v", params, got, want)
		}
	}
}
