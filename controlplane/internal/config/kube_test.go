package config

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

func TestKubeSettings(t *testing.T) {
	c, err := FromEnv(env(map[string]string{
		"PODWAY_CLUSTER": "kubernetes", "PODWAY_KUBE_UNMANAGED": "true", "PODWAY_KUBE_ADDRESS_MODE": "node-port",
		"PODWAY_KUBE_IMAGE_USERS": "localhost:5000/x=999, postgres=70:71", "PODWAY_KUBE_EDGE_PODS": "app=edge,tier=",
		"PODWAY_KUBE_EDGE_CIDRS": "192.0.2.0/24, 2001:db8::1", "PODWAY_KUBE_QUOTA": "pods=10,limits.memory=1Ti",
	}))
	if err != nil {
		t.Fatal(err)
	}
	k := c.Kube
	if c.Cluster != "kubernetes" || !k.Unmanaged || k.AddressMode != "node-port" || k.PullPolicy != "Always" || k.GraceSeconds != 30 {
		t.Errorf("got %+v", k)
	}
	if want := map[string]ImageUser{"localhost:5000/x": {999, 999}, "postgres": {70, 71}}; !reflect.DeepEqual(k.ImageUsers, want) {
		t.Errorf("image users: got %v, want %v", k.ImageUsers, want)
	}
	if want := map[string]string{"app": "edge", "tier": ""}; !reflect.DeepEqual(k.EdgePods, want) {
		t.Errorf("edge pods: got %v, want %v", k.EdgePods, want)
	}
	if want := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::1/128")}; !reflect.DeepEqual(k.EdgeCIDRs, want) {
		t.Errorf("edge networks: got %v, want %v", k.EdgeCIDRs, want)
	}
	if want := map[string]string{"pods": "10", "limits.memory": "1Ti"}; !reflect.DeepEqual(k.Quota, want) {
		t.Errorf("quota: got %v, want %v", k.Quota, want)
	}
}

func TestNoQuotaDiffersFromTheDefaultOne(t *testing.T) {
	none, err := FromEnv(env(map[string]string{"PODWAY_KUBE_QUOTA": "none"}))
	if err != nil || none.Kube.Quota == nil || len(none.Kube.Quota) != 0 {
		t.Errorf("got %v, %v, want an empty quota", none.Kube.Quota, err)
	}
	def, err := FromEnv(env(nil))
	if err != nil || def.Kube.Quota != nil {
		t.Errorf("got %v, %v, want nil", def.Kube.Quota, err)
	}
}

func TestKubeSettingsReportEveryProblemByName(t *testing.T) {
	bad := map[string]string{
		"PODWAY_KUBE_UNMANAGED": "perhaps", "PODWAY_KUBE_ADDRESS_MODE": "pigeon", "PODWAY_KUBE_PULL_POLICY": "sometimes",
		"PODWAY_KUBE_IMAGE_USERS": "postgres=root", "PODWAY_KUBE_EDGE_PODS": "edge", "PODWAY_KUBE_DENY_CIDRS": "10.0.0.0/99",
		"PODWAY_KUBE_GRACE": "0",
	}
	_, err := FromEnv(env(bad))
	if err == nil {
		t.Fatal("got no error")
	}
	for name := range bad {
		if !strings.Contains(err.Error(), name+": ") {
			t.Errorf("%s is not named in:\n%v", name, err)
		}
	}
}
