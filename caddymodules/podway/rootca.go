package podway

import (
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"

	"github.com/caddyserver/caddy/v2/modules/caddypki"
)

// writeRootCA writes the internal CA's root certificate where clients find it.
func (a *App) writeRootCA() error {
	if a.RootCAFile == "" {
		return nil
	}
	app, err := a.ctx.AppIfConfigured("pki")
	if err != nil {
		return fmt.Errorf("writing root certificate: %w; it needs an internal issuer, for example by the global option local_certs", err)
	}
	ca, err := app.(*caddypki.PKI).GetCA(a.ctx, caddypki.DefaultCAID)
	if err != nil {
		return fmt.Errorf("writing root certificate: %w", err)
	}
	b := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.RootCertificate().Raw})
	if err := replaceFile(a.RootCAFile, b); err != nil {
		return fmt.Errorf("writing root certificate: %w", err)
	}
	return nil
}

// replaceFile writes a file that everyone may read, in one step.
func replaceFile(name string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // it is gone if all went well
	defer f.Close()
	if _, err := f.Write(content); err != nil {
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
