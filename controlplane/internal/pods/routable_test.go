package pods

import (
	"strings"
	"testing"

	"github.com/tapis-project/podway/routes"
)

// failer is the part of testing.T that rapid.T has too.
type failer interface {
	Helper()
	Errorf(format string, args ...any)
}

// checkRoutable makes a route of each entry that has one and checks that its
// reader accepts it: what a user may set must never be refused later.
func checkRoutable(t failer, id ID, e Effective) {
	t.Helper()
	for key, n := range e.Networking {
		if n.Protocol == NetLocalOnly {
			continue
		}
		r := routeOf(id, key, n)
		if err := r.Validate(); err != nil {
			t.Errorf("got %v for a definition that was accepted", err)
		}
		if _, err := routes.Encode(r); err != nil {
			t.Errorf("got %v for a definition that was accepted", err)
		}
	}
}

func routeOf(id ID, key string, n Networking) routes.Route {
	r := routes.Route{
		Host: n.URL, Tenant: "dev", Pod: string(id), Net: key,
		Protocol: routes.Protocol(n.Protocol), State: routes.Stopped, IPAllow: n.IPAllowList, ClientCA: n.ClientCA,
	}
	if n.Protocol != NetHTTP {
		return r
	}
	r.Gate = &routes.Gate{
		AllowedUsers: n.TapisAuthAllowedUsers, ResponseHeaders: n.TapisAuthResponseHeaders,
		ExcludedPaths: n.TapisAuthExcludedPaths, ExcludedPathRegex: n.TapisAuthExcludedPathRegex,
		ReturnPath: n.TapisAuthReturnPath,
	}
	r.CORS = &routes.CORS{
		AllowOrigins: n.CORSAllowOrigins, AllowMethods: n.CORSAllowMethods, AllowHeaders: n.CORSAllowHeaders,
		AllowCredentials: n.CORSAllowCredentials, MaxAge: n.CORSMaxAge,
	}
	r.Compression = &routes.Compression{
		Encodings: n.ProxyCompressionEncodings, ExcludedContentTypes: n.ProxyCompressionExcludedContent,
		MinBodyBytes: n.ProxyCompressionMinResponseBodySize,
	}
	return r
}

func TestTheLargestEntryFitsIntoARoute(t *testing.T) {
	n := completeNet(NetDef{}).clone()
	n.URL = routes.PodHost("dev.localhost", "mypod", "default")
	for range maxExcluded {
		// JSON writes this character as \u003c, six times as long.
		n.TapisAuthExcludedPaths = append(n.TapisAuthExcludedPaths, "/"+strings.Repeat("<", maxExcludedPath-1))
	}
	check := func() error {
		var p problems
		stanza{validator: validator{problems: &p}, where: at("networking", "default")}.values(n)
		return p.err()
	}
	if check() == nil {
		t.Error("got no problem with an entry of 75 KiB, want one")
	}
	for check() != nil {
		n.TapisAuthExcludedPaths = n.TapisAuthExcludedPaths[1:]
	}
	checkRoutable(t, "mypod", Effective{Networking: map[string]Networking{"default": n}})
}
