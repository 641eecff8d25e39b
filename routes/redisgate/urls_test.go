package redisgate

import (
	"net/url"
	"testing"
)

func TestLoginURLs(t *testing.T) {
	tenant := Tenant{LoginURL: "https://dev.test/"}
	for _, tt := range []struct{ port, want, back string }{
		{"", "https://dev.test/v3/pods/login?attempt=" + Hash("a") + "&host=web.pods.test", "https://web.pods.test/.podway/callback?code=c"},
		{"8443", "https://dev.test/v3/pods/login?attempt=" + Hash("a") + "&host=web.pods.test&port=8443", "https://web.pods.test:8443/.podway/callback?code=c"},
	} {
		want := LoginRequest{host, tt.port, Hash("a")}
		got := tenant.LoginURLFor(want)
		if got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
		u, err := url.Parse(got)
		check(t, err)
		if l, ok := ParseLogin(u.Query()); !ok || l != want {
			t.Errorf("got %+v, %v, want %+v", l, ok, want)
		}
		if got := want.CallbackURL("c"); got != tt.back {
			t.Errorf("got %q, want %q", got, tt.back)
		}
	}
	for name, q := range map[string]url.Values{
		"no host":       {"attempt": {Hash("a")}},
		"no attempt":    {"host": {host}},
		"short attempt": {"host": {host}, "attempt": {"a"}},
		"bad port":      {"host": {host}, "attempt": {Hash("a")}, "port": {"1@evil"}},
		"long port":     {"host": {host}, "attempt": {Hash("a")}, "port": {"123456"}},
	} {
		if l, ok := ParseLogin(q); ok {
			t.Errorf("%s: got %+v", name, l)
		}
	}
}
