package podproxy

import (
	"net/http"
	"net/http/httputil"
	"strings"

	"github.com/tapis-project/podway/routes"
)

// rewrite makes the request to the pod of the client's.
func rewrite(pr *httputil.ProxyRequest) {
	rq := requestOf(pr.In.Context())
	pr.Out.URL.Scheme = "http"
	pr.Out.URL.Host = poolKey(rq.entry) // the Host header stays the client's
	dropClaims(pr.Out.Header)
	pr.SetXForwarded()
	if ip := rq.client.Addr(); ip.IsValid() {
		pr.Out.Header["X-Real-Ip"] = []string{ip.String()}
	}
}

// Names of headers that say who a client is, and from where it comes. Only the
// edge may say so.
var (
	claimPrefixes = []string{"x-forwarded-", "x-tapis-", "x-pods-"}
	claimNames    = []string{"forwarded", "x-real-ip"}
)

// dropClaims deletes the client's own claims. An underscore counts as a dash:
// CGI, WSGI and their like do not tell them apart.
func dropClaims(h http.Header) {
	for name := range h {
		if isClaim(name) {
			delete(h, name)
		}
	}
}

func isClaim(name string) bool {
	for _, p := range claimPrefixes {
		if len(name) >= len(p) && sameName(name[:len(p)], p) {
			return true
		}
	}
	for _, n := range claimNames {
		if sameName(name, n) {
			return true
		}
	}
	return false
}

// sameName compares a header name with one in lower case and with dashes.
func sameName(name, lower string) bool {
	if len(name) != len(lower) {
		return false
	}
	for i := range len(name) {
		c := name[i]
		switch {
		case c == '_':
			c = '-'
		case c >= 'A' && c <= 'Z':
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// reservedCookies begin with this. They are the edge's own.
const reservedCookies = "__host-pods"

// cleanResponse removes from a pod's response what would reach beyond the pod.
func cleanResponse(res *http.Response) error {
	// A pod must not send clients of its host to another server.
	delete(res.Header, "Alt-Svc")
	cookies := res.Header["Set-Cookie"]
	if len(cookies) == 0 {
		return nil
	}
	host := routes.NormalizeHost(requestOf(res.Request.Context()).in.Host)
	var kept []string
	for _, c := range cookies {
		if c, ok := cleanCookie(c, host); ok {
			kept = append(kept, c)
		}
	}
	res.Header["Set-Cookie"] = kept
	return nil
}

// cleanCookie returns a Set-Cookie value that stays with host: a Domain that is
// neither host nor below it is taken out, so that browsers send the cookie to
// host only. It reports false for a cookie that must not be set at all.
func cleanCookie(value, host string) (string, bool) {
	pair, attributes, _ := strings.Cut(value, ";")
	name, _, _ := strings.Cut(pair, "=")
	name = strings.ToLower(strings.TrimSpace(name))
	if strings.HasPrefix(name, reservedCookies) {
		return "", false
	}
	if !strings.Contains(strings.ToLower(attributes), "domain") {
		return value, true
	}
	var b strings.Builder
	b.WriteString(pair)
	for a := range strings.SplitSeq(attributes, ";") {
		key, domain, _ := strings.Cut(a, "=")
		if strings.EqualFold(strings.TrimSpace(key), "domain") && !within(domain, host) {
			continue
		}
		b.WriteByte(';')
		b.WriteString(a)
	}
	return b.String(), true
}

// within reports whether a cookie's Domain is host or a name below it.
func within(domain, host string) bool {
	d := strings.ToLower(strings.Trim(domain, " \t\""))
	d = strings.TrimSuffix(strings.TrimPrefix(d, "."), ".")
	return d == host || (host != "" && strings.HasSuffix(d, "."+host))
}
