package routes

import (
	"strings"
	"testing"
)

func TestClientCA(t *testing.T) {
	for text, want := range map[string]string{
		"nonsense": "no PEM certificate",
		"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n": "not a certificate",
		"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n": "can't be read",
	} {
		r := Route{Host: "db.pods.test", Tenant: "dev", Pod: "db", Net: "default", Protocol: TCP, State: Stopped, ClientCA: text}
		if err := r.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.30q: got %v, want %q", text, err, want)
		}
	}
	open, err := Compile(Route{Host: "db.pods.test", Tenant: "dev", Pod: "db", Net: "default", Protocol: TCP, State: Stopped})
	if err != nil || open.AsksForCertificate() || !open.AdmitsCertificates(nil) {
		t.Errorf("got %v, a route without authorities asks for a certificate", err)
	}
}
