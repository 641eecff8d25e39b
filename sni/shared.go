package sni

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
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

// Open opens the socket of an address. None of its connections is accepted before
// start is closed; nil: they are at once.
type Open func(ctx context.Context, addr string) (ln net.Listener, start <-chan struct{}, err error)

// socket is a listening socket and the goroutine that accepts on it.
type socket struct {
	net.Listener
	addr    string
	start   <-chan struct{} // as of [Open], never nil
	refs    int             // guarded by sockets.mu
	conns   chan net.Conn
	done    chan struct{} // closed with the last handle
	retired chan struct{} // closed by Retire
	stopped chan struct{} // closed when nothing is accepted any more
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
	return ListenWith(ctx, addr, func(ctx context.Context, addr string) (net.Listener, <-chan struct{}, error) {
		ln, err := cfg.Listen(ctx, "tcp", addr)
		return ln, nil, err
	})
}

// ListenWith is [Listen] with another way to open a socket.
func ListenWith(ctx context.Context, addr string, open Open) (*Shared, error) {
	sockets.mu.Lock()
	defer sockets.mu.Unlock()
	s := sockets.open[addr]
	if s == nil {
		ln, start, err := open(ctx, addr)
		if err != nil {
			return nil, fmt.Errorf("opening the socket: %w", err)
		}
		if start == nil {
			start = atOnce
		}
		s = &socket{
			Listener: ln, addr: addr, start: start, conns: make(chan net.Conn),
			done: make(chan struct{}), retired: make(chan struct{}), stopped: make(chan struct{}),
		}
		if _, port, _ := net.SplitHostPort(addr); port != "0" {
			sockets.open[addr] = s
		}
		go s.acceptWhenStarted()
	}
	s.refs++
	return &Shared{sock: s, closed: make(chan struct{})}, nil
}

// atOnce is closed.
var atOnce = func() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// OpenSockets returns the sockets of this process by the address they were asked
// for, to pass them on to another process.
func OpenSockets() map[string]net.Listener {
	sockets.mu.Lock()
	defer sockets.mu.Unlock()
	all := make(map[string]net.Listener, len(sockets.open))
	for addr, s := range sockets.open {
		all[addr] = s.Listener
	}
	return all
}

// Retire accepts no connection any more on the sockets of this process, and
// returns when those that were accepted are with their servers. A connection that
// waits in the kernel is left to the process that the socket was passed on to.
func Retire() {
	for _, s := range takeSockets() {
		s.retire()
		<-s.stopped
	}
}

// backlogLimit bounds how long connections are accepted ahead of a socket's end, if
// there is no end of them.
const backlogLimit = time.Second

// StopListening closes the sockets of this process: who connects is refused. Who had
// connected before is served, while [Shared.Accept] is called. Then the handles accept
// nothing any more; the next [Listen] opens a new socket.
func StopListening() {
	for _, s := range takeSockets() {
		s.empty()
		s.retire()
		<-s.stopped
		_ = s.Close()
	}
}

// takeSockets returns the open sockets, which are not shared any more.
func takeSockets() []*socket {
	sockets.mu.Lock()
	defer sockets.mu.Unlock()
	all := slices.Collect(maps.Values(sockets.open))
	clear(sockets.open)
	return all
}

// empty waits until no connection waits in the kernel: closing the socket resets those
// that do, which their clients had seen established.
func (s *socket) empty() {
	for end := time.Now().Add(backlogLimit); s.started() && waiting(s.Listener) && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
}

// started reports whether connections are accepted, as far as start goes.
func (s *socket) started() bool {
	select {
	case <-s.start:
		return true
	default:
		return false
	}
}

// retire makes accept return.
func (s *socket) retire() {
	close(s.retired)
	if l, ok := s.Listener.(interface{ SetDeadline(time.Time) error }); ok {
		_ = l.SetDeadline(time.Unix(1, 0)) // a socket that is closed accepts nothing either
	}
}

// acceptWhenStarted accepts from a moment on.
func (s *socket) acceptWhenStarted() {
	defer close(s.stopped)
	select {
	case <-s.start:
	case <-s.retired:
		return
	case <-s.done:
		return
	}
	s.accept()
}

// accept hands each connection to whichever handle asks for one.
func (s *socket) accept() {
	for {
		c, err := s.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case errors.Is(err, os.ErrDeadlineExceeded): // retired
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
