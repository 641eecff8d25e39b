//go:build !linux

package kubetest

import "syscall"

// endWithUs can't be asked of other kernels; an orderly end closes the server.
func endWithUs() *syscall.SysProcAttr { return nil }

// frozen can't be known here.
func frozen(int) bool { return true }
