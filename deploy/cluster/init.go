//go:build linux

package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// initialize is the node's first process, in new namespaces: it makes the file
// system the root, starts the node's second process, which does the work, and
// from then on only waits for children, also those that lost their parents. The
// kernel ends all others with it.
func (c *cluster) initialize() error {
	// The other end of the cable comes before anything else.
	if line, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil || strings.TrimSpace(line) != "go" {
		return errors.New("the start was given up")
	}
	if err := syscall.Sethostname([]byte(nodeName)); err != nil {
		return fmt.Errorf("naming the node: %w", err)
	}
	if err := c.mountRoot(); err != nil {
		return err
	}
	pid, err := syscall.ForkExec(self, []string{self, "node", "-dir", c.dir, "-net", c.net.prefix},
		&syscall.ProcAttr{Env: nodeEnv(), Files: []uintptr{0, 1, 2}})
	if err != nil {
		return fmt.Errorf("starting the node: %w", err)
	}
	// Who reads the reports must see their end.
	if err := os.Stdout.Close(); err != nil {
		return fmt.Errorf("closing the reports: %w", err)
	}
	for {
		var status syscall.WaitStatus
		ended, err := syscall.Wait4(-1, &status, 0, nil)
		if ended == pid {
			return fmt.Errorf("the node's second process ended: status %d", status.ExitStatus())
		}
		if err != nil && !errors.Is(err, syscall.EINTR) {
			return fmt.Errorf("waiting for processes: %w", err)
		}
	}
}

// nodeEnv is the environment of everything on the node.
func nodeEnv() []string {
	return []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin:" + binDir, "HOME=/root", "LANG=C.UTF-8"}
}

// mount is one mount(2).
type mount struct {
	source, target, kind string
	flags                uintptr
	data                 string
}

// mountRoot mounts what a node needs into the unpacked file system and makes
// that the root. The machine's mounts are out of sight afterwards, and it never
// sees ours.
func (c *cluster) mountRoot() error {
	const safe = syscall.MS_NOSUID | syscall.MS_NODEV | syscall.MS_NOEXEC
	root := c.root()
	mounts := []mount{
		{target: "/", flags: syscall.MS_REC | syscall.MS_PRIVATE},
		{source: root, target: root, flags: syscall.MS_BIND},
		{source: "proc", target: root + "/proc", kind: "proc", flags: safe},
		{source: "sysfs", target: root + "/sys", kind: "sysfs", flags: safe},
		{source: "/sys/fs/cgroup", target: root + "/sys/fs/cgroup", flags: syscall.MS_BIND | syscall.MS_REC},
		{source: "/dev", target: root + "/dev", flags: syscall.MS_BIND | syscall.MS_REC},
		{source: "tmpfs", target: root + "/run", kind: "tmpfs", flags: syscall.MS_NOSUID | syscall.MS_NODEV, data: "mode=755"},
		{source: "tmpfs", target: root + "/tmp", kind: "tmpfs", flags: syscall.MS_NOSUID | syscall.MS_NODEV},
		{source: filepath.Dir(c.bin("kube")), target: root + binDir, flags: syscall.MS_BIND},
		{source: c.images(), target: root + imageDir, flags: syscall.MS_BIND},
	}
	for _, m := range mounts {
		if err := m.do(); err != nil {
			return err
		}
	}
	if err := pretendSysctls(root); err != nil {
		return err
	}
	if err := makeCgroups(); err != nil {
		return err
	}
	return pivot(root)
}

func (m mount) do() error {
	if m.source != "" {
		if err := os.MkdirAll(m.target, 0o755); err != nil { //nolint:gosec // pods are other users
			return fmt.Errorf("making a place to mount: %w", err)
		}
	}
	if err := syscall.Mount(m.source, m.target, m.kind, m.flags, m.data); err != nil {
		return fmt.Errorf("mounting %s: %w", m.target, err)
	}
	return nil
}

// sysctls are what a kubelet insists on for the whole machine, by their file
// below /proc/sys.
var sysctls = map[string]string{
	"vm/overcommit_memory":      "1",
	"vm/panic_on_oom":           "0",
	"kernel/panic":              "10",
	"kernel/panic_on_oops":      "1",
	"kernel/keys/root_maxkeys":  "1000000",
	"kernel/keys/root_maxbytes": "25000000",
}

// pretendSysctls shows the kubelet the values that it wants, so that it leaves
// the machine's alone.
func pretendSysctls(root string) error {
	for name, value := range sysctls {
		target := filepath.Join(root, "proc/sys", name)
		if _, err := os.Stat(target); err != nil {
			continue // this kernel has none
		}
		pretended := filepath.Join(root, "run", strings.ReplaceAll(name, "/", "."))
		if err := os.WriteFile(pretended, []byte(value+"\n"), 0o600); err != nil {
			return fmt.Errorf("writing a sysctl to show: %w", err)
		}
		if err := syscall.Mount(pretended, target, "", syscall.MS_BIND, ""); err != nil {
			return fmt.Errorf("mounting over sysctl %s: %w", name, err)
		}
	}
	return nil
}

// makeCgroups makes the control group that all pods go below, in the unified
// hierarchy, or in each of the old ones.
func makeCgroups() error {
	const top = "/sys/fs/cgroup"
	if _, err := os.Stat(filepath.Join(top, "cgroup.controllers")); err == nil {
		// What the machine does not hand down is seen by the kubelet, which says so.
		_ = os.WriteFile(filepath.Join(top, "cgroup.subtree_control"), []byte("+cpuset +cpu +io +memory +pids"), 0o600)
		return makeCgroup(filepath.Join(top, cgroup))
	}
	controllers, err := os.ReadDir(top)
	if err != nil {
		return fmt.Errorf("reading control groups: %w", err)
	}
	for _, d := range controllers {
		if !d.IsDir() {
			continue // a link to another
		}
		if err := makeCgroup(filepath.Join(top, d.Name(), cgroup)); err != nil {
			return err
		}
	}
	return nil
}

func makeCgroup(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // as the kernel's own
		return fmt.Errorf("making a control group: %w", err)
	}
	// In an old cpuset hierarchy a group starts with no processors at all.
	for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
		all, err := os.ReadFile(filepath.Join(filepath.Dir(dir), name))
		if err != nil {
			continue // another hierarchy
		}
		if err := os.WriteFile(filepath.Join(dir, name), all, 0o600); err != nil {
			return fmt.Errorf("giving a control group its processors: %w", err)
		}
	}
	return nil
}

// pivot makes root the root and lets go of the one before.
func pivot(root string) error {
	if err := os.Chdir(root); err != nil {
		return fmt.Errorf("entering the node's file system: %w", err)
	}
	// Both in one place: the old root is stacked on the new one, and taken off.
	if err := syscall.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("changing the root: %w", err)
	}
	if err := syscall.Unmount(".", syscall.MNT_DETACH); err != nil {
		return fmt.Errorf("leaving the old root: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return fmt.Errorf("entering the new root: %w", err)
	}
	// The kubelet wants mounts in it to be seen by containers, and the other way round.
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_SHARED, ""); err != nil {
		return fmt.Errorf("sharing the root: %w", err)
	}
	return nil
}
