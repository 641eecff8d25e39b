//go:build certs

package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"text/template"
	"time"

	"github.com/tapis-project/podway/tests/parts"
	"github.com/tapis-project/podway/tests/system"
)

func TestMain(m *testing.M) { system.Main(m) }

// settings are what differs between the edges of the tests.
type settings struct {
	Dir, Port, Redis, KeyFile  string
	Directory, CAFile          string // of the authority
	DNS                        *parts.DNS
	LockTTL, Check, MinBackoff time.Duration
	PerName, PerTenant, Total  int
	Certificates               string // lines of the option podway
	Storage                    string // more lines of the storage
	RenewInterval              time.Duration
	Tickets                    string // line of podway_certificates
}

var caddyfile = template.Must(template.New("").Parse(`{
	admin unix/{{.Dir}}/admin.sock|0600
	persist_config off
	log {
		exclude admin.api
	}
	grace_period 1s
	https_port {{.Port}}
	renew_interval {{.RenewInterval}}
	storage podway_redis {
		key_file {{.KeyFile}}
		lock_ttl {{.LockTTL}}
		{{.Storage}}
	}
	podway {
		redis {{.Redis}}
		snapshot {{.Dir}}/routes.snap
		upstreams 127.0.0.0/8
		grace_period 1s
		{{.Certificates}}
		limits {
			max_per_client 20000
			new_per_second 100000
			new_burst 100000
		}
	}
	podway_certificates {
		tenants
		check_interval {{.Check}}
		{{.Tickets}}
		limits {
			per_name {{.PerName}}
			per_tenant {{.PerTenant}}
			total {{.Total}}
			min_backoff {{.MinBackoff}}
			max_backoff 10s
		}
	}
	on_demand_tls {
		permission podway
	}
	cert_issuer podway {
		wildcards acme {
			dir {{.Directory}}
			trusted_roots {{.CAFile}}
			resolvers {{.DNS.Addr}}
			dns rfc2136 {
				server {{.DNS.Addr}}
				key_name {{.DNS.KeyName}}
				key {{.DNS.Key}}
			}
		}
		hosts acme {
			dir {{.Directory}}
			trusted_roots {{.CAFile}}
			disable_http_challenge
		}
	}
	servers edge/127.0.0.1:{{.Port}} {
		listener_wrappers {
			podway_preface
			tls
			podway_demux
		}
		0rtt off
	}
	auto_https disable_redirects
}

:{{.Port}} {
	bind edge/127.0.0.1
	tls {
		on_demand
	}
	podway
}
`))

// edge is a running edge.
type edge struct {
	t     testing.TB
	s     settings
	addr  string
	roots *x509.CertPool
	cmd   *exec.Cmd
	done  chan struct{}
}

// start starts an edge with settings, on the port that they have.
func start(t testing.TB, s settings, roots *x509.CertPool) *edge {
	t.Helper()
	s.Dir = parts.ShortDir(t)
	e := &edge{t: t, s: s, addr: net.JoinHostPort("127.0.0.1", s.Port), roots: roots}
	t.Cleanup(e.end)
	var text bytes.Buffer
	if err := caddyfile.Execute(&text, s); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(e.file("Caddyfile"), text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	e.run()
	return e
}

func (e *edge) run() {
	e.t.Helper()
	log, err := os.OpenFile(e.file("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		e.t.Fatal(err)
	}
	defer log.Close()
	e.cmd = exec.Command(system.Program(e.t, "edge"), "run", "--config", "Caddyfile", "--adapter", "caddyfile")
	e.cmd.Dir = e.s.Dir
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	e.cmd.Env = parts.EdgeHome(e.s.Dir)
	e.cmd.Stdout, e.cmd.Stderr = log, log
	if err := e.cmd.Start(); err != nil {
		e.t.Fatal(err)
	}
	e.done = make(chan struct{})
	go func() {
		_ = e.cmd.Wait()
		close(e.done)
	}()
	parts.Eventually(e.t, limit, func() error {
		select {
		case <-e.done:
			e.t.Fatal("the edge has ended")
		default:
		}
		_, err := e.admin("/podway/status")
		return err
	})
}

func (e *edge) file(name string) string { return filepath.Join(e.s.Dir, name) }

func (e *edge) kill() {
	_ = e.cmd.Process.Kill()
	<-e.done
}

func (e *edge) end() {
	if e.cmd != nil && e.cmd.Process != nil {
		e.kill()
	}
	log, _ := os.ReadFile(e.file("log"))
	if i := bytes.Index(log, []byte("panic:")); i >= 0 {
		e.t.Errorf("the edge panics:\n%s", log[i:min(len(log), i+4<<10)])
	}
	if e.t.Failed() {
		e.t.Logf("end of the log of the edge:\n%s", log[max(0, len(log)-6<<10):])
	}
}

// admin asks the admin API.
func (e *edge) admin(path string) ([]byte, error) {
	res, err := parts.AdminClient(e.s.Dir).Get("http://localhost" + path)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: got %d %s", path, res.StatusCode, b)
	}
	return b, err
}

// state is what the admin API says of a certificate.
type state struct {
	Subject, Tenant, Status, Error string
	NotAfter                       time.Time `json:"not_after"`
}

func (e *edge) state(subject string) (state, error) {
	var list struct{ Certificates []state }
	b, err := e.admin("/podway/certificates")
	if err == nil {
		err = json.Unmarshal(b, &list)
	}
	for _, s := range list.Certificates {
		if s.Subject == subject {
			return s, err
		}
	}
	return state{}, err
}

// awaitState waits until a certificate is in a state.
func (e *edge) awaitState(subject, status string) state {
	e.t.Helper()
	var s state
	parts.Eventually(e.t, limit, func() error {
		var err error
		if s, err = e.state(subject); err == nil && s.Status != status {
			err = fmt.Errorf("got %+v of %s, want %s", s, subject, status)
		}
		return err
	})
	return s
}

// metric returns the value of a metric, named with its labels as in /metrics.
func (e *edge) metric(name string) float64 {
	e.t.Helper()
	b, err := e.admin("/metrics")
	if err != nil {
		e.t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err != nil {
				e.t.Fatal(err)
			}
			return v
		}
	}
	e.t.Fatalf("no metric %s", name)
	return 0
}

// handshake opens a TLS connection to a host, and returns the certificate it shows.
func (e *edge) handshake(host string) (*x509.Certificate, error) {
	c, err := e.dial(host)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0], nil
}

func (e *edge) dial(host string, alpn ...string) (*tls.Conn, error) {
	d := tls.Dialer{
		NetDialer: &net.Dialer{Timeout: limit},
		Config:    &tls.Config{ServerName: host, RootCAs: e.roots, MinVersion: tls.VersionTLS12, NextProtos: alpn},
	}
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	c, err := d.DialContext(ctx, "tcp", e.addr)
	if err != nil {
		return nil, err
	}
	return c.(*tls.Conn), nil
}
