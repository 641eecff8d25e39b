//go:build !linux

package local

import "syscall"

// Without Linux' process table and prctl, the process group of the program is
// all that is known of what it started.

func adoptOrphans() error { return nil }

func dieWithParent(*syscall.SysProcAttr) {}

func startTime(int) uint64 { return 0 }

func killDescendants(program int) {
	if program != 0 {
		_ = syscall.Kill(-program, syscall.SIGKILL)
	}
}

func leftOver(st state, _ string) []int {
	if st.PID == 0 || syscall.Kill(-st.PID, 0) != nil {
		return nil
	}
	return []int{-st.PID}
}
