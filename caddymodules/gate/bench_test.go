package gate

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// BenchmarkHandler measures what the gate itself costs a request, apart from the
// server and the pod.
func BenchmarkHandler(b *testing.B) {
	s := newSite(b)
	user := s.browser()
	user.open(web + "/")
	cookie := sessionCookie + "=" + user.cookies[host][sessionCookie]
	token := tokenOf(b, "ada")
	open := gated("free.pods.test")
	open.Gate = nil
	s.route(open)
	next := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })
	for _, bm := range []struct {
		name, host string
		header     http.Header
	}{
		{"ungated", "free.pods.test", http.Header{"Cookie": {"a=b"}}},
		{"session", host, http.Header{"Cookie": {"a=b; " + cookie}}},
		{"token", host, http.Header{"Cookie": {"a=b"}, "X-Tapis-Token": {token}}},
	} {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			w := httptest.NewRecorder()
			r := httptest.NewRequest(http.MethodGet, "/x/y?z=1", nil)
			r.Host = bm.host
			for b.Loop() {
				h := http.Header{"Accept": {"*/*"}, "User-Agent": {"bench"}}
				maps.Copy(h, bm.header)
				r.Header = h
				if err := s.h.ServeHTTP(w, r, next); err != nil || w.Code != http.StatusOK {
					b.Fatal(err, w.Code)
				}
			}
		})
	}
}
