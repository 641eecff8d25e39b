package podproxy

import "strings"

// reservedCookies begin with this. They are the edge's own.
const reservedCookies = "__host-pods"

// cleanCookies returns the Set-Cookie values that may be set by host.
func cleanCookies(values []string, host string) []string {
	kept := make([]string, 0, len(values))
	for _, c := range values {
		if c, ok := cleanCookie(c, host); ok {
			kept = append(kept, c)
		}
	}
	return kept
}

// cleanCookie returns a Set-Cookie value that stays with host: a Domain that is
// neither host nor below it is taken out, so that browsers send the cookie to
// host only. It reports false for a cookie that must not be set at all.
func cleanCookie(value, host string) (string, bool) {
	pair, attributes, _ := strings.Cut(value, ";")
	name, content, named := strings.Cut(pair, "=")
	if !named {
		content = name // of a cookie without name; browsers send it back as it is
	}
	if isReserved(name) || (strings.TrimSpace(name) == "" && isReserved(content)) {
		return "", false
	}
	if !strings.Contains(strings.ToLower(attributes), "domain") {
		return value, true
	}
	var b strings.Builder
	b.WriteString(pair)
	for a := range strings.SplitSeq(attributes, ";") {
		key, domain, _ := strings.Cut(a, "=")
		if strings.EqualFold(strings.TrimSpace(key), "domain") && !within(domain, host) {
			continue
		}
		b.WriteByte(';')
		b.WriteString(a)
	}
	return b.String(), true
}

func isReserved(name string) bool {
	return strings.HasPrefix(strings.ToLower(strings.TrimSpace(name)), reservedCookies)
}

// within reports whether a cookie's Domain is host or a name below it.
func within(domain, host string) bool {
	d := strings.ToLower(strings.Trim(domain, " \t\""))
	d = strings.TrimSuffix(strings.TrimPrefix(d, "."), ".")
	return d == host || (host != "" && strings.HasSuffix(d, "."+host))
}
