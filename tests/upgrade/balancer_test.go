package upgrade

import (
	"context"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// balancer spreads TCP connections over the replicas of a part, as Kubernetes' Services
// and balancers in front of edges do: in turns, and to the next one if a connection is
// refused. Replicas are taken out before they are stopped.
type balancer struct {
	addr string // 127.0.0.1:port
	many bool   // comes from many addresses, as clients do that have limits each

	ln   net.Listener
	turn atomic.Uint32
	wg   sync.WaitGroup

	choosing sync.RWMutex // read while one of replicas is connected to
	replicas []string

	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

// balance starts a balancer, which ends with the test.
func balance(t *testing.T, replicas ...string) *balancer {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &balancer{addr: ln.Addr().String(), many: true, ln: ln, replicas: replicas, conns: map[net.Conn]struct{}{}}
	b.wg.Go(b.accept)
	t.Cleanup(b.close)
	return b
}

// set says which replicas there are. No other is connected to once it has returned.
func (b *balancer) set(replicas ...string) {
	b.choosing.Lock()
	defer b.choosing.Unlock()
	b.replicas = replicas
}

func (b *balancer) accept() {
	for {
		c, err := b.ln.Accept()
		if err != nil {
			return
		}
		b.wg.Go(func() { b.lead(c) })
	}
}

func (b *balancer) close() {
	b.ln.Close()
	b.mu.Lock()
	for c := range b.conns {
		c.Close()
	}
	b.mu.Unlock()
	b.wg.Wait()
}

func (b *balancer) lead(down net.Conn) {
	defer b.keep(down)()
	up := b.dial()
	if up == nil {
		return
	}
	defer b.keep(up)()
	var both sync.WaitGroup
	both.Go(func() { copyHalf(up, down) })
	both.Go(func() { copyHalf(down, up) })
	both.Wait()
}

// keep notes a connection for close, and returns what closes it.
func (b *balancer) keep(c net.Conn) (end func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.conns[c] = struct{}{}
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.conns, c)
		c.Close()
	}
}

// dial connects to the next replica that takes connections, nil if none does.
func (b *balancer) dial() net.Conn {
	b.choosing.RLock()
	defer b.choosing.RUnlock()
	n := b.turn.Add(1)
	d := net.Dialer{Timeout: 5 * time.Second}
	if b.many {
		d.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 9, byte(n/250%250), byte(1+n%250))}
	}
	for i := range b.replicas {
		if c, err := d.DialContext(context.Background(), "tcp", b.replicas[(int(n)+i)%len(b.replicas)]); err == nil {
			return c
		}
	}
	return nil
}

// copyHalf copies one direction, and passes its end on.
func copyHalf(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	_ = to.(*net.TCPConn).CloseWrite()
}

func local(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
