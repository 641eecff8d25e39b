package certs

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/tapis-project/podway/sni/snitest"
	"github.com/tapis-project/podway/tests/parts"
)

const limit = 20 * time.Second

// writePair writes a new certificate for names, and returns it.
func writePair(t *testing.T, folder, name string, names ...string) *x509.Certificate {
	t.Helper()
	cert, _ := snitest.Certificate(t, names...)
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		name + ".crt": {Type: "CERTIFICATE", Bytes: cert.Certificate[0]}, name + ".key": {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(filepath.Join(folder, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert.Leaf
}

func TestCertificatesOfFilesFollowTheFiles(t *testing.T) {
	folder := t.TempDir()
	first := writePair(t, folder, "tacc", "*.pods.tacc.test")
	f := &Files{Folder: folder, Interval: caddy.Duration(10 * time.Millisecond)}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	defer cancel()
	if err := f.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Cleanup() })
	shows := func(name string) *tls.Certificate {
		t.Helper()
		cert, err := f.GetCertificate(t.Context(), &tls.ClientHelloInfo{ServerName: name})
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	if got := shows("WEB.pods.tacc.test"); got == nil || !got.Leaf.Equal(first) {
		t.Errorf("got %v, want the wildcard", got)
	}
	for _, other := range []string{"a.web.pods.tacc.test", "pods.tacc.test", "web.pods.iu.test", ""} {
		if shows(other) != nil {
			t.Errorf("%q: got a certificate", other)
		}
	}

	second := writePair(t, folder, "tacc", "*.pods.tacc.test")
	parts.Eventually(t, limit, func() error {
		if !shows("web.pods.tacc.test").Leaf.Equal(second) {
			return errors.New("it is still the first one")
		}
		return nil
	})
	if err := os.WriteFile(filepath.Join(folder, "tacc.crt"), []byte("half a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	writePair(t, folder, "iu", "*.pods.iu.test")
	parts.Eventually(t, limit, func() error {
		if shows("web.pods.iu.test") == nil {
			return errors.New("the new file is not read")
		}
		return nil
	})
	if got := shows("web.pods.tacc.test"); got == nil || !got.Leaf.Equal(second) {
		t.Errorf("got %v, want the one before the broken file", got)
	}
}

func TestFolderOfFilesHasToExist(t *testing.T) {
	for _, folder := range []string{"", filepath.Join(t.TempDir(), "none")} {
		f := &Files{Folder: folder, log: slog.New(slog.DiscardHandler)}
		ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
		if err := f.Provision(ctx); err == nil {
			t.Errorf("%q: got no error", folder)
		}
		cancel()
	}
}
