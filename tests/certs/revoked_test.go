//go:build certs

package certs

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3/acme"
	"golang.org/x/crypto/ocsp"

	"github.com/tapis-project/podway/caddymodules/certs/redisstorage"
	"github.com/tapis-project/podway/tests/parts"
)

// revocable are a wildcard and a custom domain, by a host that shows them.
var revocable = map[string]string{"web.pods.tacc.test": "*.pods.tacc.test", "www.custom.test": "www.custom.test"}

func TestRevokedCertificateIsReplacedOnceItsStatusSaysSo(t *testing.T) {
	r := newResponder(t)
	w := newWorld(t, long, map[string]any{"ocspResponderURL": r.URL})
	r.ca = w.ca
	e, before := w.revocable()
	for host := range revocable {
		parts.Eventually(t, limit, func() error { return stapled(e, host) })
	}
	for host, cert := range before {
		reason := acme.ReasonSuperseded
		if host == "www.custom.test" {
			reason = acme.ReasonKeyCompromise
		}
		w.revoke(revocable[host], cert, reason)
	}
	after := w.awaitReplaced(e, before)
	const compromised = "www.custom.test"
	if samePublicKey(before[compromised], after[compromised]) {
		t.Error("got the key that was compromised, want another one")
	}
	for host := range revocable {
		parts.Eventually(t, limit, func() error { return stapled(e, host) })
	}
}

// An authority without OCSP, as most are by now, suggests to renew at once.
func TestRevokedCertificateIsReplacedOnceTheAuthoritySuggestsIt(t *testing.T) {
	w := newWorld(t, long)
	w.base.Directory = impatient(t, w.ca)
	e, before := w.revocable()
	for host, cert := range before {
		w.revoke(revocable[host], cert, acme.ReasonSuperseded)
		w.suggestNow(cert)
	}
	w.awaitReplaced(e, before)
	if n := w.ca.issued(); n != 4 {
		t.Errorf("got %d certificates, want 2 and 2 in their place", n)
	}
}

// revocable starts an edge with certificates, and returns them by host.
func (w *world) revocable() (*edge, map[string]*x509.Certificate) {
	w.t.Helper()
	w.tenants("tacc")
	w.routes("web.pods.tacc.test", "www.custom.test")
	e := w.edge()
	certs := map[string]*x509.Certificate{}
	for host, subject := range revocable {
		e.awaitState(subject, "valid")
		cert, err := e.handshake(host)
		if err != nil {
			w.t.Fatal(err)
		}
		certs[host] = cert
	}
	return e, certs
}

// awaitReplaced waits until each host shows another certificate. No handshake may
// fail meanwhile.
func (w *world) awaitReplaced(e *edge, before map[string]*x509.Certificate) map[string]*x509.Certificate {
	w.t.Helper()
	revoked := time.Now()
	after := map[string]*x509.Certificate{}
	for host, old := range before {
		parts.Eventually(w.t, limit, func() error {
			cert, err := e.handshake(host)
			if err != nil {
				w.t.Fatalf("%s: %v", host, err)
			}
			if cert.SerialNumber.Cmp(old.SerialNumber) == 0 {
				return fmt.Errorf("%s shows the certificate that was revoked", host)
			}
			after[host] = cert
			return nil
		})
	}
	w.t.Logf("all were replaced %v after they were revoked", time.Since(revoked).Round(time.Millisecond))
	return after
}

// revoke revokes a certificate with its own key, which only who opens the storage
// can have.
func (w *world) revoke(subject string, cert *x509.Certificate, reason int) {
	w.t.Helper()
	client := acme.Client{Directory: w.ca.Directory, HTTPClient: w.ca.client}
	if err := client.RevokeCertificate(w.t.Context(), acme.Account{}, cert, w.privateKey(subject), reason); err != nil {
		w.t.Fatal(err)
	}
}

// suggestNow has the authority suggest that a certificate is renewed at once. By
// itself it does so for one that is revoked, with a window of a second, which is too
// short for clients to accept; the windows of others are some minutes long.
func (w *world) suggestNow(cert *x509.Certificate) {
	w.t.Helper()
	window := func(ago time.Duration) string { return time.Now().Add(-ago).UTC().Format(time.RFC3339) }
	info, err1 := json.Marshal(map[string]any{"suggestedWindow": map[string]string{"start": window(time.Hour), "end": window(30 * time.Minute)}})
	body, err2 := json.Marshal(map[string]string{
		"Certificate": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})), "ARIResponse": string(info),
	})
	if err := errors.Join(err1, err2); err != nil {
		w.t.Fatal(err)
	}
	res, err := w.ca.client.Post(w.ca.management+"/set-renewal-info/", "application/json", bytes.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		w.t.Fatalf("got %s", res.Status)
	}
}

