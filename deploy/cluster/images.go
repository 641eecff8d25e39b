//go:build linux

package main

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/tapis-project/podway/deploy/cluster/debian"
	"github.com/tapis-project/podway/deploy/cluster/image"
)

//go:embed images/postgres-entrypoint.sh
var postgresEntrypoint string

//go:embed images/mariadb-entrypoint.sh
var mariadbEntrypoint string

// recipe is something that is built once and kept.
type recipe struct {
	name  string
	path  string   // of the result
	files []string // of the machine that go in; a change of one builds it again
	build func(ctx context.Context, path string) error
}

// recipes returns everything the node is made of, beside programs.
func (c *cluster) recipes() []recipe {
	at := func(name string) string { return filepath.Join(c.images(), name) }
	return []recipe{
		{name: "node's file system", path: c.nodeTar(), build: c.buildNode},
		{name: "image pause", path: at("pause"), files: []string{c.bin("pause")}, build: c.buildPause},
		{name: "image podway/hello", path: at("hello"), files: []string{c.bin("podway")}, build: c.buildHello},
		{name: "image busybox", path: at("busybox"), build: c.buildBusybox},
		{name: "image postgres", path: at("postgres"), build: c.buildPostgres},
		{name: "image mariadb", path: at("mariadb"), build: c.buildMariaDB},
		{name: "image redis", path: at("redis"), build: c.buildRedis},
	}
}

