package diagnose

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// The faults that [Host] finds.
const (
	FaultDNS                  = "dns"                   // the name has no address
	FaultPort                 = "port"                  // nothing accepts connections there
	FaultNoTLS                = "no_tls"                // what accepts them is no TLS server
	FaultUnknownName          = "unknown_name"          // the edge has no route for the name
	FaultCertificateExpired   = "certificate_expired"   // or is not valid yet
	FaultCertificateName      = "certificate_name"      // it is for other names
	FaultCertificateUntrusted = "certificate_untrusted" // its authority is not known here
	FaultCertificateAge       = "certificate_age"       // it expires soon: it is not renewed
	FaultTLS                  = "tls"                   // the handshake failed otherwise
	FaultGreeting             = "greeting"              // the pod does not answer in its protocol
)

const (
	// stepTimeout bounds each step on the way to a host.
	stepTimeout = 10 * time.Second

	// renewBefore is the rest of its life at which a certificate must have been
	// renewed: authorities' certificates are renewed when a third is left.
	renewBefore = 7 * 24 * time.Hour
)

// Target is a host to examine.
type Target struct {
	// Host is the name that clients use. Required.
	Host string

	// Port of the edge. Default: 443.
	Port int

	// Address is where the edge is, a name or an IP address. Default: what the name
	// service says of Host. Names below .localhost are this machine.
	Address string

	// Protocol that the pod speaks: http, postgres, bolt, mongodb, redis, or tcp for
	// any other. Default: tcp.
	Protocol string

	// Roots to trust. Default: the system's.
	Roots *x509.CertPool

	// Now is the time by which certificates are judged. Default: [time.Now].
	Now func() time.Time
}

// LoadRoots reads a file of certificates to trust, in PEM. An empty name stands for
// the system's, nil.
func LoadRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil //nolint:nilnil // what crypto/tls takes for the system's
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading root certificates: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("reading root certificates: %s has none", file)
	}
	return pool, nil
}

// Host examines the way of a client to a host, up to the first fault: its address,
// the port, the handshake with its server name and certificate, and the greeting of
// the protocol.
func Host(ctx context.Context, t Target) []Finding {
	t.Port = cmp.Or(t.Port, 443)
	if t.Now == nil {
		t.Now = time.Now
	}
	addr, f := t.resolve(ctx)
	all := []Finding{f}
	if f.Fault != "" {
		return all
	}
	f = t.connect(ctx, addr)
	if all = append(all, f); f.Fault != "" {
		return all
	}
	conn, f := t.handshake(ctx, addr)
	if all = append(all, f); f.Fault != "" {
		return all
	}
	defer conn.Close()
	if f = t.age(conn); f.Fault != "" {
		all = append(all, f) // it still works
	}
	return append(all, t.greeting(ctx, conn))
}

func (t Target) fault(check, fault, found, remedy string) Finding {
	return Finding{Check: check, Subject: t.Host, Fault: fault, Found: found, Remedy: remedy}
}

// resolve returns an address of the edge.
func (t Target) resolve(ctx context.Context) (string, Finding) {
	port := strconv.Itoa(t.Port)
	name := cmp.Or(t.Address, t.Host)
	if strings.HasSuffix(name, ".localhost") || name == "localhost" {
		return net.JoinHostPort("127.0.0.1", port), OK("dns", t.Host, "is this machine, 127.0.0.1")
	}
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupHost(ctx, name)
	if err != nil {
		return "", t.fault("dns", FaultDNS, why(err),
			"add an A, AAAA or CNAME record that leads to the edges, usually one wildcard such as *.pods.example.org; then ask again when the negative answer has expired")
	}
	return net.JoinHostPort(addrs[0], port), OK("dns", t.Host, "has the address "+strings.Join(addrs, ", "))
}

// connect finds out whether anything listens.
func (t Target) connect(ctx context.Context, addr string) Finding {
	conn, err := t.dial(ctx, addr)
	if err != nil {
		return t.fault("port", FaultPort, why(err),
			fmt.Sprintf("start an edge there, or let firewalls and the balancer pass TCP to port %d; `podway admin edges` lists the edges that run", t.Port))
	}
	_ = conn.Close() // it was to be opened, nothing else
	return OK("port", t.Host, addr+" accepts connections")
}

