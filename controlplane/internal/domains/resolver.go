package domains

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// ErrNoAnswer says that no server gave an answer that tells anything: neither
// records nor that there are none.
var ErrNoAnswer = errors.New("no answer from DNS")

// maxChain bounds the CNAMEs that are followed in one answer.
const maxChain = 8

// ResolverOptions configures a Resolver.
type ResolverOptions struct {
	// Servers are recursive name servers, "host:port" or "host", asked in this order
	// until one answers. Default: those of /etc/resolv.conf.
	Servers []string

	// Timeout bounds one exchange with one server. Default: 3s.
	Timeout time.Duration
}

// Resolver asks recursive name servers. It is safe for concurrent use.
type Resolver struct {
	servers  []string
	udp, tcp *dns.Client
}

// NewResolver returns a Resolver.
func NewResolver(o ResolverOptions) (*Resolver, error) {
	servers := o.Servers
	if len(servers) == 0 {
		c, err := dns.ClientConfigFromFile("/etc/resolv.conf")
		if err != nil {
			return nil, fmt.Errorf("reading which DNS servers to ask: %w", err)
		}
		servers = c.Servers
	}
	if len(servers) == 0 {
		return nil, errors.New("no DNS servers to ask: /etc/resolv.conf names none")
	}
	timeout := cmp.Or(o.Timeout, 3*time.Second)
	r := &Resolver{udp: &dns.Client{Timeout: timeout}, tcp: &dns.Client{Net: "tcp", Timeout: timeout}}
	for _, s := range servers {
		if _, _, err := net.SplitHostPort(s); err != nil {
			s = net.JoinHostPort(strings.Trim(s, "[]"), "53")
		}
		r.servers = append(r.servers, s)
	}
	return r, nil
}

// TXT returns the texts at a name, none if there is no such record.
func (r *Resolver) TXT(ctx context.Context, name string) ([]string, error) {
	a, err := r.lookup(ctx, name, dns.TypeTXT)
	var texts []string
	for _, rr := range a.records {
		if t, ok := rr.(*dns.TXT); ok {
			texts = append(texts, strings.Join(t.Txt, ""))
		}
	}
	return texts, err
}

// Target is what a name leads to.
type Target struct {
	Aliases   []string // names its CNAMEs lead to, lower case
	Addresses []netip.Addr
}

// Target returns what a name leads to: nothing, if it does not exist.
func (r *Resolver) Target(ctx context.Context, name string) (Target, error) {
	var t Target
	for _, kind := range []uint16{dns.TypeA, dns.TypeAAAA} {
		a, err := r.lookup(ctx, name, kind)
		if err != nil {
			return Target{}, err
		}
		t.Aliases = a.aliases
		for _, rr := range a.records {
			t.Addresses = append(t.Addresses, addressOf(rr)...)
		}
	}
	return t, nil
}

// addressOf returns the address in a record, if it holds one.
func addressOf(rr dns.RR) []netip.Addr {
	var ip net.IP
	switch rr := rr.(type) {
	case *dns.A:
		ip = rr.A
	case *dns.AAAA:
		ip = rr.AAAA
	}
	if addr, ok := netip.AddrFromSlice(ip); ok {
		return []netip.Addr{addr.Unmap()}
	}
	return nil
}

// found is what an answer holds about a name.
type found struct {
	aliases []string // names that CNAMEs lead to, in order
	records []dns.RR // at the last of these, or at the name itself
}

// lookup asks for the records of a name.
func (r *Resolver) lookup(ctx context.Context, name string, kind uint16) (found, error) {
	q := new(dns.Msg)
	q.SetQuestion(dns.Fqdn(name), kind)
	q.SetEdns0(1232, false) // what gets through every network in one piece
	var failures []error
	for _, server := range r.servers {
		m, err := r.exchange(ctx, q, server)
		if err == nil {
			return follow(m, name, kind), nil
		}
		failures = append(failures, err)
	}
	return found{}, fmt.Errorf("asking for %s of %s: %w: %w", dns.TypeToString[kind], name, ErrNoAnswer, errors.Join(failures...))
}

// exchange asks one server. An error says that its answer tells nothing.
func (r *Resolver) exchange(ctx context.Context, q *dns.Msg, server string) (*dns.Msg, error) {
	// Each question has a number of its own, which nobody can guess.
	q = q.Copy()
	q.Id = dns.Id()
	m, _, err := r.udp.ExchangeContext(ctx, q, server)
	if err == nil && m.Truncated {
		m, _, err = r.tcp.ExchangeContext(ctx, q, server)
	}
	switch {
	case err != nil:
		return nil, err
	case m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError:
		return nil, fmt.Errorf("%s answers %s", server, dns.RcodeToString[m.Rcode])
	case len(m.Question) != 1 || !strings.EqualFold(m.Question[0].Name, q.Question[0].Name) || m.Question[0].Qtype != q.Question[0].Qtype:
		return nil, fmt.Errorf("%s answers another question", server)
	}
	return m, nil
}

// follow finds the records of a name in an answer, behind its CNAMEs. What else
// is in the answer does not count.
func follow(m *dns.Msg, name string, kind uint16) (f found) {
	at := dns.CanonicalName(name)
	for len(f.aliases) < maxChain {
		next := ""
		for _, rr := range m.Answer {
			if dns.CanonicalName(rr.Header().Name) != at {
				continue
			}
			if c, ok := rr.(*dns.CNAME); ok {
				next = dns.CanonicalName(c.Target)
			} else if rr.Header().Rrtype == kind {
				f.records = append(f.records, rr)
			}
		}
		if next == "" || len(f.records) > 0 {
			return f
		}
		f.aliases = append(f.aliases, strings.TrimSuffix(next, "."))
		at = next
	}
	return f
}
