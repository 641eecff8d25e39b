package local

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// prSetChildSubreaper is the option of prctl(2) that package syscall lacks.
const prSetChildSubreaper = 36

// adoptOrphans makes this process the parent of descendants whose own parent
// ends, so that it can end them too.
func adoptOrphans() error {
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, prSetChildSubreaper, 1, 0); errno != 0 {
		return fmt.Errorf("becoming a subreaper: %w", errno)
	}
	return nil
}

// dieWithParent has the kernel kill the process when its parent ends. The thread
// that starts it must live on: callers that are not the only thread lock it.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }

// process is a line of the process table.
type process struct {
	pid, ppid, session int
	zombie             bool
	start              uint64 // clock ticks since boot
}

// processes reads the process table.
func processes() []process {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var all []process
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			if p, ok := readProcess(pid); ok {
				all = append(all, p)
			}
		}
	}
	return all
}

// readProcess reads /proc/<pid>/stat; false if the process is gone.
func readProcess(pid int) (process, bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return process{}, false
	}
	// The second field is the program's name in parentheses and may itself hold
	// spaces and parentheses. What follows: state ppid pgrp session ... and, as
	// field 22, the start time.
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(f) < 20 {
		return process{}, false
	}
	ppid, _ := strconv.Atoi(string(f[1]))
	session, _ := strconv.Atoi(string(f[3]))
	start, _ := strconv.ParseUint(string(f[19]), 10, 64)
	return process{pid: pid, ppid: ppid, session: session, zombie: f[0][0] == 'Z', start: start}, true
}

// startTime returns a number that tells a process from others that had its id
// earlier or get it later.
func startTime(pid int) uint64 {
	p, _ := readProcess(pid)
	return p.start
}

// killDescendants kills what the ended program left behind: all children of this
// process, which inherits those of its descendants.
func killDescendants(int) {
	self := os.Getpid()
	for _, p := range processes() {
		if p.ppid == self {
			kill(p.pid)
		}
	}
}

// leftOver returns the ids of the processes that a shim left behind: those of
// its session, and those that left that but carry the name of the run.
func leftOver(st state, instance string) []int {
	// A session keeps its id, the shim's, from reuse while it has members. So if
	// another process has that id now, no member is left.
	leader, ok := readProcess(st.ShimPID)
	reused := ok && leader.start != st.ShimStart
	var ids []int
	for _, p := range processes() {
		if p.zombie || p.start < st.ShimStart {
			continue
		}
		if !reused && p.session == st.ShimPID || hasEnv(p.pid, instanceVariable+"="+instance) {
			ids = append(ids, p.pid)
		}
	}
	return ids
}

// hasEnv reports whether a process was started with a variable in its
// environment. False if that can't be read, which the owner of a process can.
func hasEnv(pid int, variable string) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	return err == nil && bytes.Contains(append([]byte{0}, b...), []byte("\x00"+variable+"\x00"))
}
