package parts

import (
	"context"
	"net"
	"sync"
	"testing"
)

// Proxy passes TCP connections on, and can do to them what networks do.
type Proxy struct {
	Addr string // 127.0.0.1:port

	target string
	ln     net.Listener
	wg     sync.WaitGroup

	mu    sync.Mutex
	ended bool
	conns map[*net.TCPConn]struct{}
	held  chan struct{} // closed while bytes flow
}

// StartProxy starts a proxy for a server.
func StartProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Addr: ln.Addr().String(), target: target, ln: ln, conns: map[*net.TCPConn]struct{}{}, held: make(chan struct{})}
	close(p.held)
	p.wg.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// Reset resets the connections that are open.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.SetLinger(0)
		c.Close()
	}
}

// Hold keeps back all bytes, of new connections too, until Release. Nobody is
// told: that is what a broken network looks like.
func (p *Proxy) Hold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = make(chan struct{})
}

// Release ends Hold.
func (p *Proxy) Release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.held:
	default:
		close(p.held)
	}
}

func (p *Proxy) close() {
	p.ln.Close()
	p.Release()
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	p.Reset()
	p.wg.Wait()
}

func (p *Proxy) accept() {
	for {
		c, err := p.ln.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.pass(c.(*net.TCPConn)) })
	}
}

func (p *Proxy) pass(down *net.TCPConn) {
	defer p.forget(down)
	if !p.keep(down) {
		return
	}
	c, err := new(net.Dialer).DialContext(context.Background(), "tcp", p.target)
	if err != nil {
		return
	}
	up := c.(*net.TCPConn)
	defer p.forget(up)
	if !p.keep(up) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { p.copy(up, down) })
	both.Go(func() { p.copy(down, up) })
	both.Wait()
}

// keep notes a connection for Reset. It reports false when the proxy ends.
func (p *Proxy) keep(c *net.TCPConn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[c] = struct{}{}
	return !p.ended
}

func (p *Proxy) forget(c *net.TCPConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
	c.Close()
}

// copy passes bytes on while they are not held, and ends both sides at the end.
func (p *Proxy) copy(to, from *net.TCPConn) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		p.flowing()
		if _, werr := to.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}

// flowing waits for the end of Hold.
func (p *Proxy) flowing() {
	p.mu.Lock()
	held := p.held
	p.mu.Unlock()
	<-held
}