func (t Target) dial(ctx context.Context, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: stepTimeout}
	return d.DialContext(ctx, "tcp", addr)
}

// protocols are those that a client of this kind offers by ALPN.
func (t Target) protocols() []string {
	switch t.Protocol {
	case "http":
		return []string{"http/1.1"}
	case "postgres":
		return []string{"postgresql"}
	}
	return nil
}

// handshake opens a TLS connection. Its caller closes it.
func (t Target) handshake(ctx context.Context, addr string) (*tls.Conn, Finding) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	raw, err := t.dial(ctx, addr)
	if err != nil {
		return nil, t.fault("port", FaultPort, why(err), "it accepted a connection a moment ago: is the edge restarting, or are there several, and one is down?")
	}
	conn := tls.Client(raw, &tls.Config{ServerName: t.Host, RootCAs: t.Roots, Time: t.Now, NextProtos: t.protocols(), MinVersion: tls.VersionTLS12})
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, t.handshakeFault(err)
	}
	cert := conn.ConnectionState().PeerCertificates[0]
	return conn, OK("certificate", t.Host, fmt.Sprintf("is good until %s, issued by %q", cert.NotAfter.UTC().Format(time.DateOnly), cert.Issuer.CommonName))
}

// unrecognizedName ends the error of crypto/tls for the alert 112, which has no type
// that could be told.
const unrecognizedName = "tls: unrecognized name"

func (t Target) handshakeFault(err error) Finding {
	if f, ok := t.certificateFault(err); ok {
		return f
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return t.fault("tls", FaultNoTLS, why(err), fmt.Sprintf("something else than an edge listens on port %d: find it with `ss -ltnp`, or correct the port", t.Port))
	}
	if strings.HasSuffix(err.Error(), unrecognizedName) {
		return t.unknownName("the edge has no route for this name, or no certificate")
	}
	return t.fault("tls", FaultTLS, why(err), "look into the log of the edge; if it says nothing, something on the way cuts the connection")
}

func (t Target) unknownName(found string) Finding {
	return t.fault("server name", FaultUnknownName, found,
		"check the name; start the pod; look for a certificate of its domain in `podway admin edges`; compare `podway admin routes` with what the edge has (`podway admin routes --edge NAME`)")
}

func (t Target) certificateFault(err error) (Finding, bool) {
	renew := "look into the log of the edge for what keeps it from renewing the certificate, and at `podway admin edges`"
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return t.fault("certificate", FaultCertificateName, why(err), "add the name, or a wildcard for it, to `certificates` in the edge's Caddyfile"), true
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return t.fault("certificate", FaultCertificateUntrusted, why(err), "give clients the root certificate of its authority (here: --ca FILE), or get certificates from a public one"), true
	}
	invalid, ok := errors.AsType[x509.CertificateInvalidError](err)
	switch {
	case !ok:
		return Finding{}, false
	case invalid.Reason == x509.Expired:
		return t.fault("certificate", FaultCertificateExpired, why(err), renew+"; if it is good, the clock of this machine is wrong"), true
	}
	return t.fault("certificate", FaultCertificateUntrusted, why(err), "have it issued again by an authority that clients trust"), true
}

// age finds a certificate that should have been renewed. Those that live for hours
// are judged by their own life.
func (t Target) age(conn *tls.Conn) Finding {
	cert := conn.ConnectionState().PeerCertificates[0]
	left, life := cert.NotAfter.Sub(t.Now()), cert.NotAfter.Sub(cert.NotBefore)
	if left >= min(renewBefore, life/10) {
		return Finding{}
	}
	return t.fault("certificate", FaultCertificateAge, fmt.Sprintf("expires in %v", left.Round(time.Minute)),
		"it should have been renewed: look into the log of the edge for errors of the certificate authority")
}

// why is an error without the addresses that its packages put before it.
func why(err error) string {
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		if e.IsNotFound {
			return "no such name"
		}
		return e.Err
	}
	return strings.TrimPrefix(err.Error(), "remote error: ")
}
