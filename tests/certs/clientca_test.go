//go:build certs

package certs

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni/snitest"
	"github.com/tapis-project/podway/tests/parts"
)

// clients is an authority that signs the certificates of a route's clients, and one
// of them, in files.
type clients struct {
	ca                string // PEM
	certFile, keyFile string
	cert              tls.Certificate
}

func newClients(t *testing.T) clients {
	t.Helper()
	caKey, key := newKey(t), newKey(t)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "clients"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "client"}, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	dir := t.TempDir()
	c := clients{certFile: filepath.Join(dir, "client.crt"), keyFile: filepath.Join(dir, "client.key")}
	c.ca = signed(t, ca, ca, &caKey.PublicKey, caKey)
	cert := signed(t, leaf, ca, &key.PublicKey, caKey)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	private := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	for file, text := range map[string]string{c.certFile: cert, c.keyFile: private} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if c.cert, err = tls.X509KeyPair([]byte(cert), []byte(private)); err != nil {
		t.Fatal(err)
	}
	return c
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// signed returns a certificate in PEM.
func signed(t *testing.T, cert, by *x509.Certificate, public *ecdsa.PublicKey, key *ecdsa.PrivateKey) string {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, cert, by, public, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// asking publishes a route that asks clients for a certificate, "" for none.
func (w *world) asking(host string, p routes.Protocol, upstream, ca string) {
	w.t.Helper()
	id, _, _ := strings.Cut(host, ".")
	r := routes.Route{
		Host: host, Tenant: "tacc", Pod: id, Net: routes.DefaultNet, Instance: "1", Protocol: p, State: routes.Live,
		Upstreams: []string{upstream}, ClientCA: ca,
	}
	if err := w.pub.SetPod(w.t.Context(), r.Tenant, r.Pod, []routes.Route{r}); err != nil {
		w.t.Fatal(err)
	}
}

// The hosts of the test of certificates of clients.
const (
	webHost    = "web.pods.tacc.test"    // asks for one of ours
	theirsHost = "theirs.pods.tacc.test" // asks for one of others
	openHost   = "open.pods.tacc.test"   // asks for none
	laterHost  = "later.pods.tacc.test"  // asks for none at first
	dbHost     = "db.pods.tacc.test"
	echoHost   = "echo.pods.tacc.test"
)

func TestRoutesAskClientsForACertificate(t *testing.T) {
	w := newWorld(t, long)
	pg := parts.StartPostgres(t)
	ours, others := newClients(t), newClients(t)
	w.tenants("tacc")
	w.asking(webHost, routes.HTTP, w.pod, ours.ca)
	w.asking(theirsHost, routes.HTTP, w.pod, others.ca)
	w.asking(openHost, routes.HTTP, w.pod, "")
	w.asking(laterHost, routes.HTTP, w.pod, "")
	w.asking(dbHost, routes.Postgres, net.JoinHostPort("127.0.0.1", strconv.Itoa(pg.Port)), ours.ca)
	w.asking(echoHost, routes.TCP, snitest.Echo(t).Addr, ours.ca)
	w.routes()
	e := w.edge(func(s *settings) { s.Certificates = "certificates *.pods.tacc.test" })
	e.awaitState("*.pods.tacc.test", "valid")

	for name, visit := range map[string]func(*testing.T, *edge, *clients) error{
		"curl":         curl,
		"psql":         psql,
		"a TCP client": echo,
	} {
		t.Run(name, func(t *testing.T) {
			if err := visit(t, e, &ours); err != nil {
				t.Errorf("with a certificate of the route's authority: %v", err)
			}
			for what, cert := range map[string]*clients{"without a certificate": nil, "with one of another authority": &others} {
				if err := visit(t, e, cert); err == nil {
					t.Errorf("%s: got in", what)
				}
			}
		})
	}
	t.Run("a PostgreSQL client that names its pod later", func(t *testing.T) { namedLater(t, e, ours) })
	t.Run("a resumed session is no way in", func(t *testing.T) { w.resumed(t, e, ours) })
	t.Run("a connection to another host is no way in", func(t *testing.T) { coalesced(t, e, ours) })
}

func curl(t *testing.T, e *edge, c *clients) error {
	args := []string{"-sS", "-k", "--max-time", "60", "--resolve", webHost + ":" + e.s.Port + ":127.0.0.1", "https://" + webHost + ":" + e.s.Port}
	if c != nil {
		args = append(args, "--cert", c.certFile, "--key", c.keyFile)
	}
	return says(exec.CommandContext(t.Context(), parts.Require(t, "curl"), args...), "pod")
}

func psql(t *testing.T, e *edge, c *clients) error { return selectOne(t, e, c, "") }

// selectOne has psql run a query, with further settings.
func selectOne(t *testing.T, e *edge, c *clients, more string) error {
	conn := fmt.Sprintf("host=%s hostaddr=127.0.0.1 port=%s user=postgres dbname=postgres sslmode=require connect_timeout=60 %s", dbHost, e.s.Port, more)
	if c != nil {
		conn += fmt.Sprintf(" sslcert=%s sslkey=%s", c.certFile, c.keyFile)
	}
	cmd := exec.CommandContext(t.Context(), parts.Require(t, "psql"), "-XAt", "-c", "select 6*7", conn)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	return says(cmd, "42")
}

// says returns an error unless a program ends well and prints a word.
func says(cmd *exec.Cmd, word string) error {
	out, err := cmd.CombinedOutput()
	if text := strings.TrimSpace(string(out)); err != nil || text != word {
		return fmt.Errorf("got %q, %w", text, err)
	}
	return nil
}

func echo(_ *testing.T, e *edge, c *clients) error {
	cfg := e.config(echoHost)
	if c != nil {
		cfg.Certificates = []tls.Certificate{c.cert}
	}
	conn, err := tls.Dial("tcp", e.addr, cfg)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(limit))
	b := []byte("hello")
	if _, err := conn.Write(b); err != nil {
		return err
	}
	_, err = io.ReadFull(conn, b)
	return err
}

