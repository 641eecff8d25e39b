package podproxy

import (
	"bufio"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/tapis-project/podway/caddymodules/podproxy/internal/h1"
	"github.com/tapis-project/podway/routes"
)

// headOf returns the head that a pod gets of a request, as a server reads it.
func headOf(t testing.TB, r *http.Request, e *routes.Entry, admitted bool) *http.Request {
	t.Helper()
	x := &exchange{r: r, entry: e, client: netip.MustParseAddrPort("192.0.2.1:5"), admitted: admitted}
	out, err := x.prepare()
	if err != nil {
		t.Skip(err)
	}
	head := x.appendHead(nil, &out)
	got, err := http.ReadRequest(bufio.NewReader(strings.NewReader(string(head) + "tail")))
	if _, urlErr := url.ParseRequestURI(out.target); urlErr != nil {
		t.Skip("the server of net/http refuses such a target")
	}
	if err != nil {
		t.Fatalf("%v in %q", err, head)
	}
	return got
}

func TestIdentityHeadersAreTheGates(t *testing.T) {
	e, err := routes.Compile(web("10.0.0.1:80"))
	if err != nil {
		t.Fatal(err)
	}
	for _, admitted := range []bool{false, true} {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
		r.RequestURI, r.Host = "/", host
		r.Header = http.Header{"X-Pods-Assertion": {"jwt"}, "X-Tapis-User": {"me"}, "Connection": {"X-Pods-Assertion, X-Tapis-User"}}
		got := headOf(t, r, e, admitted).Header
		if passed := got.Get("X-Pods-Assertion") == "jwt" && got.Get("X-Tapis-User") == "me"; passed != admitted {
			t.Errorf("admitted %v: got %v", admitted, got)
		}
	}
}

// FuzzHead sends any header field. Whatever it is, a pod reads one request with
// one Host, without a body, and nothing that the client claims to be.
func FuzzHead(f *testing.F) {
	for _, s := range [][3]string{
		{"X-Ok", "yes", "/"},
		{"X_Forwarded_For", "1.2.3.4", "/a?b"},
		{"content_length", "4", "/"},
		{"Transfer-Encoding", "chunked", "/"},
		{"X\r\nHost", "evil", "/ HTTP/1.1\r\nX: y"},
		{"X", "a\r\n\r\nGET / HTTP/1.1", "/#"},
		{"Connection", "X-Real-Ip, Host", "*"},
		{"x_pods_user", "root", "http://x/"},
	} {
		f.Add(s[0], s[1], s[2])
	}
	route := web("10.0.0.1:80")
	route.Headers = &routes.HeaderRules{SetRequest: map[string]string{"X-Env": "prod"}}
	e, err := routes.Compile(route)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, name, value, target string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.RequestURI, r.Host = target, host
		r.Header = http.Header{http.CanonicalHeaderKey(name): {value}} // as the server of net/http makes it
		got := headOf(t, r, e, false)
		if got.Method != http.MethodGet || got.Host != host || got.ContentLength != 0 || len(got.TransferEncoding) > 0 {
			t.Errorf("got %s for %s with %d bytes and %v", got.Method, got.Host, got.ContentLength, got.TransferEncoding)
		}
		if got.RequestURI != target && got.RequestURI != "/" {
			t.Errorf("got %q, want %q or /", got.RequestURI, target)
		}
		want := http.Header{
			"X-Forwarded-For": {"192.0.2.1"}, "X-Real-Ip": {"192.0.2.1"}, "X-Forwarded-Host": {host},
			"X-Forwarded-Proto": {"http"}, "X-Env": {"prod"},
		}
		for n, values := range got.Header {
			if w := want[n]; w != nil && (len(values) != 1 || values[0] != w[0]) {
				t.Errorf("%s: got %q, want %q", n, values, w)
			}
			if want[n] == nil && (isClaim(n) || isIdentity(n) || isDisguised(n) || (isHop(n) && n != "Te") || !h1.ValidField(n, values[0])) {
				t.Errorf("%s: %q passed", n, values)
			}
		}
	})
}
