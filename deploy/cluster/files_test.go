//go:build linux

package main

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"
)

func TestNetworksArePrivate(t *testing.T) {
	n, err := newNetwork("10.203")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []netip.Prefix{n.link, n.pods, n.services} {
		if !n.all.Contains(p.Addr()) || p.Masked() != p {
			t.Errorf("got %v, want a part of %v", p, n.all)
		}
	}
	if n.pods.Overlaps(n.services) || n.pods.Contains(n.node) || !n.services.Contains(n.apiService) {
		t.Errorf("got %+v, want parts that do not overlap", n)
	}
	for _, bad := range []string{"", "10", "10.203.1", "8.8", "10.x", "10.203.0.0/16"} {
		if _, err := newNetwork(bad); err == nil {
			t.Errorf("%q: got no error", bad)
		}
	}
}

func TestRoutesAreRead(t *testing.T) {
	got := parseRoutes("Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n" +
		"eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n" +
		"tun0\t0000CB0A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n")
	want := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("10.203.0.0/16")}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestTheNodesFilesAreComplete(t *testing.T) {
	c := &cluster{dir: t.TempDir()}
	c.net, _ = newNetwork("10.99")
	if err := os.MkdirAll(c.root(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := c.writeConfigs(); err != nil {
		t.Fatal(err)
	}
	if err := c.writeCertificates(); err != nil {
		t.Fatal(err)
	}
	if err := c.writeKubeconfig(); err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", c.kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	if config.Host != "https://10.99.0.2:6443" {
		t.Errorf("got %s, want the node's address", config.Host)
	}
	for _, path := range files {
		b, err := os.ReadFile(c.inRoot(path))
		if err != nil {
			t.Fatal(err)
		}
		var v any
		switch filepath.Ext(path) {
		case ".yaml":
			err = yaml.Unmarshal(b, &v)
		case ".conflist":
			err = json.Unmarshal(b, &v)
		}
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if strings.Contains(string(b), "{{") || strings.Contains(string(b), "<no value>") {
			t.Errorf("%s: got %s, want it filled in", path, b)
		}
	}
}

func TestWhatServersDoNotNeedIsLeftOut(t *testing.T) {
	for name, want := range map[string]bool{
		"postgresql-15": false, "libpq5": false, "libpam0g": false, "libc6": false, "mariadb-server-core": false,
		"postgresql": true, "postgresql-common": true, "perl-base": true, "libllvm14": true, "libjson-perl": true, "dpkg": true,
	} {
		if got := unneeded.MatchString(name); got != want {
			t.Errorf("package %s: got %v, want %v", name, got, want)
		}
	}
	for name, want := range map[string]bool{
		"./usr/share/doc/x/copyright": true, "./usr/lib/postgresql/15/lib/bitcode/x.bc": true, "./lib/systemd/system/x.service": true,
		"./usr/lib/postgresql/15/lib/plpgsql.so": false, "./usr/lib/x86_64-linux-gnu/libpq.so.5": false, "./usr/sbin/nft": false,
	} {
		if got := unneededFiles.MatchString(name); got != want {
			t.Errorf("file %s: got %v, want %v", name, got, want)
		}
	}
}
