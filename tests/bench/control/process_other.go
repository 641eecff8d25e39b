//go:build !linux

package main

import "syscall"

// endWithUs can't be asked of other kernels; an orderly end stops the program.
func endWithUs() *syscall.SysProcAttr { return nil }
