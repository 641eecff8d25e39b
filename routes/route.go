package routes

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Schema is the version of the record format that this code writes. A reader
// refuses records of a newer schema and keeps what it has for their hosts.
const Schema = 1

// MaxRecordBytes bounds one encoded route.
const MaxRecordBytes = 64 << 10

// MaxUpstreams bounds the addresses of one route.
const MaxUpstreams = 64

// Protocol says what the pod speaks behind the edge.
type Protocol string

// The protocols of a route. MySQL is reserved: its server speaks first, so it
// can't share the port yet.
const (
	HTTP     Protocol = "http"
	TCP      Protocol = "tcp" // any protocol whose client speaks first inside TLS
	Bolt     Protocol = "bolt"
	MongoDB  Protocol = "mongodb"
	Redis    Protocol = "redis"
	Postgres Protocol = "postgres"
	MySQL    Protocol = "mysql"
)

// State says whether the edge forwards to the pod, and what it answers if not.
type State string

// The states of a route. Only Live is forwarded.
const (
	Live     State = "live"
	Starting State = "starting" // requested, being created, restarting, or not ready yet
	Stopped  State = "stopped"
	Error    State = "error"    // failed to start, or crashed
	Finished State = "finished" // ran to completion
	Deleting State = "deleting" // shutting down
)

// TLSMode says who ends the client's TLS.
type TLSMode string

// The TLS modes of a route.
const (
	Terminate   TLSMode = "terminate"   // the edge, with its trusted certificate; the default
	Passthrough TLSMode = "passthrough" // the pod, with a certificate of its own
)

// Route is everything the edge needs to know to serve one host name.
type Route struct {
	// Schema of the record, see [Schema].
	Schema int `json:"schema"`

	// Host is the name clients ask for (TLS server name, HTTP Host), as
	// [NormalizeHost] returns it. One leading "*." label is allowed.
	Host string `json:"host"`

	// Version is set by the publisher: it grows with every write to the table.
	Version uint64 `json:"version"`

	// Tenant, Pod and Net (the networking key) name what is behind the host.
	Tenant string `json:"tenant"`
	Pod    string `json:"pod"`
	Net    string `json:"net"`

	// Instance names one run of the pod. When it changes, connections to the
	// earlier run are closed. Empty unless State is Live.
	Instance string `json:"instance,omitempty"`

	Protocol Protocol `json:"protocol"`
	State    State    `json:"state"`

	// Upstreams are the addresses to dial, "ip:port" or "name:port". At least
	// one when State is Live.
	Upstreams []string `json:"upstreams,omitempty"`

	// TLS is Terminate when empty.
	TLS TLSMode `json:"tls,omitempty"`

	// ClientCA holds the PEM certificates of the authorities that clients have to
	// show a certificate of, see [Entry.AdmitsCertificates]. Empty asks for none.
	ClientCA string `json:"client_ca,omitempty"`

	// ProxyProtocol is the PROXY protocol version (1 or 2) the edge sends to the
	// pod ahead of each connection. 0 sends none.
	ProxyProtocol int `json:"proxy_protocol,omitempty"`

	// IPAllow lists addresses and prefixes that may connect. Empty means everyone.
	IPAllow []string `json:"ip_allow,omitempty"`

	// Gate puts a Tapis login in front of the pod. Nil means open. Clients of
	// protocols other than HTTP prove who they are before the first byte of theirs.
	Gate *Gate `json:"gate,omitempty"`

	// AccessGate admits those who redeemed a share. With Gate set too, either
	// admits. Nil means that shares count for nothing. HTTP only.
	AccessGate *AccessGate `json:"access_gate,omitempty"`

	// CORS lets the edge answer preflights. Nil leaves CORS to the pod. HTTP only.
	CORS *CORS `json:"cors,omitempty"`

	// Compression of responses by the edge. Nil means none. HTTP only.
	Compression *Compression `json:"compression,omitempty"`

	// Headers that the edge sets or removes. Nil changes none. HTTP only.
	Headers *HeaderRules `json:"headers,omitempty"`

	// Limits override the edge's own. Nil means the edge's defaults.
	Limits *Limits `json:"limits,omitempty"`
}

// Gate says who may pass to a pod behind a Tapis login.
type Gate struct {
	// AllowedUsers are lower-case user names; "*" admits everyone logged in.
	// Group words are resolved by the control plane. Empty admits nobody.
	AllowedUsers []string `json:"allowed_users"`

	// Tenants whose users may pass, besides the route's own.
	Tenants []string `json:"tenants,omitempty"`

	// ResponseHeaders are set on the request to the pod: name to template.
	ResponseHeaders map[string]string `json:"response_headers,omitempty"`

	// ExcludedPaths are prefixes that need no login, ExcludedPathRegex RE2
	// patterns; both are matched against the cleaned path.
	ExcludedPaths     []string `json:"excluded_paths,omitempty"`
	ExcludedPathRegex []string `json:"excluded_path_regex,omitempty"`

	// ReturnPath is where a login ends if the first page is unknown. Default: "/".
	ReturnPath string `json:"return_path,omitempty"`
}

