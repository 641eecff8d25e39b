//go:build linux

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// down ends the cluster and restores the machine. It does nothing, successfully,
// if there is nothing.
func (c *cluster) down() error {
	if err := needRoot(); err != nil {
		return err
	}
	if _, err := os.Stat(c.dir); errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(c.dir, 0o755); err != nil { //nolint:gosec // as the user would
			return fmt.Errorf("making the cluster's folder: %w", err)
		}
	}
	lock, err := c.lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	all, err := nodes()
	if err != nil {
		return err
	}
	if all[c.dir] == 0 {
		fmt.Println("the cluster was down already")
		if len(all) > 0 {
			return nil // what there is to sweep up may be another's
		}
		return c.sweep()
	}
	if err := c.stop(); err != nil {
		return err
	}
	fmt.Println("the cluster is down, and the machine as before")
	return nil
}

// stop ends the node, if it runs, and removes what it leaves. It fails if the
// cluster of another folder runs: what they leave has the same names.
func (c *cluster) stop() error {
	all, err := nodes()
	if err != nil {
		return err
	}
	for dir := range all {
		if dir != c.dir {
			return fmt.Errorf("the cluster in %[1]s is up; first end it: %[1]s/bin/cluster down -dir %[1]s", dir)
		}
	}
	if pid := all[c.dir]; pid != 0 {
		if err := c.kill(pid); err != nil {
			return err
		}
	}
	return c.sweep()
}

// kill ends the node's first process, and the kernel all others with it.
func (c *cluster) kill(pid int) error {
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("ending the node: %w", err)
	}
	return within(10*time.Second, func() error {
		all, err := nodes()
		if err == nil && all[c.dir] != 0 {
			err = fmt.Errorf("process %d does not end", pid)
		}
		return err
	})
}

// sweep removes what a node that ended left on the machine: the end of the
// cable, control groups and its folder.
func (c *cluster) sweep() error {
	if _, err := net.InterfaceByName(cable); err == nil {
		if err := ip(context.Background(), "link delete "+cable); err != nil {
			return err
		}
	}
	if err := within(10*time.Second, removeCgroups); err != nil {
		return err
	}
	return c.removeState()
}

// removeCgroups removes the control groups of the cluster from every hierarchy.
func removeCgroups() error {
	var errs []error
	for _, top := range cgroupDirs() {
		var dirs []string
		err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // the kernel removes some by itself
			}
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return err
		})
		errs = append(errs, err)
		for i := range dirs { // the deepest first
			if err := os.Remove(dirs[len(dirs)-1-i]); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, fmt.Errorf("removing a control group: %w", err))
			}
		}
	}
	return errors.Join(errs...)
}

// cgroupDirs returns the cluster's control groups that exist: one in the unified
// hierarchy, or one in each of the old ones.
func cgroupDirs() []string {
	unified, _ := filepath.Glob("/sys/fs/cgroup/" + cgroup)
	old, _ := filepath.Glob("/sys/fs/cgroup/*/" + cgroup)
	return append(unified, old...)
}

// removeState deletes the folder of the node that ended.
func (c *cluster) removeState() error {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("reading the machine's mounts: %w", err)
	}
	// The node's mounts are its own and end with it. Should that ever not hold,
	// what is mounted must not be deleted.
	if strings.Contains(string(mounts), " "+c.state()+"/") {
		return fmt.Errorf("something is still mounted in %s", c.state())
	}
	if err := os.RemoveAll(c.state()); err != nil {
		return fmt.Errorf("deleting the node's files: %w", err)
	}
	if err := os.Remove(c.kubeconfig()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("deleting the kubeconfig: %w", err)
	}
	return nil
}

// status prints whether the cluster is up, and returns errDown if not.
func (c *cluster) status(ctx context.Context) error {
	runs, ready, err := c.isUp()
	switch {
	case err != nil:
		return err
	case !runs:
		return errDown
	case !ready:
		return errors.New("the cluster is being started, or its start was cut off")
	}
	// Whether it is healthy is known to anybody; no certificate is needed to ask.
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // nothing secret is sent, nothing trusted
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.net.api()+"/readyz", nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("the cluster is up, but its API server does not answer: %w", err)
	}
	resp.Body.Close()
	fmt.Printf("the cluster is up, %s/readyz answers %s\n", c.net.api(), resp.Status)
	c.printUse()
	return nil
}

// within calls f until it returns nil, and returns its last error when that
// takes longer than limit.
func within(limit time.Duration, f func() error) error {
	deadline := time.Now().Add(limit)
	for {
		err := f()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}
