package rfc2136

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/libdns/libdns"
	"github.com/miekg/dns"

	"github.com/tapis-project/podway/tests/parts"
)

const zone = "example.test."

func start(t *testing.T) (*parts.DNS, *Provider) {
	t.Helper()
	d := parts.StartDNS(t, "example.test")
	p := &Provider{Server: d.Addr, KeyName: d.KeyName, Key: d.Key}
	if err := p.Provision(caddy.Context{}); err != nil {
		t.Fatal(err)
	}
	return d, p
}

// texts asks the server for the TXT records of a name.
func texts(t *testing.T, d *parts.DNS, name string) []string {
	t.Helper()
	m := new(dns.Msg).SetQuestion(name+"."+zone, dns.TypeTXT)
	answer, _, err := (&dns.Client{Net: "tcp"}).ExchangeContext(t.Context(), m, d.Addr)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, rr := range answer.Answer {
		if txt, ok := rr.(*dns.TXT); ok {
			all = append(all, strings.Join(txt.Txt, ""))
		}
	}
	return all
}

func txt(name, text string) libdns.TXT { return libdns.TXT{Name: name, Text: text, TTL: time.Second} }

func TestRecordsOfARealServer(t *testing.T) {
	d, p := start(t)
	ctx := t.Context()
	must := func(_ []libdns.Record, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	has := func(name string, want int) {
		t.Helper()
		if got := texts(t, d, name); len(got) != want {
			t.Errorf("%s: got %q, want %d", name, got, want)
		}
	}

	// Two challenges at once have the same name: a name and its wildcard.
	must(p.AppendRecords(ctx, zone, []libdns.Record{txt("_acme-challenge", "one")}))
	must(p.AppendRecords(ctx, "example.test", []libdns.Record{txt("_acme-challenge", "two")}))
	has("_acme-challenge", 2)
	must(p.DeleteRecords(ctx, zone, []libdns.Record{txt("_acme-challenge", "one")}))
	if got := texts(t, d, "_acme-challenge"); len(got) != 1 || got[0] != "two" {
		t.Errorf("got %q, want two", got)
	}
	must(p.DeleteRecords(ctx, zone, []libdns.Record{txt("_acme-challenge", "one")})) // gone already
	must(p.SetRecords(ctx, zone, []libdns.Record{txt("_acme-challenge", "three")}))
	if got := texts(t, d, "_acme-challenge"); len(got) != 1 || got[0] != "three" {
		t.Errorf("got %q, want three", got)
	}
	must(p.DeleteRecords(ctx, zone, []libdns.Record{libdns.RR{Name: "_acme-challenge", Type: "TXT"}}))
	has("_acme-challenge", 0)

	t.Run("long and odd texts", func(t *testing.T) {
		text := strings.Repeat("x", 300) + ` "quoted" back\slash`
		must(p.SetRecords(ctx, zone, []libdns.Record{txt("odd", text)}))
		recs, err := p.GetRecords(ctx, zone)
		if err != nil {
			t.Fatal(err)
		}
		var found bool
		for _, r := range recs {
			found = found || (r.RR().Name == "odd" && r.RR().Data == text)
		}
		if !found {
			t.Errorf("got %v, want one with the text", recs)
		}
		must(p.DeleteRecords(ctx, zone, []libdns.Record{libdns.RR{Name: "odd"}}))
		has("odd", 0)
	})
	t.Run("other types", func(t *testing.T) {
		must(p.AppendRecords(ctx, zone, []libdns.Record{libdns.RR{Name: "alias", Type: "CNAME", Data: "ns.example.test.", TTL: time.Minute}}))
		recs, err := p.GetRecords(ctx, zone)
		if err != nil || len(recs) < 5 {
			t.Errorf("got %v, %v", recs, err)
		}
	})
}

func TestServerRefuses(t *testing.T) {
	d, p := start(t)
	rec := []libdns.Record{txt("x", "y")}
	for name, tc := range map[string]struct {
		p    Provider
		zone string
		want string
	}{
		"a wrong key":         {Provider{Server: d.Addr, KeyName: d.KeyName, Key: "d3Jvbmc="}, zone, "bad"},
		"an unknown key":      {Provider{Server: d.Addr, KeyName: "other", Key: d.Key}, zone, ""},
		"no key":              {Provider{Server: d.Addr}, zone, ""},
		"a zone of another":   {*p, "example.org.", "NOTAUTH"},
		"nobody listens":      {Provider{Server: "127.0.0.1:1", KeyName: d.KeyName, Key: d.Key}, zone, "refused"},
		"a text without name": {*p, "other.example.test.", ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tc.p.AppendRecords(t.Context(), tc.zone, rec)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
			if err != nil && strings.Contains(err.Error(), d.Key) {
				t.Error("the error holds the key")
			}
		})
	}
	t.Run("the caller has gone", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := p.AppendRecords(ctx, zone, rec); err == nil {
			t.Error("got no error")
		}
	})
}

func TestSettings(t *testing.T) {
	t.Setenv("TEST_DNS_KEY", "c2VjcmV0")
	for text, want := range map[string]string{
		"rfc2136 {\n server 192.0.2.53\n key_name a\n key {env.TEST_DNS_KEY}\n}": "",
		"rfc2136 {\n server [2001:db8::53]:5353\n}":                              "",
		"rfc2136":                              "no server",
		"rfc2136 x":                            "argument",
		"rfc2136 {\n servr a\n}":               "unrecognized",
		"rfc2136 {\n server\n}":                "argument",
		"rfc2136 {\n server a\n key_name b\n}": "go together",
		"rfc2136 {\n server a\n key_name b\n key ???\n}":                "not base64",
		"rfc2136 {\n server a\n key_name b\n key c2Vj\n key_alg md5\n}": "hmac-sha224",
	} {
		p := new(Provider)
		err := p.UnmarshalCaddyfile(caddyfile.NewTestDispenser(text))
		if err == nil {
			err = p.Provision(caddy.Context{})
		}
		if (want == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
		if err == nil && strings.Contains(text, "TEST_DNS_KEY") && p.Key != "c2VjcmV0" {
			t.Errorf("%q: the placeholder was not replaced", text)
		}
	}
	for server, want := range map[string]string{"a": "a:53", "a:1": "a:1", "[::1]": "[::1]:53", "::1": "[::1]:53"} {
		if got := (&Provider{Server: server}).address(); got != want {
			t.Errorf("%s: got %s, want %s", server, got, want)
		}
	}
}
