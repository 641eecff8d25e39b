package routes

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// live returns a valid live route of the given protocol.
func live(p Protocol) Route {
	return Route{
		Schema: Schema, Host: "db.pods.dev.localhost", Version: 7, Tenant: "dev", Pod: "db", Net: "default",
		Instance: "1", Protocol: p, State: Live, Upstreams: []string{"10.1.2.3:5432"},
	}
}

func TestValidate(t *testing.T) {
	many := make([]string, MaxUpstreams+1)
	for i := range many {
		many[i] = "10.0.0.1:80"
	}
	for _, tc := range []struct {
		name   string
		change func(*Route)
		want   string // part of the error, "" for none
	}{
		{"a live http route", func(*Route) {}, ""},
		{"a wildcard host", func(r *Route) { r.Host = "*.pods.dev.localhost" }, ""},
		{"a host that is not normalized", func(r *Route) { r.Host = "DB.pods" }, "host: "},
		{"no host", func(r *Route) { r.Host = "" }, "host: the host name is empty"},
		{"no tenant", func(r *Route) { r.Tenant = "" }, "tenant, pod, net: all three are required"},
		{"no pod", func(r *Route) { r.Pod = "" }, "tenant, pod, net: all three are required"},
		{"no networking key", func(r *Route) { r.Net = "" }, "tenant, pod, net: all three are required"},
		{"an unknown protocol", func(r *Route) { r.Protocol = "gopher" }, `protocol: "gopher" is not one of`},
		{"an unknown state", func(r *Route) { r.State = "bored" }, `state: "bored" is not one of`},

		{"live without upstream", func(r *Route) { r.Upstreams = nil }, "upstreams: a live route needs at least one"},
		{"stopped without upstream", func(r *Route) { r.State, r.Upstreams = Stopped, nil }, ""},
		{"a named upstream", func(r *Route) { r.Upstreams = []string{"db.default.svc:80"} }, ""},
		{"an IPv6 upstream", func(r *Route) { r.Upstreams = []string{"[fd00::1]:80"} }, ""},
		{"as many upstreams as allowed", func(r *Route) { r.Upstreams = many[1:] }, ""},
		{"too many upstreams", func(r *Route) { r.Upstreams = many }, "upstreams: 65 given, at most 64"},
		{"an upstream without port", func(r *Route) { r.Upstreams = []string{"10.0.0.1"} }, "upstreams: \"10.0.0.1\" is not host:port"},
		{"an upstream with port 0", func(r *Route) { r.Upstreams = []string{"10.0.0.1:0"} }, "the port is not between"},
		{"an upstream with a high port", func(r *Route) { r.Upstreams = []string{"10.0.0.1:65536"} }, "the port is not between"},
		{"an upstream with a signed port", func(r *Route) { r.Upstreams = []string{"10.0.0.1:+80"} }, "the port is not between"},
		{"an upstream with a named port", func(r *Route) { r.Upstreams = []string{"10.0.0.1:http"} }, "the port is not between"},
		{"an upstream without host", func(r *Route) { r.Upstreams = []string{":80"} }, "is neither an IP address nor a host name"},
		{"an upstream with a wildcard", func(r *Route) { r.Upstreams = []string{"*.a.b:80"} }, "is neither an IP address nor a host name"},
		{"an upstream with a zone", func(r *Route) { r.Upstreams = []string{"[fe80::1%eth0]:80"} }, "is neither an IP address nor a host name"},
		{"an upstream that is a URL", func(r *Route) { r.Upstreams = []string{"http://a:80"} }, "is not host:port"},

		{"terminated", func(r *Route) { r.TLS = Terminate }, ""},
		{"passthrough of http", func(r *Route) { r.TLS = Passthrough }, "tls: passthrough is for TCP protocols"},
		{"passthrough of postgres", func(r *Route) { r.TLS, r.Protocol = Passthrough, Postgres }, ""},
		{"an unknown TLS mode", func(r *Route) { r.TLS = "maybe" }, `tls: "maybe" is neither`},
		{"PROXY protocol 2", func(r *Route) { r.ProxyProtocol = 2 }, ""},
		{"PROXY protocol 3", func(r *Route) { r.ProxyProtocol = 3 }, "proxy_protocol: 3 is not 0, 1 or 2"},
		{"PROXY protocol -1", func(r *Route) { r.ProxyProtocol = -1 }, "proxy_protocol: -1 is not"},

		{"addresses and prefixes", func(r *Route) { r.IPAllow = []string{"10.0.0.1", "10.0.0.0/8", "fd00::/8"} }, ""},
		{"a name as address", func(r *Route) { r.IPAllow = []string{"localhost"} }, `ip_allow: "localhost" is not an IP address or CIDR`},
		{"a prefix that is too long", func(r *Route) { r.IPAllow = []string{"10.0.0.0/33"} }, "ip_allow: "},
		{"an address with a zone", func(r *Route) { r.IPAllow = []string{"fe80::1%eth0"} }, "ip_allow: "},

		{"a gate", func(r *Route) { r.Gate = &Gate{AllowedUsers: []string{"*"}} }, ""},
		{"a gate before tcp", func(r *Route) { r.Protocol, r.Gate = TCP, &Gate{ReturnPath: "/"} }, ""},
		{"a gate with headers before tcp", func(r *Route) {
			r.Protocol, r.Gate = TCP, &Gate{ResponseHeaders: map[string]string{"X-User": "a"}}
		}, "gate: only http routes have headers and paths"},
		{"a gate with open paths before tcp", func(r *Route) { r.Protocol, r.Gate = TCP, &Gate{ExcludedPaths: []string{"/"}} }, "gate: only http routes have headers and paths"},
		{"a gate before TLS of the pod", func(r *Route) { r.Protocol, r.TLS, r.Gate = TCP, Passthrough, &Gate{} }, "gate: the edge sees nothing"},
		{"a gate with headers", func(r *Route) { r.Gate = &Gate{ResponseHeaders: map[string]string{"X-User": "<<tapisusername>>"}} }, ""},
		{"a gate with a bad header name", func(r *Route) { r.Gate = &Gate{ResponseHeaders: map[string]string{"X User": "a"}} }, `"X User" is not a header name`},
		{"a gate with an empty header name", func(r *Route) { r.Gate = &Gate{ResponseHeaders: map[string]string{"": "a"}} }, `"" is not a header name`},
		{"a gate with a long header name", func(r *Route) { r.Gate = &Gate{ResponseHeaders: map[string]string{strings.Repeat("a", 129): "a"}} }, "is not a header name"},
		{"a gate with a split header", func(r *Route) { r.Gate = &Gate{ResponseHeaders: map[string]string{"X": "a\r\nY: b"}} }, `the value of "X" holds a line break`},
		{"a relative excluded path", func(r *Route) { r.Gate = &Gate{ExcludedPaths: []string{"a"}} }, `excluded_paths: "a" does not start with /`},
		{"a bad excluded pattern", func(r *Route) { r.Gate = &Gate{ExcludedPathRegex: []string{"("}} }, "excluded_path_regex: "},
		{"a return path", func(r *Route) { r.Gate = &Gate{ReturnPath: "/home"} }, ""},
		{"an access gate", func(r *Route) { r.AccessGate = &AccessGate{ReturnPath: "/start"} }, ""},
		{"an access gate before tcp", func(r *Route) { r.Protocol, r.AccessGate = TCP, &AccessGate{} }, "access_gate: only http routes have one"},
		{"an access gate with a return path on another host", func(r *Route) { r.AccessGate = &AccessGate{ReturnPath: "//evil.example"} }, "access_gate.return_path: "},
		{"a return path on another host", func(r *Route) { r.Gate = &Gate{ReturnPath: "//evil.example"} }, "return_path: "},
		{"a relative return path", func(r *Route) { r.Gate = &Gate{ReturnPath: "home"} }, "return_path: "},

		{"cors", func(r *Route) { r.CORS = &CORS{AllowOrigins: []string{"https://a.example"}, AllowCredentials: true} }, ""},
		{"cors before tcp", func(r *Route) { r.Protocol, r.CORS = TCP, &CORS{} }, "cors: only http routes have one"},
		{"cors for everyone with credentials", func(r *Route) { r.CORS = &CORS{AllowOrigins: []string{"*"}, AllowCredentials: true} }, "can't be combined with credentials"},
		{"cors with a split header", func(r *Route) { r.CORS = &CORS{AllowHeaders: []string{"a\nb"}} }, "holds a line break"},
		{"cors with a negative age", func(r *Route) { r.CORS = &CORS{MaxAge: -1} }, "cors.max_age: -1 is negative"},

		{"compression", func(r *Route) { r.Compression = &Compression{Encodings: []string{"zstd", "br", "gzip"}} }, ""},
		{"compression before tcp", func(r *Route) { r.Protocol, r.Compression = TCP, &Compression{} }, "compression: only http routes have one"},
		{"an unknown encoding", func(r *Route) { r.Compression = &Compression{Encodings: []string{"lzma"}} }, `compression.encodings: "lzma" is not`},
		{"compression of negative sizes", func(r *Route) { r.Compression = &Compression{MinBodyBytes: -1} }, "compression.min_body_bytes: -1 is negative"},

		{"limits", func(r *Route) { r.Limits = &Limits{MaxConnections: 5} }, ""},
		{"a negative limit", func(r *Route) { r.Limits = &Limits{MaxConnections: -1} }, "limits.max_connections: -1 is negative"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := live(HTTP)
			tc.change(&r)
			err := r.Validate()
			if tc.want == "" {
				if err != nil {
					t.Fatalf("got %v, want valid", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got %v, want %q", err, tc.want)
			}
			if e, err := Compile(r); err == nil {
				t.Errorf("compiled to %v, want refused", e)
			}
		})
	}
}

func TestValidateNamesEveryFault(t *testing.T) {
	err := Route{Protocol: "x", State: "y", ProxyProtocol: 9}.Validate()
	for _, field := range []string{"host", "tenant, pod, net", "protocol", "state", "proxy_protocol"} {
		if !strings.Contains(err.Error(), `: `+field+`: `) {
			t.Errorf("%s is not in %v", field, err)
		}
	}
}

func TestEveryProtocolAndStateIsValid(t *testing.T) {
	for _, p := range Protocols() {
		for _, s := range States() {
			r := live(p)
			r.State = s
			if err := r.Validate(); err != nil {
				t.Errorf("%s %s: got %v, want valid", p, s, err)
			}
		}
	}
}

func TestDecode(t *testing.T) {
	good, err := Encode(live(Postgres))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, record, want string }{
		{"a record", string(good), ""},
		{"a field it does not know", strings.Replace(string(good), "{", `{"colour":"red",`, 1), ""},
		{"nothing", "", "decoding route: "},
		{"no JSON", "hello", "decoding route: "},
		{"another type", `[]`, "decoding route: "},
		{"a wrong field type", strings.Replace(string(good), `"dev"`, `5`, 1), "decoding route: "},
		{"more after the record", string(good) + "{}", "decoding route: "},
		{"a newer schema", strings.Replace(string(good), `"schema":1`, `"schema":2`, 1), "schema 2 is newer than 1; upgrade this edge"},
		{"an invalid route", `{"schema":1}`, "host: "},
		{"more than fits", string(good) + strings.Repeat(" ", MaxRecordBytes), "bytes, at most"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Decode([]byte(tc.record))
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("got %v, want decoded", err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestEncodeRefusesLargeRecords(t *testing.T) {
	r := live(HTTP)
	r.CORS = &CORS{AllowOrigins: []string{strings.Repeat("a", MaxRecordBytes)}}
	if _, err := Encode(r); err == nil {
		t.Error("got no error, want refused")
	}
}

// anyRoute draws valid routes with any combination of settings.
func anyRoute() *rapid.Generator[Route] {
	label := rapid.StringMatching(`[a-z0-9]{1,12}`)
	text := rapid.StringMatching(`[ -~äß€😀]{0,12}`)
	texts := rapid.SliceOfN(text, 0, 3)
	maybe := rapid.Bool()
	return rapid.Custom(func(t *rapid.T) Route {
		r := Route{
			Schema:  Schema,
			Version: rapid.Uint64().Draw(t, "version"),
			Tenant:  label.Draw(t, "tenant"), Pod: label.Draw(t, "pod"), Net: label.Draw(t, "net"),
			Instance:      text.Draw(t, "instance"),
			Protocol:      rapid.SampledFrom(Protocols()).Draw(t, "protocol"),
			State:         rapid.SampledFrom(States()).Draw(t, "state"),
			Upstreams:     rapid.SliceOfN(rapid.SampledFrom([]string{"10.0.0.1:80", "[fd00::1]:5432", "a.b:1"}), 1, 4).Draw(t, "upstreams"),
			ProxyProtocol: rapid.IntRange(0, 2).Draw(t, "proxy"),
			TLS:           rapid.SampledFrom([]TLSMode{"", Terminate}).Draw(t, "tls"),
		}
		r.Host = PodHost("dev.localhost", r.Pod, r.Net)
		if maybe.Draw(t, "allow") {
			r.IPAllow = []string{"10.0.0.0/8", "fd00::1"}
		}
		if maybe.Draw(t, "limits") {
			r.Limits = &Limits{MaxConnections: rapid.IntRange(0, 1<<40).Draw(t, "connections")}
		}
		if r.Protocol != HTTP {
			return r
		}
		if maybe.Draw(t, "gate") {
			r.Gate = &Gate{
				AllowedUsers:    texts.Draw(t, "users"),
				ResponseHeaders: map[string]string{"X-User": text.Draw(t, "header")},
				ReturnPath:      "/" + label.Draw(t, "return"),
			}
		}
		if maybe.Draw(t, "cors") {
			r.CORS = &CORS{AllowOrigins: texts.Draw(t, "origins"), MaxAge: rapid.IntRange(0, 1e6).Draw(t, "age")}
		}
		if maybe.Draw(t, "compression") {
			r.Compression = &Compression{Encodings: []string{"br"}, MinBodyBytes: rapid.IntRange(0, 1e6).Draw(t, "min")}
		}
		return r
	})
}

func TestEncodeDecodeRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := anyRoute().Draw(t, "route")
		b, err := Encode(r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(b)
		if err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		if !reflect.DeepEqual(got, r) {
			t.Fatalf("got %+v, want %+v", got, r)
		}
	})
}

func TestRecordIsReadable(t *testing.T) {
	b, err := Encode(live(Postgres))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"schema":1,"host":"db.pods.dev.localhost","version":7,"tenant":"dev","pod":"db","net":"default",` +
		`"instance":"1","protocol":"postgres","state":"live","upstreams":["10.1.2.3:5432"]}`
	if string(b) != want {
		t.Errorf("got  %s\nwant %s", b, want)
	}
}

func FuzzDecode(f *testing.F) {
	for _, p := range Protocols() {
		b, err := Encode(live(p))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	gated := live(HTTP)
	gated.Gate = &Gate{AllowedUsers: []string{"a"}, ExcludedPathRegex: []string{"^/a+$"}}
	gated.IPAllow = []string{"::ffff:10.0.0.0/104", "fd00::1"}
	b, err := Encode(gated)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"schema":1,"host":"*.a.b","upstreams":null}`))

	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Decode(b)
		if err != nil {
			return
		}
		// What one side accepts, the other does, and reads the same.
		again, err := Encode(r)
		if err != nil {
			return // escapes may make it longer than allowed
		}
		r2, err := Decode(again)
		if err != nil {
			t.Fatalf("%s became %s: %v", b, again, err)
		}
		twice, err := json.Marshal(r2)
		if err != nil || string(twice) != string(again) {
			t.Fatalf("%s became %s, then %s (%v)", b, again, twice, err)
		}
		e, err := Compile(r)
		if err != nil {
			t.Fatalf("%s: decoded but not compiled: %v", b, err)
		}
		e.Allows(netip.IPv6Loopback())
	})
}

func TestParsePrefix(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"an address", "10.1.2.3", "10.1.2.3/32"},
		{"an IPv6 address", "fd00::1", "fd00::1/128"},
		{"a mapped address", "::ffff:10.1.2.3", "10.1.2.3/32"},
		{"a prefix", "10.0.0.0/8", "10.0.0.0/8"},
		{"a prefix with host bits", "10.1.2.3/8", "10.0.0.0/8"},
		{"a mapped prefix", "::ffff:10.1.2.3/104", "10.0.0.0/8"},
		{"all mapped addresses", "::ffff:0:0/96", "0.0.0.0/0"},
		{"an IPv6 prefix", "fd00::1/8", "fd00::/8"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := ParsePrefix(tc.in)
			if err != nil || got.String() != tc.want {
				t.Errorf("got %v %v, want %v", got, err, tc.want)
			}
		})
	}
}
