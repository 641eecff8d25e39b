package podproxy

import (
	"context"
	"fmt"
	"hash/maphash"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni"
)

// transport is the pool of connections to pods. Configurations that may dial the
// same networks share one.
type transport struct {
	http.Transport
	key string
}

var transports = caddy.NewUsagePool()

func takeTransport(d *sni.Dialer) *transport {
	key := fmt.Sprintf("%v %v", d.Allow, d.Timeout)
	v, _, _ := transports.LoadOrNew(key, func() (caddy.Destructor, error) { return newTransport(d, key), nil })
	return v.(*transport)
}

func newTransport(d *sni.Dialer, key string) *transport {
	http1 := new(http.Protocols)
	http1.SetHTTP1(true)
	return &transport{key: key, Transport: http.Transport{
		// The address is a key of the pool, see poolKey; the route says what to dial.
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return d.Dial(ctx, requestOf(ctx).entry)
		},
		Protocols:              http1,
		DisableCompression:     true, // bodies pass as they are
		MaxIdleConnsPerHost:    512,
		IdleConnTimeout:        90 * time.Second,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 256 << 10,
	}}
}

// giveBack closes the idle connections once no configuration uses them.
func (t *transport) giveBack() error {
	_, err := transports.Delete(t.key)
	return err
}

// Destruct implements [caddy.Destructor].
func (t *transport) Destruct() error {
	t.CloseIdleConnections()
	return nil
}

var poolSeed = maphash.MakeSeed()

// poolKey returns a host name that stands for one run of a pod behind one route,
// so that an idle connection to an earlier run, or to another pod that had the
// same address before, is never used again.
func poolKey(e *routes.Entry) string {
	var h maphash.Hash
	h.SetSeed(poolSeed)
	for _, s := range []string{e.Tenant, e.Pod, e.Net, e.Instance} {
		_, _ = h.WriteString(s)
		_ = h.WriteByte(0)
	}
	for _, s := range e.Upstreams {
		_, _ = h.WriteString(s)
		_ = h.WriteByte(0)
	}
	return strconv.FormatUint(h.Sum64(), 36) + "." + e.Host
}
