package peer

import (
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"
)

func TestProcessorTimeOfAProcess(t *testing.T) {
	stat := "7 (a (b) c) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 9 0 100 1000 10"
	if got, err := cpuTime([]byte(stat)); err != nil || got != 2*time.Second {
		t.Errorf("got %v, %v, want 2s", got, err)
	}
	if _, err := cpuTime([]byte("7 (a) S 1")); err == nil {
		t.Error("got no error of a line that is too short")
	}
}

func TestMemoryOfAProcess(t *testing.T) {
	if got, err := kilobytes([]byte("Rss:\t 9 kB\nPss:\t   1234 kB\n"), "Pss"); err != nil || got != 1234 {
		t.Errorf("got %v, %v, want 1234", got, err)
	}
	if _, err := kilobytes(nil, "Pss"); err == nil {
		t.Error("got no error of a file without the line")
	}
}

func TestTheFamilyOfAProcessHoldsItsChildren(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("this system has no /proc")
	}
	child := exec.CommandContext(t.Context(), "sleep", "60")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = child.Process.Kill()
		_ = child.Wait()
	}()
	all := family(os.Getpid())
	if all[0] != os.Getpid() || !slices.Contains(all, child.Process.Pid) {
		t.Errorf("got %v, want %d first and %d among them", all, os.Getpid(), child.Process.Pid)
	}
}
