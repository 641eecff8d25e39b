package peer

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"text/template"
)

// Setup is what peers are started with.
type Setup struct {
	Dir         string // for configurations and logs; of this benchmark alone
	EdgeProgram string // path of podway-edge
	CertFile    string // PEM, of everything that is measured
	KeyFile     string
	TCPHost     string // server name that TCP connections are for
	Upstream    string // ip:port
	Redis       string // address the edge reads routes from
	Namespace   string // of these routes
	GateKeyFile string // of its login

	CertificatesKeyFile string // of the storage that [CertifiedEdge] has certificates from
}

// Peer is a running server that ends TLS and forwards to the upstream.
type Peer struct {
	*Process

	TCP   string // address for TCP connections in TLS; "" if it has none
	HTTPS string // address for HTTPS
	Admin *Admin // of the edge; nil for others
}

// Starter starts a peer and returns when it accepts connections. Stop it.
type Starter func(ctx context.Context, s Setup) (*Peer, error)

// Stop ends the peer and waits for its end.
func (p *Peer) Stop() { p.end(syscall.SIGTERM) }

// Caddy starts a stock Caddy: the edge's own program with Caddy's reverse_proxy
// in the place of everything of Podway, so that both have the same Go and Caddy.
func Caddy(ctx context.Context, s Setup) (*Peer, error) {
	addrs, err := freeAddrs(ctx, 1)
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(addrs[0])
	file, err := s.configure("Caddyfile.stock", values{"Port": port})
	if err != nil {
		return nil, err
	}
	return s.launch(ctx, &Peer{HTTPS: addrs[0]}, command{
		path: s.EdgeProgram, args: []string{"run", "--config", file, "--adapter", "caddyfile"},
	})
}

// HAProxy returns a starter of HAProxy with a number of threads.
func HAProxy(threads int) Starter {
	return func(ctx context.Context, s Setup) (*Peer, error) {
		addrs, err := freeAddrs(ctx, 2)
		if err != nil {
			return nil, err
		}
		both, err := s.certAndKey()
		if err != nil {
			return nil, err
		}
		file, err := s.configure("haproxy.cfg", values{"TCP": addrs[0], "HTTPS": addrs[1], "Both": both, "Threads": threads})
		if err != nil {
			return nil, err
		}
		return s.launch(ctx, &Peer{TCP: addrs[0], HTTPS: addrs[1]}, command{
			path: program("haproxy"), args: []string{"-db", "-f", file},
		})
	}
}

// NGINX starts nginx with a worker for each processor, as Debian does.
func NGINX(ctx context.Context, s Setup) (*Peer, error) {
	addrs, err := freeAddrs(ctx, 2)
	if err != nil {
		return nil, err
	}
	file, err := s.configure("nginx.conf", values{"TCP": addrs[0], "HTTPS": addrs[1], "Dir": s.Dir})
	if err != nil {
		return nil, err
	}
	return s.launch(ctx, &Peer{TCP: addrs[0], HTTPS: addrs[1]}, command{
		path: program("nginx"), args: []string{"-p", s.Dir, "-e", filepath.Join(s.Dir, "nginx.err"), "-c", file},
	})
}

// launch starts a peer's program and waits until it accepts connections.
func (s Setup) launch(ctx context.Context, p *Peer, c command) (*Peer, error) {
	c.dir, c.end = s.Dir, syscall.SIGTERM
	var err error
	if p.Process, err = c.start(ctx); err != nil {
		return nil, err
	}
	if err := p.await(ctx, accepts(p.HTTPS)); err != nil {
		p.Stop()
		return nil, err
	}
	return p, nil
}

// certAndKey writes both into one file, as HAProxy reads them.
func (s Setup) certAndKey() (string, error) {
	cert, err1 := os.ReadFile(s.CertFile)
	key, err2 := os.ReadFile(s.KeyFile)
	if err := errors.Join(err1, err2); err != nil {
		return "", fmt.Errorf("reading the certificate: %w", err)
	}
	return s.write("both.pem", append(cert, key...))
}

//go:embed conf
var confs embed.FS

// values are what a configuration needs besides the setup.
type values map[string]any

// configure writes a configuration and returns its path.
func (s Setup) configure(name string, v values) (string, error) {
	t, err := template.New(name).Option("missingkey=error").ParseFS(confs, "conf/"+name)
	if err != nil {
		return "", fmt.Errorf("parsing the configuration %s: %w", name, err)
	}
	v["Setup"], v["Processors"] = s, runtime.NumCPU()
	var b strings.Builder
	if err := t.Execute(&b, v); err != nil {
		return "", fmt.Errorf("making the configuration %s: %w", name, err)
	}
	return s.write(name, []byte(b.String()))
}

// write writes a file whose name begins with that of the given one, and which no
// other peer uses.
func (s Setup) write(name string, body []byte) (string, error) {
	f, err := os.CreateTemp(s.Dir, name+"-*")
	if err != nil {
		return "", fmt.Errorf("writing %s: %w", name, err)
	}
	_, err = f.Write(body)
	if err := errors.Join(err, f.Close()); err != nil {
		return "", fmt.Errorf("writing %s: %w", name, err)
	}
	return f.Name(), nil
}

// program returns the path of a program of Debian, which for servers may be
// outside of the PATH of users.
func program(name string) string {
	if path := filepath.Join("/usr/sbin", name); exists(path) {
		return path
	}
	return name
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
