package api

import (
	"net/http"
	"strings"
	"testing"
)

func TestPodGate(t *testing.T) {
	f := newFixture(t)
	const page = "text/html,*/*"
	for _, c := range []struct {
		name, method, path, accept string
		status                     int
		want                       string // Location, or what the answer says
	}{
		{"a link", http.MethodGet, "web/gate?access=a%2Fb%26c", page, http.StatusFound, "https://default.web.dev.example.org/.podway/share?t=a%2Fb%26c"},
		{"a link of another entry, in a program", http.MethodGet, "web-app/gate/redeem?access=x", "", http.StatusFound, "https://app.web.dev.example.org/.podway/share?t=x"},
		{"somebody without a link", http.MethodGet, "web/gate", page, http.StatusFound, "https://default.web.dev.example.org/.podway/share"},
		{"a password", http.MethodPost, "web/gate/redeem", page, http.StatusFound, "https://default.web.dev.example.org/.podway/share"},
		{"a program without a link", http.MethodGet, "web/gate", "application/json", http.StatusUnauthorized, "at the pod's own host: https://default.web."},
		{"a pod that is not shared", http.MethodGet, "none/gate?access=x", page, http.StatusNotFound, "There is no pod"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := f.want(c.status, c.method, "/v3/pods/"+c.path, "", "", "Accept", c.accept)
			if c.status != http.StatusFound {
				if got := r.envelope(t).text(); !strings.Contains(got, c.want) {
					t.Errorf("got %q, want %q in it", got, c.want)
				}
				return
			}
			if got := r.header.Get("Location"); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			for name, want := range map[string]string{"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"} {
				if got := r.header.Get(name); got != want {
					t.Errorf("got %s %q, want %q", name, got, want)
				}
			}
		})
	}
	f.deps.Login = nil
	f.want(http.StatusServiceUnavailable, http.MethodGet, "/v3/pods/web/gate?access=x", "", "")
}
