package kubetest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Require returns the path of the kube program. Without it the test is skipped,
// or fails if PODWAY_TEST_KUBE=required is set.
func Require(t testing.TB) string {
	t.Helper()
	bin, err := Binary()
	switch {
	case err == nil:
	case os.Getenv("PODWAY_TEST_KUBE") == "required":
		t.Fatal(err)
	default:
		t.Skip(err)
	}
	return bin
}

// Binary returns the path of the kube program: what PODWAY_KUBE_BIN names, else
// .cache/k8s/bin/kube of this checkout.
func Binary() (string, error) {
	if path := os.Getenv("PODWAY_KUBE_BIN"); path != "" {
		found, err := exec.LookPath(path)
		if err != nil {
			return "", fmt.Errorf("looking for the program that PODWAY_KUBE_BIN names: %w", err)
		}
		return filepath.Abs(found)
	}
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	path := filepath.Join(root, ".cache", "k8s", "bin", "kube")
	if _, err := exec.LookPath(path); err != nil {
		return "", errors.New("there is no Kubernetes to test with; `make kube` builds it, once, in some minutes")
	}
	return path, nil
}

// moduleRoot returns the folder of the go.mod above the working directory,
// which for a test is the folder of its package.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("finding the module: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if filepath.Dir(dir) == dir {
			return "", errors.New("finding the module: no go.mod here or above")
		}
		dir = filepath.Dir(dir)
	}
}
