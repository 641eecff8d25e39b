//go:build linux

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const (
	// defaultNet is the start of all addresses of the cluster.
	defaultNet = "10.203"
	// cable is the machine's end of the virtual cable to the node.
	cable = "podway0"
	// nodeName is the node's name in Kubernetes.
	nodeName = "podway"
	// cgroup is the control group of all pods, in each hierarchy.
	cgroup = "podway-cluster"
)

// cluster is one cluster and where it lives.
type cluster struct {
	dir string // absolute
	net network
}

// network are the addresses of a cluster.
type network struct {
	prefix string // "10.203"

	host, node netip.Addr // ends of the cable
	link       netip.Prefix
	all        netip.Prefix
	pods       netip.Prefix
	services   netip.Prefix
	apiService netip.Addr // of the service "kubernetes"
}

func newCluster(dir, net string) (*cluster, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("finding the cluster's folder: %w", err)
	}
	n, err := newNetwork(net)
	return &cluster{dir: abs, net: n}, err
}

func newNetwork(prefix string) (n network, err error) {
	all, err := netip.ParsePrefix(prefix + ".0.0/16")
	if err != nil || !all.Addr().IsPrivate() {
		return n, fmt.Errorf("reading -net: got %q, want the first two numbers of private addresses, like %q", prefix, defaultNet)
	}
	return network{
		prefix:     prefix,
		all:        all,
		host:       netip.MustParseAddr(prefix + ".0.1"),
		node:       netip.MustParseAddr(prefix + ".0.2"),
		link:       netip.MustParsePrefix(prefix + ".0.0/30"),
		pods:       netip.MustParsePrefix(prefix + ".64.0/18"),
		services:   netip.MustParsePrefix(prefix + ".128.0/17"),
		apiService: netip.MustParseAddr(prefix + ".128.1"),
	}, nil
}

// api returns the address of the API server.
func (n network) api() string { return "https://" + netip.AddrPortFrom(n.node, apiPort).String() }

const apiPort = 6443

// What is where below the cluster's folder.
func (c *cluster) bin(name string) string { return filepath.Join(c.dir, "bin", name) }
func (c *cluster) images() string         { return filepath.Join(c.dir, "images") }
func (c *cluster) packages() string       { return filepath.Join(c.dir, "debs") }
func (c *cluster) nodeTar() string        { return filepath.Join(c.dir, "node.tar") }
func (c *cluster) kubeconfig() string     { return filepath.Join(c.dir, "kubeconfig") }
func (c *cluster) lockFile() string       { return filepath.Join(c.dir, "lock") }

// state is the folder that a running cluster writes to, and all that is deleted
// with it.
func (c *cluster) state() string   { return filepath.Join(c.dir, "run") }
func (c *cluster) root() string    { return filepath.Join(c.state(), "root") }
func (c *cluster) nodeLog() string { return filepath.Join(c.state(), "node.log") }

// inRoot returns the path on the machine of a path of the node.
func (c *cluster) inRoot(path string) string { return filepath.Join(c.root(), path) }

// lock keeps others from starting or ending the cluster until the file is closed.
func (c *cluster) lock() (*os.File, error) {
	f, err := os.OpenFile(c.lockFile(), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the cluster's lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errors.New("another process is just starting or ending the cluster")
		}
		return nil, fmt.Errorf("taking the cluster's lock: %w", err)
	}
	return f, nil
}

// initArgs are the arguments of a node's first process, by which it is found.
func (c *cluster) initArgs() []string {
	return []string{"init", "-dir", c.dir, "-net", c.net.prefix}
}

// nodes returns the first processes of the nodes that run on this machine: their
// process id by the folder of their cluster.
func nodes() (map[string]int, error) {
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil, fmt.Errorf("reading processes: %w", err)
	}
	found := make(map[string]int)
	for _, path := range lines {
		line, err := os.ReadFile(path)
		if err != nil {
			continue // it ended meanwhile
		}
		// A zombie has no arguments any more.
		args := strings.Split(string(line), "\x00")
		if len(args) < 4 || args[0] != self || args[1] != "init" || args[2] != "-dir" {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err == nil {
			found[args[3]] = pid
		}
	}
	return found, nil
}

// self is the program itself, also when its file is out of sight.
const self = "/proc/self/exe"

// isUp says whether a node runs, and one that is ready.
func (c *cluster) isUp() (runs, ready bool, err error) {
	all, err := nodes()
	if err != nil || all[c.dir] == 0 {
		return false, false, err
	}
	_, err = os.Stat(c.kubeconfig())
	return true, err == nil, nil
}

// needRoot explains what an ordinary user must do.
func needRoot() error {
	if os.Geteuid() != 0 {
		return errors.New("namespaces and control groups need root: call this with sudo")
	}
	return nil
}

// giveToOwner gives a file to the user who owns the cluster's folder, who is not
// root if they called sudo.
func (c *cluster) giveToOwner(path string) error {
	info, err := os.Stat(c.dir)
	if err != nil {
		return err
	}
	owner := info.Sys().(*syscall.Stat_t)
	return os.Chown(path, int(owner.Uid), int(owner.Gid))
}
