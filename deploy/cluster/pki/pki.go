// Package pki makes the certificates of a throw-away Kubernetes cluster: an
// authority in memory, what it signs, and kubeconfigs that hold both.
//
//	ca, err := pki.New("test")
//	server, err := ca.Server("kube-apiserver", "127.0.0.1", "localhost")
//	admin, err := ca.Client("admin", "system:masters")
//	config, err := ca.Kubeconfig("https://127.0.0.1:6443", admin)
//
// It is for development and tests: nothing is renewed or revoked.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// validity is how long certificates count from now on.
const validity = 365 * 24 * time.Hour

// Authority signs certificates. It is safe for concurrent use.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

// Pair is a certificate and its private key, both in PEM.
type Pair struct {
	Name      string // the subject's common name
	Cert, Key []byte
}

// New makes an authority whose subject has the common name.
func New(name string) (*Authority, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	template, err := newTemplate(pkix.Name{CommonName: name})
	if err != nil {
		return nil, err
	}
	template.IsCA = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("signing the authority's certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("parsing the authority's certificate: %w", err)
	}
	return &Authority{cert: cert, key: key, pem: encode("CERTIFICATE", der)}, nil
}

// Cert returns the authority's certificate in PEM.
func (a *Authority) Cert() []byte { return a.pem }

// Pair returns the authority itself, for programs that sign in its name.
func (a *Authority) Pair() (Pair, error) {
	key, err := encodeKey(a.key)
	return Pair{Name: a.cert.Subject.CommonName, Cert: a.pem, Key: key}, err
}

// Server makes a certificate for a server that clients call by one of hosts,
// each a name or an IP address. It is good for a client too, because a server
// of Kubernetes often calls another with it.
func (a *Authority) Server(name string, hosts ...string) (Pair, error) {
	template, err := newTemplate(pkix.Name{CommonName: name})
	if err != nil {
		return Pair{}, err
	}
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
			continue
		}
		template.DNSNames = append(template.DNSNames, h)
	}
	return a.sign(template)
}

// Client makes a certificate that Kubernetes takes for the user of that name in
// the groups.
func (a *Authority) Client(user string, groups ...string) (Pair, error) {
	template, err := newTemplate(pkix.Name{CommonName: user, Organization: groups})
	if err != nil {
		return Pair{}, err
	}
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	return a.sign(template)
}

func (a *Authority) sign(template *x509.Certificate) (Pair, error) {
	name := template.Subject.CommonName
	key, err := newKey()
	if err != nil {
		return Pair{}, err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return Pair{}, fmt.Errorf("signing the certificate of %s: %w", name, err)
	}
	keyPEM, err := encodeKey(key)
	return Pair{Name: name, Cert: encode("CERTIFICATE", der), Key: keyPEM}, err
}

// Write writes dir/name.crt and dir/name.key, readable by the owner only.
func (p Pair) Write(dir, name string) error {
	if err := os.WriteFile(filepath.Join(dir, name+".crt"), p.Cert, 0o600); err != nil {
		return fmt.Errorf("writing a certificate: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".key"), p.Key, 0o600); err != nil {
		return fmt.Errorf("writing a private key: %w", err)
	}
	return nil
}

// Kubeconfig returns a kubeconfig for the API server at that URL and the user
// that the pair belongs to. It refers to no other file.
func (a *Authority) Kubeconfig(server string, user Pair) ([]byte, error) {
	type m = map[string]any
	named := func(kind string, v m) []m { return []m{{"name": "podway", kind: v}} }
	// Kubeconfigs are YAML, and JSON is YAML.
	config, err := json.MarshalIndent(m{
		"apiVersion":      "v1",
		"kind":            "Config",
		"clusters":        named("cluster", m{"server": server, "certificate-authority-data": a.pem}),
		"users":           named("user", m{"client-certificate-data": user.Cert, "client-key-data": user.Key}),
		"contexts":        named("context", m{"cluster": "podway", "user": "podway"}),
		"current-context": "podway",
	}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encoding a kubeconfig: %w", err)
	}
	return append(config, '\n'), nil
}

// SigningKey makes a key pair that signs service account tokens, in PEM.
func SigningKey() (private, public []byte, err error) {
	key, err := newKey()
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, nil, fmt.Errorf("encoding a public key: %w", err)
	}
	private, err = encodeKey(key)
	return private, encode("PUBLIC KEY", der), err
}

func newKey() (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	return key, nil
}

func newTemplate(subject pkix.Name) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("making a serial number: %w", err)
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber:          serial,
		Subject:               subject,
		NotBefore:             now.Add(-time.Hour), // for clocks that differ a little
		NotAfter:              now.Add(validity),
		BasicConstraintsValid: true,
	}, nil
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	// SEC 1, because that is what all of Kubernetes' programs read.
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding a key: %w", err)
	}
	return encode("EC PRIVATE KEY", der), nil
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
