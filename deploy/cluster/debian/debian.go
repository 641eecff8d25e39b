// Package debian reads Debian packages without installing them: it has apt-get
// resolve and download them, and gives out the files inside. Nothing of the
// machine's own package state is read or changed, and no root is needed.
//
//	debs, err := debian.Cache{Dir: ".cache/debs"}.Fetch(ctx, debian.Query{Packages: []string{"runc"}})
//	err = debian.Walk(ctx, debs, func(h *tar.Header, content io.Reader) error { … })
package debian

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Cache is where packages are kept. It is not safe for concurrent use.
type Cache struct {
	Dir string
}

// Query names packages. What they depend on comes with them, as on a machine
// where nothing is installed yet, except what Skip matches.
type Query struct {
	Packages []string
	Skip     *regexp.Regexp // of package names; nil skips none
	Alone    bool           // without what they depend on
}

// Fetch downloads what is not in the cache yet and returns the paths of all
// packages of the query.
func (c Cache) Fetch(ctx context.Context, q Query) ([]string, error) {
	if err := os.MkdirAll(c.Dir, 0o750); err != nil {
		return nil, fmt.Errorf("making the folder of packages: %w", err)
	}
	debs, err := c.fetch(ctx, q)
	if err == nil {
		return debs, nil
	}
	// The machine's package lists may be missing, or older than what the mirror
	// still has; ours are our own business.
	if _, updateErr := c.apt(ctx, "update"); updateErr != nil {
		return nil, errors.Join(err, updateErr)
	}
	return c.fetch(ctx, q)
}

func (c Cache) fetch(ctx context.Context, q Query) ([]string, error) {
	out, err := c.apt(ctx, append([]string{"install", "--simulate"}, q.Packages...)...)
	if err != nil {
		return nil, err
	}
	var debs, missing []string
	for _, p := range parseSimulation(out) {
		if q.Skip != nil && q.Skip.MatchString(p.name) || q.Alone && !slices.Contains(q.Packages, p.name) {
			continue
		}
		path := filepath.Join(c.Dir, p.file())
		if _, err := os.Stat(path); err != nil {
			missing = append(missing, p.name+"="+p.version)
		}
		debs = append(debs, path)
	}
	if len(debs) == 0 {
		return nil, fmt.Errorf("apt-get resolved %s to nothing", strings.Join(q.Packages, " "))
	}
	if len(missing) > 0 {
		_, err = c.apt(ctx, append([]string{"download"}, missing...)...)
	}
	return debs, err
}

// apt runs apt-get in the cache's folder, with an empty list of what is
// installed.
func (c Cache) apt(ctx context.Context, args ...string) ([]byte, error) {
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return nil, err
	}
	for _, sub := range []string{"apt/lists/partial", "apt/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o750); err != nil {
			return nil, fmt.Errorf("making a folder for apt-get: %w", err)
		}
	}
	status := filepath.Join(dir, "apt", "status")
	if err := os.WriteFile(status, nil, 0o644); err != nil { //nolint:gosec // apt-get may drop to another user
		return nil, fmt.Errorf("making a status for apt-get: %w", err)
	}
	options := []string{
		"--yes", "--quiet=2", "--no-install-recommends",
		"-o", "Dir::State::status=" + status,
		"-o", "Dir::Cache::archives=" + filepath.Join(dir, "apt", "archives"),
		"-o", "Debug::NoLocking=1", // nothing that others lock is touched
		"-o", "APT::Sandbox::User=root", // another may not enter our folder
	}
	lists := filepath.Join(dir, "apt", "lists")
	if own, _ := filepath.Glob(filepath.Join(lists, "*Packages*")); len(own) > 0 || args[0] == "update" {
		options = append(options, "-o", "Dir::State::lists="+lists)
	}
	cmd := exec.CommandContext(ctx, "apt-get", append(options, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("running apt-get %s: %w: %s", args[0], err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out, nil
}

// pkg is one package that apt-get would install.
type pkg struct{ name, version, arch string }

// file returns the name apt-get gives to the package's file.
func (p pkg) file() string {
	return p.name + "_" + strings.ReplaceAll(p.version, ":", "%3a") + "_" + p.arch + ".deb"
}

// simulated matches a line of a simulation:
//
//	Inst runc (1.1.5+ds1-1+deb12u1 Debian:12.11/oldstable [amd64])
var simulated = regexp.MustCompile(`^Inst (\S+) \((\S+) .*\[(\w+)\]\)`)

func parseSimulation(out []byte) []pkg {
	var pkgs []pkg
	for line := range strings.Lines(string(out)) {
		if m := simulated.FindStringSubmatch(line); m != nil {
			pkgs = append(pkgs, pkg{name: m[1], version: m[2], arch: m[3]})
		}
	}
	return pkgs
}

// Walk calls file for everything in the packages, in order. Names are as in the
// packages, "./usr/bin/x".
func Walk(ctx context.Context, debs []string, file func(h *tar.Header, content io.Reader) error) error {
	for _, deb := range debs {
		if err := walk(ctx, deb, file); err != nil {
			return fmt.Errorf("reading package %s: %w", filepath.Base(deb), err)
		}
	}
	return nil
}

func walk(ctx context.Context, deb string, file func(*tar.Header, io.Reader) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends dpkg-deb if we stop early
	cmd := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", deb)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	if err := walkTar(stdout, file); err != nil {
		cancel()
		_ = cmd.Wait() // it failed because of us
		return err
	}
	return cmd.Wait()
}

func walkTar(r io.Reader, file func(*tar.Header, io.Reader) error) error {
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			_, err = io.Copy(io.Discard, r) // the padding, or dpkg-deb fails writing it
			return err
		}
		if err != nil {
			return err
		}
		if err := file(h, tr); err != nil {
			return err
		}
	}
}
