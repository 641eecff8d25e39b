package sni

import (
	"net"
	"slices"
	"sync"
)

// Hub passes connections whose handshake is done to the HTTP server that started
// last. While a configuration is replaced there are two, and:
//
//   - the old [Demux] may be in the middle of handshakes when its server stops;
//     their connections go to the new one;
//   - an [net/http.Server] that shuts down drops connections whose first request
//     it has not read, so the old one gets no more of them as soon as there is a
//     new one.
//
// One hub serves all listeners on one address. The zero value is ready.
type Hub struct {
	mu      sync.Mutex
	outlets []*outlet     // oldest first
	changed chan struct{} // closed when outlets change; nil if nobody waits
}

// outlet is where one HTTP server accepts.
type outlet struct {
	conns   chan net.Conn
	closed  chan struct{}
	started bool // guarded by Hub.mu
}

// join adds a listener, which gets nothing before start.
func (h *Hub) join() *outlet {
	h.mu.Lock()
	defer h.mu.Unlock()
	o := &outlet{conns: make(chan net.Conn), closed: make(chan struct{})}
	h.outlets = append(h.outlets, o)
	h.change()
	return o
}

// start lets a listener get connections, and the older ones no more.
func (h *Hub) start(o *outlet) {
	h.mu.Lock()
	defer h.mu.Unlock()
	o.started = true
	h.change()
}

// leave removes a listener.
func (h *Hub) leave(o *outlet) {
	h.mu.Lock()
	defer h.mu.Unlock()
	close(o.closed)
	h.outlets = slices.DeleteFunc(h.outlets, func(p *outlet) bool { return p == o })
	h.change()
}

func (h *Hub) change() {
	if h.changed != nil {
		close(h.changed)
		h.changed = nil
	}
}

// newest returns where the outlet to use takes connections, nil if none has
// started, and a channel that is closed when that is not so any more. It reports
// false if there is no outlet at all.
func (h *Hub) newest() (conns chan<- net.Conn, changed <-chan struct{}, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.changed == nil {
		h.changed = make(chan struct{})
	}
	for _, o := range slices.Backward(h.outlets) {
		if o.started {
			return o.conns, h.changed, true
		}
	}
	return nil, h.changed, len(h.outlets) > 0
}

// deliver gives a connection to the newest listener, or closes it if there is
// none.
func (h *Hub) deliver(c net.Conn) {
	for {
		conns, changed, ok := h.newest()
		if !ok {
			c.Close()
			return
		}
		select {
		case conns <- c:
			return
		case <-changed:
		}
	}
}
