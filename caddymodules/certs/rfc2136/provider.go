// Package rfc2136 changes the records of a DNS zone by dynamic updates (RFC 2136),
// which every common DNS server takes: BIND, Knot, PowerDNS, Windows. Updates are
// signed with a shared key (TSIG, RFC 8945).
//
// It is the DNS provider "rfc2136" of Caddy, with which wildcard certificates are
// obtained, and usable without Caddy:
//
//	p := &rfc2136.Provider{Server: "192.0.2.53:53", KeyName: "acme", Key: "c2VjcmV0..."}
//	_, err := p.AppendRecords(ctx, "example.org.", []libdns.Record{
//		libdns.TXT{Name: "_acme-challenge", Text: "...", TTL: time.Minute},
//	})
package rfc2136

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/libdns/libdns"
	"github.com/miekg/dns"
)

// DefaultAlgorithm signs updates if no other one is set.
const DefaultAlgorithm = "hmac-sha256"

// timeout bounds one exchange with the server, if the caller's context allows more.
const timeout = 10 * time.Second

// fudge is by how many seconds the clocks of both sides may differ.
const fudge = 300

// algorithms that updates are signed with, by the name that is configured. MD5 and
// SHA-1 are left out.
var algorithms = map[string]string{
	"hmac-sha224": dns.HmacSHA224, "hmac-sha256": dns.HmacSHA256, "hmac-sha384": dns.HmacSHA384, "hmac-sha512": dns.HmacSHA512,
}

// Provider changes zones of one DNS server. It is safe for concurrent use.
type Provider struct {
	// Server that takes updates: the primary of the zones, "host" or "host:port".
	// Placeholders such as {env.DNS_SERVER} are replaced. Default port: 53.
	Server string `json:"server"`

	// KeyName names the TSIG key at the server. Without one updates are not signed:
	// the server has to trust this machine's address.
	KeyName string `json:"key_name,omitempty"`

	// KeyAlgorithm is one of hmac-sha224, hmac-sha256, hmac-sha384, hmac-sha512.
	// Default: hmac-sha256.
	KeyAlgorithm string `json:"key_alg,omitempty"`

	// Key is the secret in base64. Placeholders such as {env.DNS_KEY} and
	// {file./run/secrets/dns} are replaced.
	Key string `json:"key,omitempty"`
}

// check reports what is wrong with the settings, without the key.
func (p *Provider) check() error {
	if p.Server == "" {
		return errors.New("no server is given")
	}
	if (p.KeyName == "") != (p.Key == "") {
		return errors.New("key_name and key go together")
	}
	if p.KeyName == "" {
		return nil
	}
	if _, known := algorithms[p.algorithm()]; !known {
		return fmt.Errorf("key_alg %q is not one of hmac-sha224, hmac-sha256, hmac-sha384, hmac-sha512", p.KeyAlgorithm)
	}
	if _, err := base64.StdEncoding.DecodeString(p.Key); err != nil {
		return errors.New("the key is not base64")
	}
	return nil
}

func (p *Provider) algorithm() string {
	return cmp.Or(strings.ToLower(p.KeyAlgorithm), DefaultAlgorithm)
}

// AppendRecords implements [libdns.RecordAppender]. All are added or none.
func (p *Provider) AppendRecords(ctx context.Context, zone string, recs []libdns.Record) ([]libdns.Record, error) {
	rrs, err := toRRs(zone, recs)
	if err != nil {
		return nil, fmt.Errorf("adding records: %w", err)
	}
	if err := p.update(ctx, zone, func(m *dns.Msg) { m.Insert(rrs) }); err != nil {
		return nil, fmt.Errorf("adding records: %w", err)
	}
	return recs, nil
}

// SetRecords implements [libdns.RecordSetter]. All are set or none.
func (p *Provider) SetRecords(ctx context.Context, zone string, recs []libdns.Record) ([]libdns.Record, error) {
	rrs, err := toRRs(zone, recs)
	if err != nil {
		return nil, fmt.Errorf("setting records: %w", err)
	}
	if err := p.update(ctx, zone, func(m *dns.Msg) {
		m.RemoveRRset(rrs)
		m.Insert(rrs)
	}); err != nil {
		return nil, fmt.Errorf("setting records: %w", libdns.AtomicErr(err))
	}
	return recs, nil
}

