package gate

import (
	"net/http"
	"slices"
	"strings"

	"github.com/tapis-project/podway/routes"
)

// field is a header that the edge sets.
type field struct {
	name   string // in canonical form
	values []string
}

// identityPrefixes begin the names of headers that say who a visitor is.
var identityPrefixes = []string{"x-tapis-", "x-pods-"}

// dropClaims deletes what a client says in headers that the edge sets itself: by
// their prefix, those of the route, and more. An underscore counts as a dash, since
// CGI, WSGI and their like do not tell them apart.
// Trailers come later, see [Claims].
func dropClaims(h http.Header, e *routes.Entry, more []string) {
	for name := range h {
		if isClaim(name, e, more) {
			delete(h, name)
		}
	}
	if lines := h["Connection"]; len(lines) > 0 {
		keepConnection(h, lines, func(name string) bool { return !isClaim(name, e, more) })
	}
}

// keepConnection removes names from the Connection header, by which a client could
// have a header dropped that the edge is going to set.
func keepConnection(h http.Header, lines []string, keep func(string) bool) {
	var kept []string
	for _, line := range lines {
		for name := range strings.SplitSeq(line, ",") {
			if name = strings.TrimSpace(name); name != "" && keep(name) {
				kept = append(kept, name)
			}
		}
	}
	delete(h, "Connection")
	if len(kept) > 0 {
		h["Connection"] = []string{strings.Join(kept, ", ")}
	}
}

func isClaim(name string, e *routes.Entry, more []string) bool {
	if name != "" && name[0]|0x20 == 'x' { // as all prefixes begin
		for _, p := range identityPrefixes {
			if len(name) >= len(p) && sameName(name[:len(p)], p) {
				return true
			}
		}
	}
	if e.Gate != nil {
		for set := range e.Gate.ResponseHeaders {
			if sameNames(name, set) {
				return true
			}
		}
	}
	return slices.ContainsFunc(more, func(m string) bool { return sameNames(name, m) })
}

// sameName compares a header name with one in lower case and with dashes.
func sameName(name, lower string) bool {
	if len(name) != len(lower) {
		return false
	}
	for i := range len(name) {
		if fold(name[i]) != lower[i] {
			return false
		}
	}
	return true
}

func sameNames(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if fold(a[i]) != fold(b[i]) {
			return false
		}
	}
	return true
}

func fold(c byte) byte {
	switch {
	case c == '_':
		return '-'
	case c >= 'A' && c <= 'Z':
		return c + 'a' - 'A'
	default:
		return c
	}
}

// maxValue bounds the value of a header that the edge sets.
const maxValue = 1024

// forbidden are headers that say how a message is to be read, or where from it
// comes. A route can't set them.
var forbidden = map[string]bool{
	"Host": true, "Connection": true, "Content-Length": true, "Transfer-Encoding": true, "Te": true, "Trailer": true,
	"Upgrade": true, "Keep-Alive": true, "Proxy-Connection": true, "Proxy-Authorization": true, "Expect": true,
	"Cookie": true, "Forwarded": true, "X-Real-Ip": true, "X-Forwarded-For": true, "X-Forwarded-Host": true, "X-Forwarded-Proto": true,
	"Content-Type": true, "Content-Encoding": true, "Origin": true,
	"X-Tapis-Token": true, "X-Pods-Assertion": true,
}

// fieldsOf returns the headers of a route for a visitor.
func fieldsOf(e *routes.Entry, v *visitor, site string) []field {
	var fields []field
	if v.label != "" {
		fields = append(fields, field{"X-Tapis-Gate-Code", []string{v.label}})
	}
	if e.Gate == nil || v.username == "" {
		return fields
	}
	fill := strings.NewReplacer("<<tapisusername>>", v.username, "<<tapistenantid>>", v.tenant, "<<tapissiteid>>", site)
	for name, template := range e.Gate.ResponseHeaders {
		value := fill.Replace(template)
		name = http.CanonicalHeaderKey(name)
		if !forbidden[name] && cleanValue(value) {
			fields = append(fields, field{name, []string{value}})
		}
	}
	return fields
}

// cleanValue reports whether a value can be sent in a header as it is.
func cleanValue(s string) bool {
	return len(s) <= maxValue && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}
