package routes

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// MaxClientCAs bounds the authorities of one route.
const MaxClientCAs = 10

// ValidateClientCA says what is wrong with the PEM certificates of authorities in
// [Route.ClientCA]. The error never quotes the text: it could be a private key.
func ValidateClientCA(text string) error {
	_, err := parseClientCA(text)
	return err
}

// parseClientCA reads the PEM certificates of authorities.
func parseClientCA(text string) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	n := 0
	for rest := []byte(text); ; n++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("block %d is a %s, not a certificate", n+1, block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d can't be read: %w", n+1, err)
		}
		if !cert.IsCA {
			return nil, fmt.Errorf("certificate %d is not one of an authority", n+1)
		}
		pool.AddCert(cert)
	}
	if n == 0 {
		return nil, errors.New("it holds no PEM certificate")
	}
	if n < strings.Count(text, "-----BEGIN ") {
		return nil, fmt.Errorf("block %d is no complete PEM", n+1)
	}
	if n > MaxClientCAs {
		return nil, fmt.Errorf("%d certificates given, at most %d are allowed", n, MaxClientCAs)
	}
	return pool, nil
}

// AsksForCertificate reports whether clients have to show a certificate.
func (e *Entry) AsksForCertificate() bool { return e.clientCA != nil }

// AdmitsCertificates reports whether a client with these certificates, its own
// first, may connect: one of the route's authorities has signed it for clients, and
// it is valid now. Every client may if the route names no authority.
func (e *Entry) AdmitsCertificates(shown []*x509.Certificate) bool {
	if e.clientCA == nil {
		return true
	}
	if len(shown) == 0 {
		return false
	}
	between := x509.NewCertPool()
	for _, c := range shown[1:] {
		between.AddCert(c)
	}
	_, err := shown[0].Verify(x509.VerifyOptions{
		Roots: e.clientCA, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return err == nil
}
