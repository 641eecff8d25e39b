package pods

import (
	"encoding/json"
	"net/url"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tapis-project/podway/routes"
)

// Limits of a networking entry. Together they keep the route made from it below
// [routes.MaxRecordBytes].
const (
	maxStanzas      = 4
	minNetKey       = 3
	maxNetKey       = 64
	minPort         = 10
	maxPort         = 65535
	maxPortDigits   = 99999
	maxURL          = 128
	maxAllowList    = 256
	maxUsers        = 500
	maxHeaders      = 32
	maxHeaderName   = 128
	maxHeaderValue  = 1024
	maxReturnPath   = 180
	maxExcluded     = 50
	maxExcludedPath = 256
	maxPatterns     = 20
	maxPattern      = 512
	maxPatternSize  = 10_000 // instructions
	maxCORSList     = 50
	maxCORSItem     = 256
	maxCORSAge      = 100 // seconds
	maxContentTypes = 50
	maxContentType  = 128
	maxMinBody      = 10 << 20 // bytes
	maxUIURI        = 128
	maxClientCA     = 16 << 10 // bytes
	maxStanzaBytes  = 40 << 10 // of its JSON form
)

var (
	netKeyPattern      = regexp.MustCompile(`^[a-z0-9]+$`)
	urlPattern         = regexp.MustCompile(`^[a-z][a-z0-9.-]+$`)
	returnPathPattern  = regexp.MustCompile(`^/[A-Za-z0-9.\-_/]*$`)
	uiURIPattern       = regexp.MustCompile(`^/[a-z][a-z0-9.\-/]+$`)
	tokenPattern       = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$") // RFC 9110, section 5.6.2
	contentTypePattern = regexp.MustCompile(`^[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+*-]+$`)
)

// compressions are the encodings that the edge can make.
var compressions = []string{"zstd", "br", "gzip"}

// netProtocols lists the protocols a user may choose.
var netProtocols = []NetProtocol{NetHTTP, NetTCP, NetPostgres, NetLocalOnly}

// edgeHeaders frame a request or belong to one connection: a value that a user
// chooses would break the request on its way to the pod.
var edgeHeaders = []string{
	"connection", "content-length", "host", "keep-alive", "proxy-authorization", "proxy-connection",
	"te", "trailer", "transfer-encoding", "upgrade",
}

func (v validator) networking(networking map[string]Networking) {
	checkStanzas(v.problems, len(networking))
	for key, n := range networking {
		switch {
		case key != "" && !netKeyPattern.MatchString(key):
			v.problems.add(at("networking"), "networking key must be lowercase alphanumeric. Got '%s'.", clip(key))
		case len(key) < minNetKey || len(key) > maxNetKey:
			v.problems.add(at("networking"), "networking key length must be between %d-%d characters. Inputted length: %d",
				minNetKey, maxNetKey, len(key))
		}
		stanza{validator: v, where: v.nested.in("networking", key)}.values(n)
	}
	v.distinctDomains(networking)
}

func checkStanzas(p *problems, n int) bool {
	if n > maxStanzas {
		p.add(at("networking"), "networking dictionary may only contain up to %d stanzas", maxStanzas)
	}
	return n <= maxStanzas
}

// stanza checks one networking entry.
type stanza struct {
	validator
	where loc
}

// bad reports a problem with a field; the message starts with its name.
func (s stanza) bad(field, format string, args ...any) {
	s.problems.add(s.where.in(field), "networking."+field+" "+format, args...)
}

func (s stanza) values(n Networking) {
	if !slices.Contains(netProtocols, n.Protocol) {
		s.bad("protocol", "must be one of the following: %s.", quoteList(netProtocols))
	}
	s.port(n.Port)
	s.list("ip_allow_list", n.IPAllowList, maxAllowList, isAddress,
		"must hold IP addresses or prefixes such as 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32; leave it empty to allow everyone")
	s.clientCA(n.ClientCA)
	s.gate(n)
	s.cors(n)
	s.compression(n)
	s.domain(n.CustomDomain)
	s.ui(n)
	s.size(n)
}

func (s stanza) port(port int) {
	switch {
	case port < minPort || port > maxPortDigits:
		s.bad("port", "must have 2 to 5 digits. Got port: %d", port)
	case port > maxPort:
		s.bad("port", "must be at most %d. Got port: %d", maxPort, port)
	}
}

