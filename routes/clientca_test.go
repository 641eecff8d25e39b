package routes

import (
	"os"
	"strings"
	"testing"
)

func TestClientCA(t *testing.T) {
	// Not imported: this package is a leaf, with its tests.
	b, err := os.ReadFile("routestest/authority.pem")
	if err != nil {
		t.Fatal(err)
	}
	authority := string(b)
	for text, want := range map[string]string{
		"nonsense": "no PEM certificate",
		"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n": "not a certificate",
		"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n": "can't be read",
		authority + "-----BEGIN CERTIFICATE-----\nAAAA\n":                "block 2 is no complete PEM",
		strings.Repeat(authority, MaxClientCAs+1):                        "at most 10 are allowed",
	} {
		r := Route{Host: "db.pods.test", Tenant: "dev", Pod: "db", Net: "default", Protocol: TCP, State: Stopped, ClientCA: text}
		if err := r.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.30q: got %v, want %q", text, err, want)
		}
	}
	if err := ValidateClientCA("# ours\n" + strings.Repeat(authority, MaxClientCAs)); err != nil {
		t.Errorf("got %v for %d authorities, want nil", err, MaxClientCAs)
	}
	open, err := Compile(Route{Host: "db.pods.test", Tenant: "dev", Pod: "db", Net: "default", Protocol: TCP, State: Stopped})
	if err != nil || open.AsksForCertificate() || !open.AdmitsCertificates(nil) {
		t.Errorf("got %v, a route without authorities asks for a certificate", err)
	}
}
