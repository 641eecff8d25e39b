package pods

import (
	"strings"
	"testing"
)

func TestNormalizeDomain(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"a plain name stays as it is", "www.example.org", "www.example.org"},
		{"a name directly below a public suffix", "example.co.uk", "example.co.uk"},
		{"capitals become small", "WWW.Example.ORG", "www.example.org"},
		{"a dot at the end is dropped", "www.example.org.", "www.example.org"},
		{"an international name becomes A-labels", "bücher.example.org", "xn--bcher-kva.example.org"},
		{"a name with an ideographic full stop", "例え。example.org", "xn--r8jz45g.example.org"},
		{"A-labels stay", "xn--bcher-kva.example.org", "xn--bcher-kva.example.org"},
		{"letters that look wider", "ｗｗｗ.example.org", "www.example.org"},
		{"a name of a network's own", "lab.campus", "lab.campus"},
		{"a name with digits", "4.3.2.1.example.org", "4.3.2.1.example.org"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := NormalizeDomain(tt.in)
			if err != nil || got != tt.want {
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
			again, err := NormalizeDomain(got)
			if err != nil || again != got {
				t.Errorf("once more: got %q, %v, want %q", again, err, got)
			}
		})
	}
}

func TestNormalizeDomainRefuses(t *testing.T) {
	for name, tt := range map[string]struct{ in, want string }{
		"nothing":                           {"", "is not a domain name"},
		"a single label":                    {"intranet", "at least two labels"},
		"an IPv4 address":                   {"192.0.2.7", "is an address"},
		"a short IPv4 address":              {"127.1", "is an address"},
		"a hexadecimal IPv4 address":        {"1.2.3.0x7f", "is an address"},
		"an IPv6 address":                   {"2001:db8::1", "is an address"},
		"an IPv6 address in brackets":       {"[2001:db8::1]", "is an address"},
		"a wildcard":                        {"*.example.org", "can't be a wildcard"},
		"a wildcard inside":                 {"www.*.example.org", "can't be a wildcard"},
		"a public suffix":                   {"co.uk", "is a public suffix"},
		"a public suffix of a company":      {"github.io", "is a public suffix"},
		"an international public suffix":    {"個人.hk", "is a public suffix"},
		"a URL":                             {"https://www.example.org", "must be a bare name"},
		"a port":                            {"www.example.org:443", "must be a bare name"},
		"a path":                            {"www.example.org/x", "must be a bare name"},
		"a space":                           {"www.example .org", "must be a bare name"},
		"an underscore":                     {"_tapis-pods.example.org", "is not a domain name"},
		"an empty label":                    {"www..example.org", "is not a domain name"},
		"two dots at the end":               {"www.example.org..", "is not a domain name"},
		"a dash at the begin of a label":    {"-www.example.org", "is not a domain name"},
		"an A-label that is none":           {"xn--99999999.example.org", "is not a domain name"},
		"a label that is too long":          {strings.Repeat("a", 64) + ".example.org", "is not a domain name"},
		"a name without room for a record":  {strings.Repeat(strings.Repeat("a", 49)+".", 4) + strings.Repeat("b", 40) + ".example", "is too long"},
		"a name of this machine":            {"db.localhost", "special use"},
		"a name of multicast DNS":           {"printer.local", "special use"},
		"a name of Tor":                     {"abc.onion", "special use"},
		"a reverse name":                    {"7.2.0.192.in-addr.arpa", "special use"},
		"a pod's host":                      {"web.pods.other.tapis.io", "pods get from the service"},
		"the host above pods":               {"pods.other.tapis.io", "pods get from the service"},
		"a zero byte":                       {"www.example.org\x00", "is not a domain name"},
		"right-to-left mixed with left":     {"אa.example.org", "is not a domain name"},
		"a soft hyphen that leaves nothing": {"\u00ad.example.org", "is not a domain name"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := NormalizeDomain(tt.in)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

func TestCustomDomainsOfAPod(t *testing.T) {
	settings := DefaultSettings()
	settings.BaseDomains = []string{"podway.example.org"}
	for _, tt := range []struct {
		name, networking string
		want             []string
	}{
		{"a name and what the service showed beside it", `{"default":{"custom_domain":"www.example.org","custom_domain_verified":true}}`, nil},
		{"no name", `{"default":{"custom_domain":""}}`, nil},
		{"a wildcard", `{"default":{"custom_domain":"*.example.org"}}`, []string{
			"body, networking, default, custom_domain: networking.custom_domain can't be a wildcard; give one name. Got '*.example.org'",
		}},
		{"a name of the installation", `{"default":{"custom_domain":"x.Podway.Example.org"}}`, []string{
			"body, networking, default, custom_domain: networking.custom_domain is within podway.example.org, which is the service's own. Got 'x.podway.example.org'",
		}},
		{"a name that ends like one of the installation", `{"default":{"custom_domain":"notpodway.example.org"}}`, nil},
		{"a name in two entries", `{"default":{"custom_domain":"www.example.org"},"other":{"custom_domain":"WWW.example.org"}}`, []string{
			"networking: networking.custom_domain 'www.example.org' stands in two entries: default and other",
		}},
		{"a name for an entry without a host", `{"default":{"protocol":"local_only","custom_domain":"www.example.org"}}`, []string{
			"body, networking, default, custom_domain: networking.custom_domain can't be used with protocol 'local_only', which has no host name.",
		}},
		{"a number", `{"default":{"custom_domain":7}}`, []string{"body, networking, default, custom_domain: str type expected"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := DecodeNewPod([]byte(`{"pod_id":"web","image":"podway/hello","networking":`+tt.networking+`}`), settings)
			wantProblems(t, err, tt.want...)
		})
	}
}

func TestACustomDomainIsStoredInTheFormOfDNS(t *testing.T) {
	n, err := DecodeNewPod([]byte(`{"pod_id":"web","image":"podway/hello","networking":{"default":{"custom_domain":"Bücher.example.org."}}}`), DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	if got := n.Definition.Domains(); len(got) != 1 || got["xn--bcher-kva.example.org"] != "default" {
		t.Errorf("got %v, want the A-label", got)
	}
	if got := n.Definition.WithoutDomains().Domains(); len(got) != 0 {
		t.Errorf("without domains: got %v, want none", got)
	}
}

func TestACustomDomainIsNotWithinTheTenantsOwn(t *testing.T) {
	networking := map[string]Networking{"default": {CustomDomain: "www.dev.tapis.io"}}
	wantProblems(t, CheckNames("dev", "dev", "dev.tapis.io", "web", networking),
		"networking, default: networking.custom_domain is within dev.tapis.io, which is the tenant's own. Got 'www.dev.tapis.io'")
	wantProblems(t, CheckNames("dev", "dev", "tapis.io", "web", map[string]Networking{"default": {CustomDomain: "nottapis.io"}}))
}

func TestATemplateHasNoCustomDomain(t *testing.T) {
	_, err := DecodeNewTemplateTag([]byte(`{"commit_message":"x","pod_definition":{"image":"podway/hello",`+
		`"networking":{"default":{"custom_domain":"www.example.org"}}}}`), DefaultSettings())
	wantProblems(t, err, "body, pod_definition, networking: custom_domain is for pods; it belongs to one of them")
}
