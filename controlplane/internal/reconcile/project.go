package reconcile

import (
	"maps"
	"slices"
	"strings"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/routes"
)

// RoutesOf returns the routes of a pod, ordered by host: one for each networking
// entry that has a host name. It is a pure function of the stored pod, its
// effective definition, what the cluster shows of it, and the domain below which
// the tenant's pods live.
//
// A route is live only while the user wants the pod ON, its status is AVAILABLE,
// and the cluster shows a ready container of this very pod with an address for
// the entry.
func RoutesOf(p pods.Pod, e pods.Effective, o pods.Observation, domain string) []routes.Route {
	var out []routes.Route
	for key, n := range e.Networking {
		protocol, routed := protocols[n.Protocol]
		if !routed {
			continue
		}
		r := routeOf(p, key, protocol, domain)
		target(&r, p, o)
		access(&r, p, n)
		out = append(out, r)
	}
	return byHost(out)
}

// plainRoutes returns routes that tell the state of a pod whose definition is not
// usable. Their hosts are those of e, which may be the zero value; then those
// that its own part of the definition names.
func plainRoutes(p pods.Pod, e pods.Effective, domain string) []routes.Route {
	var out []routes.Route
	for key, name := range netProtocols(p, e) {
		if protocol, routed := protocols[name]; routed {
			out = append(out, routeOf(p, key, protocol, domain))
		}
	}
	return byHost(out)
}

// netProtocols returns what is known of a pod's networking, by key.
func netProtocols(p pods.Pod, e pods.Effective) map[string]pods.NetProtocol {
	out := map[string]pods.NetProtocol{}
	for key, n := range e.Networking {
		out[key] = n.Protocol
	}
	if len(out) > 0 {
		return out
	}
	for key, n := range p.Definition.Networking.Or(nil) {
		out[key] = pods.NetProtocol(n.Protocol.Or(string(pods.NetHTTP)))
	}
	if len(out) == 0 {
		out[routes.DefaultNet] = pods.NetHTTP
	}
	return out
}

func byHost(rs []routes.Route) []routes.Route {
	slices.SortFunc(rs, func(a, b routes.Route) int { return strings.Compare(a.Host, b.Host) })
	return rs
}

// protocols maps the protocols that have a route.
var protocols = map[pods.NetProtocol]routes.Protocol{
	pods.NetHTTP:     routes.HTTP,
	pods.NetTCP:      routes.TCP,
	pods.NetPostgres: routes.Postgres,
}

// routeOf returns a route that leads nowhere yet, and says why.
func routeOf(p pods.Pod, key string, protocol routes.Protocol, domain string) routes.Route {
	return routes.Route{
		Schema: routes.Schema, Host: routes.PodHost(domain, string(p.ID), key),
		Tenant: p.Tenant, Pod: string(p.ID), Net: key,
		Protocol: protocol, State: routeState(p),
	}
}

// routeState is what visitors are told while a route is not live.
func routeState(p pods.Pod) routes.State {
	switch {
	case p.Requested == pods.Restart:
		return routes.Starting
	case p.Requested != pods.On && p.State.Status != pods.StatusStopped:
		return routes.Deleting
	case p.Requested != pods.On:
		return routes.Stopped
	case p.State.Status == pods.StatusError:
		return routes.Error
	case p.State.Status == pods.StatusComplete:
		return routes.Finished
	default: // on its way to run, or to run again
		return routes.Starting
	}
}

// target makes a route live if there is something to lead to.
func target(r *routes.Route, p pods.Pod, o pods.Observation) {
	upstreams := addresses(o.Addresses[r.Net])
	if !serving(p, o) || len(upstreams) == 0 {
		return
	}
	r.State, r.Instance, r.Upstreams = routes.Live, o.Instance, upstreams
}

// serving reports whether a pod may get traffic.
func serving(p pods.Pod, o pods.Observation) bool {
	return p.Requested == pods.On && p.State.Status == pods.StatusAvailable && o.Ready && runs(p, o)
}

// runs reports whether the cluster shows a running container of this very pod.
func runs(p pods.Pod, o pods.Observation) bool {
	return o.Present && !o.Terminating && o.Foreign == "" && !leftover(p, o) &&
		o.Phase == pods.PhaseRunning && o.Terminated == ""
}

// addresses returns a list that is the same whatever the order the cluster gave.
func addresses(list []string) []string {
	list = slices.Compact(slices.Sorted(slices.Values(list)))
	return list[:min(len(list), routes.MaxUpstreams)]
}

// access adds what decides who may connect and what they are answered.
func access(r *routes.Route, p pods.Pod, n pods.Networking) {
	r.IPAllow = slices.Clone(n.IPAllowList)
	r.ClientCA = n.ClientCA
	if n.TapisAuth {
		r.Gate = gateOf(p.Permissions, n)
	}
	if r.Protocol != routes.HTTP {
		return
	}
	if n.AccessGate {
		r.AccessGate = &routes.AccessGate{ReturnPath: n.AccessGateReturnPath}
	}
	if len(n.CORSAllowOrigins) > 0 {
		r.CORS = &routes.CORS{
			AllowOrigins: slices.Clone(n.CORSAllowOrigins), AllowMethods: slices.Clone(n.CORSAllowMethods),
			AllowHeaders: slices.Clone(n.CORSAllowHeaders), AllowCredentials: n.CORSAllowCredentials, MaxAge: n.CORSMaxAge,
		}
	}
	if n.ProxyCompression && len(n.ProxyCompressionEncodings) > 0 {
		r.Compression = &routes.Compression{
			Encodings:            slices.Clone(n.ProxyCompressionEncodings),
			ExcludedContentTypes: slices.Clone(n.ProxyCompressionExcludedContent),
			MinBodyBytes:         n.ProxyCompressionMinResponseBodySize,
		}
	}
}

// gateOf puts a login in front of an entry.
func gateOf(perms pods.Permissions, n pods.Networking) *routes.Gate {
	g := &routes.Gate{AllowedUsers: n.AllowedUsers(perms), Tenants: perms.GuestTenants()}
	if n.Protocol != pods.NetHTTP {
		return g // connections have neither headers nor paths
	}
	g.ResponseHeaders = maps.Clone(n.TapisAuthResponseHeaders)
	g.ExcludedPaths = slices.Clone(n.TapisAuthExcludedPaths)
	g.ExcludedPathRegex = slices.Clone(n.TapisAuthExcludedPathRegex)
	g.ReturnPath = n.TapisAuthReturnPath
	return g
}
