//go:build !linux

// Command cluster needs Linux.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "cluster: containers need Linux; use a Kubernetes of your own with `make run KUBECONFIG=...`")
	os.Exit(1)
}
