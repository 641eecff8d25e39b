package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/tapis-project/podway/controlplane/internal/config"
)

// devConfig is where dev mode keeps and serves things. The launcher and the
// control plane it starts compute the same from the same environment.
type devConfig struct {
	dir       string // absolute
	apiPort   int
	edgePort  int
	redisPort int
	tenant    string
}

func newDevConfig(getenv func(string) string) (devConfig, error) {
	var d devConfig
	var errs [4]error
	d.apiPort, errs[0] = config.Port(getenv, "PODWAY_API_PORT", 8000)
	d.edgePort, errs[1] = config.Port(getenv, "PODWAY_EDGE_PORT", 8443)
	d.redisPort, errs[2] = config.Port(getenv, "PODWAY_REDIS_PORT", 8679)
	dir := getenv("PODWAY_STATE_DIR")
	if dir == "" {
		dir = ".run"
	}
	d.dir, errs[3] = filepath.Abs(dir)
	d.tenant = "dev"
	return d, errors.Join(errs[:]...)
}

func (d devConfig) apiURL() string       { return "http://localhost:" + strconv.Itoa(d.apiPort) }
func (d devConfig) tenantDomain() string { return d.tenant + ".localhost" }
func (d devConfig) caFile() string       { return filepath.Join(d.dir, "ca.crt") }
func (d devConfig) redisAddr() string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(d.redisPort))
}

// redisURL is the built-in Redis with its password, which other users of the
// machine can't read: who can write routes decides where traffic goes.
func (d devConfig) redisURL() (string, error) {
	password, err := d.redisPassword()
	if err != nil {
		return "", err
	}
	return "redis://:" + password + "@" + d.redisAddr(), nil
}

// redisPassword returns the password of the built-in Redis, made at first use.
func (d devConfig) redisPassword() (string, error) {
	path := filepath.Join(d.dir, "redis.password")
	b, err := os.ReadFile(path)
	if err == nil {
		return strings.TrimSpace(string(b)), nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("reading the Redis password: %w", err)
	}
	password := rand.Text()
	if err := os.WriteFile(path, []byte(password+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("keeping the Redis password: %w", err)
	}
	return password, nil
}

// prepare makes the state folder and locks it against a second launcher.
func (d devConfig) prepare() (unlock func(), err error) {
	// Others may pass through, for database servers that refuse to run as root;
	// what must stay private below has a mode of its own.
	if err := os.MkdirAll(d.dir, 0o711); err != nil { //nolint:gosec // see above
		return nil, fmt.Errorf("making the state folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(d.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the state folder: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("the state folder %s is in use by another podway dev; stop that one, or set PODWAY_STATE_DIR", d.dir)
	}
	return func() { f.Close() }, nil
}

// checkPorts tells in one line which port is taken and what to set instead.
func (d devConfig) checkPorts(ctx context.Context) error {
	for _, p := range []struct {
		variable string
		port     int
	}{
		{"PODWAY_API_PORT", d.apiPort}, {"PODWAY_EDGE_PORT", d.edgePort}, {"PODWAY_REDIS_PORT", d.redisPort},
	} {
		if err := checkPort(ctx, p.variable, p.port); err != nil {
			return err
		}
	}
	return nil
}

func checkPort(ctx context.Context, variable string, port int) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	switch {
	case err == nil:
		return l.Close()
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("port %d is taken by another program; stop it, or set another one: %s=%d", port, variable, port+1)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("port %d needs more rights than you have; set another one: %s=%d", port, variable, port+8000)
	default:
		return fmt.Errorf("port %d (%s) can't be used: %w", port, variable, err)
	}
}
