package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// trustDir is where Debian and its relatives look for the roots of a machine's
// own.
const trustDir = "/usr/local/share/ca-certificates"

// trustName is the file in it.
const trustName = "podway-dev.crt"

// systemTrust is what a machine trusts.
type systemTrust struct {
	dir    string
	update []string // program and words that make it count
}

func (c *cli) trustCommand(system systemTrust) *cobra.Command {
	var file string
	var install, yes bool
	cmd := &cobra.Command{
		Use: "trust", Short: "Explain or install the root certificate of a Podway of your own machine", Args: cobra.NoArgs,
		Long: "A Podway that runs on your own machine makes its certificates itself, from a root that no program knows. This prints\n" +
			"how to make programs trust it; --install does it for this machine, where it is Debian, Ubuntu or alike.\n\n" +
			"Whoever holds the key of a root can pretend to be any web site to those who trust it. Trust only the root of your\n" +
			"own machine, and take it away when you need it no longer.",
		Example: "  podctl trust --ca .run/ca.crt\n  sudo podctl trust --ca .run/ca.crt --install",
		RunE: func(cmd *cobra.Command, _ []string) error {
			root, err := c.readRoot(file)
			if err != nil {
				return err
			}
			c.printRoot(root)
			if !install {
				fmt.Fprint(c.out, trustAdvice(runtime.GOOS, root.file))
				return nil
			}
			return c.installRoot(cmd.Context(), system, root, yes)
		},
	}
	cmd.Flags().StringVar(&file, "ca", "", "file with the root certificate (default: --edge-ca of the login)")
	cmd.Flags().BoolVar(&install, "install", false, "make this machine trust it; needs the rights of root")
	cmd.Flags().BoolVar(&yes, "yes", false, "with --install: do not ask")
	return cmd
}

// root is a root certificate in a file.
type root struct {
	file string // absolute
	pem  []byte // the certificate alone
	cert *x509.Certificate
}

// readRoot reads the root certificate from a file, "" for that of the login.
func (c *cli) readRoot(file string) (root, error) {
	if file == "" {
		s, err := c.loadSession()
		if err != nil {
			return root{}, err
		}
		file = s.EdgeCA
	}
	if file == "" {
		return root{}, errors.New("which certificate? Say --ca FILE; `make run` writes it to .run/ca.crt")
	}
	file, err := filepath.Abs(file)
	if err != nil {
		return root{}, fmt.Errorf("finding the root certificate: %w", err)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return root{}, fmt.Errorf("reading the root certificate: %w", err)
	}
	block, rest := pem.Decode(content)
	if block == nil || block.Type != "CERTIFICATE" {
		return root{}, fmt.Errorf("%s holds no certificate in PEM form", file)
	}
	if more, _ := pem.Decode(rest); more != nil {
		return root{}, fmt.Errorf("%s holds more than one certificate; give a file with the root alone", file)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return root{}, fmt.Errorf("reading the root certificate: %w", err)
	}
	if !cert.IsCA || cert.CheckSignatureFrom(cert) != nil {
		return root{}, fmt.Errorf("%s is no root certificate", file)
	}
	return root{file: file, pem: pem.EncodeToMemory(block), cert: cert}, nil
}

func (c *cli) printRoot(r root) {
	sum := sha256.Sum256(r.cert.Raw)
	fmt.Fprintf(c.out, "root        %s\nfile        %s\nvalid until %s\nSHA-256     %X\n",
		plain(r.cert.Subject.String()), r.file, r.cert.NotAfter.UTC().Format(time.DateOnly), sum)
}

// trustAdvice says how to trust the root in a file, this system's way first.
func trustAdvice(system, file string) string {
	quoted := "'" + strings.ReplaceAll(file, "'", `'\''`) + "'"
	ways := []struct{ system, text string }{
		{"linux", `
Debian, Ubuntu:
  sudo cp ` + quoted + ` ` + trustDir + `/` + trustName + ` && sudo update-ca-certificates
  (the same: sudo podctl trust --install --ca ` + quoted + `)
  undo: sudo rm ` + trustDir + `/` + trustName + ` && sudo update-ca-certificates --fresh

Fedora, Red Hat:
  sudo cp ` + quoted + ` /etc/pki/ca-trust/source/anchors/` + trustName + ` && sudo update-ca-trust
  undo: sudo rm /etc/pki/ca-trust/source/anchors/` + trustName + ` && sudo update-ca-trust

Chromium on Linux keeps a list of its own (certutil is in the package libnss3-tools):
  certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n podway-dev -i ` + quoted + `
  undo: certutil -d sql:$HOME/.pki/nssdb -D -n podway-dev
`},
		{"darwin", `
macOS:
  security add-trusted-cert -r trustRoot -k ~/Library/Keychains/login.keychain-db ` + quoted + `
  undo: security remove-trusted-cert ` + quoted + `
`},
		{"windows", `
Windows:
  certutil -user -addstore Root "` + file + `"
  undo: in certmgr.msc, below Trusted Root Certification Authorities
`},
	}
	var first, others string
	for _, w := range ways {
		if w.system == system {
			first += w.text
		} else {
			others += w.text
		}
	}
	return first + `
Firefox: Settings, Certificates, View Certificates, Authorities, Import; choose "identify websites".

One program only, without a change of the system:
  curl --cacert ` + quoted + ` …
  psql "… sslmode=verify-full sslrootcert=` + file + `"
  SSL_CERT_FILE=` + quoted + `        Go, Ruby, Python's ssl
  REQUESTS_CA_BUNDLE=` + quoted + `   Python's requests
  NODE_EXTRA_CA_CERTS=` + quoted + `  Node.js
` + others
}

// installRoot makes the system trust a root, if its user agrees.
func (c *cli) installRoot(ctx context.Context, system systemTrust, r root, yes bool) error {
	if info, err := os.Stat(system.dir); err != nil || !info.IsDir() {
		return fmt.Errorf("this machine has no %s; `podctl trust` without --install tells how to do it here", system.dir)
	}
	target := filepath.Join(system.dir, trustName)
	if !yes {
		fmt.Fprintf(c.out, "Every program of this machine will trust what this root signs. Copy it to %s? [y/N] ", target)
		answer, _ := bufio.NewReader(c.in).ReadString('\n') // who says nothing does not agree
		if word := strings.ToLower(strings.TrimSpace(answer)); word != "y" && word != "yes" {
			return errors.New("nothing was changed")
		}
	}
	//nolint:gosec // a certificate is for everyone to read
	if err := os.WriteFile(target, r.pem, 0o644); err != nil {
		return fmt.Errorf("installing the root certificate: %w; root may do it: sudo podctl trust --install --ca FILE", err)
	}
	update := exec.CommandContext(ctx, system.update[0], system.update[1:]...)
	update.Stdout, update.Stderr = c.err, c.err
	if err := update.Run(); err != nil {
		return fmt.Errorf("making the machine use it: %s: %w", system.update[0], err)
	}
	fmt.Fprintf(c.out, "This machine trusts it now. Undo: rm %s and %s --fresh\n", target, system.update[0])
	return nil
}
