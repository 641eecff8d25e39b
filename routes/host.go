package routes

import (
	"errors"
	"fmt"
	"strings"
)

// DefaultNet is the networking key whose host name carries no suffix.
const DefaultNet = "default"

// zoneLabel separates the pod's label from the tenant's domain.
const zoneLabel = ".pods."

// PodHost returns the host name of a pod's networking entry below a tenant's
// domain, the host part of the tenant's base URL:
//
//	PodHost("dev.localhost", "db", "default")  db.pods.dev.localhost
//	PodHost("dev.localhost", "db", "browser")  db-browser.pods.dev.localhost
func PodHost(tenantDomain, pod, net string) string {
	label := pod
	if net != DefaultNet {
		label += "-" + net
	}
	return label + zoneLabel + tenantDomain
}

// ParsePodHost is the reverse of [PodHost]. Pod ids and networking keys hold no
// dash, so the split is unambiguous.
func ParsePodHost(host string) (tenantDomain, pod, net string, ok bool) {
	label, domain, ok := strings.Cut(host, zoneLabel)
	if !ok || domain == "" || validateLabel(label) != nil {
		return "", "", "", false
	}
	pod, net, suffixed := strings.Cut(label, "-")
	if !suffixed {
		net = DefaultNet
	}
	if pod == "" || net == "" || (suffixed && net == DefaultNet) || strings.Contains(net, "-") {
		return "", "", "", false
	}
	return domain, pod, net, true
}

// NormalizeHost turns an HTTP Host or a TLS server name into the form the table
// is keyed by: lower case, without port and trailing dot. It returns "" if the
// result is not a valid host name.
func NormalizeHost(s string) string {
	if i := strings.IndexByte(s, ':'); i >= 0 {
		if !isDigits(s[i+1:]) { // also an IPv6 literal, which no route has
			return ""
		}
		s = s[:i]
	}
	if !isASCII(s) {
		// Unicode case mapping turns some letters into ASCII (the Kelvin sign into
		// k), so one host could be asked for by a name that is not its own.
		return ""
	}
	s = strings.ToLower(strings.TrimSuffix(s, "."))
	if strings.HasPrefix(s, "*") || ValidateHost(s) != nil {
		return ""
	}
	return s
}

func isASCII(s string) bool {
	for _, c := range []byte(s) {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

func isDigits(s string) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// ValidateHost checks a host name as a route carries it: lower-case ASCII
// (international names in their xn-- form), labels of 1 to 63 letters, digits
// and inner dashes, at most 253 bytes, optionally one leading "*." label.
func ValidateHost(s string) error {
	if s == "" {
		return errors.New("the host name is empty")
	}
	if len(s) > 253 {
		return fmt.Errorf("%d bytes, a host name has at most 253", len(s))
	}
	rest, wildcard := strings.CutPrefix(s, "*.")
	if wildcard && !strings.Contains(rest, ".") {
		return fmt.Errorf("%q: a wildcard needs at least two labels below it", s)
	}
	for label := range strings.SplitSeq(rest, ".") {
		if err := validateLabel(label); err != nil {
			return fmt.Errorf("%q: %w", s, err)
		}
	}
	return nil
}

func validateLabel(l string) error {
	if l == "" || len(l) > 63 {
		return fmt.Errorf("label %q has %d characters, 1 to 63 are allowed", l, len(l))
	}
	for _, c := range []byte(l) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return fmt.Errorf("label %q may hold lower-case letters, digits and dashes only", l)
		}
	}
	if l[0] == '-' || l[len(l)-1] == '-' {
		return fmt.Errorf("label %q starts or ends with a dash", l)
	}
	return nil
}
