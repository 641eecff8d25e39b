package main

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// childAttr asks for a process group of its own, and for SIGTERM when the
// launcher itself is killed.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

type startRequest struct {
	cmd  *exec.Cmd
	done chan error
}

// starter starts every child from one thread that lives as long as the
// launcher: Pdeathsig goes by the thread that started the child, not by the
// process.
var starter = sync.OnceValue(func() chan startRequest {
	requests := make(chan startRequest)
	go func() {
		runtime.LockOSThread()
		for r := range requests {
			r.done <- r.cmd.Start()
		}
	}()
	return requests
})

func startChild(cmd *exec.Cmd) error {
	r := startRequest{cmd: cmd, done: make(chan error)}
	starter() <- r
	return <-r.done
}
