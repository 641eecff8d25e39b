package caddymodules_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"testing"
	"time"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni/snitest"
)

// clientAuthority signs certificates of clients.
type clientAuthority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

func newClientAuthority(t *testing.T) clientAuthority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return clientAuthority{cert, key, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))}
}

// sign returns a certificate that is good for a use and for a time.
func (a clientAuthority) sign(t *testing.T, use x509.ExtKeyUsage, left time.Duration) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "client"},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(left),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{use},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestClientsHaveToShowACertificateOfTheRoutesAuthority(t *testing.T) {
	e := startEdge(t)
	ours, theirs := newClientAuthority(t), newClientAuthority(t)
	db := snitest.Route("db.pods.test", routes.TCP, snitest.Echo(t).Addr)
	page := web("page.pods.test", pod(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "in") }))
	open := web("open.pods.test", page.Upstreams[0])
	db.ClientCA, page.ClientCA = ours.pem, ours.pem
	e.publish(db, page, open)

	connect := func(host string, certs ...tls.Certificate) error {
		cfg := &tls.Config{ServerName: host, RootCAs: e.pool, Certificates: certs, MinVersion: tls.VersionTLS12}
		c, err := tls.Dial("tcp", e.addr, cfg)
		if err != nil {
			return err
		}
		defer c.Close()
		if host == "db.pods.test" {
			return echo(c, "hello")
		}
		_ = c.SetDeadline(time.Now().Add(limit))
		if _, err := io.WriteString(c, "GET / HTTP/1.0\r\nHost: "+host+"\r\n\r\n"); err != nil {
			return err
		}
		_, err = c.Read(make([]byte, 1))
		return err
	}
	const day = 24 * time.Hour
	good := ours.sign(t, x509.ExtKeyUsageClientAuth, day)
	for _, host := range []string{"db.pods.test", "page.pods.test"} {
		for name, tc := range map[string]struct {
			certs []tls.Certificate
			want  bool
		}{
			"one of the authority":           {[]tls.Certificate{good}, true},
			"none":                           {nil, false},
			"one of another authority":       {[]tls.Certificate{theirs.sign(t, x509.ExtKeyUsageClientAuth, day)}, false},
			"one that has expired":           {[]tls.Certificate{ours.sign(t, x509.ExtKeyUsageClientAuth, -day)}, false},
			"one for servers":                {[]tls.Certificate{ours.sign(t, x509.ExtKeyUsageServerAuth, day)}, false},
			"one of the authority once more": {[]tls.Certificate{good}, true},
		} {
			if err := connect(host, tc.certs...); (err == nil) != tc.want {
				t.Errorf("%s with %s: got %v, want admitted %v", host, name, err, tc.want)
			}
		}
	}
	if err := connect("open.pods.test"); err != nil {
		t.Errorf("a host that asks for none: %v", err)
	}
	t.Run("a connection to another host is no way in", func(t *testing.T) {
		c := e.in(t).client("HTTP/2.0")
		if a := e.in(t).get(c, "https://open.pods.test/"); a.StatusCode != http.StatusOK {
			t.Fatalf("got %d", a.StatusCode)
		}
		a := e.in(t).get(c, "https://open.pods.test/", "Host: page.pods.test")
		if a.StatusCode != http.StatusMisdirectedRequest {
			t.Errorf("got %d %s, want %d", a.StatusCode, a.body, http.StatusMisdirectedRequest)
		}
	})
	t.Run("who is connected when the authority changes is not any more", func(t *testing.T) {
		c, err := tls.Dial("tcp", e.addr, &tls.Config{ServerName: "db.pods.test", RootCAs: e.pool, Certificates: []tls.Certificate{good}, MinVersion: tls.VersionTLS12})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := echo(c, "hello"); err != nil {
			t.Fatal(err)
		}
		db.ClientCA = theirs.pem
		e.publish(db)
		wantClosed(t, c, soon)
	})
}
