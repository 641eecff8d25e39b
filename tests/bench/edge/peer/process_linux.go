package peer

import "syscall"

// endWithUs has the kernel end a program when we end, however that happens. A
// Ctrl-C of the terminal is not for it: its end comes after the measuring's.
func endWithUs(attr *syscall.SysProcAttr, sig syscall.Signal) *syscall.SysProcAttr {
	if attr == nil {
		attr = new(syscall.SysProcAttr)
	}
	attr.Pdeathsig, attr.Setpgid = sig, true
	return attr
}
