package rfc2136

import (
	"fmt"
	"strings"
	"time"

	"github.com/libdns/libdns"
	"github.com/miekg/dns"
)

// maxText is how long one string of a TXT record can be.
const maxText = 255

func absolute(name, zone string) string {
	return dns.Fqdn(libdns.AbsoluteName(name, dns.Fqdn(zone)))
}

// toRRs returns records as the DNS library has them.
func toRRs(zone string, recs []libdns.Record) ([]dns.RR, error) {
	rrs := make([]dns.RR, 0, len(recs))
	for _, r := range recs {
		rr, err := toRR(zone, r.RR())
		if err != nil {
			return nil, err
		}
		rrs = append(rrs, rr)
	}
	return rrs, nil
}

func toRR(zone string, r libdns.RR) (dns.RR, error) {
	name, ttl := absolute(r.Name, zone), uint32(r.TTL/time.Second)
	if strings.EqualFold(r.Type, "TXT") {
		return &dns.TXT{
			Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: ttl},
			Txt: toStrings(r.Data),
		}, nil
	}
	rr, err := dns.NewRR(fmt.Sprintf("%s %d IN %s %s", name, ttl, r.Type, r.Data))
	if err != nil {
		return nil, fmt.Errorf("reading record %s %s: %w", name, r.Type, err)
	}
	if rr == nil {
		return nil, fmt.Errorf("reading record %s %s: it is empty", name, r.Type)
	}
	return rr, nil
}

// toStrings cuts a text into the strings of a TXT record, escaped as the DNS
// library has them.
func toStrings(text string) []string {
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	parts := []string{}
	for len(text) > maxText {
		parts = append(parts, escape.Replace(text[:maxText]))
		text = text[maxText:]
	}
	return append(parts, escape.Replace(text))
}

// fromRR returns a record of a zone, false for those of DNSSEC.
func fromRR(zone string, rr dns.RR) (libdns.Record, bool) {
	h := rr.Header()
	switch h.Rrtype {
	case dns.TypeRRSIG, dns.TypeDNSKEY, dns.TypeNSEC, dns.TypeNSEC3, dns.TypeNSEC3PARAM, dns.TypeCDS, dns.TypeCDNSKEY, dns.TypeTSIG:
		return nil, false
	}
	r := libdns.RR{
		Name: libdns.RelativeName(h.Name, dns.Fqdn(zone)), TTL: time.Duration(h.Ttl) * time.Second, Type: dns.TypeToString[h.Rrtype],
		Data: strings.TrimPrefix(rr.String(), h.String()),
	}
	if txt, ok := rr.(*dns.TXT); ok {
		r.Data = strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(strings.Join(txt.Txt, ""))
	}
	if parsed, err := r.Parse(); err == nil {
		return parsed, true
	}
	return r, true
}
