//go:build !linux

package main

import (
	"os/exec"
	"syscall"
)

// childAttr asks for a process group of its own.
func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func startChild(cmd *exec.Cmd) error { return cmd.Start() }
