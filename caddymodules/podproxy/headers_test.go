package podproxy

import (
	"net/http"
	"testing"

	"github.com/tapis-project/podway/routes"
)

func TestClaims(t *testing.T) {
	for name, want := range map[string]bool{
		"X-Forwarded-For": true, "x-forwarded-anything": true, "X_Forwarded_For": true, "X-FORWARDED_PROTO": true,
		"Forwarded": true, "FORWARDED": true, "X-Real-Ip": true, "X_real-IP": true,
		"X-Tapis-Token": true, "x_tapis_user": true, "X-Pods-Assertion": true, "X-Pods-": true,
		"X-Forwarded": false, "Forwarded-For": false, "X-Real-Ip2": false, "X-Tapisuser": false, "Tapis-Token": false,
		"X-Pod-Name": false, "Authorization": false, "Cookie": false, "": false,
	} {
		if got := isClaim(name); got != want {
			t.Errorf("%q: got %v, want %v", name, got, want)
		}
	}
	h := http.Header{"X-Forwarded-For": {"1"}, "x_tapis_user": {"2"}, "Accept": {"3"}}
	dropClaims(h)
	if len(h) != 1 || h.Get("Accept") != "3" {
		t.Errorf("got %v", h)
	}
}

func TestCookies(t *testing.T) {
	const host = "web.pods.test"
	for _, tt := range []struct{ name, in, want string }{
		{"without attributes", "a=1", "a=1"},
		{"without a Domain", "a=1; Path=/; HttpOnly", "a=1; Path=/; HttpOnly"},
		{"for the pod's own host", "a=1; Domain=web.pods.test", "a=1; Domain=web.pods.test"},
		{"for the pod's own host, in the old form", "a=1; domain=.WEB.pods.test", "a=1; domain=.WEB.pods.test"},
		{"for a name below the host", "a=1; Domain=x.web.pods.test", "a=1; Domain=x.web.pods.test"},
		{"for all pods", "a=1; Domain=.pods.test; Path=/", "a=1; Path=/"},
		{"for all pods, in capitals and with spaces", "a=1; DOMAIN = pods.test ;Secure", "a=1;Secure"},
		{"for all pods, quoted", `a=1; Domain="pods.test"`, "a=1"},
		{"for another pod", "a=1; Domain=b.pods.test", "a=1"},
		{"for a name that only ends like the host", "a=1; Domain=evilweb.pods.test", "a=1"},
		{"for two, of which browsers take the last", "a=1; Domain=web.pods.test; Domain=pods.test", "a=1; Domain=web.pods.test"},
		{"for nothing", "a=1; Domain=; Path=/", "a=1; Path=/"},
		{"with a trailing dot", "a=1; Domain=pods.test.", "a=1"},
		{"with a value that says domain", "a=domain=pods.test", "a=domain=pods.test"},
		{"with an attribute that says domain", "a=1; Path=/domain", "a=1; Path=/domain"},
		{"of the edge", "__Host-pods_session=x; Path=/; Secure", ""},
		{"of the edge, in capitals", "__HOST-PODS=x", ""},
		{"of the edge, without a value", " __Host-pods_login ; Secure", ""},
		{"with a name that is only similar", "__Host-mine=x; Path=/; Secure", "__Host-mine=x; Path=/; Secure"},
		{"that is empty", "", ""},
	} {
		got, ok := cleanCookie(tt.in, host)
		if got != tt.want || ok != (tt.want != "" || tt.in == "") {
			t.Errorf("a cookie %s: got %q, %v, want %q", tt.name, got, ok, tt.want)
		}
	}
}

func TestPoolKeysTellRunsApart(t *testing.T) {
	key := func(change func(*routes.Route)) string {
		r := routes.Route{
			Host: "web.pods.test", Tenant: "dev", Pod: "web", Net: "default", Instance: "1",
			Protocol: routes.HTTP, State: routes.Live, Upstreams: []string{"10.0.0.1:80"},
		}
		change(&r)
		e, err := routes.Compile(r)
		if err != nil {
			t.Fatal(err)
		}
		return poolKey(e)
	}
	same := key(func(*routes.Route) {})
	if got := key(func(r *routes.Route) { r.Version = 9; r.IPAllow = []string{"10.0.0.0/8"} }); got != same {
		t.Errorf("settings that do not matter to the pod: got %q, want %q", got, same)
	}
	for name, change := range map[string]func(*routes.Route){
		"another run":      func(r *routes.Route) { r.Instance = "2" },
		"another address":  func(r *routes.Route) { r.Upstreams = []string{"10.0.0.2:80"} },
		"one address more": func(r *routes.Route) { r.Upstreams = append(r.Upstreams, "10.0.0.2:80") },
		"another pod":      func(r *routes.Route) { r.Pod = "webb" },
		"another tenant":   func(r *routes.Route) { r.Tenant = "prod" },
		"another host":     func(r *routes.Route) { r.Host = "b.pods.test" },
	} {
		if got := key(change); got == same {
			t.Errorf("%s: got the same key %q", name, got)
		}
	}
}
