package routes

import (
	"strings"
	"testing"
)

// authority is the certificate of one.
const authority = `-----BEGIN CERTIFICATE-----
MIIBfjCCASWgAwIBAgIUWL/wko+/farpk0fa0D3tE4RQHwwwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJb3VyIGdyb3VwMCAXDTI2MTEyMTIzMzIyOFoYDzIxMjYxMDI4
MjMzMjI4WjAUMRIwEAYDVQQDDAlvdXIgZ3JvdXAwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAASD5SQ/KLoP1zaELRk50NXmzq2mtZoG8ZghUPZmkwgkw0pcVVYAMjL+
WcJQG2hcaa5SB2eEI7XgkLTgs1ywWynno1MwUTAdBgNVHQ4EFgQUxlEwnJ76QtN3
ZJDHTyZoeX+jnvAwHwYDVR0jBBgwFoAUxlEwnJ76QtN3ZJDHTyZoeX+jnvAwDwYD
VR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNHADBEAiA7/c9tIGsFB+8dyQIWPpoa
hD7ClWPHAObfSDVqc3/WrwIgeLASuN2uq4+E9aEGN4DyHWY/XxvXlnJFah1Y54xn
mAI=
-----END CERTIFICATE-----
`

func TestClientCA(t *testing.T) {
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
