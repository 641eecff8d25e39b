package local

import (
	"fmt"
	"os"
	"strings"
)

// ownProcesses describes the living processes that this test's clusters started.
func ownProcesses() []string {
	var found []string
	for _, p := range processes() {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.pid))
		env, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.pid))
		if !p.zombie && strings.Contains(string(line)+string(env), testDirPrefix) {
			found = append(found, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}

func isZombie(pid int) bool {
	p, ok := readProcess(pid)
	return ok && p.zombie
}
