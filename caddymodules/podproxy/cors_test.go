package podproxy

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tapis-project/podway/routes"
)

func TestCORS(t *testing.T) {
	addr := pod(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Access-Control-Allow-Credentials", "true")
		w.Header().Set("Access-Control-Expose-Headers", "X-Sum")
		w.Header().Set("X-Method", r.Method)
	})
	with := func(c *routes.CORS) *site { return serve(t, web(addr, func(r *routes.Route) { r.CORS = c })) }
	listed := with(&routes.CORS{
		AllowOrigins: []string{"https://ui.test", "https://b.test"}, AllowMethods: []string{"GET", "PUT"},
		AllowHeaders: []string{"X-A"}, AllowCredentials: true, MaxAge: 60,
	})
	anyone := with(&routes.CORS{AllowOrigins: []string{"*"}})
	reflecting := with(&routes.CORS{AllowOrigins: []string{"https://ui.test"}, AllowHeaders: []string{"*"}, AllowCredentials: true})
	none := with(nil)
	const ask = "Access-Control-Request-Method: PUT"
	for _, tt := range []struct {
		name    string
		s       *site
		method  string
		headers []string
		status  int
		pod     bool // it saw the request
		want    map[string]string
	}{
		{"a preflight of a listed origin", listed, "OPTIONS", []string{"Origin: https://ui.test", ask}, 204, false, map[string]string{
			"Allow-Origin": "https://ui.test", "Allow-Methods": "GET, PUT", "Allow-Headers": "X-A", "Allow-Credentials": "true", "Max-Age": "60",
		}},
		{"a preflight of another origin", listed, "OPTIONS", []string{"Origin: https://evil.test", ask}, 204, false, nil},
		{"a preflight of an origin that ends alike", listed, "OPTIONS", []string{"Origin: https://evil-ui.test", ask}, 204, false, nil},
		{"a preflight of no origin", listed, "OPTIONS", []string{"Origin: null", ask}, 204, false, nil},
		{"a preflight for anyone", anyone, "OPTIONS", []string{"Origin: https://x.test", ask}, 204, false, map[string]string{"Allow-Origin": "*"}},
		{"a preflight with headers of its own", reflecting, "OPTIONS", []string{"Origin: https://ui.test", ask, "Access-Control-Request-Headers: x-b"}, 204, false, map[string]string{
			"Allow-Origin": "https://ui.test", "Allow-Headers": "x-b", "Allow-Credentials": "true",
		}},
		{"a preflight where the pod decides", none, "OPTIONS", []string{"Origin: https://ui.test", ask}, 200, true, map[string]string{
			"Allow-Origin": "*", "Allow-Credentials": "true", "Expose-Headers": "X-Sum",
		}},
		{"an OPTIONS that is no preflight", listed, "OPTIONS", []string{"Origin: https://ui.test"}, 200, true, map[string]string{
			"Allow-Origin": "https://ui.test", "Allow-Credentials": "true", "Expose-Headers": "X-Sum",
		}},
		{"a request of a listed origin", listed, "GET", []string{"Origin: https://b.test"}, 200, true, map[string]string{
			"Allow-Origin": "https://b.test", "Allow-Credentials": "true", "Expose-Headers": "X-Sum",
		}},
		{"a request of another origin", listed, "GET", []string{"Origin: https://evil.test"}, 200, true, map[string]string{"Expose-Headers": "X-Sum"}},
		{"a request without origin", listed, "GET", nil, 200, true, map[string]string{"Expose-Headers": "X-Sum"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, proto := range protocols[:2] {
				a := tt.s.do(tt.s.client(proto), tt.method, "/", nil, tt.headers...)
				got := map[string]string{}
				for name := range a.Header {
					if short, ok := strings.CutPrefix(name, "Access-Control-"); ok {
						got[short] = a.Header.Get(name)
					}
				}
				if a.StatusCode != tt.status || (a.Header.Get("X-Method") != "") != tt.pod || !sameMap(got, tt.want) {
					t.Errorf("%s: got %d %v, want %d %v", proto, a.StatusCode, got, tt.status, tt.want)
				}
				if tt.s == listed && !strings.Contains(strings.Join(a.Header["Vary"], ","), "Origin") {
					t.Errorf("%s: got Vary %q", proto, a.Header["Vary"])
				}
			}
		})
	}
}

func sameMap(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if b[k] != v {
			return false
		}
	}
	return true
}

func TestPreflightsOfGatedPodsAreAnswered(t *testing.T) {
	s := serve(t, web(pod(t, telling), func(r *routes.Route) {
		r.Gate = &routes.Gate{AllowedUsers: []string{"*"}}
		r.CORS = &routes.CORS{AllowOrigins: []string{"https://ui.test"}}
	}))
	c := s.client("HTTP/2.0")
	if a := s.do(c, "OPTIONS", "/", nil, "Origin: https://ui.test", "Access-Control-Request-Method: PUT"); a.StatusCode != http.StatusNoContent {
		t.Errorf("a preflight: got %d", a.StatusCode)
	}
	if a := s.do(c, "OPTIONS", "/", nil, "Origin: https://ui.test"); a.StatusCode != http.StatusForbidden {
		t.Errorf("another OPTIONS: got %d", a.StatusCode)
	}
}
