package main

import (
	"slices"
	"strings"
	"testing"
)

const (
	pendingDomain = `[{"custom_domain":"www.example.org","network":"default","state":"pending","record_name":"_tapis-pods.www.example.org",` +
		`"record_value":"secretword","target":"web.pods.dev.tapis.io","last_checked":"2026-03-04T12:00:00.000000","reason":"There is no TXT record."}]`
	verifiedDomain = `[{"custom_domain":"xn--bcher-kva.example.org","network":"default","state":"verified","last_checked":null,"reason":""}]`
)

func TestDomainsTellWhatToCreate(t *testing.T) {
	p := newTerminal(t, &fakeService{answers: map[string]string{
		"GET /v3/pods/web/domains": pendingDomain, "GET /v3/pods/done/domains": verifiedDomain,
		"POST /v3/pods/web/domains/check": pendingDomain,
	}})
	want := "www.example.org pending, network default\n" +
		"  _tapis-pods.www.example.org. TXT \"secretword\"\n" +
		"  www.example.org. CNAME web.pods.dev.tapis.io.\n" +
		"  There is no TXT record.\n" +
		"  last checked 2026-03-04 12:00:00 UTC\n"
	for _, args := range [][]string{{"domains", "list", "web"}, {"domains", "check", "web"}} {
		if out, errOut, err := p.run("", args...); err != nil || out != want {
			t.Errorf("%v: got %q, %q, %v, want %q", args, out, errOut, err, want)
		}
	}
	if out, _, err := p.run("", "domains", "list", "done"); err != nil || out != "xn--bcher-kva.example.org verified, network default\n" {
		t.Errorf("got %q, %v", out, err)
	}
}

func TestADomainIsSetBesideWhatTheOwnerSet(t *testing.T) {
	const derived = `{"pod_id":"web","networking":{"default":{"protocol":"http","port":8888},"ui":{"protocol":"http","port":80}}}`
	for _, tt := range []struct {
		name, overrides string
		args            []string
		want            string
	}{
		{"nothing was set", `{"overrides":{}}`, []string{"add", "web", "www.example.org"}, `{"networking":{"default":{"custom_domain":"www.example.org"}}}`},
		{
			"other fields stay", `{"overrides":{"networking":{"default":{"tapis_auth":true}}}}`,
			[]string{"add", "web", "www.example.org", "--network", "ui"},
			`{"networking":{"default":{"tapis_auth":true},"ui":{"custom_domain":"www.example.org"}}}`,
		},
		{
			"taken away, named as people read it", `{"overrides":{"networking":{"default":{"custom_domain":"xn--bcher-kva.example.org","port":9000}}}}`,
			[]string{"remove", "web", "bücher.example.org"},
			`{"networking":{"default":{"port":9000}}}`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &fakeService{answers: map[string]string{
				"GET /v3/pods/web/derived": derived, "GET /v3/pods/web/overrides": tt.overrides, "PUT /v3/pods/web": `{}`,
				"GET /v3/pods/web/domains": verifiedDomain,
			}}
			if _, errOut, err := newTerminal(t, f).run("", append([]string{"domains"}, tt.args...)...); err != nil {
				t.Fatalf("got %v: %s", err, errOut)
			}
			if want := "PUT /v3/pods/web " + tt.want; !slices.Contains(f.calls, want) {
				t.Errorf("got calls\n%s\nwant among them\n%s", strings.Join(f.calls, "\n"), want)
			}
		})
	}
}

func TestADomainNeedsAnEntryThatIsThere(t *testing.T) {
	f := &fakeService{answers: map[string]string{"GET /v3/pods/web/derived": `{"networking":{"default":{}}}`, "GET /v3/pods/web/domains": `[]`}}
	p := newTerminal(t, f)
	if _, _, err := p.run("", "domains", "add", "web", "www.example.org", "--network", "typo"); err == nil || !strings.Contains(err.Error(), `no networking entry "typo"`) {
		t.Errorf("got %v", err)
	}
	if _, _, err := p.run("", "domains", "remove", "web", "www.example.org"); err == nil || !strings.Contains(err.Error(), "has no custom domain") {
		t.Errorf("got %v", err)
	}
}

func TestCheckWaitsUntilADomainIsVerified(t *testing.T) {
	p := newTerminal(t, &fakeService{answers: map[string]string{
		"POST /v3/pods/web/domains/check": pendingDomain, "GET /v3/pods/web/domains": verifiedDomain,
	}})
	if out, errOut, err := p.run("", "domains", "check", "web", "--wait"); err != nil || !strings.Contains(out, "verified") {
		t.Errorf("got %q, %q, %v", out, errOut, err)
	}
	p = newTerminal(t, &fakeService{answers: map[string]string{
		"POST /v3/pods/web/domains/check": pendingDomain, "GET /v3/pods/web/domains": pendingDomain,
	}})
	out, _, err := p.run("", "domains", "check", "web", "--wait", "--timeout", "50ms")
	if err == nil || !strings.Contains(err.Error(), "not verified after 50ms") || !strings.Contains(out, "There is no TXT record.") {
		t.Errorf("got %q, %v", out, err)
	}
}
