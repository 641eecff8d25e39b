package handover

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
)

// firstDescriptor is the first file descriptor of systemd's sockets: see
// sd_listen_fds(3).
const firstDescriptor = 3

// Activated returns the socket that systemd has opened for an address, nil if there
// is none. An address without a host is one of all hosts. Each is returned once.
//
// Without systemd's variables LISTEN_PID and LISTEN_FDS, or if they are for another
// process, there is none.
func Activated(addr string) (net.Listener, error) {
	return activated(addr, os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"))
}

// taken says which of systemd's descriptors were returned.
var taken = struct {
	mu sync.Mutex
	by map[int]bool
}{by: map[int]bool{}}

func activated(addr, pid, count string) (net.Listener, error) {
	n, err := strconv.Atoi(count)
	if err != nil || pid != strconv.Itoa(os.Getpid()) {
		return nil, nil //nolint:nilnil // documented: there is none
	}
	want, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("looking for a socket of systemd: %w", err)
	}
	taken.mu.Lock()
	defer taken.mu.Unlock()
	for fd := firstDescriptor; fd < firstDescriptor+min(n, maxSockets); fd++ {
		if taken.by[fd] {
			continue
		}
		ln, err := listenerOf(fd)
		if err != nil {
			continue // a socket of another kind
		}
		if got, ok := ln.Addr().(*net.TCPAddr); ok && same(got, want) {
			taken.by[fd] = true
			return ln, nil
		}
		_ = ln.Close()
	}
	return nil, nil //nolint:nilnil // documented: there is none
}

// listenerOf returns a listener with a descriptor of its own.
func listenerOf(fd int) (net.Listener, error) {
	own, err := syscall.Dup(fd)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(own), "listener")
	defer f.Close()
	return net.FileListener(f)
}

func same(a, b *net.TCPAddr) bool {
	all := func(ip net.IP) bool { return len(ip) == 0 || ip.IsUnspecified() }
	return a.Port == b.Port && (a.IP.Equal(b.IP) || all(a.IP) && all(b.IP))
}
