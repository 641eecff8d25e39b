package sni

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Shared is a handle on a listening socket that several owners share. While a
// configuration is replaced, the old and the new server hold one handle each;
// a connection goes to one of them, and closing a handle loses none that is
// waiting to be accepted. The socket closes with its last handle.
type Shared struct {
	sock   *socket
	closed chan struct{}
	once   sync.Once
}

// socket is a listening socket and the goroutine that accepts on it.
type socket struct {
	net.Listener
	addr  string
	refs  int // guarded by sockets.mu
	conns chan net.Conn
	done  chan struct{}
}

// sockets holds the open sockets of this process by the address they were asked
// for.
var sockets = struct {
	mu   sync.Mutex
	open map[string]*socket
}{open: map[string]*socket{}}

// Listen returns a handle on the TCP socket that listens on addr, opening it
// with cfg if there is none. Port 0 is never shared: it opens a new socket each
// time.
func Listen(ctx context.Context, addr string, cfg net.ListenConfig) (*Shared, error) {
	sockets.mu.Lock()
	defer sockets.mu.Unlock()
	s := sockets.open[addr]
	if s == nil {
		ln, err := cfg.Listen(ctx, "tcp", addr)
		if err != nil {
			return nil, fmt.Errorf("opening the socket: %w", err)
		}
		s = &socket{Listener: ln, addr: addr, conns: make(chan net.Conn), done: make(chan struct{})}
		if _, port, _ := net.SplitHostPort(addr); port != "0" {
			sockets.open[addr] = s
		}
		go s.accept()
	}
	s.refs++
	return &Shared{sock: s, closed: make(chan struct{})}, nil
}

// accept hands each connection to whichever handle asks for one.
func (s *socket) accept() {
	for {
		c, err := s.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			// Out of file descriptors, most likely: connections end all the time,
			// so it passes.
			time.Sleep(5 * time.Millisecond)
			continue
		}
		select {
		case s.conns <- c:
		case <-s.done:
			c.Close()
			return
		}
	}
}

// Accept waits for the next connection. It returns [net.ErrClosed] once the
// handle is closed.
func (l *Shared) Accept() (net.Conn, error) {
	select {
	case <-l.closed: // a closed handle takes none, even if one is waiting
		return nil, l.errClosed()
	default:
	}
	select {
	case c := <-l.sock.conns:
		return c, nil
	case <-l.closed:
		return nil, l.errClosed()
	}
}

func (l *Shared) errClosed() error {
	return &net.OpError{Op: "accept", Net: "tcp", Addr: l.Addr(), Err: net.ErrClosed}
}

// Addr returns the address of the socket.
func (l *Shared) Addr() net.Addr { return l.sock.Addr() }

// Close gives the handle back. It may be called more than once.
func (l *Shared) Close() error {
	var err error
	l.once.Do(func() {
		close(l.closed)
		sockets.mu.Lock()
		defer sockets.mu.Unlock()
		s := l.sock
		if s.refs--; s.refs > 0 {
			return
		}
		if sockets.open[s.addr] == s {
			delete(sockets.open, s.addr)
		}
		close(s.done)
		err = s.Close()
	})
	return err
}
