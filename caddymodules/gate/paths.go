package gate

import (
	"net/http"
	"net/url"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/routes/redisgate"
)

// prefix is the path that belongs to the edge on hosts with a gate.
const prefix = "/.podway/"

// The edge's own paths.
const (
	loginPath    = prefix + "login"
	callbackPath = redisgate.CallbackPath
	logoutPath   = prefix + "logout"
	sharePath    = prefix + "share"
	jwksPath     = prefix + "jwks.json"
)

// maxReturnPath bounds the path that a login returns to.
const maxReturnPath = 2048

// cleanPath returns the path without dots and double slashes, as most servers
// understand it. It keeps a slash at the end.
func cleanPath(p string) string {
	clean := path.Clean("/" + p)
	if strings.HasSuffix(p, "/") && clean != "/" {
		clean += "/"
	}
	return clean
}

// ownPath returns the path of a request that is for the edge itself, else "".
func ownPath(u *url.URL) string {
	if !strings.Contains(u.Path, ".podway") { // nearly always
		return ""
	}
	clean := cleanPath(u.Path)
	if clean+"/" == prefix || strings.HasPrefix(clean, prefix) {
		return clean
	}
	return ""
}

// excluded reports whether a path needs no login. A path that servers do not all
// understand in the same way needs one.
func excluded(e *routes.Entry, u *url.URL) bool {
	g := e.Gate
	if g == nil || (len(g.ExcludedPaths) == 0 && len(g.ExcludedPathRegex) == 0) || !plainPath(u) {
		return false
	}
	for _, p := range g.ExcludedPaths {
		if below(u.Path, p) {
			return true
		}
	}
	for _, re := range e.ExcludedPatterns() {
		if re.MatchString(u.Path) {
			return true
		}
	}
	return false
}

// below reports whether p is prefix or lies below it: /static does not stand for
// /static-private.
func below(p, prefix string) bool {
	rest, ok := strings.CutPrefix(p, prefix)
	return ok && (rest == "" || rest[0] == '/' || strings.HasSuffix(prefix, "/"))
}

// plainPath reports whether all servers understand a path in the same way: clean,
// without encoded delimiters, parameters and control characters.
func plainPath(u *url.URL) bool {
	raw := strings.ToLower(u.EscapedPath())
	for _, odd := range []string{"%2f", "%5c", "%25", "%3b", "%00", "%2e"} {
		if strings.Contains(raw, odd) {
			return false
		}
	}
	return u.Path == cleanPath(u.Path) && utf8.ValidString(u.Path) &&
		!strings.ContainsAny(u.Path, `;\`) && !strings.ContainsFunc(u.Path, isControl)
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) }

// wantedPath returns what to come back to after a login that a request has to go
// through first. The start page stands for no page in particular.
func wantedPath(r *http.Request, fallback string) string {
	p := r.URL.EscapedPath()
	if r.URL.RawQuery != "" {
		p += "?" + r.URL.RawQuery
	}
	if r.Method != http.MethodGet || p == "/" {
		p = fallback
	}
	return safePath(p)
}

// safePath returns p if it is certainly a path on the same host, for every
// browser, and not one of the edge's own, else "/".
func safePath(p string) string {
	notEncoded := func(r rune) bool { return r <= ' ' || r > '~' }
	if len(p) > maxReturnPath || !safeEncoded(p) || strings.ContainsFunc(p, notEncoded) {
		return "/"
	}
	u, err := url.ParseRequestURI(p)
	if err != nil || u.Host != "" || u.Scheme != "" || u.Path == "" || ownPath(u) != "" {
		return "/"
	}
	// What is encoded may be decoded once more on its way.
	for once := u.Path; ; {
		if !safeEncoded(once) {
			return "/"
		}
		again, err := url.PathUnescape(once)
		if err != nil || again == once {
			return p
		}
		once = again
	}
}

// safeEncoded reports whether p starts with exactly one slash and holds nothing
// that browsers take for another one, or leave out.
func safeEncoded(p string) bool {
	return strings.HasPrefix(p, "/") && !strings.HasPrefix(p, "//") && !strings.Contains(p, `\`) &&
		utf8.ValidString(p) && !strings.ContainsFunc(p, isControl)
}

// location returns where to send a browser for a path on the host it asked for.
// The host is named, so that no path can be taken for one.
func location(r *http.Request, p string) string { return "https://" + r.Host + safePath(p) }
