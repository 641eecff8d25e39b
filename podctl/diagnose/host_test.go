package diagnose

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const host = "db.pods.test"

// authority issues certificates for the tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-365 * 24 * time.Hour), NotAfter: time.Now().Add(365 * 24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return authority{cert, key}
}

func (a authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// issue makes a certificate for a name that ends at some time.
func (a authority) issue(t *testing.T, name string, end time.Time) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{name}, NotBefore: time.Now().Add(-90 * 24 * time.Hour), NotAfter: end,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: a.key}
}

// listen serves connections until the end of the test, and returns the port.
func listen(t *testing.T, serve func(net.Conn)) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serve(conn)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().(*net.TCPAddr).Port
}

// overTLS serves what comes after a handshake.
func overTLS(cert tls.Certificate, serve func(net.Conn)) func(net.Conn) {
	config := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	config.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		if h.ServerName == "unknown.pods.test" {
			return &tls.Config{MinVersion: tls.VersionTLS12}, nil // without certificates, as an edge does it
		}
		return nil, nil
	}
	return func(raw net.Conn) {
		conn := tls.Server(raw, config)
		if conn.Handshake() != nil {
			return
		}
		serve(conn)
		_ = conn.CloseWrite()
		_, _ = io.Copy(io.Discard, conn)
	}
}

// says reads up to the end of a request and answers.
func says(answer string) func(net.Conn) {
	return func(c net.Conn) {
		b := make([]byte, 4096)
		if _, err := bufio.NewReader(c).Read(b); err == nil {
			_, _ = io.WriteString(c, answer)
		}
	}
}