func (s stanza) clientCA(text string) {
	if text == "" {
		return
	}
	if len(text) > maxClientCA {
		s.bad("client_ca", "must have at most %d bytes. Got %d", maxClientCA, len(text))
		return
	}
	if err := routes.ValidateClientCA(text); err != nil {
		s.bad("client_ca", "must hold the PEM certificates of 1 to %d authorities: %v", routes.MaxClientCAs, err)
	}
}

func (s stanza) gate(n Networking) {
	s.headers(n.TapisAuthResponseHeaders)
	s.list("tapis_auth_allowed_users", n.TapisAuthAllowedUsers, maxUsers, isUsername,
		"must hold user names, '*' for everyone with a login, or AUTHORIZED_READS, AUTHORIZED_USERS, AUTHORIZED_ADMINS")
	s.returnPath("tapis_auth_return_path", n.TapisAuthReturnPath)
	s.returnPath("access_gate_return_path", n.AccessGateReturnPath)
	s.list("tapis_auth_excluded_paths", n.TapisAuthExcludedPaths, maxExcluded, isExcludedPath,
		"must hold ASCII paths that start with '/', of at most 256 characters each")
	s.list("tapis_auth_excluded_path_regex", n.TapisAuthExcludedPathRegex, maxPatterns, isPattern,
		"must hold regular expressions in RE2 syntax (without look-around and back-references), of at most 512 characters each and without large nested counts")
}

func (s stanza) returnPath(field, p string) {
	if len(p) > maxReturnPath || !returnPathPattern.MatchString(p) || strings.HasPrefix(p, "//") {
		s.bad(field, "must start with one '/' and consist of letters, digits, '.', '-', '_' and '/', at most %d characters. Got %s",
			maxReturnPath, clip(p))
	}
}

func (s stanza) headers(headers map[string]string) {
	const field = "tapis_auth_response_headers"
	if len(headers) > maxHeaders {
		s.bad(field, "may hold %d entries at most. Got %d", maxHeaders, len(headers))
	}
	seen := make(map[string]bool, len(headers))
	for name, value := range headers {
		lower := strings.ToLower(name)
		switch {
		case len(name) > maxHeaderName || !tokenPattern.MatchString(name):
			s.bad(field, "name must be a header name of at most %d characters (RFC 7230 token). Got '%s'", maxHeaderName, clip(name))
		case slices.Contains(edgeHeaders, lower):
			s.bad(field, "can't set %s: it belongs to the connection", lower)
		case seen[lower]:
			s.bad(field, "holds %s twice, in different case", lower)
		}
		seen[lower] = true
		if len(value) > maxHeaderValue || hasControl(value) {
			s.bad(field, "value of '%s' must have at most %d characters and no line breaks or other control characters", clip(name), maxHeaderValue)
		}
	}
}

func (s stanza) cors(n Networking) {
	s.list("cors_allow_origins", n.CORSAllowOrigins, maxCORSList, isOrigin,
		"must hold lowercase origins such as https://portal.example.org, without a path, or '*'")
	s.list("cors_allow_methods", n.CORSAllowMethods, maxCORSList, isToken, "must hold HTTP methods such as GET")
	s.list("cors_allow_headers", n.CORSAllowHeaders, maxCORSList, isToken, "must hold header names such as Content-Type")
	if n.CORSMaxAge < 0 || n.CORSMaxAge > maxCORSAge {
		s.bad("cors_max_age", "must be between 0 and %d seconds. Got %d", maxCORSAge, n.CORSMaxAge)
	}
}

func (s stanza) compression(n Networking) {
	const encodings = "proxy_compression_encodings"
	s.list(encodings, n.ProxyCompressionEncodings, len(compressions),
		func(e string) bool { return slices.Contains(compressions, e) },
		"must hold some of zstd, br and gzip, the preferred first; set proxy_compression to false for none")
	s.list("proxy_compression_excluded_content_types", n.ProxyCompressionExcludedContent, maxContentTypes, isContentType,
		"must hold content types such as text/event-stream, of at most 128 characters each")
	if b := n.ProxyCompressionMinResponseBodySize; b < 0 || b > maxMinBody {
		s.bad("proxy_compression_min_response_body_bytes", "must be between 0 and %d. Got %d", maxMinBody, b)
	}
}

