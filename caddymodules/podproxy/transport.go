package podproxy

import (
	"context"
	"fmt"
	"hash/maphash"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/pires/go-proxyproto"

	"github.com/tapis-project/podway/caddymodules/podproxy/internal/h1"
	"github.com/tapis-project/podway/sni"
)

// upstreams are the connections to pods. Configurations that may dial the same
// networks share them.
type upstreams struct {
	key    string
	dialer *sni.Dialer
	pool   h1.Pool[poolKey]
	http2  http.Transport // for gRPC
}

var shared = caddy.NewUsagePool()

func takeUpstreams(d *sni.Dialer) *upstreams {
	key := fmt.Sprintf("%v %v", d.Allow, d.Timeout)
	v, _, _ := shared.LoadOrNew(key, func() (caddy.Destructor, error) { return newUpstreams(d, key), nil })
	return v.(*upstreams)
}

func newUpstreams(d *sni.Dialer, key string) *upstreams {
	u := &upstreams{
		key: key, dialer: d,
		pool: h1.Pool[poolKey]{IdleTimeout: idleTimeout, MaxPerKey: maxIdlePerPod, Max: maxIdle},
	}
	cleartext := new(http.Protocols)
	cleartext.SetUnencryptedHTTP2(true)
	u.http2 = http.Transport{
		// The address is a key of the pool, see poolName; the route says what to dial.
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return u.dial(ctx, exchangeOf(ctx))
		},
		Protocols:              cleartext,
		DisableCompression:     true, // bodies pass as they are
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: 256 << 10,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 30 * time.Second},
	}
	return u
}

// dial connects to a pod, and tells it the client's address if it wants that.
func (u *upstreams) dial(ctx context.Context, x *exchange) (*net.TCPConn, error) {
	c, err := u.dialer.Dial(ctx, x.entry)
	if err != nil || x.entry.ProxyProtocol == 0 {
		return c, err
	}
	if err := writeProxyHeader(c, x.entry.ProxyProtocol, x.client, serverOf(x.r)); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// writeProxyHeader tells a pod who the client is, ahead of everything else.
func writeProxyHeader(c *net.TCPConn, version int, client, server netip.AddrPort) error {
	h := proxyproto.HeaderProxyFromAddrs(byte(version), net.TCPAddrFromAddrPort(client), net.TCPAddrFromAddrPort(server))
	if _, err := h.WriteTo(c); err != nil {
		return fmt.Errorf("sending PROXY header: %w", err)
	}
	return nil
}

// giveBack closes the idle connections once no configuration uses them.
func (u *upstreams) giveBack() error {
	_, err := shared.Delete(u.key)
	return err
}

// Destruct implements [caddy.Destructor].
func (u *upstreams) Destruct() error {
	u.pool.Close()
	u.http2.CloseIdleConnections()
	return nil
}

var poolSeed = maphash.MakeSeed()

// poolName returns a host name that stands for a key where a URL is needed.
func poolName(key poolKey) string {
	return strconv.FormatUint(maphash.Comparable(poolSeed, key), 36) + "." + key.host
}

// serverOf returns the address the client connected to, as far as it is known.
func serverOf(r *http.Request) netip.AddrPort {
	a, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return netip.AddrPort{}
	}
	return addrOf(a.String())
}

// addrOf returns an address of net/http; zero is allowed nowhere but everywhere.
func addrOf(s string) netip.AddrPort {
	a, _ := netip.ParseAddrPort(s)
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// exchangeKey is the key of an *exchange in contexts, where only those travel.
type exchangeKey struct{}

func exchangeOf(ctx context.Context) *exchange { return ctx.Value(exchangeKey{}).(*exchange) }
