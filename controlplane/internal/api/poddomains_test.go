package api

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

const domainBody = `{"networking":{"default":{"custom_domain":"WWW.Example.org"}}}`

// domains returns the custom domains of a pod as somebody sees them.
func (f *fixture) domains(pod, token string) []podDomain {
	f.t.Helper()
	var list []podDomain
	r := f.want(http.StatusOK, http.MethodGet, "/v3/pods/"+pod+"/domains", token, "")
	if err := json.Unmarshal(r.envelope(f.t).Result, &list); err != nil {
		f.t.Fatal(err)
	}
	return list
}

// verify makes the store believe that a check found everything.
func (f *fixture) verify(k pods.Key) {
	f.t.Helper()
	claims, err := f.store.Domains(f.t.Context(), pods.DomainQuery{Tenant: k.Tenant, Pod: k.ID})
	if err != nil || len(claims) != 1 {
		f.t.Fatalf("got %v, %v, want one claim", claims, err)
	}
	claims[0].State, claims[0].LastChecked = pods.DomainVerified, new(noon)
	if _, err := f.store.SaveDomainCheck(f.t.Context(), claims[0]); err != nil {
		f.t.Fatal(err)
	}
}

func TestCustomDomain(t *testing.T) {
	f := newFixture(t)
	p := f.put("web", shared)
	if got := f.domains("web", "reader"); len(got) != 0 {
		t.Fatalf("got %v, want no domain", got)
	}
	f.want(http.StatusOK, http.MethodPut, "/v3/pods/web", "owner", domainBody)

	got := f.domains("web", "reader")
	if len(got) != 1 {
		t.Fatalf("got %v, want one domain", got)
	}
	want := podDomain{
		Domain: "www.example.org", Net: "default", State: pods.DomainPending, RecordName: "_tapis-pods.www.example.org",
		RecordValue: got[0].RecordValue, Target: "web.pods.dev.example.org", NextCheck: pods.At(noon),
	}
	if got[0] != want || len(want.RecordValue) < 26 {
		t.Errorf("got %+v, want %+v with a value that can't be guessed", got[0], want)
	}
	for _, tt := range []struct {
		name   string
		verify bool
		want   string
	}{
		{"before the proof", false, `"custom_domain":"www.example.org","custom_domain_verified":false`},
		{"after the proof", true, `"custom_domain":"www.example.org","custom_domain_verified":true`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.verify {
				f.verify(p.Key)
			}
			for _, path := range []string{"/v3/pods/web", "/v3/pods", "/v3/pods/web/derived"} {
				if r := f.want(http.StatusOK, http.MethodGet, path, "owner", ""); !strings.Contains(r.body, tt.want) {
					t.Errorf("%s: got %s, want %s in it", path, r.body, tt.want)
				}
			}
		})
	}
}

func TestListsTellWhichDomainsAreVerified(t *testing.T) {
	f := newFixture(t)
	for _, id := range []pods.ID{"one", "two", "three"} {
		f.put(id, func(p *pods.Pod) {
			p.Definition.Networking = pods.Set(map[string]pods.NetDef{"default": {CustomDomain: pods.Set(string(id) + ".example.org")}})
		})
	}
	f.verify(pods.Key{Tenant: "dev", ID: "two"})
	r := f.want(http.StatusOK, http.MethodGet, "/v3/pods", "owner", "")
	for domain, want := range map[string]string{"one": "false", "two": "true", "three": "false"} {
		if want := `"custom_domain":"` + domain + `.example.org","custom_domain_verified":` + want; !strings.Contains(r.body, want) {
			t.Errorf("got %s, want %s in it", r.body, want)
		}
	}
}

func TestAskForACheck(t *testing.T) {
	now := noon
	f := newFixture(t, func(d *Deps) { d.Now = func() time.Time { return now } })
	p := f.put("web", shared)
	r := f.want(http.StatusBadRequest, http.MethodPost, "/v3/pods/web/domains/check", "owner", "")
	if !strings.Contains(r.envelope(t).text(), "The pod has no custom domain.") {
		t.Errorf("got %s", r.body)
	}
	f.want(http.StatusOK, http.MethodPut, "/v3/pods/web", "owner", domainBody)
	f.verify(p.Key) // checked at noon

	r = f.want(http.StatusTooManyRequests, http.MethodPost, "/v3/pods/web/domains/check", "user", "")
	if got := r.header.Get("Retry-After"); got != "10" {
		t.Errorf("got Retry-After %q, want 10", got)
	}
	now = noon.Add(domainCheckPause)
	f.want(http.StatusOK, http.MethodPost, "/v3/pods/web/domains/check", "user", "")
	if got := f.domains("web", "user"); len(got) != 1 || got[0].NextCheck != pods.At(now) {
		t.Errorf("got %+v, want a check due now", got)
	}
}

