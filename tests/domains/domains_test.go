package domains

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tapis-project/podway/tests/system"
)

func TestCustomDomains(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct {
		name string
		run  func(w world)
	}{
		{"a domain leads to its pod as long as it is proven", domainOfAPod},
		{"a CNAME alone takes nothing over", danglingName},
		{"of two pods the proven one has the domain", claimRace},
		{"a domain changes hands on a fresh challenge only", handOver},
		{"an international name works in its own spelling", internationalName},
		{"a name without CNAME may have the address of the pod's host", apexName},
		{"names that nobody can own are refused", refusedNames},
		{"a check is made when somebody asks for it", askedCheck},
		{"a dead name server takes nothing away", deadServer}, // the last one: it kills it
	} {
		t.Run(tt.name, func(t *testing.T) { tt.run(world{w.System, t, w.dns}) })
	}
}

func domainOfAPod(w world) {
	const domain = "www.example.org"
	u := w.Login("testuser")
	w.create(u, "web", domain)
	d := w.waitState(u, "web", "pending", "There is no TXT record at _tapis-pods."+domain)
	if d.RecordName != "_tapis-pods."+domain || d.Target != system.Host("web") || len(d.RecordValue) < 26 {
		w.t.Errorf("got %+v", d)
	}
	w.wantPage(domain, "")
	w.wantPage(system.Host("web"), "web")

	w.proof(domain, d.RecordValue)
	w.point(domain, "web")
	w.waitState(u, "web", "verified", "")
	w.waitPage(domain, "web")
	var p struct {
		Networking map[string]struct {
			CustomDomain string `json:"custom_domain"`
			Verified     bool   `json:"custom_domain_verified"`
		} `json:"networking"`
	}
	u.Call(http.MethodGet, "/v3/pods/web", "").Into(w.t, &p)
	if n := p.Networking["default"]; n.CustomDomain != domain || !n.Verified {
		w.t.Errorf("got %+v, want the domain to be shown as verified", n)
	}

	w.proof(domain) // the record is gone, the CNAME is still there
	w.waitState(u, "web", "failed", "There is no TXT record")
	w.waitPage(domain, "")
	w.wantPage(system.Host("web"), "web")

	w.proof(domain, d.RecordValue)
	w.waitState(u, "web", "verified", "")
	w.waitPage(domain, "web")
	for _, want := range []string{"custom domain " + domain + " verified", "custom domain " + domain + " lost, its route is withdrawn"} {
		if lines := actionLog(w.t, u, "web"); !slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, want) }) {
			w.t.Errorf("got action log %q, want %q in it", lines, want)
		}
	}

	u.Call(http.MethodPut, "/v3/pods/web", `{"networking":{"default":{"custom_domain":""}}}`)
	w.waitPage(domain, "")
}

func actionLog(t *testing.T, u system.User, pod string) []string {
	t.Helper()
	var logs struct {
		ActionLogs []string `json:"action_logs"`
	}
	u.Call(http.MethodGet, "/v3/pods/"+pod+"/logs", "").Into(t, &logs)
	return logs.ActionLogs
}

// A domain of somebody who once had a pod still leads here. Who claims it without
// being its owner gets nothing, whatever token they know.
func danglingName(w world) {
	const domain = "left.example.org"
	w.point(domain, "gone")
	w.proof(domain, "the token of a pod that is gone")
	attacker := w.Login("otheruser")
	w.create(attacker, "gone", domain)
	w.waitState(attacker, "gone", "pending", "has another value")
	w.waitChecks(attacker, "gone", 3)
	w.waitState(attacker, "gone", "pending", "has another value")
	w.wantPage(domain, "")
}

func claimRace(w world) {
	const domain = "race.example.org"
	owner, attacker := w.Login("testuser"), w.Login("otheruser")
	w.create(attacker, "racer", domain)
	w.create(owner, "racing", domain)
	w.point(domain, "racing")
	w.proof(domain, w.domain(owner, "racing").RecordValue)
	w.waitState(owner, "racing", "verified", "")
	w.waitPage(domain, "racing")
	w.waitChecks(attacker, "racer", 3)
	w.waitState(attacker, "racer", "pending", "has another value")
	w.wantPage(domain, "racing")

	// Others neither see the claim nor can ask for checks.
	for method, path := range map[string]string{http.MethodGet: "/v3/pods/racing/domains", http.MethodPost: "/v3/pods/racing/domains/check"} {
		if a, err := attacker.Try(method, path, ""); err != nil || a.Code != http.StatusNotFound {
			w.t.Errorf("%s %s: got %d, %v, want 404", method, path, a.Code, err)
		}
	}
}

