//go:build unix

package sni

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// waiting reports whether a connection waits in the kernel to be accepted.
func waiting(ln net.Listener) (yes bool) {
	l, ok := ln.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := l.SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Control(func(fd uintptr) {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		yes = err == nil && n > 0
	})
	return yes // not called if it is closed
}
