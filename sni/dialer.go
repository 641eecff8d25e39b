package sni

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"github.com/tapis-project/podway/routes"
)

// DefaultDialTimeout is how long an upstream has to accept a connection.
const DefaultDialTimeout = 5 * time.Second

// maxDials bounds the upstreams that are tried for one connection.
const maxDials = 3

// ErrDenied is the error of an address that must not be dialled.
var ErrDenied = errors.New("this address is not one of a pod's network")

// DefaultUpstreams are the networks pods are reached in: the private ones.
func DefaultUpstreams() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"),
		netip.MustParsePrefix("172.16.0.0/12"),
		netip.MustParsePrefix("192.168.0.0/16"),
		netip.MustParsePrefix("100.64.0.0/10"),
		netip.MustParsePrefix("fc00::/7"),
	}
}

// neverUpstream are addresses that belong to the machine, its link or its cloud,
// even where a wider network is allowed.
var neverUpstream = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("224.0.0.0/3"), // multicast, reserved, broadcast
	netip.MustParsePrefix("::/128"),
	netip.MustParsePrefix("fe80::/10"),
	netip.MustParsePrefix("ff00::/8"),
	// Metadata services that are not link-local.
	netip.MustParsePrefix("fd00:ec2::254/128"),
	netip.MustParsePrefix("100.100.100.200/32"),
	netip.MustParsePrefix("192.0.0.192/32"),
}

// loopback addresses are allowed only to whoever asks for them by name.
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// Dialer connects to pods, and to nothing else: the address is checked when it
// is dialled, after DNS.
type Dialer struct {
	// Networks that may be dialled. Loopback is in none of them unless it is
	// listed itself; link-local and metadata addresses never are. Nil means
	// [DefaultUpstreams].
	Allow []netip.Prefix

	// How long one upstream has to accept. Default: 5s.
	Timeout time.Duration
}

// Allowed reports whether an address may be dialled.
func (d *Dialer) Allowed(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	contains := func(p netip.Prefix) bool { return p.Contains(a) }
	if slices.ContainsFunc(neverUpstream, contains) {
		return false
	}
	allow := d.Allow
	if allow == nil {
		allow = DefaultUpstreams()
	}
	for _, l := range loopback {
		if l.Contains(a) {
			return slices.ContainsFunc(allow, func(p netip.Prefix) bool {
				return p.Contains(a) && l.Contains(p.Addr()) && p.Bits() >= l.Bits()
			})
		}
	}
	return slices.ContainsFunc(allow, contains)
}

// Dial connects to one of the upstreams of e: any first, then the next ones if
// it does not accept. The error of a refused address is [ErrDenied].
func (d *Dialer) Dial(ctx context.Context, e *routes.Entry) (*net.TCPConn, error) {
	dialer := net.Dialer{
		Timeout:         d.Timeout,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second},
		ControlContext:  d.control,
	}
	if dialer.Timeout == 0 {
		dialer.Timeout = DefaultDialTimeout
	}
	n := len(e.Upstreams)
	if n == 0 {
		return nil, errors.New("dialling: the route has no upstream")
	}
	var errs []error
	first := rand.N(n) //nolint:gosec // any of them will do
	for i := range min(n, maxDials) {
		c, err := dialer.DialContext(ctx, "tcp", e.Upstreams[(first+i)%n])
		if err == nil {
			return c.(*net.TCPConn), nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(errs...)
}

// control refuses addresses after they were looked up and before they are
// connected to.
func (d *Dialer) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("reading address %q: %w", address, err)
	}
	if !d.Allowed(a.Addr()) {
		return ErrDenied
	}
	return nil
}