// AccessGate lets people pass who have no account, by links and passwords. Which
// there are is published apart from the route.
type AccessGate struct {
	// ReturnPath is where those who redeemed a share begin. Default: "/".
	ReturnPath string `json:"return_path,omitempty"`
}

// CORS is the cross-origin policy the edge answers preflights with.
type CORS struct {
	AllowOrigins     []string `json:"allow_origins"`
	AllowMethods     []string `json:"allow_methods,omitempty"`
	AllowHeaders     []string `json:"allow_headers,omitempty"`
	AllowCredentials bool     `json:"allow_credentials,omitempty"`
	MaxAge           int      `json:"max_age,omitempty"` // seconds
}

// Compression says which responses the edge compresses.
type Compression struct {
	Encodings            []string `json:"encodings"` // "zstd", "br", "gzip", most wanted first
	ExcludedContentTypes []string `json:"excluded_content_types,omitempty"`
	MinBodyBytes         int      `json:"min_body_bytes,omitempty"`
}

// Limits of one route. Zero fields mean the edge's default.
type Limits struct {
	MaxConnections int `json:"max_connections,omitempty"`
}

// Protocols lists every protocol of the record format, in the order of its
// declaration.
func Protocols() []Protocol { return []Protocol{HTTP, TCP, Bolt, MongoDB, Redis, Postgres, MySQL} }

// States lists every state of a route.
func States() []State { return []State{Live, Starting, Stopped, Error, Finished, Deleting} }

// Encode returns the record of r as it stands in Redis. It does not validate.
func Encode(r Route) ([]byte, error) {
	r.Schema = Schema
	b, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encoding route %q: %w", r.Host, err)
	}
	if len(b) > MaxRecordBytes {
		return nil, fmt.Errorf("encoding route %q: %d bytes, at most %d are allowed", r.Host, len(b), MaxRecordBytes)
	}
	return b, nil
}

// Decode parses and validates a record. Fields it does not know are ignored, so
// that an older edge can read what a newer control plane writes.
func Decode(b []byte) (Route, error) {
	var r Route
	if len(b) > MaxRecordBytes {
		return r, fmt.Errorf("decoding route: %d bytes, at most %d are allowed", len(b), MaxRecordBytes)
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return Route{}, fmt.Errorf("decoding route: %w", err)
	}
	if r.Schema > Schema {
		return Route{}, fmt.Errorf("decoding route %q: schema %d is newer than %d; upgrade this edge", r.Host, r.Schema, Schema)
	}
	if err := r.Validate(); err != nil {
		return Route{}, err
	}
	return r, nil
}

// Validate reports everything that is wrong with r, joined, each part naming
// its field.
func (r Route) Validate() error {
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("route %q: %s: %s", r.Host, field, fmt.Sprintf(format, args...)))
	}

	if err := ValidateHost(r.Host); err != nil {
		bad("host", "%v", err)
	}
	if r.Tenant == "" || r.Pod == "" || r.Net == "" {
		bad("tenant, pod, net", "all three are required")
	}
	if !slices.Contains(Protocols(), r.Protocol) {
		bad("protocol", "%q is not one of %v", r.Protocol, Protocols())
	}
	if !slices.Contains(States(), r.State) {
		bad("state", "%q is not one of %v", r.State, States())
	}
	if r.State == Live && len(r.Upstreams) == 0 {
		bad("upstreams", "a live route needs at least one")
	}
	if len(r.Upstreams) > MaxUpstreams {
		bad("upstreams", "%d given, at most %d are allowed", len(r.Upstreams), MaxUpstreams)
	}
	for _, u := range r.Upstreams {
		if err := validateUpstream(u); err != nil {
			bad("upstreams", "%v", err)
		}
	}
	switch r.TLS {
	case "", Terminate:
	case Passthrough:
		if r.Protocol == HTTP {
			bad("tls", "passthrough is for TCP protocols; HTTP is routed by Host and must be terminated")
		}
	default:
		bad("tls", "%q is neither %q nor %q", r.TLS, Terminate, Passthrough)
	}
	if r.ClientCA != "" {
		if _, err := parseClientCA(r.ClientCA); err != nil {
			bad("client_ca", "%v", err)
		}
		if r.TLS == Passthrough {
			bad("client_ca", "the pod asks for certificates itself with tls passthrough")
		}
	}
	if r.ProxyProtocol < 0 || r.ProxyProtocol > 2 {
		bad("proxy_protocol", "%d is not 0, 1 or 2", r.ProxyProtocol)
	}
	for _, a := range r.IPAllow {
		if _, err := ParsePrefix(a); err != nil {
			bad("ip_allow", "%v", err)
		}
	}
	if r.Gate != nil {
		r.Gate.validate(r.Protocol, r.TLS, bad)
	}
	if r.AccessGate != nil {
		r.AccessGate.validate(r.Protocol, bad)
	}
	if r.CORS != nil {
		r.CORS.validate(r.Protocol, bad)
	}
	if r.Compression != nil {
		r.Compression.validate(r.Protocol, bad)
	}
	if r.Headers != nil {
		r.Headers.validate(r.Protocol, bad)
	}
	if r.Limits != nil && r.Limits.MaxConnections < 0 {
		bad("limits.max_connections", "%d is negative", r.Limits.MaxConnections)
	}
	return errors.Join(errs...)
}

