package kubetest

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

func endWithUs() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// frozen reports whether every thread of a process has stopped: SIGSTOP is
// delivered to one after the other, and the last may still answer.
func frozen(pid int) bool {
	tasks, _ := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task", "*", "stat"))
	for _, f := range tasks {
		b, _ := os.ReadFile(f)
		// pid (comm) state …
		if _, rest, _ := strings.Cut(string(b), ") "); !strings.HasPrefix(rest, "T") {
			return false
		}
	}
	return len(tasks) > 0
}
