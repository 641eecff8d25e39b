package pki_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/tapis-project/podway/deploy/cluster/pki"
)

func TestServerAndClientTrustEachOther(t *testing.T) {
	ca := newAuthority(t)
	server, err := ca.Server("kube-apiserver", "127.0.0.1", "localhost")
	if err != nil {
		t.Fatal(err)
	}
	client, err := ca.Client("alice", "writers", "readers")
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca.Cert()) {
		t.Fatal("the authority's certificate is no PEM")
	}

	for _, name := range []string{"127.0.0.1", "localhost"} {
		left, right := net.Pipe()
		s := tls.Server(left, &tls.Config{
			Certificates: []tls.Certificate{keyPair(t, server)}, ClientCAs: roots, ClientAuth: tls.RequireAndVerifyClientCert,
		})
		c := tls.Client(right, &tls.Config{
			Certificates: []tls.Certificate{keyPair(t, client)}, RootCAs: roots, ServerName: name,
		})
		done := make(chan error, 1)
		go func() { done <- s.Handshake() }()
		if err := c.Handshake(); err != nil {
			t.Errorf("%s: client: got %v, want a handshake", name, err)
		}
		if err := <-done; err != nil {
			t.Errorf("%s: server: got %v, want a handshake", name, err)
		}
		peer := s.ConnectionState().PeerCertificates[0].Subject
		if peer.CommonName != "alice" || !slices.Contains(peer.Organization, "writers") {
			t.Errorf("got subject %v, want alice of writers", peer)
		}
		left.Close()
		right.Close()
	}
}

func TestKubeconfigIsReadByClientGo(t *testing.T) {
	ca := newAuthority(t)
	admin, err := ca.Client("admin", "system:masters")
	if err != nil {
		t.Fatal(err)
	}
	text, err := ca.Kubeconfig("https://127.0.0.1:1", admin)
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.RESTConfigFromKubeConfig(text)
	if err != nil {
		t.Fatal(err)
	}
	if config.Host != "https://127.0.0.1:1" || string(config.CertData) != string(admin.Cert) || string(config.CAData) != string(ca.Cert()) {
		t.Errorf("got host %q and other certificates, want what went in", config.Host)
	}
}

func TestWrittenKeysAreSecret(t *testing.T) {
	ca := newAuthority(t)
	pair, err := ca.Client("bob")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := pair.Write(dir, "bob"); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "bob.key"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("got mode %v, want 0600", info.Mode().Perm())
	}
}

func newAuthority(t *testing.T) *pki.Authority {
	t.Helper()
	ca, err := pki.New("test")
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func keyPair(t *testing.T, p pki.Pair) tls.Certificate {
	t.Helper()
	pair, err := tls.X509KeyPair(p.Cert, p.Key)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}