// DeleteRecords implements [libdns.RecordDeleter]. A record without data stands for
// all of its name and type, one without a type for all of its name. A TTL that is
// given is not compared.
func (p *Provider) DeleteRecords(ctx context.Context, zone string, recs []libdns.Record) ([]libdns.Record, error) {
	var exact []libdns.Record
	var sets, names []dns.RR
	for _, r := range recs {
		rr := r.RR()
		header := dns.RR_Header{Name: absolute(rr.Name, zone), Class: dns.ClassINET}
		switch {
		case rr.Type == "":
			names = append(names, &dns.ANY{Hdr: header})
		case rr.Data == "":
			header.Rrtype = dns.StringToType[strings.ToUpper(rr.Type)]
			sets = append(sets, &dns.ANY{Hdr: header})
		default:
			exact = append(exact, r)
		}
	}
	rrs, err := toRRs(zone, exact)
	if err != nil {
		return nil, fmt.Errorf("deleting records: %w", err)
	}
	if err := p.update(ctx, zone, func(m *dns.Msg) {
		m.Remove(rrs)
		m.RemoveRRset(sets)
		m.RemoveName(names)
	}); err != nil {
		return nil, fmt.Errorf("deleting records: %w", err)
	}
	return recs, nil
}

// GetRecords implements [libdns.RecordGetter] by a zone transfer, which the server
// has to allow. Records of DNSSEC are left out.
func (p *Provider) GetRecords(ctx context.Context, zone string) ([]libdns.Record, error) {
	m := new(dns.Msg)
	m.SetAxfr(dns.Fqdn(zone))
	t := &dns.Transfer{DialTimeout: timeout, ReadTimeout: timeout, WriteTimeout: timeout, TsigSecret: p.sign(m)}
	envelopes, err := t.In(m, p.address())
	if err != nil {
		return nil, fmt.Errorf("transferring zone %s: %w", zone, err)
	}
	defer context.AfterFunc(ctx, func() { _ = t.Close() })()
	var recs []libdns.Record
	soa := 0
	for e := range envelopes {
		if e.Error != nil {
			return nil, fmt.Errorf("transferring zone %s: %w", zone, errors.Join(ctx.Err(), e.Error))
		}
		for _, rr := range e.RR {
			if rr.Header().Rrtype == dns.TypeSOA {
				if soa++; soa > 1 {
					continue // the end of the transfer
				}
			}
			if r, ok := fromRR(zone, rr); ok {
				recs = append(recs, r)
			}
		}
	}
	return recs, ctx.Err()
}

// update has the server apply changes, all or none.
func (p *Provider) update(ctx context.Context, zone string, fill func(*dns.Msg)) error {
	ctx, stop := context.WithTimeout(ctx, timeout)
	defer stop()
	m := new(dns.Msg)
	m.SetUpdate(dns.Fqdn(zone))
	fill(m)
	c := &dns.Client{Net: "tcp", Timeout: timeout, TsigSecret: p.sign(m)}
	answer, _, err := c.ExchangeContext(ctx, m, p.address())
	if err != nil {
		return fmt.Errorf("updating zone %s at %s: %w", zone, p.Server, err)
	}
	if answer.Rcode != dns.RcodeSuccess {
		return fmt.Errorf("updating zone %s at %s: the server answers %s", zone, p.Server, dns.RcodeToString[answer.Rcode])
	}
	return nil
}

// sign has a message signed when it is sent, and returns the secrets for that.
func (p *Provider) sign(m *dns.Msg) map[string]string {
	if p.KeyName == "" {
		return nil
	}
	name := dns.CanonicalName(p.KeyName)
	m.SetTsig(name, algorithms[p.algorithm()], fudge, time.Now().Unix())
	return map[string]string{name: p.Key}
}

func (p *Provider) address() string {
	if _, _, err := net.SplitHostPort(p.Server); err == nil {
		return p.Server
	}
	return net.JoinHostPort(strings.Trim(p.Server, "[]"), "53")
}
