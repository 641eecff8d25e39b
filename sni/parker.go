package sni

import (
	"net"
	"syscall"
	"time"
)

// DefaultParkAfter is after how long without bytes a direction of a session is
// parked. It takes up to twice as long.
const DefaultParkAfter = 2 * time.Second

// await makes reads of src end after a while, so that its pump can be parked.
func (k *Parker) await(src net.Conn) {
	if k != nil {
		_ = src.SetReadDeadline(time.Now().Add(k.after)) // a closed connection fails the read
	}
}

// socketOf returns the socket below a connection, nil if there is none.
func socketOf(c net.Conn) syscall.RawConn {
	if t, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = t.NetConn()
	}
	s, ok := c.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}
