package pods

import (
	"strings"
	"testing"
)

func TestCheckNames(t *testing.T) {
	long := func(n int) string { return strings.Repeat("a", n) }
	for _, c := range []struct {
		name, site, tenant, domain, id string
		keys                           []string
		want                           []string
	}{
		{"short names", "tacc", "tacc", "tacc.tapis.io", "mypod", []string{"default", "browser"}, nil},
		{"an object name of 63 characters", "tacc", "tacc", "tacc.tapis.io", long(48), []string{"default"}, nil},
		{"an object name of 64 characters", "tacc", "tacc", "tacc.tapis.io", long(49), []string{"default"}, []string{
			"pod_id: the name 'pods-tacc-tacc-" + long(49) + "' has 64 characters, at most 63 are allowed. Use a pod_id of at most 48 characters.",
		}},
		{"a tenant that leaves no room", "tacc", long(60), "x.org", "mypod", nil, []string{
			"pod_id: the name 'pods-tacc-" + long(60) + "-mypod' has 76 characters, at most 63 are allowed. Use a pod_id of at most 0 characters.",
		}},
		{"a host label of 63 characters", "tacc", "tacc", "tacc.tapis.io", long(40), []string{long(22)}, nil},
		{"a host label of 64 characters", "tacc", "tacc", "tacc.tapis.io", long(40), []string{"default", long(23)}, []string{
			"networking, " + long(23) + ": the host label '" + long(40) + "-" + long(23) + "' has 64 characters, at most 63 are allowed. Use a shorter pod_id or networking key.",
		}},
		{"everything too long", "tacc", "tacc", "tacc.tapis.io", long(64), []string{"default", "browser"}, []string{
			"networking, browser: the host label '" + long(64) + "-browser' has 72 characters, at most 63 are allowed. Use a shorter pod_id or networking key.",
			"networking, default: the host label '" + long(64) + "' has 64 characters, at most 63 are allowed. Use a shorter pod_id or networking key.",
			"pod_id: the name 'pods-tacc-tacc-" + long(64) + "' has 79 characters, at most 63 are allowed. Use a pod_id of at most 48 characters.",
		}},
		{"a tenant without a domain", "tacc", "tacc", "", "mypod", []string{"default"}, []string{
			`networking, default: no host name can be made: "mypod.pods.": label "" has 0 characters, 1 to 63 are allowed`,
		}},
		{"a host name above 253 characters", "tacc", "tacc", strings.Repeat("abcdefghi.", 25) + "io", "mypod", []string{"default"}, []string{
			"networking, default: no host name can be made: 263 bytes, a host name has at most 253",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			networking := make(map[string]Networking)
			for _, key := range c.keys {
				networking[key] = completeNet(NetDef{}).clone()
			}
			wantProblems(t, CheckNames(c.site, c.tenant, c.domain, ID(c.id), networking), c.want...)
		})
	}
}

func TestObjectName(t *testing.T) {
	if got, want := ObjectName("tacc", Key{Tenant: "dev", ID: "mypod"}), "pods-tacc-dev-mypod"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
