package api

import (
	"net/http"
	"slices"
	"strings"
)

const (
	corsMethods = "DELETE, GET, OPTIONS, POST, PUT"
	corsHeaders = "Accept, Accept-Language, Content-Language, Content-Type, Origin, X-Request-ID, X-Tapis-Token, X-Tapis-Tracking-ID, X-Pods-Admin"
	corsExposed = "x-tapis-token, x-request-id, retry-after, content-disposition"
	corsMaxAge  = "600" // seconds
)

// cors names the origins whose pages may read an answer, errors included, and
// answers OPTIONS for every path without asking for a token: browsers send none
// with a preflight.
//
// Pages of the listed origins may send credentials. With "*" any page may call,
// but none with credentials: that is enough, since the token is a header.
func cors(origins []string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		allowOrigin(w.Header(), origins, r.Header.Get("Origin"))
		if r.Method != http.MethodOptions {
			next.ServeHTTP(w, r)
			return
		}
		if w.Header().Get("Access-Control-Allow-Origin") != "" {
			allowPreflight(w.Header(), r.Header.Get("Access-Control-Request-Headers"))
		}
		w.Header().Set("Allow", corsMethods)
		w.WriteHeader(http.StatusNoContent)
	})
}

func allowOrigin(h http.Header, origins []string, origin string) {
	if len(origins) == 0 {
		return
	}
	h.Add("Vary", "Origin") // a cache must not give one origin's answer to another
	switch {
	case origin == "":
		return
	case slices.ContainsFunc(origins, func(o string) bool { return strings.EqualFold(o, origin) }):
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Allow-Credentials", "true")
	case slices.Contains(origins, "*"):
		h.Set("Access-Control-Allow-Origin", "*")
	default:
		return
	}
	h.Set("Access-Control-Expose-Headers", corsExposed)
}

// allowPreflight allows the headers that the page asks for. With credentials a
// "*" would be taken literally.
func allowPreflight(h http.Header, requested string) {
	h.Set("Access-Control-Allow-Methods", corsMethods)
	allowed := corsHeaders
	if requested != "" {
		allowed = requested
		h.Add("Vary", "Access-Control-Request-Headers")
	}
	h.Set("Access-Control-Allow-Headers", allowed)
	h.Set("Access-Control-Max-Age", corsMaxAge)
}
