package gate

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// visits are requests of which is measured what the gate itself costs them, apart
// from the server and the pod.
type visits struct {
	name, host string
	header     http.Header
}

// visitsOf returns requests to a site.
func visitsOf(s *site) []visits {
	user := s.browser()
	user.open(web + "/")
	cookie := sessionCookie + "=" + user.cookies[host][sessionCookie]
	open := gated("free.pods.test")
	open.Gate = nil
	s.route(open)
	return []visits{
		{"ungated", "free.pods.test", http.Header{"Cookie": {"a=b"}}},
		{"session", host, http.Header{"Cookie": {cookie}}},
		{"session among other cookies", host, http.Header{"Cookie": {"a=b; " + cookie + "; c=d"}}},
		{"token", host, http.Header{"Cookie": {"a=b"}, "X-Tapis-Token": {tokenOf(s.t, "ada")}}},
	}
}

// visit makes a function that makes the request once.
func (v visits) visit(s *site) func() {
	next := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/x/y?z=1", nil)
	r.Host = v.host
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, nil)
	return func() {
		h := http.Header{"Accept": {"*/*"}, "User-Agent": {"bench"}}
		maps.Copy(h, v.header)
		r.Header = h
		if err := s.h.ServeHTTP(w, r, next); err != nil || w.Code != http.StatusOK {
			s.t.Fatal(err, w.Code)
		}
	}
}

func BenchmarkHandler(b *testing.B) {
	s := newSite(b)
	for _, v := range visitsOf(s) {
		b.Run(v.name, func(b *testing.B) {
			b.ReportAllocs()
			do := v.visit(s)
			for b.Loop() {
				do()
			}
		})
	}
}

// TestSessionsCostLittle bounds what a session allocates. It stands for the time that
// a session takes, which no test can measure on every machine.
func TestSessionsCostLittle(t *testing.T) {
	s := newSite(t)
	allocs := map[string]float64{}
	for _, v := range visitsOf(s) {
		allocs[v.name] = testing.AllocsPerRun(1000, v.visit(s))
	}
	for name, most := range map[string]float64{"session": 1, "session among other cookies": 3} {
		if got := allocs[name] - allocs["ungated"]; got > most {
			t.Errorf("%s: got %v allocations more than without a login, want at most %v", name, got, most)
		}
	}
}