// onlyHTTP is said of settings that nothing would act on for other protocols: a
// gate that is ignored would leave a pod open that its owner believes closed.
const onlyHTTP = "only http routes have one"

func (g *Gate) validate(p Protocol, mode TLSMode, bad func(field, format string, args ...any)) {
	if mode == Passthrough {
		bad("gate", "the edge sees nothing of a connection whose TLS ends in the pod")
	}
	if p != HTTP && (len(g.ResponseHeaders) > 0 || len(g.ExcludedPaths) > 0 || len(g.ExcludedPathRegex) > 0) {
		bad("gate", "only http routes have headers and paths")
	}
	for name, value := range g.ResponseHeaders {
		if !isToken(name) {
			bad("gate.response_headers", "%q is not a header name", name)
		}
		if strings.ContainsAny(value, "\r\n\x00") {
			bad("gate.response_headers", "the value of %q holds a line break or NUL", name)
		}
	}
	for _, p := range g.ExcludedPaths {
		if !strings.HasPrefix(p, "/") {
			bad("gate.excluded_paths", "%q does not start with /", p)
		}
	}
	for _, p := range g.ExcludedPathRegex {
		if _, err := regexp.Compile(p); err != nil {
			bad("gate.excluded_path_regex", "%v", err)
		}
	}
	if !isReturnPath(g.ReturnPath) {
		bad("gate.return_path", notReturnPath, g.ReturnPath)
	}
}

func (g *AccessGate) validate(p Protocol, bad func(field, format string, args ...any)) {
	if p != HTTP {
		bad("access_gate", onlyHTTP)
	}
	if !isReturnPath(g.ReturnPath) {
		bad("access_gate.return_path", notReturnPath, g.ReturnPath)
	}
}

const notReturnPath = "%q is not an absolute path on the pod's host"

func isReturnPath(p string) bool {
	return p == "" || (strings.HasPrefix(p, "/") && !strings.HasPrefix(p, "//"))
}

// Gated reports whether not everyone may pass to the pod.
func (r *Route) Gated() bool { return r.Gate != nil || r.AccessGate != nil }

func (c *CORS) validate(p Protocol, bad func(field, format string, args ...any)) {
	if p != HTTP {
		bad("cors", onlyHTTP)
	}
	if c.AllowCredentials && slices.Contains(c.AllowOrigins, "*") {
		bad("cors", `the origin "*" can't be combined with credentials`)
	}
	for _, values := range [][]string{c.AllowOrigins, c.AllowMethods, c.AllowHeaders} {
		for _, v := range values {
			if strings.ContainsAny(v, "\r\n\x00") {
				bad("cors", "%q holds a line break or NUL", v)
			}
		}
	}
	if c.MaxAge < 0 {
		bad("cors.max_age", "%d is negative", c.MaxAge)
	}
}

func (c *Compression) validate(p Protocol, bad func(field, format string, args ...any)) {
	if p != HTTP {
		bad("compression", onlyHTTP)
	}
	for _, e := range c.Encodings {
		if e != "zstd" && e != "br" && e != "gzip" {
			bad("compression.encodings", "%q is not one of zstd, br, gzip", e)
		}
	}
	if c.MinBodyBytes < 0 {
		bad("compression.min_body_bytes", "%d is negative", c.MinBodyBytes)
	}
}

// ParsePrefix reads an address or a prefix; an address is a prefix of full
// length. IPv4 in its IPv6 form (::ffff:10.0.0.0/104) is returned as IPv4, the
// form in which [Entry.Allows] compares.
func ParsePrefix(s string) (netip.Prefix, error) {
	if strings.Contains(s, "/") {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return p, fmt.Errorf("%q is not an IP address or CIDR", s)
		}
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		return p.Masked(), nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, fmt.Errorf("%q is not an IP address or CIDR", s)
	}
	a = a.Unmap()
	return netip.PrefixFrom(a, a.BitLen()), nil
}

func validateUpstream(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return fmt.Errorf("%q is not host:port", s)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%q: the port is not between 1 and 65535", s)
	}
	if a, err := netip.ParseAddr(host); err == nil && a.Zone() == "" {
		return nil
	}
	if err := ValidateHost(host); err != nil || strings.HasPrefix(host, "*") {
		return fmt.Errorf("%q: %q is neither an IP address nor a host name", s, host)
	}
	return nil
}

// isToken reports whether s is a token of RFC 9110, section 5.6.2.
func isToken(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != "" && len(s) <= 128
}

// PodRef names a pod by its tenant and id.
type PodRef struct{ Tenant, Pod string }
