// Package snitest holds what tests of the edge need: certificates, servers to
// relay to, and routes.
package snitest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/tapis-project/podway/routes"
)

// Certificate returns a self-signed certificate for names, and the pool that
// trusts it.
func Certificate(t testing.TB, names ...string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: "podway test"},
		DNSNames:     names,
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IsCA:         true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if leaf, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}

// Server is a TCP server on a free port of loopback.
type Server struct {
	Addr string

	ln    net.Listener
	mu    sync.Mutex
	conns map[net.Conn]struct{}
	wg    sync.WaitGroup
}

// Serve starts a server that calls handle for each connection and closes it
// after. It is stopped with the test, and its connections closed.
func Serve(t testing.TB, handle func(*net.TCPConn)) *Server {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Addr: ln.Addr().String(), ln: ln, conns: map[net.Conn]struct{}{}}
	s.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				continue
			}
			s.mu.Lock()
			s.conns[c] = struct{}{}
			s.mu.Unlock()
			s.wg.Go(func() {
				defer s.forget(c)
				handle(c.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(s.Close)
	return s
}

func (s *Server) forget(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	c.Close()
}

// Conns returns how many connections are open.
func (s *Server) Conns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Close stops the server. It is safe to call twice.
func (s *Server) Close() {
	s.ln.Close()
	s.mu.Lock()
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// Echo starts a server that sends back what it gets, and closes its side when
// the client has closed its own.
func Echo(t testing.TB) *Server {
	t.Helper()
	return Serve(t, func(c *net.TCPConn) { _, _ = io.Copy(c, c) })
}

// Route returns a live route of the tenant dev whose pod is named like the
// host's first label.
func Route(host string, p routes.Protocol, upstreams ...string) routes.Route {
	_, pod, net, ok := routes.ParsePodHost(host)
	if !ok {
		pod, net = "custom", routes.DefaultNet
	}
	return routes.Route{
		Host: host, Tenant: "dev", Pod: pod, Net: net, Instance: "1",
		Protocol: p, State: routes.Live, Upstreams: upstreams,
	}
}

// Set puts routes into a table as its next versions.
func Set(t testing.TB, table *routes.Table, rs ...routes.Route) {
	t.Helper()
	for _, r := range rs {
		if old := table.Get(r.Host); old != nil && r.Version <= old.Version {
			r.Version = old.Version + 1
		}
		e, err := routes.Compile(r)
		if err != nil {
			t.Fatal(err)
		}
		table.Set(e)
	}
}
