//go:build certs

package certs

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/tests/parts"
	"github.com/tapis-project/podway/tests/system"
)

// The zone of the owner of the domain in this test, and what they own in it.
const (
	ownZone   = "example.org"
	ownDomain = "www.example.org"
)

// installation is a whole Podway whose edge gets certificates from an authority.
type installation struct {
	*system.System

	t    *testing.T
	dns  *parts.DNS
	ca   *pebble
	edge *edge
}

func newInstallation(t *testing.T) *installation {
	t.Helper()
	dns := parts.StartDNS(t, ownZone, "dev.localhost")
	s := system.Start(t, "PODWAY_DNS_SERVERS="+dns.Addr, "PODWAY_DOMAIN_RECHECK=1")
	ca := startPebble(t, dns.Addr, strconv.Itoa(s.EdgePort), long)
	url := s.EdgeEnv()["PODWAY_REDIS_URL"]
	opts, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, client: redis.NewClient(opts), dns: dns, ca: ca}
	t.Cleanup(func() { w.client.Close() })
	w.base = w.settings(strconv.Itoa(s.EdgePort), url)
	w.base.Certificates = "certificates *.pods.dev.localhost"
	i := &installation{System: s, t: t, dns: dns, ca: ca, edge: w.edge()}
	i.edge.awaitState("*.pods.dev.localhost", "valid")
	return i
}

func TestCustomDomainFromItsClaimToItsVisitor(t *testing.T) {
	i := newInstallation(t)
	owner, stranger := i.Login("testuser"), i.Login("otheruser")
	i.create(owner, "web")
	d := i.awaitDomain(owner, "web", "pending")
	i.create(stranger, "thief")
	i.awaitDomain(stranger, "thief", "pending")
	i.wantNoHandshake("before it is proven")
	if n := i.ca.orders(); n != 1 {
		t.Errorf("got %d orders before the domain is proven, want that of the wildcard", n)
	}

	i.dns.Set(ownZone, d.RecordName, fmt.Sprintf("TXT %q", d.RecordValue))
	// Not a CNAME: the DNS server of the test would not follow it into another zone
	// for the authority, as the resolvers of real ones do.
	i.dns.Set(ownZone, ownDomain, "A 127.0.0.1")
	i.awaitDomain(owner, "web", "verified")
	i.edge.awaitState(ownDomain, "valid")
	parts.Eventually(t, limit, func() error { return i.visit("web") })
	i.awaitDomain(stranger, "thief", "pending")

	// The record is gone: so is the route, and the domain is nobody's.
	i.dns.Set(ownZone, d.RecordName)
	i.awaitDomain(owner, "web", "failed")
	parts.Eventually(t, limit, func() error {
		if _, err := i.edge.handshake(ownDomain); err == nil {
			return fmt.Errorf("%s is served", ownDomain)
		}
		return nil
	})

	// It comes back with the certificate that it had.
	i.dns.Set(ownZone, d.RecordName, fmt.Sprintf("TXT %q", d.RecordValue))
	i.awaitDomain(owner, "web", "verified")
	parts.Eventually(t, limit, func() error { return i.visit("web") })
	if o, n := i.ca.orders(), i.ca.issued(); o != 2 || n != 2 {
		t.Errorf("got %d orders and %d certificates, want one of each beside the wildcard", o, n)
	}
}

// create makes a pod that claims the domain.
func (i *installation) create(u system.User, pod string) {
	i.t.Helper()
	u.Call(http.MethodPost, "/v3/pods", fmt.Sprintf(`{"pod_id":%q,"image":"podway/hello","networking":{"default":{"custom_domain":%q}}}`, pod, ownDomain))
	u.WaitStatus(pod, "AVAILABLE")
}

// claim is what the API says of a pod's custom domain.
type claim struct {
	State       string `json:"state"`
	Reason      string `json:"reason"`
	RecordName  string `json:"record_name"`
	RecordValue string `json:"record_value"`
}

func (i *installation) awaitDomain(u system.User, pod, state string) claim {
	i.t.Helper()
	var list []claim
	parts.Eventually(i.t, limit, func() error {
		u.Call(http.MethodGet, "/v3/pods/"+pod+"/domains", "").Into(i.t, &list)
		if len(list) != 1 || list[0].State != state {
			return fmt.Errorf("got %+v of %s, want %s", list, pod, state)
		}
		return nil
	})
	return list[0]
}

func (i *installation) wantNoHandshake(when string) {
	i.t.Helper()
	if _, err := i.edge.handshake(ownDomain); err == nil || !strings.Contains(err.Error(), "unrecognized name") {
		i.t.Errorf("%s: got %v, want an unrecognized name", when, err)
	}
}

// visit asks for the page of the domain as a browser does that trusts the authority,
// and returns an error unless it is that of a pod.
func (i *installation) visit(pod string) error {
	tr := &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: i.edge.config(ownDomain), ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", i.edge.addr)
		},
	}
	res, err := (&http.Client{Transport: tr, Timeout: 30 * time.Second}).Get("https://" + ownDomain)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err == nil && !strings.HasPrefix(string(b), "Hello from "+pod+".") {
		err = fmt.Errorf("got %d %.80q, want the page of %s", res.StatusCode, b, pod)
	}
	return err
}
