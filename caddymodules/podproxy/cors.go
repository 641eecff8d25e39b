package podproxy

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/tapis-project/podway/routes"
)

// isPreflight reports whether a browser asks if another site's page may send a
// request. Where the route has a CORS policy, the edge answers that: it comes
// without cookies, so no login could admit it.
func isPreflight(r *http.Request, e *routes.Entry) bool {
	return e.CORS != nil && r.Method == http.MethodOptions &&
		len(r.Header["Origin"]) == 1 && len(r.Header["Access-Control-Request-Method"]) == 1
}

// preflight answers for the pod. An origin that is not listed is told nothing,
// which browsers take for no.
func preflight(w http.ResponseWriter, r *http.Request, c *routes.CORS) {
	h := w.Header()
	h.Del("Server")
	if allowOrigin(h, c, r.Header.Get("Origin")) {
		if len(c.AllowMethods) > 0 {
			h.Set("Access-Control-Allow-Methods", strings.Join(c.AllowMethods, ", "))
		}
		if allowed := allowHeaders(r, c); allowed != "" {
			h.Set("Access-Control-Allow-Headers", allowed)
		}
		if c.MaxAge > 0 {
			h.Set("Access-Control-Max-Age", strconv.Itoa(c.MaxAge))
		}
	}
	h.Add("Vary", "Access-Control-Request-Method, Access-Control-Request-Headers")
	w.WriteHeader(http.StatusNoContent)
}

// allowHeaders returns the headers that a page may send. With credentials, "*" is
// no wildcard to browsers, so what they ask for is said back.
func allowHeaders(r *http.Request, c *routes.CORS) string {
	if c.AllowCredentials && slices.Contains(c.AllowHeaders, "*") {
		return r.Header.Get("Access-Control-Request-Headers")
	}
	return strings.Join(c.AllowHeaders, ", ")
}

// allowOrigin puts the policy of the route in the place of the pod's own, and
// reports whether it admits the origin.
func allowOrigin(h http.Header, c *routes.CORS, origin string) bool {
	for _, name := range corsHeaders {
		delete(h, name)
	}
	anyone := slices.Contains(c.AllowOrigins, "*") && !c.AllowCredentials
	if !anyone {
		h.Add("Vary", "Origin")
	}
	switch {
	case origin == "":
		return false
	case anyone:
		h["Access-Control-Allow-Origin"] = []string{"*"}
	case origin != "null" && slices.ContainsFunc(c.AllowOrigins, func(o string) bool { return strings.EqualFold(o, origin) }):
		h["Access-Control-Allow-Origin"] = []string{origin}
	default:
		return false
	}
	if c.AllowCredentials {
		h["Access-Control-Allow-Credentials"] = []string{"true"}
	}
	return true
}

// corsHeaders are what a policy of the route replaces. What scripts may read of a
// response stays with the pod.
var corsHeaders = []string{
	"Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Access-Control-Allow-Methods",
	"Access-Control-Allow-Headers", "Access-Control-Max-Age",
}
