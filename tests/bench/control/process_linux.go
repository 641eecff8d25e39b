package main

import "syscall"

// endWithUs has the kernel end a program when we end, however that happens. A
// Ctrl-C of the terminal is not for it: its end comes after the measuring's.
func endWithUs() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
