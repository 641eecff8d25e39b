package gate

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/tapis-project/podway/routes"
)

// fromHere reports whether a request that a cookie authenticates may do something:
// it reads only, or comes from a page of this very host, or of an origin that the
// route allows to use credentials. Pages of other pods do not count, although
// browsers call them the same site.
func fromHere(r *http.Request, e *routes.Entry) bool {
	if isSafe(r.Method) && !isUpgrade(r.Header) {
		return true
	}
	return sameOrigin(r) || allowedOrigin(r, e)
}

func isSafe(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	default: // CONNECT too: over HTTP/2 it opens WebSockets
		return false
	}
}

// isUpgrade reports whether a request wants to become something else, such as a
// WebSocket.
func isUpgrade(h http.Header) bool { return len(h["Upgrade"]) > 0 || len(h[":protocol"]) > 0 }

// sameOrigin reports whether a browser says that a page of this host sent the
// request. Pages that hide where they are send the origin null, and what else they
// tell counts.
func sameOrigin(r *http.Request) bool {
	origins := r.Header["Origin"]
	if len(origins) > 1 {
		return false
	}
	if len(origins) == 1 && origins[0] != "null" {
		u, err := url.Parse(origins[0])
		return err == nil && u.Scheme == "https" && u.User == nil && u.Path == "" && u.RawQuery == "" &&
			sameHost(u.Host, r.Host)
	}
	site := r.Header["Sec-Fetch-Site"]
	return len(site) == 1 && site[0] == "same-origin"
}

func sameHost(a, b string) bool {
	normalized := func(s string) (string, string) {
		_, port, ok := strings.Cut(s, ":")
		if !ok || port == "443" {
			port = ""
		}
		return routes.NormalizeHost(s), port
	}
	hostA, portA := normalized(a)
	hostB, portB := normalized(b)
	return hostA != "" && hostA == hostB && portA == portB
}

// allowedOrigin reports whether the route lets pages of the request's origin use
// credentials.
func allowedOrigin(r *http.Request, e *routes.Entry) bool {
	origins := r.Header["Origin"]
	return e.CORS != nil && e.CORS.AllowCredentials && len(origins) == 1 && origins[0] != "null" &&
		origins[0] != "*" && slices.Contains(e.CORS.AllowOrigins, origins[0])
}

// isPreflight reports whether a browser asks whether it may send a request. It
// says nothing about who.
func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && len(r.Header["Origin"]) > 0 && len(r.Header["Access-Control-Request-Method"]) > 0
}

// isNavigation reports whether a person waits for a page, who can log in.
func isNavigation(r *http.Request, acceptsHTML bool) bool {
	if (r.Method != http.MethodGet && r.Method != http.MethodHead) || !acceptsHTML || isUpgrade(r.Header) {
		return false
	}
	mode := r.Header["Sec-Fetch-Mode"]
	return len(mode) == 0 || mode[0] == "navigate"
}
