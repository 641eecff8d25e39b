package pods

import (
	"fmt"
	"maps"
	"slices"

	"github.com/tapis-project/podway/routes"
)

// maxLabel is the longest DNS label, and the longest name of a Kubernetes
// Service (RFC 1035, section 2.3.4).
const maxLabel = 63

// MaxObjectName is the longest that [ObjectName] may return.
const MaxObjectName = maxLabel

// ObjectName returns the name of a pod's objects in a cluster,
// "pods-<site>-<tenant>-<pod_id>".
func ObjectName(site string, k Key) string {
	return "pods-" + site + "-" + k.Tenant + "-" + string(k.ID)
}

// CheckNames checks the names that are made of a pod's id against the limits of
// DNS and Kubernetes: the object name, and a host name below the tenant's
// domain for each networking key. The error has code Invalid and one message
// per name that does not fit.
func CheckNames(site, tenant, domain string, id ID, networking map[string]Networking) error {
	var p problems
	checkObjectName(&p, site, Key{Tenant: tenant, ID: id})
	for _, key := range slices.Sorted(maps.Keys(networking)) {
		checkHost(&p, domain, id, key)
		checkOwnDomain(&p, domain, key, networking[key])
	}
	return p.err()
}

func checkObjectName(p *problems, site string, k Key) {
	name := ObjectName(site, k)
	if over := len(name) - maxLabel; over > 0 {
		p.add(at("pod_id"), "the name '%s' has %d characters, at most %d are allowed. Use a pod_id of at most %d characters.",
			clip(name), len(name), maxLabel, max(len(k.ID)-over, 0))
	}
}

func checkHost(p *problems, domain string, id ID, key string) {
	loc := at("networking", key)
	label := string(id)
	if key != routes.DefaultNet {
		label += "-" + key
	}
	if len(label) > maxLabel {
		p.add(loc, "the host label '%s' has %d characters, at most %d are allowed. Use a shorter pod_id or networking key.",
			clip(label), len(label), maxLabel)
		return
	}
	if err := routes.ValidateHost(routes.PodHost(domain, string(id), key)); err != nil {
		p.add(loc, "%s", fmt.Sprintf("no host name can be made: %v", err))
	}
}
