package pods

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"

	"github.com/tapis-project/podway/routes"
)

// specialDomains are names for special use (RFC 6761 and others), whose owner
// nobody could be.
var specialDomains = []string{"alt", "arpa", "example", "invalid", "local", "localhost", "onion", "test"}

// maxDomainBytes is the longest name in DNS (RFC 1035, section 2.3.4).
const maxDomainBytes = 253

// domainProfile turns international names into the form of DNS as browsers do:
// UTS 46, with the rules of STD 3 for letters, digits and dashes.
var domainProfile = idna.New(
	idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(true), idna.VerifyDNSLength(true),
)

// NormalizeDomain returns a custom domain in the form that routes and DNS have:
// lower case, international names as A-labels. It refuses what nobody can own,
// and what is not a bare name: addresses, wildcards, single labels, public
// suffixes, names for special use and those of pods.
func NormalizeDomain(s string) (string, error) {
	switch _, err := netip.ParseAddr(strings.Trim(s, "[]")); {
	case err == nil:
		return "", errors.New("is an address, not a name")
	case strings.Contains(s, "*"):
		return "", errors.New("can't be a wildcard; give one name")
	case strings.ContainsAny(s, ":/@?#%\\ \t\r\n"):
		return "", errors.New("must be a bare name, without scheme, port and path")
	}
	domain, err := domainProfile.ToASCII(strings.TrimSuffix(s, "."))
	if err != nil {
		return "", errors.New("is not a domain name")
	}
	return domain, checkDomain(domain)
}

// checkDomain checks a name in the form of DNS.
func checkDomain(domain string) error {
	if err := routes.ValidateHost(domain); err != nil {
		return errors.New("is not a domain name")
	}
	if len(challengePrefix+domain) > maxDomainBytes {
		return fmt.Errorf("is too long: at most %d characters leave room for the record that proves it", maxDomainBytes-len(challengePrefix))
	}
	dot := strings.LastIndexByte(domain, '.')
	if dot < 0 {
		return errors.New("needs at least two labels, such as www.example.org")
	}
	// Some programs take such names for IPv4 addresses.
	if last := domain[dot+1:]; strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x") {
		return errors.New("is an address, not a name")
	}
	if slices.ContainsFunc(specialDomains, func(special string) bool { return withinDomain(domain, special) }) {
		return errors.New("is a name for special use, which nobody can own")
	}
	if suffix, _ := publicsuffix.PublicSuffix(domain); suffix == domain {
		return errors.New("is a public suffix, below which anybody can have a name; give a name of your own")
	}
	if strings.HasPrefix(domain, "pods.") || strings.Contains(domain, ".pods.") {
		return errors.New("is a name that pods get from the service")
	}
	return nil
}

// withinDomain reports whether a name is parent or below it.
func withinDomain(name, parent string) bool {
	return name == parent || strings.HasSuffix(name, "."+parent)
}

// domain checks the custom domain of an entry.
func (s stanza) domain(domain string) {
	if domain == "" {
		return
	}
	normal, err := NormalizeDomain(domain)
	if err != nil {
		s.bad("custom_domain", "%v. Got '%s'", err, clip(domain))
		return
	}
	for _, base := range s.settings.BaseDomains {
		if withinDomain(normal, base) {
			s.bad("custom_domain", "is within %s, which is the service's own. Got '%s'", base, clip(domain))
		}
	}
}

// checkOwnDomain refuses a custom domain within the tenant's own.
func checkOwnDomain(p *problems, tenantDomain, key string, n Networking) {
	if n.CustomDomain != "" && tenantDomain != "" && withinDomain(n.CustomDomain, tenantDomain) {
		p.add(at("networking", key), "networking.custom_domain is within %s, which is the tenant's own. Got '%s'",
			tenantDomain, clip(n.CustomDomain))
	}
}

// distinctDomains refuses a custom domain that two entries name.
func (v validator) distinctDomains(networking map[string]Networking) {
	keys := map[string]string{}
	for key, n := range networking {
		other, taken := keys[n.CustomDomain]
		if n.CustomDomain != "" && taken {
			v.problems.add(at("networking"), "networking.custom_domain '%s' stands in two entries: %s",
				clip(n.CustomDomain), fmt.Sprint(min(key, other), " and ", max(key, other)))
		}
		keys[n.CustomDomain] = key
	}
}

// readDomain reads a custom domain. One that is not valid is left as it is, for
// the message that says so.
func readDomain(o *object, where loc, v any) (string, bool) {
	s, ok := readString(o, where, v)
	if domain, err := NormalizeDomain(s); err == nil {
		s = domain
	}
	return s, ok
}
