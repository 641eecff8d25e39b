package local

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/tests/parts"
)

var testKey = pods.Key{Tenant: "dev", ID: "web"}

func TestAddressesAreChosen(t *testing.T) {
	a := addresses{prefix: netip.MustParsePrefix("127.81.0.0/16"), seed: t.TempDir()}
	port := map[string]pods.Port{"default": {Protocol: pods.NetHTTP, Number: parts.FreePort(t)}}
	choose := func(had netip.Addr, used map[netip.Addr]bool) netip.Addr {
		t.Helper()
		ip, ports, err := a.choose(t.Context(), testKey, had, used, port)
		if err != nil || ports["default"] != port["default"].Number {
			t.Fatalf("got %v, %v, %v, want port %d", ip, ports, err, port["default"].Number)
		}
		return ip
	}
	first := choose(netip.Addr{}, nil)
	if !a.prefix.Contains(first) {
		t.Fatalf("got %v, want an address of %v", first, a.prefix)
	}
	if again := choose(netip.Addr{}, nil); again != first {
		t.Errorf("the same pod: got %v, want %v", again, first)
	}
	if other := choose(netip.Addr{}, map[netip.Addr]bool{first: true}); other == first {
		t.Errorf("with %v in use: got it", first)
	}
	had := netip.MustParseAddr("127.81.9.9")
	if got := choose(had, nil); got != had {
		t.Errorf("a pod that had %v: got %v", had, got)
	}
	if got := choose(netip.MustParseAddr("127.99.9.9"), nil); got != first {
		t.Errorf("a pod that had an address of another range: got %v, want %v", got, first)
	}
	l, err := net.Listen("tcp", netip.AddrPortFrom(first, uint16(port["default"].Number)).String())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if got := choose(first, nil); got == first {
		t.Errorf("with the port of %v taken: got it", first)
	}
}

func TestAddressesLeaveOutThoseOfNetworks(t *testing.T) {
	a := addresses{prefix: netip.MustParsePrefix("127.81.0.0/22")}
	used := map[netip.Addr]bool{}
	for {
		list := a.candidates(testKey, netip.Addr{}, used)
		if len(list) == 0 {
			break
		}
		for _, ip := range list {
			used[ip] = true
			if last := ip.As4()[3]; last == 0 || last == 255 || !a.prefix.Contains(ip) {
				t.Errorf("got %v", ip)
			}
		}
	}
	if len(used) != 4*254 {
		t.Errorf("got %d addresses, want %d", len(used), 4*254)
	}
	if _, _, err := a.choose(t.Context(), testKey, netip.Addr{}, used, nil); err == nil {
		t.Error("with all addresses in use: got no error")
	}
}

func TestPortThatIsTakenEverywhereIsTold(t *testing.T) {
	l, err := net.Listen("tcp4", "0.0.0.0:0") // closed at once; nothing is answered
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	number := l.Addr().(*net.TCPAddr).Port
	a := addresses{prefix: netip.MustParsePrefix("127.81.0.0/16")}
	_, _, err = a.choose(t.Context(), testKey, netip.Addr{}, nil, map[string]pods.Port{"raw": {Protocol: pods.NetTCP, Number: number}})
	if pods.ErrorCode(err) != pods.Invalid || !strings.Contains(err.Error(), "networking.raw.port: ") {
		t.Fatalf("got %v, want an error with code invalid that names the port", err)
	}
}