func TestHostNamesTheFault(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	year := time.Now().Add(60 * 24 * time.Hour)
	good := ca.issue(t, host, year)
	closed := listen(t, func(net.Conn) {})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().(*net.TCPAddr).Port
	_ = l.Close()

	pgError := func(code string) string {
		body := "SFATAL\x00C" + code + "\x00Mthe words\x00\x00"
		return "E\x00\x00\x00" + string(rune(4+len(body))) + body
	}
	for name, c := range map[string]struct {
		target Target
		serve  func(net.Conn)
		want   string // "" for none
		found  string // in what was found
	}{
		"a name without an address":            {target: Target{Address: "no-such-host.invalid"}, want: FaultDNS},
		"a port where nobody listens":          {target: Target{Port: nobody}, want: FaultPort},
		"a server without TLS":                 {serve: says("SSH-2.0-OpenSSH_9.2\r\n"), want: FaultNoTLS},
		"a server that closes at once":         {target: Target{Port: closed}, want: FaultTLS},
		"a name the edge does not know":        {target: Target{Host: "unknown.pods.test"}, serve: overTLS(good, says("")), want: FaultUnknownName},
		"a web server the edge does not know":  {target: Target{Protocol: "http"}, serve: overTLS(good, says("HTTP/1.1 404 Not Found\r\nContent-Length: 22\r\n\r\nNo pod at this address")), want: FaultUnknownName},
		"an unknown authority":                 {target: Target{Roots: other.pool()}, serve: overTLS(good, says("")), want: FaultCertificateUntrusted},
		"a certificate for another name":       {serve: overTLS(ca.issue(t, "web.pods.test", year), says("")), want: FaultCertificateName},
		"an expired certificate":               {serve: overTLS(ca.issue(t, host, time.Now().Add(-time.Hour)), says("")), want: FaultCertificateExpired},
		"a certificate that expires soon":      {target: Target{Protocol: "redis"}, serve: overTLS(ca.issue(t, host, time.Now().Add(24*time.Hour)), says("+PONG\r\n")), want: FaultCertificateAge},
		"a pod that closes without an answer":  {target: Target{Protocol: "postgres"}, serve: overTLS(good, func(net.Conn) {}), want: FaultGreeting},
		"a pod that closes at once":            {serve: overTLS(good, func(net.Conn) {}), want: FaultGreeting},
		"an edge that can't reach the pod":     {target: Target{Protocol: "http"}, serve: overTLS(good, says("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 2\r\n\r\nno")), want: FaultGreeting, found: "502"},
		"a postgres pod that does not run":     {target: Target{Protocol: "postgres"}, serve: overTLS(good, says(pgError("57P03"))), want: FaultGreeting, found: "the words"},
		"a redis pod that does not run":        {target: Target{Protocol: "redis"}, serve: overTLS(good, says("-LOADING the pod is starting\r\n")), want: FaultGreeting},
		"a web server that is called redis":    {target: Target{Protocol: "redis"}, serve: overTLS(good, says("HTTP/1.1 400 Bad Request\r\n\r\n")), want: FaultGreeting},
		"a web server that is called bolt":     {target: Target{Protocol: "bolt"}, serve: overTLS(good, says("HTTP/1.1 400 Bad Request\r\n\r\n")), want: FaultGreeting},
		"a web server that is called mongodb":  {target: Target{Protocol: "mongodb"}, serve: overTLS(good, says("HTTP/1.1 400 Bad Request\r\n\r\n")), want: FaultGreeting},
		"a web server that is called postgres": {target: Target{Protocol: "postgres"}, serve: overTLS(good, says("HTTP/1.1 400 Bad Request\r\n\r\n")), want: FaultGreeting},

		"a web server":                  {target: Target{Protocol: "http"}, serve: overTLS(good, says("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")), found: "404"},
		"a postgres that wants a login": {target: Target{Protocol: "postgres"}, serve: overTLS(good, says("R\x00\x00\x00\x08\x00\x00\x00\x03")), found: "login"},
		"a postgres that does not know the user": {
			target: Target{Protocol: "postgres"}, serve: overTLS(good, says(pgError("28000"))), found: "the words",
		},
		"a redis that wants a login": {target: Target{Protocol: "redis"}, serve: overTLS(good, says("-NOAUTH Authentication required.\r\n")), found: "NOAUTH"},
		"a bolt server":              {target: Target{Protocol: "bolt"}, serve: overTLS(good, says("\x00\x00\x04\x05")), found: "5.4"},
		"a mongodb server": {
			target: Target{Protocol: "mongodb"},
			serve:  overTLS(good, says("\x20\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\xdd\x07\x00\x00\x00maxWireVersion\x00")), found: "MongoDB",
		},
		"a server that speaks first": {serve: overTLS(good, func(c net.Conn) { _, _ = io.WriteString(c, "220 hello\r\n") }), found: "220 hello"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.serve != nil {
				c.target.Port = listen(t, c.serve)
			}
			if c.target.Host == "" {
				c.target.Host = host
			}
			if c.target.Address == "" {
				c.target.Address = "127.0.0.1"
			}
			if c.target.Roots == nil {
				c.target.Roots = ca.pool()
			}
			var r Report
			r.Add(Host(t.Context(), c.target)...)
			checkFault(t, r, c.want)
			if last := r.Findings[len(r.Findings)-1]; !strings.Contains(last.Found, c.found) {
				t.Errorf("got %q, want %q in it", last.Found, c.found)
			}
		})
	}
}

// checkFault checks that a report names one fault, or none, and what to do.
func checkFault(t *testing.T, r Report, want string) {
	t.Helper()
	got := ""
	for _, f := range r.Findings {
		if f.Fault == "" {
			continue
		}
		if got != "" {
			t.Errorf("got a second fault %q", f.Fault)
		}
		got = f.Fault
		if f.Remedy == "" || f.Found == "" {
			t.Errorf("%s: got found %q and remedy %q, want both", f.Fault, f.Found, f.Remedy)
		}
	}
	if got != want {
		t.Errorf("got fault %q, want %q: %+v", got, want, r.Findings)
	}
}

func TestAReportReadsWell(t *testing.T) {
	var r Report
	r.Add(OK("store", "", "answers"), Finding{Check: "edge", Subject: "e1", Fault: "edge_silent", Found: "was last heard of 5m ago", Remedy: "start it"})
	var b bytes.Buffer
	if err := r.Print(&b); err != nil {
		t.Fatal(err)
	}
	want := "ok     store: answers\nFAULT  edge e1: was last heard of 5m ago\n       edge_silent: start it\n\n1 fault was found.\n"
	if b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
}