func TestCustomDomainsOfOthersAreHidden(t *testing.T) {
	f := newFixture(t)
	f.put("web", shared)
	f.want(http.StatusOK, http.MethodPut, "/v3/pods/web", "owner", domainBody)
	for _, token := range []string{"stranger", "owner@other"} {
		f.want(http.StatusNotFound, http.MethodGet, "/v3/pods/web/domains", token, "")
		f.want(http.StatusNotFound, http.MethodPost, "/v3/pods/web/domains/check", token, "")
	}
}

func TestDomainsThatNobodyCanOwnAreRefused(t *testing.T) {
	f := newFixture(t)
	f.put("web")
	for domain, want := range map[string]string{
		"*.example.com":        "can't be a wildcard",
		"co.uk":                "is a public suffix",
		"192.0.2.1":            "is an address",
		"intranet":             "at least two labels",
		"www.dev.example.org":  "is within dev.example.org, which is the tenant's own",
		"web.pods.example.com": "pods get from the service",
	} {
		r := f.want(http.StatusBadRequest, http.MethodPut, "/v3/pods/web", "owner", `{"networking":{"default":{"custom_domain":"`+domain+`"}}}`)
		if got := r.envelope(t).text(); !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", domain, got, want)
		}
	}
	if got := f.domains("web", "owner"); len(got) != 0 {
		t.Errorf("got %v, want no claim", got)
	}
}

func TestATagMadeOfAPodLeavesItsDomainOut(t *testing.T) {
	f := newFixture(t)
	f.put("web")
	f.putTemplate("base")
	f.want(http.StatusOK, http.MethodPut, "/v3/pods/web", "owner", domainBody)
	r := f.want(http.StatusOK, http.MethodPost, "/v3/pods/web/save_pod_as_template_tag", "owner", `{"template_id":"base","commit_message":"x"}`)
	if strings.Contains(r.body, "www.example.org") {
		t.Errorf("got %s, want no custom domain", r.body)
	}
}

func TestCertificatesAreShown(t *testing.T) {
	known := map[string]pods.Certificate{
		"web.pods.dev.example.org": {State: pods.CertReady, Since: noon},
		"www.example.org":          {State: pods.CertFailed, Since: noon, Reason: "no such host"},
		"new.pods.dev.example.org": {State: pods.CertProvisioning, Since: noon},
		"own.pods.dev.example.org": {State: pods.CertReady, Since: noon},
	}
	f := newFixture(t, func(d *Deps) { d.Certificate = func(host string) pods.Certificate { return known[host] } })
	web := f.put("web", shared)
	f.want(http.StatusOK, http.MethodPut, "/v3/pods/web", "owner", domainBody)
	f.put("new")
	f.put("own", func(p *pods.Pod) {
		p.Definition.Networking = pods.Set(map[string]pods.NetDef{"default": {Protocol: pods.Set("local_only")}})
	})
	at := pods.At(noon).String()
	for _, tt := range []struct{ name, path, want string }{
		{"a ready one", "/v3/pods/web", `"cert_state":"ready","cert_ready":true,"cert_provisioning_started_at":null,"cert_ready_at":"` + at + `"`},
		{"one on its way, in a list", "/v3/pods?search=new", `"cert_state":"provisioning","cert_ready":false,"cert_provisioning_started_at":"` + at + `","cert_ready_at":null`},
		{"that of a host which has no route", "/v3/pods/own/derived", `"cert_state":"","cert_ready":false,"cert_provisioning_started_at":null,"cert_ready_at":null`},
		{"none of a custom domain that is not verified", "/v3/pods/web/domains", `"cert_state":"","cert_reason":""`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if r := f.want(http.StatusOK, http.MethodGet, tt.path, "owner", ""); !strings.Contains(r.body, tt.want) {
				t.Errorf("got %s, want %s in it", r.body, tt.want)
			}
		})
	}
	f.verify(web.Key)
	if got := f.domains("web", "reader"); got[0].CertState != pods.CertFailed || got[0].CertReason != "no such host" {
		t.Errorf("got %+v, want a failed certificate and why", got[0])
	}
	// What was shown can be sent back, and is no change.
	r := f.want(http.StatusOK, http.MethodGet, "/v3/pods/web", "owner", "")
	var view pods.View
	if err := json.Unmarshal(r.envelope(t).Result, &view); err != nil {
		t.Fatal(err)
	}
	back, err := json.Marshal(map[string]any{"networking": view.Networking})
	if err != nil {
		t.Fatal(err)
	}
	r = f.want(http.StatusOK, http.MethodPut, "/v3/pods/web", "owner", string(back))
	if r.envelope(t).Status != failure { // it is not said to have changed anything
		t.Errorf("got %s, want no change", r.body)
	}
}