func handOver(w world) {
	const domain = "moves.example.org"
	u := w.Login("testuser")
	w.create(u, "old", domain)
	w.create(u, "new", domain)
	before, early := w.domain(u, "old").RecordValue, w.domain(u, "new").RecordValue
	// Both records are there from the start, so either may win; then the loser's value
	// is worth nothing any more.
	w.point(domain, "old")
	w.proof(domain, before)
	w.waitState(u, "old", "verified", "")
	w.proof(domain, before, early)
	w.waitChecks(u, "new", 2)
	w.waitState(u, "new", "pending", "has another value")
	w.waitPage(domain, "old")

	fresh := w.domain(u, "new").RecordValue
	if fresh == early {
		w.t.Fatal("got the value of the time before the proof, want a fresh one")
	}
	w.proof(domain, before, fresh)
	w.point(domain, "new")
	w.waitState(u, "new", "verified", "")
	w.waitState(u, "old", "failed", "")
	w.waitPage(domain, "new")

	w.proof(domain, before, fresh) // the old record gives nothing back
	w.point(domain, "old")
	w.waitState(u, "new", "failed", "does not lead here")
	w.waitChecks(u, "old", 2)
	w.waitState(u, "old", "failed", "has another value")
	w.waitPage(domain, "")
}

func internationalName(w world) {
	const written, domain = "Bücher.example.org", "xn--bcher-kva.example.org"
	u := w.Login("testuser")
	w.create(u, "books", written)
	d := w.domain(u, "books")
	if d.Domain != domain || d.RecordName != "_tapis-pods."+domain {
		w.t.Errorf("got %+v, want the form of DNS", d)
	}
	w.point(domain, "books")
	w.proof(domain, d.RecordValue)
	w.waitState(u, "books", "verified", "")
	w.waitPage(domain, "books")
}

func apexName(w world) {
	const domain = "apex.example.org"
	u := w.Login("testuser")
	w.create(u, "apex", domain)
	w.set(domain, "A 198.51.100.7")
	w.proof(domain, w.domain(u, "apex").RecordValue)
	w.waitState(u, "apex", "pending", "does not lead here. Make it a CNAME of "+system.Host("apex"))
	w.wantPage(domain, "")
	w.set(domain, "A 127.0.0.1") // as every name of the pods' zone
	w.waitState(u, "apex", "verified", "")
	w.waitPage(domain, "apex")
}

func refusedNames(w world) {
	u := w.Login("testuser")
	for domain, want := range map[string]string{
		"*.example.org":           "can't be a wildcard",
		"co.uk":                   "is a public suffix",
		"github.io":               "is a public suffix",
		"192.0.2.7":               "is an address",
		"intranet":                "at least two labels",
		"web.pods.dev.localhost":  "special use",
		"web.pods.example.org":    "pods get from the service",
		"www.podway.example.org":  "is within podway.example.org",
		"https://www.example.org": "must be a bare name",
	} {
		a, err := u.Try(http.MethodPost, "/v3/pods",
			fmt.Sprintf(`{"pod_id":"refused","image":"podway/hello","networking":{"default":{"custom_domain":%q}}}`, domain))
		if err != nil || a.Code != http.StatusBadRequest || !strings.Contains(string(a.Message), want) {
			w.t.Errorf("%s: got %d %s, %v, want 400 with %q", domain, a.Code, a.Message, err, want)
		}
	}
}

func askedCheck(w world) {
	const domain = "asked.example.org"
	u := w.Login("testuser")
	w.create(u, "asked", domain)
	w.waitChecks(u, "asked", 1)
	a, err := u.Try(http.MethodPost, "/v3/pods/asked/domains/check", "")
	if err != nil || a.Code != http.StatusTooManyRequests || a.Header.Get("Retry-After") == "" {
		w.t.Errorf("got %d, Retry-After %q, %v, want 429: it was checked a moment ago", a.Code, a.Header.Get("Retry-After"), err)
	}
}

func deadServer(w world) {
	const domain = "steady.example.org"
	u := w.Login("testuser")
	w.create(u, "steady", domain)
	w.point(domain, "steady")
	w.proof(domain, w.domain(u, "steady").RecordValue)
	w.waitState(u, "steady", "verified", "")
	w.waitPage(domain, "steady")
	w.dns.Kill()
	w.waitState(u, "steady", "verified", "do not answer")
	w.waitChecks(u, "steady", 4) // more than misses are allowed
	w.waitState(u, "steady", "verified", "do not answer")
	w.wantPage(domain, "steady")
}
