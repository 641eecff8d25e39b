package podproxy

import (
	"net/http"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/tapis-project/podway/routes"
)

// Names of headers that say from where a client comes, or who it is. Only the
// edge may say so.
var (
	originNames      = []string{"forwarded", "x-real-ip"}
	originPrefix     = "x-forwarded-"
	identityPrefixes = []string{"x-tapis-", "x-pods-"}
)

// isClaim reports whether a name says from where a client comes. An underscore
// counts as a dash: CGI, WSGI and their like do not tell them apart.
func isClaim(name string) bool {
	if name == "" || (name[0]|0x20 != 'x' && name[0]|0x20 != 'f') {
		return false
	}
	return hasPrefix(name, originPrefix) || sameName(name, originNames[0]) || sameName(name, originNames[1])
}

// isIdentity reports whether a name says who a client is.
func isIdentity(name string) bool {
	if name == "" || name[0]|0x20 != 'x' {
		return false
	}
	return hasPrefix(name, identityPrefixes[0]) || hasPrefix(name, identityPrefixes[1])
}

func hasPrefix(name, lower string) bool {
	return len(name) >= len(lower) && sameName(name[:len(lower)], lower)
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

// isHop reports whether a header, in canonical form, is about one connection and
// not about the message (RFC 9110, section 7.6.1), or frames its body.
func isHop(name string) bool {
	switch name {
	case "Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade", "Http2-Settings", "Content-Length":
		return true
	}
	return false
}

// isDisguised reports whether a name is one that frames a message, for servers
// that do not tell an underscore from a dash.
func isDisguised(name string) bool {
	return sameName(name, "content-length") || sameName(name, "transfer-encoding")
}

// filter decides which of a client's header fields pass.
type filter struct {
	connection []string // what its Connection header names
	identity   bool     // identity headers are the gate's own
	websocket  bool     // the edge makes the key of the handshake itself
	rules      *routes.HeaderRules
}

func (x *exchange) filter() filter {
	f := filter{identity: x.admitted, rules: x.entry.Headers, websocket: x.r.Method == http.MethodConnect}
	for _, v := range x.r.Header["Connection"] {
		switch v {
		case "", "keep-alive", "close", "Upgrade", "upgrade":
		default:
			f.connection = append(f.connection, v)
		}
	}
	return f
}

// drops reports whether a field does not pass.
func (f *filter) drops(name string) bool {
	switch {
	case isHop(name), isClaim(name), name == "Host", isDisguised(name):
		return true
	case isIdentity(name):
		return !f.identity // and no Connection header takes away what the gate says
	case f.connection != nil && httpguts.HeaderValuesContainsToken(f.connection, name):
		return true
	case f.websocket && (name == ":protocol" || name == "Sec-Websocket-Key"):
		return true
	}
	return f.rules != nil && f.ruled(name)
}

// ruled reports whether a rule of the route replaces or removes a field.
func (f *filter) ruled(name string) bool {
	for n := range f.rules.SetRequest {
		if sameRule(name, n) {
			return true
		}
	}
	for _, n := range f.rules.RemoveRequest {
		if sameRule(name, n) {
			return true
		}
	}
	return false
}

// sameRule compares a client's name with that of a rule. A rule for a name is
// one for all that a server may take for it.
func sameRule(name, rule string) bool {
	return strings.EqualFold(strings.ReplaceAll(name, "_", "-"), strings.ReplaceAll(rule, "_", "-"))
}

// cleanHeader makes the header of a pod's response fit for the client: without
// what would reach beyond the pod, and with what the route adds.
func (x *exchange) cleanHeader(h http.Header) {
	if cookies := h["Set-Cookie"]; len(cookies) > 0 {
		h["Set-Cookie"] = cleanCookies(cookies, routes.NormalizeHost(x.r.Host))
	}
	if cors := x.entry.CORS; cors != nil {
		allowOrigin(h, cors, x.r.Header.Get("Origin"))
	}
	rules := x.entry.Headers
	if rules == nil {
		return
	}
	for _, name := range rules.RemoveResponse {
		h.Del(name)
	}
	for name, value := range rules.SetResponse {
		h.Set(name, value)
	}
}
