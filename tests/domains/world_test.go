package domains

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tapis-project/podway/tests/parts"
	"github.com/tapis-project/podway/tests/system"
)

func TestMain(m *testing.M) { system.Main(m) }

// soon bounds what takes a second or two on an idle machine.
const soon = time.Minute

// zone is what the test owns.
const zone = "example.org"

// world is a Podway that checks verified domains each second, and its DNS.
type world struct {
	*system.System

	t   *testing.T
	dns *parts.DNS
}

func newWorld(t *testing.T) world {
	t.Helper()
	// The other zone is that of the pods' own hosts.
	server := parts.StartDNS(t, zone, "dev.localhost")
	s := system.Start(t, "PODWAY_DNS_SERVERS="+server.Addr, "PODWAY_DOMAIN_RECHECK=1", "PODWAY_BASE_DOMAINS=podway.example.org")
	s.StartEdge()
	w := world{System: s, t: t, dns: server}
	u := w.Login("testadmin")
	u.Call(http.MethodPost, "/v3/pods", `{"pod_id":"lobby","image":"podway/hello"}`)
	u.WaitStatus("lobby", "AVAILABLE")
	w.waitPage(system.Host("lobby"), "lobby")
	return w
}

// set replaces the records of a name in the zone. Records are written without
// their name: `TXT "word"`. None leaves what the zone has for every name.
func (w world) set(name string, records ...string) { w.dns.Set(zone, name, records...) }

// point makes a domain a CNAME of a pod's host.
func (w world) point(domain, pod string) { w.set(domain, "CNAME "+system.Host(pod)+".") }

// proof creates the TXT record of a domain, with these values.
func (w world) proof(domain string, values ...string) {
	var records []string
	for _, v := range values {
		records = append(records, fmt.Sprintf("TXT %q", v))
	}
	w.set("_tapis-pods."+domain, records...)
}

// create makes a pod with a custom domain and waits until it runs.
func (w world) create(u system.User, pod, domain string) {
	w.t.Helper()
	u.Call(http.MethodPost, "/v3/pods",
		fmt.Sprintf(`{"pod_id":%q,"image":"podway/hello","networking":{"default":{"custom_domain":%q}}}`, pod, domain))
	u.WaitStatus(pod, "AVAILABLE")
}

// state is what a pod's owner sees of a custom domain.
type state struct {
	Domain      string `json:"custom_domain"`
	State       string `json:"state"`
	RecordName  string `json:"record_name"`
	RecordValue string `json:"record_value"`
	Target      string `json:"target"`
	LastChecked string `json:"last_checked"`
	Reason      string `json:"reason"`
}

// domain returns the one custom domain of a pod.
func (w world) domain(u system.User, pod string) state {
	w.t.Helper()
	var list []state
	u.Call(http.MethodGet, "/v3/pods/"+pod+"/domains", "").Into(w.t, &list)
	if len(list) != 1 {
		w.t.Fatalf("got %v, want one custom domain", list)
	}
	return list[0]
}

// waitState waits until a pod's custom domain is in a state, for a reason that holds
// a text.
func (w world) waitState(u system.User, pod, want, reason string) state {
	w.t.Helper()
	var d state
	parts.Eventually(w.t, soon, func() error {
		d = w.domain(u, pod)
		if d.State != want || !strings.Contains(d.Reason, reason) {
			return fmt.Errorf("%s of %s is %s (%s), want %s (%s)", d.Domain, pod, d.State, d.Reason, want, reason)
		}
		return nil
	})
	return d
}

// waitChecks waits until a pod's custom domain was checked so many times more.
func (w world) waitChecks(u system.User, pod string, n int) {
	w.t.Helper()
	for range n {
		last := w.domain(u, pod).LastChecked
		parts.Eventually(w.t, soon, func() error {
			if d := w.domain(u, pod); d.LastChecked == last {
				return fmt.Errorf("%s was not checked since %s", d.Domain, last)
			}
			return nil
		})
	}
}

// visit asks the edge for the page of a host, over a connection that was made for
// another one: requests are led by what they ask for, and certificates for custom
// domains are not what is tested here.
func (w world) visit(host string) (int, string, error) {
	transport := &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: system.Host("lobby")},
	}
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, "https://"+net.JoinHostPort("127.0.0.1", strconv.Itoa(w.EdgePort)), nil)
	if err != nil {
		return 0, "", err
	}
	req.Host = host
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// waitPage waits until a host shows the page of a pod; "" for that of no pod.
func (w world) waitPage(host, pod string) {
	w.t.Helper()
	parts.Eventually(w.t, soon, func() error { return w.page(host, pod) })
}

func (w world) page(host, pod string) error {
	status, body, err := w.visit(host)
	if err != nil {
		return err
	}
	if pod == "" && status != http.StatusNotFound || pod != "" && !strings.HasPrefix(body, "Hello from "+pod+".") {
		return fmt.Errorf("%s: got %d %.60q, want the page of %q", host, status, body, pod)
	}
	return nil
}

// wantPage is waitPage for what has to be so already.
func (w world) wantPage(host, pod string) {
	w.t.Helper()
	if err := w.page(host, pod); err != nil {
		w.t.Error(err)
	}
}