func (e *edge) config(host string) *tls.Config {
	return &tls.Config{ServerName: host, RootCAs: e.roots, MinVersion: tls.VersionTLS12}
}

// namedLater tries clients without a server name. The edge can't ask them for a
// certificate, since it learns after the handshake which pod they want.
func namedLater(t *testing.T, e *edge, ours clients) {
	const named = "sslsni=0 options=pod=db"
	for name, c := range map[string]*clients{"without a certificate": nil, "with one": &ours} {
		if err := selectOne(t, e, c, named); err == nil {
			t.Errorf("%s: got in", name)
		} else if !strings.Contains(err.Error(), "this pod asks clients for a certificate") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// resumed tries sessions that began with a certificate, and before one was asked
// for.
func (w *world) resumed(t *testing.T, e *edge, ours clients) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		name := tls.VersionName(version)
		cache := tls.NewLRUClientSessionCache(0)
		visit := func(host string, certs ...tls.Certificate) (bool, error) {
			cfg := e.config(host)
			cfg.Certificates, cfg.ClientSessionCache, cfg.MaxVersion = certs, cache, version
			return page(e, cfg)
		}
		if _, err := visit(webHost, ours.cert); err != nil {
			t.Fatal(err)
		}
		if resumed, err := visit(webHost); err == nil {
			t.Errorf("%s: got in without a certificate after a session with one, resumed %v", name, resumed)
		}
		w.asking(laterHost, routes.HTTP, w.pod, "")
		parts.Eventually(t, limit, func() error {
			resumed, err := visit(laterHost)
			if err == nil && !resumed {
				err = fmt.Errorf("the session was not resumed")
			}
			return err
		})
		w.asking(laterHost, routes.HTTP, w.pod, ours.ca)
		parts.Eventually(t, limit, func() error {
			if resumed, err := visit(laterHost); err == nil {
				return fmt.Errorf("got in without a certificate, resumed %v", resumed)
			}
			return nil
		})
		if _, err := visit(laterHost, ours.cert); err != nil {
			t.Errorf("%s: with a certificate: %v", name, err)
		}
	}
}

