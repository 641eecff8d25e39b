package peer

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// CPU returns the processor time that the process and its living children have
// used so far.
func (p *Process) CPU() (time.Duration, error) {
	var sum time.Duration
	for _, pid := range family(p.cmd.Process.Pid) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0, fmt.Errorf("reading processor time: %w", err)
		}
		cpu, err := cpuTime(stat)
		if err != nil {
			return 0, err
		}
		sum += cpu
	}
	return sum, nil
}

// Memory returns the proportional set size of the process and its children in
// kB: pages that several of them share count once.
func (p *Process) Memory() (int, error) {
	sum := 0
	for _, pid := range family(p.cmd.Process.Pid) {
		rollup, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			return 0, fmt.Errorf("reading memory use: %w", err)
		}
		pss, err := kilobytes(rollup, "Pss")
		if err != nil {
			return 0, err
		}
		sum += pss
	}
	return sum, nil
}

// family returns a process and what descends from it.
func family(pid int) []int {
	children := map[int][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		b, err := os.ReadFile(path)
		fields := statFields(b)
		if err != nil || len(fields) < 2 {
			continue // it ended just now
		}
		child, err1 := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		parent, err2 := strconv.Atoi(fields[1])
		if err1 == nil && err2 == nil {
			children[parent] = append(children[parent], child)
		}
	}
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all
}

// statFields returns what follows the name in /proc/PID/stat, see
// proc_pid_stat(5). The name is in parentheses and may hold anything.
func statFields(stat []byte) []string {
	return strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
}

func cpuTime(stat []byte) (time.Duration, error) {
	const tick = time.Second / 100 // USER_HZ, of every Linux
	fields := statFields(stat)
	if len(fields) < 13 {
		return 0, errors.New("reading processor time: the line is too short")
	}
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	return time.Duration(user+system) * tick, errors.Join(err1, err2)
}

// kilobytes reads a line such as "Pss:   1234 kB".
func kilobytes(text []byte, name string) (int, error) {
	for line := range bytes.Lines(text) {
		fields := strings.Fields(string(line))
		if len(fields) == 3 && fields[0] == name+":" && fields[2] == "kB" {
			return strconv.Atoi(fields[1])
		}
	}
	return 0, fmt.Errorf("reading memory use: there is no line %s", name)
}
