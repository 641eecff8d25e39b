//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// upLimit is how long a start may take; a busy machine takes a minute.
const upLimit = 5 * time.Minute

// up starts the cluster, or says that it is up.
func (c *cluster) up(ctx context.Context) error {
	if err := needRoot(); err != nil {
		return err
	}
	lock, err := c.lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	if _, ready, err := c.isUp(); err != nil || ready {
		if ready {
			fmt.Println("the cluster is up")
			c.printUse()
		}
		return err
	}
	// A start may have been cut off, or the machine.
	if err := c.stop(); err != nil {
		return err
	}
	start := time.Now()
	if err := c.start(ctx, start); err != nil {
		return errors.Join(err, c.stop())
	}
	fmt.Printf("the cluster is up, after %.0f s\n", time.Since(start).Seconds())
	c.printUse()
	return nil
}

func (c *cluster) printUse() {
	fmt.Printf(`
    export KUBECONFIG=%s
    export PATH=%s:$PATH
    kubectl get nodes

Logs are in %s. End it with: make cluster-down
`, c.kubeconfig(), filepath.Dir(c.bin("kubectl")), c.inRoot(logDir))
}

// start prepares the node, starts it and waits until it is ready.
func (c *cluster) start(ctx context.Context, since time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, upLimit)
	defer cancel()
	if err := c.checkAddresses(); err != nil {
		return err
	}
	if err := c.makeRoot(ctx); err != nil {
		return err
	}
	// With it the node translates addresses for pods that talk to each other.
	// Where it is built in or missing, that is no error.
	_ = exec.CommandContext(ctx, "modprobe", "--quiet", "br_netfilter").Run()

	pid, goOn, reports, err := c.startInit()
	if err != nil {
		return err
	}
	defer reports.Close()
	defer goOn.Close()
	if err := c.connect(ctx, pid); err != nil {
		return err
	}
	if _, err := goOn.WriteString("go\n"); err != nil {
		return fmt.Errorf("starting the node: %w", err)
	}
	if err := c.follow(ctx, reports, since); err != nil {
		return err
	}
	return c.writeKubeconfig()
}

// checkAddresses refuses to take addresses that the machine uses already.
func (c *cluster) checkAddresses() error {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return fmt.Errorf("reading the machine's addresses: %w", err)
	}
	for _, a := range addrs {
		used, err := netip.ParsePrefix(a.String())
		if err == nil && used.Overlaps(c.net.all) {
			return fmt.Errorf("the machine uses %s; give the cluster other addresses with PODWAY_CLUSTER_NET=A.B, now %s", used, c.net.prefix)
		}
	}
	routes, err := os.ReadFile("/proc/net/route")
	if err != nil {
		return fmt.Errorf("reading the machine's routes: %w", err)
	}
	for _, used := range parseRoutes(string(routes)) {
		if used.Bits() > 0 && used.Overlaps(c.net.all) {
			return fmt.Errorf("the machine has a route to %s; give the cluster other addresses with PODWAY_CLUSTER_NET=A.B, now %s", used, c.net.prefix)
		}
	}
	return nil
}

// parseRoutes reads /proc/net/route, whose addresses are hexadecimal numbers in
// the byte order of the machine, taken to be little endian.
func parseRoutes(text string) []netip.Prefix {
	var routes []netip.Prefix
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 8 {
			continue
		}
		dest, err1 := strconv.ParseUint(f[1], 16, 32)
		mask, err2 := strconv.ParseUint(f[7], 16, 32)
		if err1 != nil || err2 != nil {
			continue // the heading
		}
		ones, _ := net.IPv4Mask(byte(mask), byte(mask>>8), byte(mask>>16), byte(mask>>24)).Size()
		addr := netip.AddrFrom4([4]byte{byte(dest), byte(dest >> 8), byte(dest >> 16), byte(dest >> 24)})
		routes = append(routes, netip.PrefixFrom(addr, ones))
	}
	return routes
}

// makeRoot unpacks the node's file system and writes what its programs read.
func (c *cluster) makeRoot(ctx context.Context) error {
	if err := os.MkdirAll(c.root(), 0o755); err != nil { //nolint:gosec // pods are other users and enter it
		return fmt.Errorf("making the node's file system: %w", err)
	}
	cmd := exec.CommandContext(ctx, "tar", "--extract", "--numeric-owner", "--preserve-permissions",
		"--file", c.nodeTar(), "--directory", c.root())
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("unpacking the node's file system: %w: %s", err, out)
	}
	if err := c.writeConfigs(); err != nil {
		return err
	}
	return c.writeCertificates()
}

// startInit starts the node's first process in namespaces of its own. Writing a
// line to goOn lets it go on; it tells in reports how it gets on.
func (c *cluster) startInit() (pid int, goOn, reports *os.File, err error) {
	log, err := os.Create(c.nodeLog())
	if err != nil {
		return 0, nil, nil, fmt.Errorf("opening the node's log: %w", err)
	}
	defer log.Close()
	stdin, goOn, err := os.Pipe()
	if err != nil {
		return 0, nil, nil, fmt.Errorf("making a pipe: %w", err)
	}
	defer stdin.Close()
	reports, stdout, err := os.Pipe()
	if err != nil {
		return 0, nil, nil, errors.Join(fmt.Errorf("making a pipe: %w", err), goOn.Close())
	}
	defer stdout.Close()
	cmd := exec.Command(self, c.initArgs()...) //nolint:noctx // the node outlives us
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, log
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid: true, // Ctrl-C is not for it
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET |
			syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
	}
	if err := cmd.Start(); err != nil {
		return 0, nil, nil, errors.Join(fmt.Errorf("starting the node's first process: %w", err), goOn.Close(), reports.Close())
	}
	go func() { _ = cmd.Wait() }() // its end is seen in reports
	return cmd.Process.Pid, goOn, reports, nil
}

// connect lays the cable to the node with that process, and routes through it.
func (c *cluster) connect(ctx context.Context, pid int) error {
	return ip(ctx,
		fmt.Sprintf("link add %s type veth peer name eth0 netns %d", cable, pid),
		fmt.Sprintf("address add %s/%d dev %s", c.net.host, c.net.link.Bits(), cable),
		fmt.Sprintf("link set %s up", cable),
		fmt.Sprintf("route add %s via %s dev %s", c.net.all, c.net.node, cable),
	)
}

// ip runs the ip program for each command.
func ip(ctx context.Context, commands ...string) error {
	for _, command := range commands {
		out, err := exec.CommandContext(ctx, "ip", strings.Fields(command)...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("running ip %s: %w: %s", command, err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}

// ready is the node's last report.
const ready = "ready"

// follow prints the node's reports until it is ready.
func (c *cluster) follow(ctx context.Context, reports *os.File, since time.Time) error {
	stop := context.AfterFunc(ctx, func() { reports.Close() })
	defer stop()
	for lines := bufio.NewScanner(reports); lines.Scan(); {
		if lines.Text() == ready {
			return nil
		}
		fmt.Printf("%6.1f s  %s\n", time.Since(since).Seconds(), lines.Text())
	}
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("waiting for the node: %w", err)
	}
	log, err := os.ReadFile(c.nodeLog())
	if err != nil {
		return err
	}
	return fmt.Errorf("the node ended: %s", strings.TrimSpace(string(log)))
}
