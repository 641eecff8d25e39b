package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/caddyserver/certmagic"
	"golang.org/x/sync/errgroup"

	"github.com/tapis-project/podway/caddymodules/certs/redisstorage"
	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/routes/keytext"
	"github.com/tapis-project/podway/tests/bench/edge/load"
	"github.com/tapis-project/podway/tests/bench/edge/peer"
)

// certifiedZone has all hosts of the row certificates.
const certifiedZone = "certified.test"

// certified measures handshakes to many hosts, of the edge that has a certificate for
// each and of the one that has a wildcard. Both are started before the first is
// measured.
func certified(ctx context.Context, l *lab, name string) (sample, error) {
	if l.certified == nil {
		if err := l.startCertified(ctx); err != nil {
			return nil, err
		}
	}
	p := l.peers[certifiedPrefix+name]
	t := l.target(p.TCP, "")
	t.Roots = l.certified.roots
	visit := func() (load.Result, error) {
		return load.HandshakesAcross(ctx, t, l.certified.hosts, 8, certifiedTurn*l.o.duration)
	}
	// An edge that was quiet has given its free memory back. To get it again costs a
	// burst more, the more the edge holds, and is not what is measured here: that is
	// a load that goes on.
	if _, err := visit(); err != nil {
		return nil, err
	}
	return underLoad(p, perSecond, cpuEach, visit)
}

// certifiedTurn is how many times as long as others the loads of this row take: each
// has garbage collections in it, which an edge with 20,000 certificates makes every
// few seconds, and the one before has all the memory come back.
const certifiedTurn = 4

// certifiedPrefix tells the edges of the row certificates from other peers.
const certifiedPrefix = "certified-"

// authority signs the certificates of a number of hosts.
type authority struct {
	hosts []string
	roots *x509.CertPool

	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// startCertified fills two storages with certificates and starts an edge with each.
func (l *lab) startCertified(ctx context.Context) error {
	a, err := newAuthority(l.o.certs)
	if err != nil {
		return err
	}
	key := keytext.New()
	l.setup.CertificatesKeyFile = filepath.Join(l.setup.Dir, "certificates.key")
	if err := os.WriteFile(l.setup.CertificatesKeyFile, []byte(key), 0o600); err != nil {
		return fmt.Errorf("writing the key of certificates: %w", err)
	}
	ring, err := redisstorage.ParseKeyring(key)
	if err != nil {
		return err
	}
	for name, names := range map[string][]string{edge: a.hosts, wildcard: {"*." + certifiedZone}} {
		s := l.setup
		s.Namespace = certifiedPrefix + name
		if err := l.fillCertified(ctx, a, ring, s.Namespace, names); err != nil {
			return err
		}
		var zones []string
		if name == wildcard {
			zones = []string{certifiedZone}
		}
		if l.peers[certifiedPrefix+name], err = peer.CertifiedEdge(len(names), zones...)(ctx, s); err != nil {
			delete(l.peers, certifiedPrefix+name)
			return err
		}
	}
	l.certified = a
	return l.visitCertified(ctx)
}

// visitCertified visits each host of both edges once: the first use of a key costs
// more than others. What is left of it, and of the loading, settles for a while.
func (l *lab) visitCertified(ctx context.Context) error {
	for _, name := range []string{edge, wildcard} {
		t := l.target(l.peers[certifiedPrefix+name].TCP, "")
		t.Roots = l.certified.roots
		if err := load.Visit(ctx, t, l.certified.hosts, 8); err != nil {
			return err
		}
	}
	return wait(ctx, l.o.settle)
}

// fillCertified publishes a route for each host, and stores certificates for names.
func (l *lab) fillCertified(ctx context.Context, a *authority, ring *redisstorage.Keyring, namespace string, names []string) error {
	storage, err := redisstorage.New(redisstorage.Options{Client: l.client, Namespace: namespace, Keyring: ring})
	if err != nil {
		return err
	}
	defer storage.Close()
	var g errgroup.Group
	for part := range slices.Chunk(names, len(names)/(4*runtime.NumCPU())+1) {
		g.Go(func() error {
			for _, name := range part {
				if err := a.store(ctx, storage, name); err != nil {
					return fmt.Errorf("storing a certificate of %s: %w", name, err)
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	pub, err := l.publisher(namespace)
	if err != nil {
		return err
	}
	const perPod = 100
	for i, part := range slices.Collect(slices.Chunk(a.hosts, perPod)) {
		pod := fmt.Sprintf("pod%06d", i)
		var rs []routes.Route
		for _, host := range part {
			rs = append(rs, l.route(host, routes.TCP, pod))
		}
		if err := pub.SetPod(ctx, "bench", pod, rs); err != nil {
			return fmt.Errorf("publishing routes with certificates: %w", err)
		}
	}
	return nil
}

func newAuthority(n int) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
		KeyUsage: x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("making an authority: %w", err)
	}
	a := &authority{key: key, roots: x509.NewCertPool()}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	a.roots.AddCert(a.cert)
	for i := range n {
		a.hosts = append(a.hosts, fmt.Sprintf("host-%06d.%s", i, certifiedZone))
	}
	return a, nil
}

// store signs a certificate and stores it as if the edges had ordered it of their
// issuer, which is called "local".
func (a *authority) store(ctx context.Context, storage *redisstorage.Storage, name string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err1 := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	pkcs8, err2 := x509.MarshalPKCS8PrivateKey(key)
	meta, err3 := json.Marshal(certmagic.CertificateResource{SANs: []string{name}})
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	leaf := &x509.Certificate{
		SerialNumber: serial, DNSNames: []string{name}, NotBefore: a.cert.NotBefore, NotAfter: a.cert.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, a.cert, key.Public(), a.key)
	if err != nil {
		return err
	}
	const issuer = "local"
	values := map[string][]byte{
		certmagic.StorageKeys.SiteCert(issuer, name):       pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		certmagic.StorageKeys.SitePrivateKey(issuer, name): pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}),
		certmagic.StorageKeys.SiteMeta(issuer, name):       meta,
	}
	for _, k := range slices.Sorted(maps.Keys(values)) {
		if err := storage.Store(ctx, k, values[k]); err != nil {
			return err
		}
	}
	return nil
}
