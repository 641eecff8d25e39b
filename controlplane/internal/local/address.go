package local

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// addressTries bounds how many addresses are tried for a pod: ports that are
// taken on so many are taken on all.
const addressTries = 64

// addresses gives pods their addresses and ports.
type addresses struct {
	prefix netip.Prefix // IPv4
	seed   string       // of a state folder, so that two systems on one machine seldom meet
}

// shared reports whether there is but one address, so that pods can't have the
// ports they want.
func (a addresses) shared() bool { return a.prefix.IsSingleIP() }

// nth returns an address of the prefix; n may be larger than that.
func (a addresses) nth(n uint32) netip.Addr {
	b := a.prefix.Masked().Addr().As4()
	host := n % (uint32(1) << (32 - a.prefix.Bits()))
	return netip.AddrFrom4([4]byte{b[0] | byte(host>>24), b[1] | byte(host>>16), b[2] | byte(host>>8), b[3] | byte(host)})
}

// choose returns an address on which a pod can have its ports, and the number
// to listen on for each networking key. It keeps the address the pod had, if
// that is still good, and gives none that is in use. The error is Invalid if the
// owner can solve the problem with another port.
func (a addresses) choose(ctx context.Context, k pods.Key, had netip.Addr, used map[netip.Addr]bool, ports map[string]pods.Port) (netip.Addr, map[string]int, error) {
	if a.shared() {
		numbers, err := freePorts(ctx, a.prefix.Addr(), ports)
		return a.prefix.Addr(), numbers, err
	}
	err := error(nil)
	for _, ip := range a.candidates(k, had, used) {
		if err = portsFree(ctx, ip, ports); err == nil {
			numbers := map[string]int{}
			for key, p := range ports {
				numbers[key] = p.Number
			}
			return ip, numbers, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	if err == nil {
		err = fmt.Errorf("no address of %v is free", a.prefix)
	}
	return netip.Addr{}, nil, err
}

// candidates returns the addresses to try for a pod, best first.
func (a addresses) candidates(k pods.Key, had netip.Addr, used map[netip.Addr]bool) []netip.Addr {
	var list []netip.Addr
	if had.IsValid() && a.prefix.Contains(had) {
		list = append(list, had)
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(a.seed + "\x00" + k.String()))
	for n := range uint32(1) << (32 - a.prefix.Bits()) {
		ip := a.nth(h.Sum32() + n)
		if last := ip.As4()[3]; last == 0 || last == 255 || used[ip] || ip == had {
			continue // some programs take an address that ends in 0 or 255 for a network
		}
		if list = append(list, ip); len(list) == addressTries {
			break
		}
	}
	return list
}

// portsFree checks that a program can listen on all ports of an address. It
// wraps the system's error.
func portsFree(ctx context.Context, ip netip.Addr, ports map[string]pods.Port) error {
	checked := map[int]bool{}
	for _, key := range slices.Sorted(maps.Keys(ports)) {
		number := ports[key].Number
		if checked[number] {
			continue // two entries may share a port
		}
		checked[number] = true
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", netip.AddrPortFrom(ip, uint16(number)).String())
		if err != nil {
			return portError(key, number, err)
		}
		l.Close()
	}
	return nil
}

// portError says what to do about a port that can't be used.
func portError(key string, number int, err error) error {
	var hint string
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		hint = "another program on this machine has it"
	case errors.Is(err, syscall.EACCES):
		hint = "it needs root on this machine"
	default:
		return fmt.Errorf("trying port %d: %w", number, err)
	}
	e := pods.Errorf(pods.Invalid, "networking.%s.port: the local cluster can't use port %d: %s. Use another port", key, number, hint)
	e.Cause = err
	return e
}

// freePorts maps each port number to one that is free on an address.
func freePorts(ctx context.Context, ip netip.Addr, ports map[string]pods.Port) (map[string]int, error) {
	free := map[int]int{}
	numbers := map[string]int{}
	for key, p := range ports {
		if free[p.Number] == 0 {
			l, err := new(net.ListenConfig).Listen(ctx, "tcp", netip.AddrPortFrom(ip, 0).String())
			if err != nil {
				return nil, fmt.Errorf("finding a free port: %w", err)
			}
			defer l.Close() // after all are found, so that none is found twice
			free[p.Number] = l.Addr().(*net.TCPAddr).Port
		}
		numbers[key] = free[p.Number]
	}
	return numbers, nil
}
