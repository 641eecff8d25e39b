package routes

import (
	"net"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestPodHost(t *testing.T) {
	for _, tc := range []struct{ name, domain, pod, net, want string }{
		{"the default entry has the bare pod id", "dev.localhost", "db", "default", "db.pods.dev.localhost"},
		{"other entries are a suffix", "dev.localhost", "db", "browser", "db-browser.pods.dev.localhost"},
		{"a tenant below several labels", "tacc.tapis.io", "x1", "default", "x1.pods.tacc.tapis.io"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := PodHost(tc.domain, tc.pod, tc.net); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestParsePodHostRefuses(t *testing.T) {
	for name, host := range map[string]string{
		"nothing":                             "",
		"a host outside the zone":             "dev.localhost",
		"the zone itself":                     "pods.dev.localhost",
		"an empty label":                      ".pods.dev.localhost",
		"an empty domain":                     "db.pods.",
		"two labels before the zone":          "a.db.pods.dev.localhost",
		"an empty networking key":             "db-.pods.dev.localhost",
		"an empty pod id":                     "-browser.pods.dev.localhost",
		"a second dash":                       "db-a-b.pods.dev.localhost",
		"the default entry written out":       "db-default.pods.dev.localhost",
		"a wildcard":                          "*.pods.dev.localhost",
		"upper case, which is not normalized": "DB.pods.dev.localhost",
		"a label beyond 63 characters":        strings.Repeat("a", 64) + ".pods.dev.localhost",
	} {
		t.Run(name, func(t *testing.T) {
			if domain, pod, net, ok := ParsePodHost(host); ok {
				t.Errorf("%q: got %q %q %q, want refused", host, domain, pod, net)
			}
		})
	}
}

func TestPodHostRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		domain := rapid.StringMatching(`[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?(\.[a-z0-9]{1,9}){0,3}`).Draw(t, "domain")
		pod := rapid.StringMatching(`[a-z0-9]{1,31}`).Draw(t, "pod")
		net := rapid.OneOf(rapid.Just(DefaultNet), rapid.StringMatching(`[a-z0-9]{1,31}`)).Draw(t, "net")

		host := PodHost(domain, pod, net)
		if err := ValidateHost(host); err != nil {
			t.Fatalf("%q: got %v, want valid", host, err)
		}
		if got := NormalizeHost(host); got != host {
			t.Fatalf("normalized: got %q, want %q", got, host)
		}
		d, p, n, ok := ParsePodHost(host)
		if !ok || d != domain || p != pod || n != net {
			t.Fatalf("%q: got %q %q %q %v, want %q %q %q", host, d, p, n, ok, domain, pod, net)
		}
	})
}

func TestNormalizeHost(t *testing.T) {
	long := strings.Repeat(strings.Repeat("a", 49)+".", 5) + "abc" // 253 bytes
	for _, tc := range []struct{ name, in, want string }{
		{"a plain name stays", "db.pods.dev.localhost", "db.pods.dev.localhost"},
		{"upper case is lowered", "A.Pods.X", "a.pods.x"},
		{"a port is cut", "a.pods.x:443", "a.pods.x"},
		{"an empty port is cut", "a.pods.x:", "a.pods.x"},
		{"a trailing dot is cut", "a.pods.x.", "a.pods.x"},
		{"port, dot and case together", "A.Pods.X.:443", "a.pods.x"},
		{"one label", "localhost", "localhost"},
		{"an IPv4 address", "127.0.0.1:80", "127.0.0.1"},
		{"an international name in ASCII form", "XN--BCHER-KVA.example", "xn--bcher-kva.example"},
		{"253 bytes", long, long},
		{"253 bytes with a trailing dot", long + ".", long},

		{"nothing", "", ""},
		{"a dot", ".", ""},
		{"a port alone", ":443", ""},
		{"two trailing dots", "a.pods.x..", ""},
		{"an empty label", "a..x", ""},
		{"254 bytes", "a" + long, ""},
		{"a label of 64", strings.Repeat("a", 64) + ".x", ""},
		{"a port that is no number", "a.pods.x:https", ""},
		{"two ports", "a.pods.x:1:2", ""},
		{"an IPv6 literal", "[::1]", ""},
		{"an IPv6 literal with port", "[::1]:443", ""},
		{"a bare IPv6 address", "::1", ""},
		{"a wildcard", "*.pods.x", ""},
		{"an international name as typed", "bücher.example", ""},
		{"a letter whose lower case is ASCII", "\u212Aube.example", ""}, // Kelvin sign
		{"a full-width dot", "a\uff0eb", ""},
		{"a label that begins with a dash", "-a.x", ""},
		{"a label that ends with a dash", "a-.x", ""},
		{"an underscore", "a_b.x", ""},
		{"a space", "a b.x", ""},
		{"a NUL", "a\x00.x", ""},
		{"a user", "user@a.x", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := NormalizeHost(tc.in); got != tc.want {
				t.Errorf("%q: got %q, want %q", tc.in, got, tc.want)
			}
		})
	}
}

func TestNormalizeHostIsStable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.OneOf(rapid.String(), rapid.StringMatching(`[A-Za-z0-9.*:-]{0,20}`)).Draw(t, "in")
		once := NormalizeHost(in)
		if once == "" {
			return
		}
		if err := ValidateHost(once); err != nil {
			t.Fatalf("%q: got %q, which is invalid: %v", in, once, err)
		}
		if twice := NormalizeHost(once); twice != once {
			t.Fatalf("got %q, then %q", once, twice)
		}
		port := rapid.IntRange(1, 65535).Draw(t, "port")
		if got := NormalizeHost(net.JoinHostPort(once, strconv.Itoa(port))); got != once {
			t.Fatalf("with a port: got %q, want %q", got, once)
		}
	})
}

func TestNormalizeHostDoesNotAllocate(t *testing.T) {
	got := testing.AllocsPerRun(100, func() { NormalizeHost("db.pods.dev.localhost:8443") })
	if got != 0 {
		t.Errorf("got %v allocations, want 0", got)
	}
}

func TestValidateHost(t *testing.T) {
	long := strings.Repeat(strings.Repeat("a", 49)+".", 5) + "abc"
	for _, tc := range []struct {
		name, host string
		ok         bool
	}{
		{"a name", "db.pods.dev.localhost", true},
		{"a single label", "localhost", true},
		{"digits and dashes", "0-a.1", true},
		{"a wildcard", "*.pods.dev", true},
		{"a label of 63", strings.Repeat("a", 63) + ".x", true},
		{"253 bytes", long, true},

		{"empty", "", false},
		{"254 bytes", "a" + long, false},
		{"a label of 64", strings.Repeat("a", 64) + ".x", false},
		{"a wildcard of one label", "*.x", false},
		{"a wildcard alone", "*", false},
		{"a wildcard inside", "a.*.x", false},
		{"two wildcards", "*.*.a.b", false},
		{"part of a label as wildcard", "a*.x.y", false},
		{"upper case", "A.x", false},
		{"a trailing dot", "a.x.", false},
		{"a leading dot", ".a.x", false},
		{"a port", "a.x:1", false},
		{"a quote", `a".x`, false},
		{"unicode", "bücher.x", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := ValidateHost(tc.host); (err == nil) != tc.ok {
				t.Errorf("%q: got %v, want ok %v", tc.host, err, tc.ok)
			}
		})
	}
}
