package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	osuser "os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// engine is a kind of store.
type engine struct {
	name  string
	start func(ctx context.Context, dir string) (database, error)
}

var engines = []engine{{"SQLite", startSQLite}, {"Postgres", startPostgres}}

// database is where a control plane keeps what it stores.
type database struct {
	address string // for PODWAY_STORE
	cpu     func() (time.Duration, error)
	stop    func()
}

// startSQLite starts nothing: the store is a file of the control plane's.
func startSQLite(_ context.Context, dir string) (database, error) {
	none := func() (time.Duration, error) { return 0, nil }
	return database{address: "sqlite:" + filepath.Join(dir, "api.db"), cpu: none, stop: func() {}}, nil
}

// startPostgres starts a PostgreSQL with its own settings, which writes to the
// disk as it would in production.
func startPostgres(ctx context.Context, _ string) (db database, err error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(found) == 0 {
		return db, errors.New("PostgreSQL is not installed (Debian: apt-get install postgresql)")
	}
	bin := filepath.Dir(found[len(found)-1])
	// Not below the folder of the run, which another user can't pass.
	dir, err := os.MkdirTemp("", "podway-bench-pg-")
	if err != nil {
		return db, fmt.Errorf("making a folder: %w", err)
	}
	remove := func() { _ = os.RemoveAll(dir) }
	as, err := databaseUser(dir)
	if err != nil {
		remove()
		return db, err
	}
	data := filepath.Join(dir, "data")
	initdb := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "-D", data, "-A", "trust", "-U", "postgres")
	initdb.Dir, initdb.SysProcAttr = dir, as
	if out, err := initdb.CombinedOutput(); err != nil {
		remove()
		return db, fmt.Errorf("making a database: %w\n%s", err, out)
	}
	ports, err := freePorts(ctx, 1)
	if err != nil {
		remove()
		return db, err
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), filepath.Join(bin, "postgres"), "-D", data, "-p", ports[0],
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="+dir)
	cmd.Dir, cmd.SysProcAttr = dir, as
	if err := cmd.Start(); err != nil {
		remove()
		return db, fmt.Errorf("starting PostgreSQL: %w", err)
	}
	stop := func() {
		_ = cmd.Process.Signal(syscall.SIGINT) // a fast shutdown
		_ = cmd.Wait()
		remove()
	}
	ready := func() (bool, error) {
		return exec.CommandContext(ctx, filepath.Join(bin, "pg_isready"), "-q", "-h", "127.0.0.1", "-p", ports[0]).Run() == nil, nil
	}
	starting, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	if err := poll(starting, 100*time.Millisecond, ready); err != nil {
		stop()
		return db, fmt.Errorf("waiting for PostgreSQL: %w", err)
	}
	return database{
		address: "postgres://postgres@127.0.0.1:" + ports[0] + "/postgres?sslmode=disable",
		cpu:     func() (time.Duration, error) { return familyCPU(cmd.Process.Pid) }, stop: stop,
	}, nil
}

// databaseUser gives a folder to the user that PostgreSQL runs as, which refuses
// to be root.
func databaseUser(dir string) (*syscall.SysProcAttr, error) {
	as := cmp.Or(endWithUs(), &syscall.SysProcAttr{})
	if os.Geteuid() != 0 {
		return as, nil
	}
	u, err := osuser.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("finding a user for PostgreSQL: %w", err)
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(err1, err2, os.Chown(dir, int(uid), int(gid))); err != nil {
		return nil, fmt.Errorf("giving PostgreSQL its folder: %w", err)
	}
	as.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return as, nil
}

// familyCPU is the CPU time of a process and of the children that it has now. Those
// of a connection live as long as the connection.
func familyCPU(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", pid))
	if err != nil {
		return 0, fmt.Errorf("finding the database's processes: %w", err)
	}
	own, err := readUsage(pid)
	if err != nil {
		return 0, err
	}
	total := own.CPU
	for word := range strings.FieldsSeq(string(text)) {
		child, err := strconv.Atoi(word)
		if err != nil {
			return 0, fmt.Errorf("reading the database's processes: %w", err)
		}
		if u, err := readUsage(child); err == nil { // else it has just ended
			total += u.CPU
		}
	}
	return total, nil
}
