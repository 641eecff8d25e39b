package pagelook_test

import (
	"strings"
	"testing"

	"github.com/tapis-project/podway/routes/pagelook"
)

func TestPolicy(t *testing.T) {
	// printf 'b{}' | openssl dgst -sha256 -binary | base64
	want := "default-src 'none'; style-src 'sha256-7yqHVAesot11p6HczDsgKRipvI5UPgs97z80zNXlans='; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
	if got := pagelook.Policy("b{}", pagelook.SameHost); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A page with anything from elsewhere would be shown without it.
func TestStyleLoadsNothing(t *testing.T) {
	if s := string(pagelook.Style); s == "" || strings.Contains(s, "url(") || strings.Contains(s, "@import") {
		t.Error("the style sheet is empty or loads something")
	}
}
