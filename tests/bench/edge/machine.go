package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
)

// machine is what everything runs on.
type machine struct {
	Processors int               `json:"processors"`
	Model      string            `json:"model"` // of the processors; "" if it isn't told
	Kernel     string            `json:"kernel"`
	Load       float64           `json:"load"`     // of the minute before
	Versions   map[string]string `json:"versions"` // by program; those that are missing are left out
}

// programs say their versions when they are called like this.
var programs = map[string][]string{
	"HAProxy": {"/usr/sbin/haproxy", "-v"}, "nginx": {"/usr/sbin/nginx", "-v"}, "h2load": {"h2load", "--version"},
	"pgbench": {"pgbench", "--version"}, "Redis": {"redis-server", "--version"}, "OpenSSL": {"openssl", "version"},
}

var version = regexp.MustCompile(`\d+\.\d[\w.]*`)

func readMachine(ctx context.Context) (machine, error) {
	m := machine{Processors: runtime.NumCPU(), Versions: map[string]string{"Go": strings.TrimPrefix(runtime.Version(), "go")}}
	kernel, err1 := os.ReadFile("/proc/sys/kernel/osrelease")
	average, err2 := os.ReadFile("/proc/loadavg")
	cpus, err3 := os.ReadFile("/proc/cpuinfo")
	if err := errors.Join(err1, err2, err3); err != nil {
		return m, fmt.Errorf("reading what the machine is: %w", err)
	}
	m.Kernel = strings.TrimSpace(string(kernel))
	if found := regexp.MustCompile(`model name\s*: (.*)`).FindSubmatch(cpus); found != nil {
		m.Model = string(found[1])
	}
	first, _, _ := strings.Cut(string(average), " ")
	var err error
	if m.Load, err = strconv.ParseFloat(first, 64); err != nil {
		return m, fmt.Errorf("reading the machine's load: %w", err)
	}
	for name, args := range programs {
		out, _ := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
		if v := version.Find(out); v != nil {
			m.Versions[name] = string(v)
		}
	}
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Version}}", "github.com/caddyserver/caddy/v2").Output()
	if err == nil {
		m.Versions["Caddy"] = strings.TrimPrefix(strings.TrimSpace(string(out)), "v")
	}
	return m, nil
}
