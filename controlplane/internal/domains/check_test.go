package domains

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// fakeDNS holds a zone in memory. Names in silent have servers that do not answer.
type fakeDNS struct {
	mu      sync.Mutex
	texts   map[string][]string
	targets map[string]Target
	silent  map[string]bool
	asked   int
}

func newFakeDNS() *fakeDNS {
	return &fakeDNS{texts: map[string][]string{}, targets: map[string]Target{}, silent: map[string]bool{}}
}

func (d *fakeDNS) TXT(_ context.Context, name string) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked++
	if d.silent[name] {
		return nil, ErrNoAnswer
	}
	return d.texts[name], nil
}

func (d *fakeDNS) Target(_ context.Context, name string) (Target, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.silent[name] {
		return Target{}, ErrNoAnswer
	}
	return d.targets[name], nil
}

// set changes the zone.
func (d *fakeDNS) set(change func(*fakeDNS)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(d)
}

const (
	domain = "www.example.org"
	record = "_tapis-pods." + domain
	host   = "web.pods.dev.tapis.io"
)

func TestCheck(t *testing.T) {
	claim := pods.DomainClaim{Domain: domain, Token: "token"}
	address := func(s ...string) (t Target) {
		for _, a := range s {
			t.Addresses = append(t.Addresses, netip.MustParseAddr(a))
		}
		return t
	}
	for _, tt := range []struct {
		name   string
		zone   func(*fakeDNS)
		want   finding
		reason string
	}{
		{"a CNAME to the pod's host and the token", func(d *fakeDNS) {
			d.texts[record], d.targets[domain] = []string{"token"}, Target{Aliases: []string{host}}
		}, proven, ""},
		{"a token among other texts", func(d *fakeDNS) {
			d.texts[record], d.targets[domain] = []string{"v=spf1", " token "}, Target{Aliases: []string{"cdn.example.net", host}}
		}, proven, ""},
		{"an address that the pod's host has", func(d *fakeDNS) {
			d.texts[record] = []string{"token"}
			d.targets[domain], d.targets[host] = address("192.0.2.7"), address("192.0.2.6", "192.0.2.7")
		}, proven, ""},
		{"nothing", func(*fakeDNS) {}, refuted, "There is no TXT record at " + record + " yet. Create it with the value token."},
		{"the token of somebody else", func(d *fakeDNS) {
			d.texts[record], d.targets[domain] = []string{"token2"}, Target{Aliases: []string{host}}
		}, refuted, "has another value"},
		{"a CNAME alone, which takes over nothing", func(d *fakeDNS) { d.targets[domain] = Target{Aliases: []string{host}} }, refuted, "no TXT record"},
		{"the token, and a CNAME to another pod", func(d *fakeDNS) {
			d.texts[record], d.targets[domain] = []string{"token"}, Target{Aliases: []string{"other.pods.dev.tapis.io"}}
		}, refuted, "does not lead here. Make it a CNAME of " + host},
		{"the token, and an address elsewhere", func(d *fakeDNS) {
			d.texts[record] = []string{"token"}
			d.targets[domain], d.targets[host] = address("198.51.100.1"), address("192.0.2.7")
		}, refuted, "does not lead here"},
		{"the token, and names without any address", func(d *fakeDNS) { d.texts[record] = []string{"token"} }, refuted, "does not lead here"},
		{"name servers of the record that are down", func(d *fakeDNS) { d.silent[record] = true }, unknown, "do not answer"},
		{"name servers of the domain that are down", func(d *fakeDNS) {
			d.texts[record], d.silent[domain] = []string{"token"}, true
		}, unknown, "do not answer"},
		{"name servers of our own that are down", func(d *fakeDNS) {
			d.texts[record], d.targets[domain], d.silent[host] = []string{"token"}, address("192.0.2.7"), true
		}, unknown, "do not answer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newFakeDNS()
			tt.zone(d)
			got := check(t.Context(), d, claim, host)
			if got.finding != tt.want || !strings.Contains(got.reason, tt.reason) || (tt.reason == "") != (got.reason == "") {
				t.Errorf("got %+v, want %s with %q", got, tt.want, tt.reason)
			}
		})
	}
}