func (s stanza) ui(n Networking) {
	if u := n.TapisUIURI; u != "" && (len(u) > maxUIURI || !uiURIPattern.MatchString(u)) {
		s.bad("tapis_ui_uri", "must start with '/' and a lowercase letter and consist of lowercase letters, digits, '.', '-' and '/', at most %d characters. Got %s",
			maxUIURI, clip(u))
	}
	checkDescription(s.problems, s.where.in("tapis_ui_uri_description"), "tapis_ui_uri_description", n.TapisUIURIDescription)
}

// size keeps the route record of this entry below its limit, whatever the
// limits of the single fields add up to.
func (s stanza) size(n Networking) {
	b, err := json.Marshal(n)
	if err == nil && len(b) > maxStanzaBytes {
		s.problems.add(s.where, "networking object is too large: %d bytes of JSON, at most %d are allowed. Shorten its lists.",
			len(b), maxStanzaBytes)
	}
}

// list checks the length of a list and each of its items, of which it names the
// first bad one only.
func (s stanza) list(field string, items []string, limit int, ok func(string) bool, rule string) {
	if len(items) > limit {
		s.bad(field, "may hold %d entries at most. Got %d", limit, len(items))
		return
	}
	bad := slices.IndexFunc(items, func(item string) bool { return !ok(item) })
	if bad >= 0 {
		s.bad(field, "%s. Got '%s'", rule, clip(items[bad]))
	}
}

func isAddress(s string) bool { _, err := routes.ParsePrefix(s); return err == nil }

func isUsername(s string) bool {
	return s == "*" || (len(s) <= maxUsername && userPattern.MatchString(s))
}

func isExcludedPath(s string) bool {
	printable := !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r >= 0x7f })
	return strings.HasPrefix(s, "/") && len(s) <= maxExcludedPath && printable
}

// isPattern reports whether s is an RE2 pattern that is cheap to hold: nested
// counts such as ((a{100}){100}){100} are short but take megabytes on each edge.
func isPattern(s string) bool {
	if s == "" || utf8.RuneCountInString(s) > maxPattern {
		return false
	}
	re, err := syntax.Parse(s, syntax.Perl)
	if err != nil || patternSize(re) > maxPatternSize {
		return false
	}
	_, err = regexp.Compile(s)
	return err == nil
}

// patternSize estimates the instructions of a compiled pattern.
func patternSize(re *syntax.Regexp) int {
	size := 1 + len(re.Rune)
	if re.Op == syntax.OpCharClass {
		size = 1
	}
	for _, sub := range re.Sub {
		size += patternSize(sub)
	}
	if re.Op == syntax.OpRepeat {
		size *= max(re.Min, re.Max, 1)
	}
	return min(size, maxPatternSize+1) // keeps products from overflowing
}

func isOrigin(s string) bool {
	if s == "*" {
		return true
	}
	u, err := url.Parse(s)
	return err == nil && len(s) <= maxCORSItem && (u.Scheme == "https" || u.Scheme == "http") &&
		s == u.Scheme+"://"+strings.ToLower(u.Host) && routes.NormalizeHost(u.Host) != ""
}

func isToken(s string) bool { return len(s) <= maxCORSItem && tokenPattern.MatchString(s) }

func isContentType(s string) bool {
	return len(s) <= maxContentType && contentTypePattern.MatchString(s)
}

// stanzaWhole checks what depends on several fields of an entry.
func (v validator) stanzaWhole(where loc, n Networking) {
	s := stanza{validator: v, where: where}
	if n.Protocol != NetHTTP && slices.Contains(netProtocols, n.Protocol) {
		if n.TapisAuth && n.Protocol == NetLocalOnly {
			s.bad("tapis_auth", "can't be used with protocol '%s', which nobody reaches from outside.", n.Protocol)
		}
		if n.AccessGate {
			s.bad("access_gate", "can only be used with protocol 'http'. Got protocol %s.", n.Protocol)
		}
		if len(n.CORSAllowOrigins) > 0 {
			s.bad("cors_allow_origins", "can only be used with protocol 'http'. Got protocol %s.", n.Protocol)
		}
	}
	if n.Protocol == NetLocalOnly && n.ClientCA != "" {
		s.bad("client_ca", "can't be used with protocol 'local_only', which nobody reaches from outside.")
	}
	if n.Protocol == NetLocalOnly && n.CustomDomain != "" {
		s.bad("custom_domain", "can't be used with protocol 'local_only', which has no host name.")
	}
	if n.CORSAllowCredentials && slices.Contains(n.CORSAllowOrigins, "*") {
		s.bad("cors_allow_credentials", "can't be combined with the origin '*'. List the origins that may send credentials.")
	}
}
