package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// writeCert writes a certificate that signs itself.
func writeCert(t *testing.T, ca bool) (file string, content []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Podway dev"}, NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour),
		IsCA: ca, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	content = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	file = filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return file, content
}

// trust runs the command on a machine that trusts what is in a folder.
func trust(t *testing.T, system systemTrust, input string, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	c := &cli{in: strings.NewReader(input), out: &out, err: &out, getenv: func(name string) string {
		if name == "PODCTL_CONFIG" {
			return filepath.Join(t.TempDir(), "login.json")
		}
		return ""
	}}
	cmd := c.trustCommand(system)
	cmd.SetArgs(args)
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func TestTrustExplains(t *testing.T) {
	file, _ := writeCert(t, true)
	var out bytes.Buffer
	c := &cli{out: &out}
	r, err := c.readRoot(file)
	if err != nil {
		t.Fatal(err)
	}
	c.printRoot(r)
	for _, want := range []string{"CN=Podway dev", file, "SHA-256"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("got %q, want %q in it", out.String(), want)
		}
	}
	for system, first := range map[string]string{"linux": "Debian", "darwin": "macOS", "windows": "Windows", "plan9": "Firefox"} {
		advice := trustAdvice(system, "/home/o'brien/ca.crt")
		if !strings.HasPrefix(strings.TrimSpace(advice), first) {
			t.Errorf("%s: got %q first, want %q", system, strings.SplitN(strings.TrimSpace(advice), "\n", 2)[0], first)
		}
		for _, want := range []string{"update-ca-certificates", "add-trusted-cert", "-addstore", `'/home/o'\''brien/ca.crt'`} {
			if !strings.Contains(advice, want) {
				t.Errorf("%s: got no %q in the advice", system, want)
			}
		}
	}
}

func TestTrustInstallsWithConsentOnly(t *testing.T) {
	file, content := writeCert(t, true)
	for _, tt := range []struct {
		name, input string
		args        []string
		installs    bool
	}{
		{"a yes installs", "yes\n", nil, true},
		{"so does a y", "Y\n", nil, true},
		{"a no does not", "n\n", nil, false},
		{"silence does not", "", nil, false},
		{"an answer to another question does not", "yep, what\n", nil, false},
		{"--yes does not ask", "", []string{"--yes"}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			_, err := trust(t, systemTrust{dir: dir, update: []string{"true"}}, tt.input, append([]string{"--install", "--ca", file}, tt.args...)...)
			if (err == nil) != tt.installs {
				t.Errorf("got %v, want success: %v", err, tt.installs)
			}
			got, err := os.ReadFile(filepath.Join(dir, trustName))
			if tt.installs != bytes.Equal(got, content) || tt.installs == os.IsNotExist(err) {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func TestTrustRefuses(t *testing.T) {
	good, content := writeCert(t, true)
	leaf, _ := writeCert(t, false)
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	system := systemTrust{dir: dir, update: []string{"true"}}
	for _, tt := range []struct {
		name   string
		system systemTrust
		args   []string
		want   string
	}{
		{"no file", system, nil, "Say --ca FILE"},
		{"a file that is not there", system, []string{"--ca", filepath.Join(dir, "none")}, "reading the root certificate"},
		{"a file without a certificate", system, []string{"--ca", write("key", []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"))}, "holds no certificate"},
		{"two certificates", system, []string{"--ca", write("two", append(content, content...))}, "more than one certificate"},
		{"a certificate that is no root", system, []string{"--ca", leaf}, "is no root certificate"},
		{"a machine without the folder", systemTrust{dir: filepath.Join(dir, "none")}, []string{"--ca", good, "--install", "--yes"}, "without --install tells how"},
		{"a program that fails", systemTrust{dir: dir, update: []string{"false"}}, []string{"--ca", good, "--install", "--yes"}, "making the machine use it: false"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := trust(t, tt.system, "", tt.args...); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