// page asks for the page of a host and reports whether the session was resumed.
func page(e *edge, cfg *tls.Config) (resumed bool, err error) {
	c, err := tls.Dial("tcp", e.addr, cfg)
	if err != nil {
		return false, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(limit))
	resumed = c.ConnectionState().DidResume
	if _, err := fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", cfg.ServerName); err != nil {
		return resumed, err
	}
	b, err := io.ReadAll(c)
	if err == nil && !strings.HasSuffix(string(b), "pod") {
		err = fmt.Errorf("got %q", b)
	}
	return resumed, err
}

// coalesced asks for hosts over connections that were made for another one, as
// browsers do when the certificate is for both.
func coalesced(t *testing.T, e *edge, ours clients) {
	for _, tt := range []struct {
		name, first, second string
		certs               []tls.Certificate
		want                int
	}{
		{"from one that asks for none to one that asks", openHost, webHost, nil, http.StatusMisdirectedRequest},
		{"from one that asks to one that asks for others", webHost, theirsHost, []tls.Certificate{ours.cert}, http.StatusMisdirectedRequest},
		{"from one that asks to one that asks for none", webHost, openHost, []tls.Certificate{ours.cert}, http.StatusOK},
		{"from one that asks to itself", webHost, webHost, []tls.Certificate{ours.cert}, http.StatusOK},
	} {
		cfg := e.config(tt.first)
		cfg.Certificates = tt.certs
		for protocol, open := range map[string]func(*testing.T, *edge, *tls.Config) (http.RoundTripper, *atomic.Int32){"HTTP/2.0": http2Client, "HTTP/3.0": http3Client} {
			t.Run(tt.name+" by "+protocol, func(t *testing.T) {
				client, connections := open(t, e, cfg)
				if code := ask(t, client, protocol, tt.first, tt.first); code != http.StatusOK {
					t.Fatalf("the first request: got %d", code)
				}
				code := ask(t, client, protocol, tt.first, tt.second)
				if n := connections.Load(); code != tt.want || n != 1 {
					t.Errorf("got %d over %d connections, want %d over one", code, n, tt.want)
				}
			})
		}
	}
	t.Run("a new connection by HTTP/3.0", func(t *testing.T) {
		client, _ := http3Client(t, e, e.config(webHost))
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+webHost, nil)
		if err != nil {
			t.Fatal(err)
		}
		if res, err := client.RoundTrip(req); err == nil {
			res.Body.Close()
			t.Errorf("got %d without a certificate, want no connection", res.StatusCode)
		}
	})
}

// http2Client returns a client whose connections all go to an edge, and counts them.
func http2Client(t *testing.T, e *edge, cfg *tls.Config) (http.RoundTripper, *atomic.Int32) {
	n := new(atomic.Int32)
	tr := &http.Transport{
		TLSClientConfig: cfg.Clone(), ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			n.Add(1)
			return new(net.Dialer).DialContext(ctx, "tcp", e.addr)
		},
	}
	t.Cleanup(tr.CloseIdleConnections)
	return tr, n
}

func http3Client(t *testing.T, e *edge, cfg *tls.Config) (http.RoundTripper, *atomic.Int32) {
	n := new(atomic.Int32)
	tr := &http3.Transport{
		TLSClientConfig: cfg.Clone(),
		Dial: func(ctx context.Context, _ string, cfg *tls.Config, q *quic.Config) (*quic.Conn, error) {
			n.Add(1)
			return quic.DialAddr(ctx, e.addr, cfg, q)
		},
	}
	t.Cleanup(func() { _ = tr.Close() })
	return tr, n
}

// ask asks for a host over the connection to another one.
func ask(t *testing.T, client http.RoundTripper, protocol, connection, host string) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+connection, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	res, err := client.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.Proto != protocol {
		t.Errorf("got %s, want %s", res.Proto, protocol)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode
}
