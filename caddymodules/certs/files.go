package certs

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/certmagic"

	"github.com/tapis-project/podway/caddymodules/internal/options"
)

func init() { caddy.RegisterModule(new(Files)) }

// DefaultFilesInterval is how often the files are looked at.
const DefaultFilesInterval = 10 * time.Second

// Files serves certificates from the files of a folder, usually the wildcards of
// tenants, and reads them again when they change: each <name>.crt or <name>.pem with
// its <name>.key. A pair that can't be used changes nothing; the one before it
// serves on.
type Files struct {
	// Folder of the files. Placeholders are replaced. Required.
	Folder string `json:"folder"`

	// How often the files are looked at. Default: 10s.
	Interval caddy.Duration `json:"interval,omitempty"`

	log   *slog.Logger
	pairs map[string]*filePair                        // by the file of the certificate
	names atomic.Pointer[map[string]*tls.Certificate] // by name, wildcards as such
	stop  context.CancelFunc
}

type filePair struct {
	sum  [sha256.Size]byte // of both files
	cert *tls.Certificate
}

// CaddyModule returns the Caddy module information.
func (*Files) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "tls.get_certificate.podway_files", New: func() caddy.Module { return new(Files) }}
}

// Provision reads the files, and begins to look for changes.
func (f *Files) Provision(ctx caddy.Context) error {
	f.log, f.pairs = ctx.Slogger(), map[string]*filePair{}
	f.Folder = caddy.NewReplacer().ReplaceAll(f.Folder, "")
	if f.Folder == "" {
		return errors.New("get_certificate podway_files: no folder is given")
	}
	if f.Interval <= 0 {
		f.Interval = caddy.Duration(DefaultFilesInterval)
	}
	if err := f.read(); err != nil {
		return fmt.Errorf("reading certificates: %w", err)
	}
	watch, stop := context.WithCancel(context.Background())
	f.stop = stop
	go f.watch(watch)
	return nil
}

// Cleanup ends what Provision began.
func (f *Files) Cleanup() error {
	if f.stop != nil {
		f.stop()
	}
	return nil
}

func (f *Files) watch(ctx context.Context) {
	tick := time.NewTicker(time.Duration(f.Interval))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if err := f.read(); err != nil {
			f.log.Warn("reading certificates failed; those of before serve on", "folder", f.Folder, "error", err)
		}
	}
}

// read brings the certificates up to date with the files. They are compared by
// their content: Kubernetes replaces links, and keeps times.
func (f *Files) read() error {
	files, err := certificateFiles(f.Folder)
	if err != nil {
		return err
	}
	names := map[string]*tls.Certificate{}
	kept := map[string]*filePair{}
	for _, file := range files {
		old := f.pairs[file]
		pair, err := readPair(file, old)
		if err != nil {
			f.log.Warn("a certificate can't be used", "file", file, "error", err)
			pair = old
		}
		if pair == nil {
			continue
		}
		if pair != old {
			f.log.Info("certificate read", "file", file, "names", pair.cert.Leaf.DNSNames, "not_after", pair.cert.Leaf.NotAfter)
		}
		kept[file] = pair
		for _, name := range pair.cert.Leaf.DNSNames {
			if other := names[strings.ToLower(name)]; other == nil || pair.cert.Leaf.NotAfter.After(other.Leaf.NotAfter) {
				names[strings.ToLower(name)] = pair.cert
			}
		}
	}
	f.pairs = kept
	f.names.Store(&names)
	return nil
}

func certificateFiles(folder string) ([]string, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); ext == ".crt" || ext == ".pem" {
			files = append(files, filepath.Join(folder, e.Name()))
		}
	}
	return files, nil
}

// readPair reads a certificate and its key. It returns old if they are the same.
func readPair(file string, old *filePair) (*filePair, error) {
	cert, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	key, err := os.ReadFile(strings.TrimSuffix(file, filepath.Ext(file)) + ".key")
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(append(append([]byte{}, cert...), key...))
	if old != nil && old.sum == sum {
		return old, nil
	}
	pair, err := tls.X509KeyPair(cert, key) // checks that they belong together
	if err != nil {
		return nil, err
	}
	return &filePair{sum: sum, cert: &pair}, nil
}

// GetCertificate implements [certmagic.Manager]. Nil means that no file is for the
// name, and that others may have a certificate.
func (f *Files) GetCertificate(_ context.Context, hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	names := *f.names.Load()
	name := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	cert := names[name]
	if cert == nil {
		_, domain, _ := strings.Cut(name, ".")
		cert = names["*."+domain]
	}
	if cert == nil || time.Now().After(cert.Leaf.NotAfter) {
		return nil, nil //nolint:nilnil // as the interface has it
	}
	return cert, nil
}

// UnmarshalCaddyfile sets up the module from Caddyfile tokens. Syntax:
//
//	podway_files <folder> {
//		interval <duration>
//	}
func (f *Files) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume module name
	if !d.AllArgs(&f.Folder) {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		if d.Val() != "interval" {
			return d.Errf("unrecognized subdirective %q", d.Val())
		}
		if err := options.Duration(d, &f.Interval); err != nil {
			return err
		}
	}
	return nil
}

// Interface guards
var (
	_ certmagic.Manager     = (*Files)(nil)
	_ caddy.Provisioner     = (*Files)(nil)
	_ caddy.CleanerUpper    = (*Files)(nil)
	_ caddyfile.Unmarshaler = (*Files)(nil)
)