// privateKey returns the key of a certificate from the storage.
func (w *world) privateKey(subject string) crypto.Signer {
	w.t.Helper()
	ring, err := redisstorage.ReadKeyring(w.base.KeyFile)
	if err != nil {
		w.t.Fatal(err)
	}
	storage, err := redisstorage.New(redisstorage.Options{Client: w.client, Keyring: ring})
	if err != nil {
		w.t.Fatal(err)
	}
	defer storage.Close()
	keys, err := storage.List(w.t.Context(), "certificates", true)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, key := range keys {
		if !strings.HasSuffix(key, "/"+certmagic.StorageKeys.Safe(subject)+".key") {
			continue
		}
		b, err := storage.Load(w.t.Context(), key)
		if err != nil {
			w.t.Fatal(err)
		}
		private, err := certmagic.PEMDecodePrivateKey(b)
		if err != nil {
			w.t.Fatal(err)
		}
		return private
	}
	w.t.Fatalf("no key of %s among %q", subject, keys)
	return nil
}

// stapled returns an error unless a host shows with its certificate that it is good.
func stapled(e *edge, host string) error {
	c, err := e.dial(host)
	if err != nil {
		return err
	}
	defer c.Close()
	chain := c.ConnectionState().PeerCertificates
	res, err := ocsp.ParseResponseForCert(c.ConnectionState().OCSPResponse, chain[0], chain[1])
	if err == nil && res.Status != ocsp.Good {
		err = fmt.Errorf("got status %d", res.Status)
	}
	return err
}

func samePublicKey(a, b *x509.Certificate) bool {
	key, ok := a.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	return ok && key.Equal(b.PublicKey)
}

// responder says which certificates of an authority are revoked (OCSP), with the
// authority's own key, for the next few seconds.
type responder struct {
	*httptest.Server

	t  *testing.T
	ca *pebble
}

func newResponder(t *testing.T) *responder {
	t.Helper()
	r := &responder{t: t}
	r.Server = httptest.NewServer(http.HandlerFunc(r.answer))
	t.Cleanup(r.Close)
	return r
}

func (r *responder) answer(rw http.ResponseWriter, req *http.Request) {
	b, err := r.response(req)
	if err != nil {
		http.Error(rw, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = rw.Write(b)
}

func (r *responder) response(req *http.Request) ([]byte, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	asked, err := ocsp.ParseRequest(body)
	if err != nil {
		return nil, err
	}
	answer, err := r.ca.get("/cert-status-by-serial/" + asked.SerialNumber.Text(16))
	if err != nil {
		return nil, err
	}
	var known struct {
		Status string
		Reason int
	}
	if err := json.Unmarshal(answer, &known); err != nil {
		return nil, err
	}
	issuer, key, err := r.ca.intermediate()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	res := ocsp.Response{Status: ocsp.Good, SerialNumber: asked.SerialNumber, ThisUpdate: now, NextUpdate: now.Add(4 * time.Second)}
	if known.Status == "Revoked" {
		res.Status, res.RevokedAt, res.RevocationReason = ocsp.Revoked, now, known.Reason
	}
	return ocsp.CreateResponse(issuer, issuer, res, key)
}

// intermediate returns the certificate that the authority signs with, and its key.
func (p *pebble) intermediate() (*x509.Certificate, *rsa.PrivateKey, error) {
	certPEM, err1 := p.get("/intermediates/0")
	keyPEM, err2 := p.get("/intermediate-keys/0")
	if err := errors.Join(err1, err2); err != nil {
		return nil, nil, err
	}
	certBlock, _ := pem.Decode(certPEM)
	keyBlock, _ := pem.Decode(keyPEM)
	if certBlock == nil || keyBlock == nil {
		return nil, nil, errors.New("no PEM")
	}
	cert, err1 := x509.ParseCertificate(certBlock.Bytes)
	key, err2 := x509.ParsePKCS1PrivateKey(keyBlock.Bytes)
	return cert, key, errors.Join(err1, err2)
}

// impatient returns the directory of an authority that wants to be asked each second
// when to renew; by itself it wants six hours.
func impatient(t *testing.T, ca *pebble) string {
	t.Helper()
	target, err := url.Parse(ca.Directory)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(ca.CAFile, ca.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(&httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host },
		Transport: ca.client.Transport,
		ModifyResponse: func(res *http.Response) error {
			if strings.Contains(res.Request.URL.Path, "/renewalInfo/") {
				res.Header.Set("Retry-After", "1")
			}
			return nil
		},
	})
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL + target.Path
}
