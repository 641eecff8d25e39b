package podproxy

import (
	"net/netip"
	"testing"

	"github.com/tapis-project/podway/routes"
)

func TestClaims(t *testing.T) {
	for name, want := range map[string]string{
		"X-Forwarded-For": "claim", "x-forwarded-anything": "claim", "X_Forwarded_For": "claim", "X-FORWARDED_PROTO": "claim",
		"Forwarded": "claim", "FORWARDED": "claim", "X-Real-Ip": "claim", "X_real-IP": "claim",
		"X-Tapis-Token": "identity", "x_tapis_user": "identity", "X-Pods-Assertion": "identity", "X-Pods-": "identity",
		"X-Forwarded": "", "Forwarded-For": "", "X-Real-Ip2": "", "X-Tapisuser": "", "Tapis-Token": "",
		"X-Pod-Name": "", "Authorization": "", "Cookie": "", "": "",
	} {
		if got := isClaim(name); got != (want == "claim") {
			t.Errorf("%q is a claim: got %v", name, got)
		}
		if got := isIdentity(name); got != (want == "identity") {
			t.Errorf("%q is an identity: got %v", name, got)
		}
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
	key := func(change func(*routes.Route)) poolKey {
		r := routes.Route{
			Host: "web.pods.test", Tenant: "dev", Pod: "web", Net: "default", Instance: "1",
			Protocol: routes.HTTP, State: routes.Live, Upstreams: []string{"10.0.0.1:80"},
		}
		change(&r)
		e, err := routes.Compile(r)
		if err != nil {
			t.Fatal(err)
		}
		return keyOf(e, netip.MustParseAddrPort("192.0.2.1:1234"))
	}
	same := key(func(*routes.Route) {})
	if got := key(func(r *routes.Route) { r.Version = 9; r.IPAllow = []string{"10.0.0.0/8"} }); got != same {
		t.Errorf("settings that do not matter to the pod: got %v, want %v", got, same)
	}
	for name, change := range map[string]func(*routes.Route){
		"another run":      func(r *routes.Route) { r.Instance = "2" },
		"another address":  func(r *routes.Route) { r.Upstreams = []string{"10.0.0.2:80"} },
		"one address more": func(r *routes.Route) { r.Upstreams = append(r.Upstreams, "10.0.0.2:80") },
		"another pod":      func(r *routes.Route) { r.Pod = "webb" },
		"another tenant":   func(r *routes.Route) { r.Tenant = "prod" },
		"another host":     func(r *routes.Route) { r.Host = "b.pods.test" },
		"PROXY headers":    func(r *routes.Route) { r.ProxyProtocol = 2 },
	} {
		if got := key(change); got == same {
			t.Errorf("%s: got the same key %v", name, got)
		}
	}
}
