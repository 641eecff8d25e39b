package gate

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Names of the edge's cookies. The prefix has browsers take them from this very
// host only, over TLS only, and send them nowhere else.
const (
	sessionCookie = "__Host-pods_session"
	loginCookie   = "__Host-pods_login"
	shareCookie   = "__Host-pods_share"
)

// reserved is in the names of all cookies of the edge, in lower case.
const reserved = "__host-pods"

// tapisCookie holds a Tapis token where other software has put one. Pods must not
// get it, and it counts for nothing here.
const tapisCookie = "x-tapis-token"

// maxSame bounds how many cookies of one name are looked at.
const maxSame = 4

// ownCookies are the values of the edge's cookies in a request.
type ownCookies struct{ session, login, share values }

// values are those of the cookies of one name. It allocates nothing.
type values struct {
	n   int
	all [maxSame]string
}

func (v *values) add(s string) {
	if v.n < len(v.all) {
		v.all[v.n] = s
		v.n++
	}
}

func (v *values) list() []string { return v.all[:v.n] }

// takeCookies removes the edge's cookies from a request and returns their values.
// All others stay as they are, to the byte.
func takeCookies(h http.Header) ownCookies {
	var own ownCookies
	lines := h["Cookie"]
	if !slices.ContainsFunc(lines, hasOwn) {
		return own
	}
	var kept []string
	for _, line := range lines {
		if hasOwn(line) {
			line = own.take(line)
		}
		if strings.Trim(line, "; \t") != "" {
			kept = append(kept, line)
		}
	}
	if len(kept) == 0 {
		delete(h, "Cookie")
		return own
	}
	h["Cookie"] = kept
	return own
}

// take notes the edge's cookies in a line and returns the line without them.
func (c *ownCookies) take(line string) string {
	var b strings.Builder
	first := true
	for piece := range strings.SplitSeq(line, ";") {
		if hasOwn(piece) {
			c.note(piece)
			continue
		}
		if first {
			b.Grow(len(line))
			piece = strings.TrimLeft(piece, " \t")
		} else {
			b.WriteByte(';')
		}
		first = false
		b.WriteString(piece)
	}
	return b.String()
}

// note keeps the value of a piece whose name is exactly one of ours.
func (c *ownCookies) note(piece string) {
	name, value, _ := strings.Cut(strings.Trim(piece, " \t"), "=")
	switch name {
	case sessionCookie:
		c.session.add(value)
	case loginCookie:
		c.login.add(value)
	case shareCookie:
		c.share.add(value)
	}
}

// hasOwn reports whether a cookie, or a line of them, mentions a name that is not
// for pods. It looks at the text and not for names: servers read what browsers
// never send, quotes and commas for example, each in its own way.
func hasOwn(text string) bool {
	for rest := 0; ; {
		i := strings.IndexByte(text[rest:], '-') // both names hold one, and few other texts do
		if i < 0 {
			return false
		}
		i += rest
		if foldsAt(text, i-len("__host"), reserved) || foldsAt(text, i-len("x"), tapisCookie) {
			return true
		}
		rest = i + 1
	}
}

// foldsAt reports whether text holds lower, which is ASCII in lower case, at i.
func foldsAt(text string, i int, lower string) bool {
	return i >= 0 && i+len(lower) <= len(text) && equalFold(text[i:i+len(lower)], lower)
}

func equalFold(s, lower string) bool {
	for i := range len(lower) {
		c := s[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// setCookie sets a cookie of the edge. It lasts as long as the browser runs if age
// is 0.
func setCookie(w http.ResponseWriter, name, value string, age time.Duration) {
	var b strings.Builder
	b.WriteString(name + "=" + value + "; Path=/; Secure; HttpOnly; SameSite=Lax")
	if age > 0 {
		b.WriteString("; Max-Age=" + strconv.Itoa(int(age/time.Second)))
	}
	w.Header().Add("Set-Cookie", b.String())
}

// dropCookie has the browser forget a cookie of the edge.
func dropCookie(w http.ResponseWriter, name string) {
	w.Header().Add("Set-Cookie", name+"=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0")
}
