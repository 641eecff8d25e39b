package certs

import (
	"maps"
	"testing"

	"github.com/tapis-project/podway/routes/redisgate"
)

func TestNamesOfAZoneShareItsWildcard(t *testing.T) {
	var z zones
	if got := z.subject("web.pods.tacc.test"); got != "web.pods.tacc.test" {
		t.Errorf("without zones: got %s", got)
	}
	if !z.set(map[string]string{"pods.tacc.test": "tacc"}) || z.set(map[string]string{"pods.tacc.test": "tacc"}) {
		t.Error("the same zones count as others, or others as the same")
	}
	for host, want := range map[string]string{
		"web.pods.tacc.test":   "*.pods.tacc.test",
		"a.web.pods.tacc.test": "a.web.pods.tacc.test", // a wildcard covers one label
		"pods.tacc.test":       "pods.tacc.test",
		"www.example.org":      "www.example.org",
		"*.pods.tacc.test":     "*.pods.tacc.test",
		"":                     "",
	} {
		if got := z.subject(host); got != want {
			t.Errorf("%q: got %q, want %q", host, got, want)
		}
	}
}

func TestZonesOfTenants(t *testing.T) {
	got := tenantZones(map[string]redisgate.Tenant{
		"tacc":    {LoginURL: "https://TACC.tapis.test"},
		"port":    {LoginURL: "https://port.tapis.test:8443/v3"},
		"plain":   {LoginURL: "http://plain.tapis.test"},
		"none":    {},
		"address": {LoginURL: "https://192.0.2.1"},
		"broken":  {LoginURL: "https://a b"},
	}, "pods")
	want := map[string]string{"pods.tacc.tapis.test": "tacc", "pods.port.tapis.test": "port"}
	delete(got, "pods.192.0.2.1") // a wildcard of it is valid as a name, and no authority signs it
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
