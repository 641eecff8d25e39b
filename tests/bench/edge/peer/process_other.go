//go:build !linux

package peer

import "syscall"

// endWithUs can't be asked of other kernels; an orderly end stops the program.
func endWithUs(attr *syscall.SysProcAttr, _ syscall.Signal) *syscall.SysProcAttr { return attr }
