package h1

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// bufferSize is what a connection buffers of its input. Larger reads bypass it.
const bufferSize = 4 << 10

// maxScratch is the largest memory for heads that a connection keeps.
const maxScratch = 16 << 10

// Waiter is told that a connection is about to wait for its server.
type Waiter interface {
	// BeforeWait is the moment to send on what was read so far. It must not read
	// from or close the connection.
	BeforeWait()
}

// Conn is a connection to a server. One goroutine may read while another writes;
// Abort may be called at any time.
type Conn struct {
	raw *net.TCPConn
	sys syscall.RawConn
	br  *bufio.Reader

	// What a read in progress works on. The functions are made once: a closure
	// per read would be the largest cost of a small one.
	waiter   Waiter
	readInto []byte
	readN    int
	readErr  error
	waited   bool
	tryRead  func(fd uintptr) bool
	tryPeek  func(fd uintptr) bool

	head   []byte // of the response that is being read
	fields []Field
	body   body
	closes bool // it must not be used for another request
	ended  atomic.Bool
	reused bool
	since  time.Time // idle since then
}

// NewConn returns the client's end of raw. It owns raw from then on.
func NewConn(raw *net.TCPConn) (*Conn, error) {
	sys, err := raw.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("taking up connection: %w", err)
	}
	c := &Conn{raw: raw, sys: sys}
	c.br = bufio.NewReaderSize((*source)(c), bufferSize)
	c.tryRead, c.tryPeek = c.readNow, c.peekNow
	return c, nil
}

// Notify makes w the one that is told before the connection waits, nil for none.
func (c *Conn) Notify(w Waiter) { c.waiter = w }

// Reused reports whether an earlier request used the connection too: its server
// may have closed it without knowing of this one.
func (c *Conn) Reused() bool { return c.reused }

// Scratch returns empty memory for the head of a request.
func (c *Conn) Scratch() []byte { return c.head[:0] }

// WriteHead sends a head, and whatever else is in b, that was made in the memory
// of Scratch. It returns how many bytes may have reached the server.
func (c *Conn) WriteHead(b []byte) (int, error) {
	c.head = b[:0]
	return c.raw.Write(b)
}

// Write sends bytes as they are.
func (c *Conn) Write(b []byte) (int, error) { return c.raw.Write(b) }

// CloseWrite tells the server that nothing more is sent.
func (c *Conn) CloseWrite() error { return c.raw.CloseWrite() }

// Read reads bytes as they are, of a connection that was upgraded.
func (c *Conn) Read(b []byte) (int, error) { return c.br.Read(b) }

// LocalAddr returns the client's own address.
func (c *Conn) LocalAddr() net.Addr { return c.raw.LocalAddr() }

// RemoteAddr returns the server's address.
func (c *Conn) RemoteAddr() net.Addr { return c.raw.RemoteAddr() }

// SetReadDeadline sets until when reads may wait, zero for ever.
func (c *Conn) SetReadDeadline(t time.Time) {
	_ = c.raw.SetReadDeadline(t)
	if c.ended.Load() {
		_ = c.raw.SetReadDeadline(past) // Abort was first, and is for good
	}
}

// past is a deadline that is over.
var past = time.Unix(1, 0)

// Abort ends what waits for the connection, now and later.
func (c *Conn) Abort() {
	c.ended.Store(true)
	_ = c.raw.SetDeadline(past)
}

// Close closes the connection.
func (c *Conn) Close() { _ = c.raw.Close() }

// Spoil keeps the connection from being used for another request.
func (c *Conn) Spoil() { c.closes = true }

// idle reports whether the connection is between two requests for certain: no
// byte is left of the last response, and none came since.
func (c *Conn) idle() bool {
	if c.closes || c.ended.Load() || !c.body.done || c.br.Buffered() > 0 {
		return false
	}
	c.readErr = nil
	if err := c.sys.Read(c.tryPeek); err != nil {
		return false
	}
	return errors.Is(c.readErr, syscall.EAGAIN)
}

func (c *Conn) peekNow(fd uintptr) bool {
	var b [1]byte
	if _, c.readErr = syscall.Read(int(fd), b[:]); errors.Is(c.readErr, syscall.EINTR) {
		_, c.readErr = syscall.Read(int(fd), b[:])
	}
	return true
}

// source is the input of a connection below its buffer.
type source Conn

// Read reads what is there. Only if nothing is, it tells the waiter and waits.
func (s *source) Read(p []byte) (int, error) {
	c := (*Conn)(s)
	c.readInto, c.readN, c.readErr, c.waited = p, 0, nil, false
	err := c.sys.Read(c.tryRead)
	c.readInto = nil
	switch {
	case err != nil:
		return 0, err
	case c.readErr != nil:
		return 0, &net.OpError{Op: "read", Net: "tcp", Source: c.raw.LocalAddr(), Addr: c.raw.RemoteAddr(), Err: c.readErr}
	case c.readN == 0 && len(p) > 0:
		return 0, io.EOF
	default:
		return c.readN, nil
	}
}

// readNow reads without waiting. It reports false to be called again when there
// is something to read.
func (c *Conn) readNow(fd uintptr) bool {
	for {
		n, err := syscall.Read(int(fd), c.readInto)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case !errors.Is(err, syscall.EAGAIN):
			c.readN, c.readErr = max(n, 0), err
			return true
		}
		if c.waiter != nil && !c.waited {
			c.waited = true
			c.waiter.BeforeWait()
		}
		return false
	}
}
