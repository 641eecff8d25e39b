package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// machine is what everything runs on.
type machine struct {
	Processors int
	MemoryGiB  float64
	Load       float64 // of the minute before
}

func readMachine() (machine, error) {
	m := machine{Processors: runtime.NumCPU()}
	memory, err1 := os.ReadFile("/proc/meminfo")
	load, err2 := os.ReadFile("/proc/loadavg")
	if err := errors.Join(err1, err2); err != nil {
		return m, fmt.Errorf("reading the machine's size: %w", err)
	}
	total, err := kib(memory, "MemTotal")
	if err != nil {
		return m, err
	}
	m.MemoryGiB = float64(total) / (1 << 20)
	first, _, _ := strings.Cut(string(load), " ")
	if m.Load, err = strconv.ParseFloat(first, 64); err != nil {
		return m, fmt.Errorf("reading the machine's load: %w", err)
	}
	return m, nil
}

// usage is what a process has used so far.
type usage struct {
	CPU       time.Duration // in user and kernel mode
	RSS, Peak int           // resident memory in KiB, now and at most
}

func readUsage(pid int) (u usage, err error) {
	stat, err1 := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	status, err2 := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err := errors.Join(err1, err2); err != nil {
		return u, fmt.Errorf("reading what the control plane uses: %w", err)
	}
	cpu, err1 := cpuTime(stat)
	rss, err2 := kib(status, "VmRSS")
	peak, err3 := kib(status, "VmHWM")
	return usage{CPU: cpu, RSS: rss, Peak: peak}, errors.Join(err1, err2, err3)
}

// kib reads a line such as "VmRSS:   1234 kB" of a file of /proc.
func kib(text []byte, name string) (int, error) {
	for line := range bytes.Lines(text) {
		fields := strings.Fields(string(line))
		if len(fields) == 3 && fields[0] == name+":" && fields[2] == "kB" {
			return strconv.Atoi(fields[1])
		}
	}
	return 0, fmt.Errorf("there is no line %s", name)
}

// cpuTime reads the times of /proc/PID/stat; see proc_pid_stat(5).
func cpuTime(stat []byte) (time.Duration, error) {
	const tick = time.Second / 100 // USER_HZ, of every Linux
	// The second field is a name in parentheses, which may hold anything.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return 0, errors.New("the line of process times is too short")
	}
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	return time.Duration(user+system) * tick, errors.Join(err1, err2)
}
