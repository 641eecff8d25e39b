package parts

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// Signal sends a signal to the server: SIGSTOP makes it silent with its
// connections open, SIGCONT ends that.
func (r *Redis) Signal(s syscall.Signal) {
	r.t.Helper()
	if err := r.cmd.Process.Signal(s); err != nil {
		r.t.Fatalf("sending %v to Redis: %v", s, err)
	}
}

// StartReplica starts a read-only replica of a Redis. Arguments are added to its
// command line.
func StartReplica(t testing.TB, of *Redis, args ...string) *Redis {
	t.Helper()
	return StartRedis(t, append([]string{
		"--replicaof", "127.0.0.1 " + strconv.Itoa(of.port),
	}, args...)...)
}

// StartSentinel starts a Sentinel that calls of "main" and takes a server for dead
// after a second. It returns the Sentinel's address.
func StartSentinel(t testing.TB, of *Redis) string {
	t.Helper()
	bin, port, dir := Require(t, "redis-server"), FreePort(t), t.TempDir()
	conf := filepath.Join(dir, "sentinel.conf") // it rewrites its file
	text := fmt.Sprintf("port %d\nbind 127.0.0.1\ndir %s\nsentinel monitor main 127.0.0.1 %d 1\n"+
		"sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 5000\n", port, dir, of.port)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd, done := run(t, bin, []string{conf, "--sentinel"}, nil)
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-done
	})
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	waitTCP(t, addr, done)
	return addr
}

// RedisTLS is a Redis that speaks TLS, and asks clients for a certificate, on a
// port of its own. On Addr it is reached without.
type RedisTLS struct {
	*Redis
	TLSAddr                   string
	CA, Cert, Key             string // PEM files for a client
	StrangerCert, StrangerKey string // a certificate of another authority, and its key
}

// StartRedisTLS starts an empty Redis with TLS.
func StartRedisTLS(t testing.TB, args ...string) *RedisTLS {
	t.Helper()
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	ca := newAuthority(t)
	ca.write(t, file("ca.crt"))
	ca.issue(t, file("server.crt"), file("server.key"))
	ca.issue(t, file("client.crt"), file("client.key"))
	newAuthority(t).issue(t, file("stranger.crt"), file("stranger.key"))
	port := FreePort(t)
	r := StartRedis(t, append([]string{
		"--tls-port", strconv.Itoa(port), "--tls-auth-clients", "yes",
		"--tls-ca-cert-file", file("ca.crt"), "--tls-cert-file", file("server.crt"), "--tls-key-file", file("server.key"),
	}, args...)...)
	return &RedisTLS{
		Redis: r, TLSAddr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
		CA: file("ca.crt"), Cert: file("client.crt"), Key: file("client.key"),
		StrangerCert: file("stranger.crt"), StrangerKey: file("stranger.key"),
	}
}

// URL returns the address of the TLS port for a user, with the client's files.
func (r *RedisTLS) URL(user, password string) string {
	u := url.URL{
		Scheme: "rediss", User: url.UserPassword(user, password), Host: r.TLSAddr,
		RawQuery: url.Values{"ca": {r.CA}, "cert": {r.Cert}, "key": {r.Key}}.Encode(),
	}
	return u.String()
}
