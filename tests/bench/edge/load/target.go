package load

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"
)

// opTimeout bounds one operation, on a machine that has much to do.
const opTimeout = 20 * time.Second

// Target is what a load is sent to.
type Target struct {
	Addr  string         // ip:port, on loopback
	Host  string         // server name of the TLS handshake
	Roots *x509.CertPool // trusted certificates

	// Cookie is the header of that name that HTTP requests have, "" for none.
	Cookie string
}

// Result is what a load did.
type Result struct {
	Ops    float64       // operations done, or megabytes moved
	Failed int           // operations that failed, where that is counted
	Took   time.Duration // of all of it
}

// Rate returns operations per second.
func (r Result) Rate() float64 { return r.Ops / r.Took.Seconds() }

// tlsConfig asks for full TLS 1.3 handshakes with X25519, which every peer
// knows, and resumes none.
func (t Target) tlsConfig() *tls.Config {
	return &tls.Config{
		ServerName: t.Host, RootCAs: t.Roots, MinVersion: tls.VersionTLS13,
		CurvePreferences: []tls.CurveID{tls.X25519}, DynamicRecordSizingDisabled: true,
	}
}

// sources counts connections, to spread them over client addresses.
var sources atomic.Uint32

// dialer returns a dialer with one of several addresses of loopback, in turn:
// one has too few ports for the connects of a benchmark.
func dialer() *net.Dialer {
	const addresses = 16
	ip := net.IPv4(127, 0, 1, byte(1+sources.Add(1)%addresses))
	return &net.Dialer{Timeout: opTimeout, LocalAddr: &net.TCPAddr{IP: ip}}
}

// connect opens a TLS connection whose close sends a reset, so that it leaves
// no port in TIME_WAIT. A deadline of opTimeout is set.
func (t Target) connect(ctx context.Context, cfg *tls.Config) (*tls.Conn, error) {
	raw, err := dialer().DialContext(ctx, "tcp", t.Addr)
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", t.Addr, err)
	}
	_ = raw.(*net.TCPConn).SetLinger(0)
	_ = raw.SetDeadline(time.Now().Add(opTimeout))
	c := tls.Client(raw, cfg)
	if err := c.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, fmt.Errorf("shaking hands with %s at %s: %w", t.Host, t.Addr, err)
	}
	return c, nil
}

// open opens a connection and has one byte echoed, so that the upstream's side
// of it is open as well.
func (t Target) open(ctx context.Context, cfg *tls.Config) (*tls.Conn, error) {
	c, err := t.connect(ctx, cfg)
	if err != nil {
		return nil, err
	}
	b := []byte{wantEcho, 'x'}
	_, err = c.Write(b)
	if err == nil {
		_, err = io.ReadFull(c, b[:1])
	}
	if err != nil {
		reset(c)
		return nil, fmt.Errorf("having a byte echoed by %s: %w", t.Host, err)
	}
	return c, nil
}

// reset closes c without a goodbye.
func reset(c *tls.Conn) { c.NetConn().Close() }

// Try opens one connection to the target, has a byte echoed, and closes it.
func Try(ctx context.Context, t Target) error {
	c, err := t.open(ctx, t.tlsConfig())
	if err != nil {
		return err
	}
	reset(c)
	return nil
}
