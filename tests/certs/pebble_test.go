//go:build certs

package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tapis-project/podway/tests/parts"
)

// limit is how long a test waits for what should take seconds.
const limit = 90 * time.Second

// pebble is a certificate authority.
type pebble struct {
	Directory string // URL of its ACME directory
	CAFile    string // what its API's certificate is signed with: itself
	KeyFile   string // of that certificate

	t          testing.TB
	bin, conf  string
	dns        string
	management string
	out        *parts.Output
	cmd        *exec.Cmd
	done       chan struct{}
	client     *http.Client
}

// startPebble starts an authority that finds hosts by a DNS server, at a TLS port,
// and whose certificates are good for a time. Options are more of its settings.
func startPebble(t testing.TB, dns, tlsPort string, validity time.Duration, options ...map[string]any) *pebble {
	t.Helper()
	dir := t.TempDir()
	ca, key, pool := selfSigned(t, dir)
	port, management := strconv.Itoa(parts.FreePort(t)), strconv.Itoa(parts.FreePort(t))
	settings := map[string]any{
		"listenAddress": "127.0.0.1:" + port, "managementListenAddress": "127.0.0.1:" + management,
		"certificate": ca, "privateKey": key, "httpPort": 1, "tlsPort": atoi(t, tlsPort),
		"retryAfter": map[string]int{"authz": 1, "order": 1},
		"profiles":   map[string]any{"default": map[string]any{"description": "of the test", "validityPeriod": int(validity.Seconds())}},
	}
	for _, o := range options {
		maps.Copy(settings, o)
	}
	conf, err := json.Marshal(map[string]any{"pebble": settings})
	if err != nil {
		t.Fatal(err)
	}
	p := &pebble{
		Directory: "https://127.0.0.1:" + port + "/dir", CAFile: ca, KeyFile: key,
		t: t, bin: parts.Require(t, filepath.Join(root(t), ".cache", "bin", "pebble"), "pebble"), conf: filepath.Join(dir, "pebble.json"),
		dns: dns, management: "https://127.0.0.1:" + management, out: new(parts.Output),
		client: &http.Client{Timeout: limit, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}},
	}
	if err := os.WriteFile(p.conf, conf, 0o600); err != nil {
		t.Fatal(err)
	}
	p.start()
	t.Cleanup(p.kill)
	return p
}

func (p *pebble) start() {
	p.t.Helper()
	p.cmd = exec.Command(p.bin, "-config", p.conf, "-dnsserver", p.dns)
	p.cmd.Env = []string{"PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=10", "PEBBLE_AUTHZREUSE=0"}
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.done = make(chan struct{})
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	parts.Eventually(p.t, limit, func() error {
		_, err := p.get("/roots/0")
		return err
	})
}

// kill ends the authority. It is safe to call twice.
func (p *pebble) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

func (p *pebble) get(path string) ([]byte, error) {
	res, err := p.client.Get(p.management + path)
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

// roots returns the root certificates that clients have to trust.
func (p *pebble) roots() *x509.CertPool {
	p.t.Helper()
	b, err := p.get("/roots/0")
	pool := x509.NewCertPool()
	if err != nil || !pool.AppendCertsFromPEM(b) {
		p.t.Fatalf("reading the root certificate: %v\n%s", err, b)
	}
	return pool
}

// orders returns how many orders were made.
func (p *pebble) orders() int { return strings.Count(p.out.String(), "Added order ") }

// issued returns how many certificates were issued.
func (p *pebble) issued() int { return strings.Count(p.out.String(), "Issued certificate serial ") }

// root returns the folder of the module.
func root(t testing.TB) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func atoi(t testing.TB, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// selfSigned writes a certificate for 127.0.0.1 and its key.
func selfSigned(t testing.TB, dir string) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "API of the authority"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "api.crt"), filepath.Join(dir, "api.key")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool = x509.NewCertPool()
	if cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	pool.AddCert(cert)
	return certFile, keyFile, pool
}
