package pods

import (
	"testing"
	"time"
)

func TestEventLine(t *testing.T) {
	at := time.Date(2025, 7, 1, 23, 5, 59, 0, time.FixedZone("CDT", -5*3600))
	got := Event{At: at, Text: "'alice' ran stop_pod, set to OFF"}.Line()
	if want := "25/07/02 04:05: 'alice' ran stop_pod, set to OFF"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestKeyString(t *testing.T) {
	if got, want := (Key{Tenant: "dev", ID: "mypod"}).String(), "dev/mypod"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTenantDomain(t *testing.T) {
	for _, c := range []struct{ name, base, want string }{
		{"https", "https://tacc.tapis.io", "tacc.tapis.io"},
		{"http with a port", "http://dev.localhost:8000", "dev.localhost"},
		{"nothing", "", ""},
		{"no URL", "http://[::1", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := (Tenant{BaseURL: c.base}).Domain(); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
