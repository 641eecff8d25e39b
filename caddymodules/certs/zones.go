package certs

import (
	"maps"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/routes/redisgate"
)

// warmLabel is the first label of the name by which the edge asks itself for the
// certificate of a zone. Ids of pods have no dashes in front of their network's key
// "0", so no pod is called like that.
const warmLabel = "podway-certificate-0"

// zones are the domains whose names share a wildcard certificate: "pods.tacc.tapis.io"
// for "*.pods.tacc.tapis.io". It is safe for concurrent use.
type zones struct {
	now atomic.Pointer[map[string]string] // domain → tenant, "" if it is no tenant's
}

// all returns the tenants of the zones. It must not be changed.
func (z *zones) all() map[string]string {
	if m := z.now.Load(); m != nil {
		return *m
	}
	return nil
}

// set replaces the zones and reports whether they were others.
func (z *zones) set(m map[string]string) bool {
	if maps.Equal(z.all(), m) {
		return false
	}
	z.now.Store(&m)
	return true
}

// zoneOf returns the zone that has a host, "" if none has.
func (z *zones) zoneOf(host string) string {
	_, domain, _ := strings.Cut(host, ".")
	if _, ok := z.all()[domain]; ok {
		return domain
	}
	return ""
}

// subject returns the name on the certificate for a host: the host itself, or the
// wildcard of its zone.
func (z *zones) subject(host string) string {
	if domain := z.zoneOf(host); domain != "" {
		return "*." + domain
	}
	return host
}

// tenantZones returns the zones of tenants: "pods." and the host of their base URL,
// as pods are named. Tenants without a usable URL have none.
func tenantZones(tenants map[string]redisgate.Tenant, label string) map[string]string {
	found := make(map[string]string, len(tenants))
	for id, t := range tenants {
		u, err := url.Parse(t.LoginURL)
		if err != nil || u.Scheme != "https" {
			continue
		}
		domain := label + "." + routes.NormalizeHost(u.Hostname())
		if routes.ValidateHost("*."+domain) == nil {
			found[domain] = id
		}
	}
	return found
}