// buildImages builds what is missing or was built from something else.
func (c *cluster) buildImages(ctx context.Context) error {
	if err := os.MkdirAll(c.images(), 0o755); err != nil { //nolint:gosec // root reads it too
		return fmt.Errorf("making the folder of images: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	for _, r := range c.recipes() {
		// The recipes are in this program.
		key, err := sumFiles(append([]string{self}, r.files...))
		if err != nil {
			return err
		}
		keyFile := r.path + ".key"
		if have, err := os.ReadFile(keyFile); err == nil && string(have) == key {
			continue
		}
		fmt.Printf("building the %s\n", r.name)
		if err := r.build(ctx, r.path); err != nil {
			return fmt.Errorf("building the %s: %w", r.name, err)
		}
		if err := os.WriteFile(keyFile, []byte(key), 0o600); err != nil {
			return fmt.Errorf("keeping the key of the %s: %w", r.name, err)
		}
	}
	return nil
}

// sumFiles returns a hash of the contents.
func sumFiles(paths []string) (string, error) {
	sum := sha256.New()
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return "", fmt.Errorf("reading what an image is made of: %w", err)
		}
		_, err = io.Copy(sum, f)
		f.Close()
		if err != nil {
			return "", fmt.Errorf("reading what an image is made of: %w", err)
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// unneeded are packages that servers depend on to be installed and managed, not
// to run.
var unneeded = regexp.MustCompile(`^(adduser|debconf|dpkg|init-system-helpers|locales|lsb-base|netbase|openssl|passwd|perl.*|` +
	`lib.*perl.*|libllvm\d+|libz3-4|libc-l10n|libpam-modules.*|postgresql|postgresql-common|postgresql-client-common|` +
	`readline-common|sensible-utils|ssl-cert|sysvinit-utils|tar|ucf|usrmerge)$`)

// unneededFiles are parts of packages that nothing here reads.
var unneededFiles = regexp.MustCompile(`^\./usr/(share/(doc|doc-base|info|lintian|locale|man|bug)/|lib/[^/]+/(gconv|perl)|` +
	`lib/postgresql/\d+/lib/(bitcode|llvmjit))|^\./(etc/(init\.d|default|cron\.\w+)|lib/systemd|usr/lib/systemd)/`)

// addPackages fetches packages and adds their files to a layer. It calls seen,
// which may be nil, for each file.
func (c *cluster) addPackages(ctx context.Context, l *image.Layer, seen func(path string) error, names ...string) error {
	debs, err := debian.Cache{Dir: c.packages()}.Fetch(ctx, debian.Query{Packages: names, Skip: unneeded})
	if err != nil {
		return err
	}
	if err := l.MergeUsr(); err != nil {
		return err
	}
	return debian.Walk(ctx, debs, func(h *tar.Header, content io.Reader) error {
		if unneededFiles.MatchString(h.Name) {
			return nil
		}
		if err := l.Entry(h, content); err != nil || seen == nil {
			return err
		}
		return seen(strings.TrimPrefix(h.Name, "."))
	})
}

// version returns the part of a package's file name that the expression's group
// matches: the version of the server that Debian has.
func (c *cluster) version(ctx context.Context, pkg string, expression *regexp.Regexp) (string, error) {
	debs, err := debian.Cache{Dir: c.packages()}.Fetch(ctx, debian.Query{Packages: []string{pkg}, Skip: unneeded})
	if err != nil {
		return "", err
	}
	for _, deb := range debs {
		if m := expression.FindStringSubmatch(filepath.Base(deb)); m != nil {
			return m[1], nil
		}
	}
	return "", fmt.Errorf("there is no version of %s among its packages", pkg)
}

// addShell adds links for the programs in busybox that no package brought. The
// package busybox-static must be among the layer's.
func (c *cluster) addShell(ctx context.Context, l *image.Layer) error {
	applets, err := c.applets(ctx)
	if err != nil {
		return err
	}
	errs := []error{
		l.Dir("/tmp", 0o1777, 0, 0), l.Dir("/root", 0o700, 0, 0), l.Dir("/run", 0o755, 0, 0), l.Link("/var/run", "/run"),
		l.File("/etc/nsswitch.conf", 0o644, "passwd: files\ngroup: files\nhosts: files dns\n"),
	}
	for _, a := range applets {
		errs = append(errs, l.Link("/usr/bin/"+a, "busybox"))
	}
	return errors.Join(errs...)
}

// applets asks busybox which programs it holds.
func (c *cluster) applets(ctx context.Context) ([]string, error) {
	debs, err := debian.Cache{Dir: c.packages()}.Fetch(ctx, debian.Query{Packages: []string{"busybox-static"}})
	if err != nil {
		return nil, err
	}
	f, err := os.CreateTemp("", "busybox-") // it does by its name what the name says
	if err != nil {
		return nil, fmt.Errorf("unpacking busybox: %w", err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	err = debian.Walk(ctx, debs, func(h *tar.Header, content io.Reader) error {
		if filepath.Base(h.Name) != "busybox" || h.Typeflag != tar.TypeReg || h.Mode&0o111 == 0 {
			return nil
		}
		_, err := io.Copy(f, content)
		return err
	})
	if err := errors.Join(err, f.Chmod(0o700), f.Close()); err != nil {
		return nil, fmt.Errorf("unpacking busybox: %w", err)
	}
	out, err := exec.CommandContext(ctx, f.Name(), "--list").Output()
	if err != nil {
		return nil, fmt.Errorf("asking busybox for its programs: %w", err)
	}
	return strings.Fields(string(out)), nil
}

// passwd is the users of an image: root, and one for its server.
func passwd(l *image.Layer, user, home string) error {
	return errors.Join(
		l.File("/etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\n"+user+":x:999:999::"+home+":/bin/sh\n"),
		l.File("/etc/group", 0o644, "root:x:0:\n"+user+":x:999:\n"),
	)
}

// buildNode makes the file system that the node's own programs run in.
func (c *cluster) buildNode(ctx context.Context, path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	l := image.NewLayer(f)
	err = c.addPackages(ctx, l, nil,
		"busybox-static", "containerd", "runc", "containernetworking-plugins", "nftables", "iproute2", "mount", "ca-certificates")
	if err != nil {
		return err
	}
	return errors.Join(c.addShell(ctx, l),
		l.File("/etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\n"),
		l.File("/etc/group", 0o644, "root:x:0:\n"),
		l.File("/etc/hosts", 0o644, "127.0.0.1 localhost "+nodeName+"\n"),
		l.File("/etc/resolv.conf", 0o644, ""),
		l.Close())
}

func (c *cluster) buildPause(_ context.Context, path string) error {
	return image.Build(path, image.Config{
		Names: []string{pauseImage}, Entrypoint: []string{"/pause"}, User: "65535:65535",
	}, func(l *image.Layer) error {
		return l.Copy("/pause", 0o755, c.bin("pause"))
	})
}

// buildHello makes an image of the program behind podway/hello, which is part of
// podway.
func (c *cluster) buildHello(_ context.Context, path string) error {
	return image.Build(path, image.Config{
		Names:      []string{"docker.io/podway/hello:latest", "docker.io/podway/hello:1"},
		Entrypoint: []string{"/podway", "hello"}, User: "65532:65532", Ports: []string{"5000/tcp"},
	}, func(l *image.Layer) error {
		return errors.Join(l.Dir("/tmp", 0o1777, 0, 0), l.Copy("/podway", 0o755, c.bin("podway")))
	})
}

func (c *cluster) buildBusybox(ctx context.Context, path string) error {
	return image.Build(path, image.Config{
		Names: []string{"docker.io/library/busybox:latest", "docker.io/library/busybox:1"}, Cmd: []string{"sh"},
	}, func(l *image.Layer) error {
		return errors.Join(c.addPackages(ctx, l, nil, "busybox-static"), c.addShell(ctx, l), passwd(l, "user", "/tmp"))
	})
}

func (c *cluster) buildPostgres(ctx context.Context, path string) error {
	version, err := c.version(ctx, "postgresql", regexp.MustCompile(`^postgresql-(\d+)_`))
	if err != nil {
		return err
	}
	return image.Build(path, image.Config{
		Names:      []string{"docker.io/library/postgres:latest", "docker.io/library/postgres:" + version},
		Entrypoint: []string{"docker-entrypoint.sh"}, Cmd: []string{"postgres"},
		Env: []string{"PGDATA=/var/lib/postgresql/data", "LANG=C.UTF-8", "PG_MAJOR=" + version},
		// The official image starts as root and changes to this user; pods that
		// must not run as root see no difference.
		User: "999:999", Ports: []string{"5432/tcp"}, StopSignal: "SIGINT",
	}, func(l *image.Layer) error {
		programs := "/usr/lib/postgresql/" + version + "/bin/"
		link := func(path string) error {
			if name, ok := strings.CutPrefix(path, programs); ok && name != "" {
				return l.Link("/usr/local/bin/"+name, path)
			}
			return nil
		}
		if err := c.addPackages(ctx, l, link, "postgresql", "busybox-static", "libc-bin", "tzdata"); err != nil {
			return err
		}
		return errors.Join(c.addShell(ctx, l), passwd(l, "postgres", "/var/lib/postgresql"),
			l.Dir("/var/lib/postgresql", 0o755, 999, 999), l.Dir("/var/lib/postgresql/data", 0o700, 999, 999),
			l.Dir("/run/postgresql", 0o2777, 999, 999),
			l.Link("/etc/localtime", "/usr/share/zoneinfo/Etc/UTC"),
			l.File("/usr/local/bin/docker-entrypoint.sh", 0o755, postgresEntrypoint))
	})
}

func (c *cluster) buildMariaDB(ctx context.Context, path string) error {
	version, err := c.version(ctx, "mariadb-server-core", regexp.MustCompile(`^mariadb-server-core_(?:\d+%3a)?(\d+\.\d+)\.`))
	if err != nil {
		return err
	}
	return image.Build(path, image.Config{
		Names:      []string{"docker.io/library/mariadb:latest", "docker.io/library/mariadb:" + version},
		Entrypoint: []string{"docker-entrypoint.sh"}, Cmd: []string{"mariadbd"},
		Env:  []string{"LANG=C.UTF-8", "MARIADB_VERSION=" + version},
		User: "999:999", Ports: []string{"3306/tcp"},
	}, func(l *image.Layer) error {
		if err := c.addPackages(ctx, l, nil, "mariadb-server-core", "mariadb-client-core", "busybox-static", "libc-bin"); err != nil {
			return err
		}
		return errors.Join(c.addShell(ctx, l), passwd(l, "mysql", "/var/lib/mysql"),
			l.Dir("/var/lib/mysql", 0o700, 999, 999), l.Dir("/run/mysqld", 0o777, 999, 999),
			l.File("/usr/local/bin/docker-entrypoint.sh", 0o755, mariadbEntrypoint))
	})
}

// buildRedis makes an image for the chart's Redis.
func (c *cluster) buildRedis(ctx context.Context, path string) error {
	version, err := c.version(ctx, "redis-tools", regexp.MustCompile(`^redis-tools_(?:\d+%3a)?(\d+\.\d+)\.`))
	if err != nil {
		return err
	}
	return image.Build(path, image.Config{
		Names: []string{"docker.io/library/redis:latest", "docker.io/library/redis:" + version},
		Cmd:   []string{"redis-server"}, Env: []string{"LANG=C.UTF-8"},
		User: "999:999", WorkingDir: "/data", Ports: []string{"6379/tcp"},
	}, func(l *image.Layer) error {
		if err := c.addPackages(ctx, l, nil, "redis-tools", "busybox-static", "libc-bin"); err != nil {
			return err
		}
		return errors.Join(c.addShell(ctx, l), passwd(l, "redis", "/data"), l.Dir("/data", 0o700, 999, 999),
			l.Link("/usr/bin/redis-server", "redis-check-rdb"))
	})
}
