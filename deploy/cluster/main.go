//go:build linux

// Command cluster runs a real single-node Kubernetes on this machine, without a
// container engine and without an image registry: for tests of Podway, and to
// try it. `make cluster` builds what it needs and calls it:
//
//	cluster images   build the container images from Debian packages; no root needed
//	cluster up       start the node; root
//	cluster status   say whether it is up
//	cluster down     end it, and restore the machine; root
//
// The node is a set of processes in namespaces of their own: process ids,
// network, host name, and a root file system made of Debian packages. What it
// does to mounts, addresses, firewall rules and files happens in there and ends
// with it. A virtual cable leads to the machine. Beside it the machine sees
// control groups below /podway-cluster, and nothing else.
//
// docs/cluster.md is the page for users.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

// errDown is the answer of status when there is no cluster.
var errDown = errors.New("the cluster is down")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	switch {
	case err == nil:
	case errors.Is(err, errDown):
		fmt.Println(err)
		os.Exit(3) // as init scripts do
	default:
		fmt.Fprintf(os.Stderr, "cluster: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("usage: cluster images|up|status|down [-dir DIR] [-net A.B]")
	}
	flags := flag.NewFlagSet("cluster", flag.ContinueOnError)
	dir := flags.String("dir", filepath.Join(".cache", "k8s"), "where programs, images and the running cluster are")
	net := flags.String("net", defaultNet, "first two numbers of the cluster's addresses")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	c, err := newCluster(*dir, *net)
	if err != nil {
		return err
	}
	switch args[0] {
	case "images":
		return c.buildImages(ctx)
	case "up":
		return c.up(ctx)
	case "down":
		return c.down()
	case "status":
		return c.status(ctx)
	// The rest is what `up` calls itself as.
	case "init":
		return c.initialize()
	case "node":
		return c.runNode(ctx)
	default:
		return fmt.Errorf("there is no command %q", args[0])
	}
}
