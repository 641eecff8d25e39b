package redisgate

import (
	"net/url"
	"strings"
)

// Paths of a login. The first is below a tenant's base URL, the second on every
// pod's host that has a gate.
const (
	LoginPath    = "/v3/pods/login"
	CallbackPath = "/.podway/callback"
)

// LoginRequest is what an edge asks the login page of a tenant for, in the query
// of its URL.
type LoginRequest struct {
	Host    string // of the pod
	Port    string // of the edge, "" for 443
	Attempt string // see [Handoff]
}

// LoginURLFor returns where an edge sends a browser for a login.
func (t Tenant) LoginURLFor(l LoginRequest) string {
	q := url.Values{"host": {l.Host}, "attempt": {l.Attempt}}
	if l.Port != "" {
		q.Set("port", l.Port)
	}
	return strings.TrimSuffix(t.LoginURL, "/") + LoginPath + "?" + q.Encode()
}

// ParseLogin reads what [Tenant.LoginURLFor] wrote. It checks the form only: host
// is any text, port is at most five digits.
func ParseLogin(q url.Values) (l LoginRequest, ok bool) {
	l = LoginRequest{q.Get("host"), q.Get("port"), q.Get("attempt")}
	digits := strings.Trim(l.Port, "0123456789") == "" && len(l.Port) <= 5
	return l, l.Host != "" && digits && len(l.Attempt) == len(Hash())
}

// CallbackURL returns where the control plane sends a browser back to with the
// code of a handoff.
func (l LoginRequest) CallbackURL(code string) string {
	host := l.Host
	if l.Port != "" && l.Port != "443" {
		host += ":" + l.Port
	}
	return "https://" + host + CallbackPath + "?code=" + url.QueryEscape(code)
}
