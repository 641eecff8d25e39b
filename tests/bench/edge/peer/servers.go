package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// Server is a running Redis or PostgreSQL.
type Server struct {
	Addr string // ip:port

	process *Process
	sig     syscall.Signal // ends it
	dir     string         // deleted after its end; "" for none
}

// Stop ends the server and waits for its end.
func (s *Server) Stop() {
	s.process.end(s.sig)
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
}

// Redis starts an empty Redis that writes nothing to disk.
func Redis(ctx context.Context, dir string) (*Server, error) {
	addrs, err := freeAddrs(ctx, 1)
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(addrs[0])
	p, err := command{path: "redis-server", dir: dir, end: syscall.SIGTERM, args: []string{
		"--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no", "--dir", dir,
	}}.start(ctx)
	if err != nil {
		return nil, err
	}
	return (&Server{Addr: addrs[0], process: p, sig: syscall.SIGTERM}).await(ctx, accepts(addrs[0]))
}

func (s *Server) await(ctx context.Context, ready func(context.Context) error) (*Server, error) {
	if err := s.process.await(ctx, ready); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

// Postgres starts an empty PostgreSQL without fsync that trusts every connection
// of this machine. It ends TLS itself for clients that ask for it.
func Postgres(ctx context.Context, s Setup) (*Server, error) {
	bin, err := postgresPrograms()
	if err != nil {
		return nil, err
	}
	// It refuses to run as root, and the user it runs as instead must reach its
	// folder, and the folders above.
	dir, err := os.MkdirTemp("/tmp", "podway-bench-pg-")
	if err != nil {
		return nil, fmt.Errorf("making a folder for PostgreSQL: %w", err)
	}
	server, err := s.startPostgres(ctx, bin, dir)
	if err != nil {
		_ = os.RemoveAll(dir)
	}
	return server, err
}

func (s Setup) startPostgres(ctx context.Context, bin, dir string) (*Server, error) {
	// It reads a key only if nobody else can, so it has its own copies.
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if err := errors.Join(copyFile(s.CertFile, cert), copyFile(s.KeyFile, key)); err != nil {
		return nil, err
	}
	cred, err := postgresUser(dir, cert, key)
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	init := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "-D", data, "-A", "trust", "-U", "postgres", "--no-sync")
	init.Dir, init.SysProcAttr = dir, &syscall.SysProcAttr{Credential: cred}
	if out, err := init.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("running initdb: %w: %s", err, out)
	}
	addrs, err := freeAddrs(ctx, 1)
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(addrs[0])
	p, err := command{
		path: filepath.Join(bin, "postgres"), dir: dir, end: syscall.SIGQUIT, attr: &syscall.SysProcAttr{Credential: cred},
		args: []string{
			"-D", data, "-p", port, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=" + dir, "-c", "fsync=off",
			"-c", "ssl=on", "-c", "ssl_cert_file=" + cert, "-c", "ssl_key_file=" + key,
		},
	}.start(ctx)
	if err != nil {
		return nil, err
	}
	ready := func(ctx context.Context) error { // it listens before it serves
		return exec.CommandContext(ctx, filepath.Join(bin, "pg_isready"), "-q", "-h", "127.0.0.1", "-p", port).Run()
	}
	return (&Server{Addr: addrs[0], process: p, sig: syscall.SIGQUIT, dir: dir}).await(ctx, ready)
}

// postgresPrograms returns the folder of the newest PostgreSQL of the machine.
func postgresPrograms() (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(found) == 0 {
		return "", errors.New("finding PostgreSQL: it is not installed")
	}
	slices.Sort(found)
	return found[len(found)-1], nil
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		return fmt.Errorf("copying the certificate: %w", err)
	}
	return nil
}

// postgresUser gives paths to the user that PostgreSQL shall run as: nil, ours,
// unless that is root.
func postgresUser(paths ...string) (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil //nolint:nilnil // nobody else
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("finding a user for PostgreSQL, which refuses to run as root: %w", err)
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	errs := []error{err1, err2}
	for _, path := range paths {
		errs = append(errs, os.Chown(path, int(uid), int(gid)))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("giving PostgreSQL its folder: %w", err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}
