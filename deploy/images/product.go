package main

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/tapis-project/podway/deploy/cluster/image"
)

// user is what the programs run as, by its number, so that Kubernetes can tell that
// it is not root.
const user = 65532

// zones is where the time zones are, in the form that Go reads.
const zones = "/usr/share/zoneinfo.zip"

// product is one image.
type product struct {
	name        string // of the image; the program is /usr/bin/<program>
	program     string
	folder      string // of its main package
	description string
	command     []string // arguments unless the pod brings its own
	ports       []string
	files       map[string]string // path in the image → path in the repository
}

var products = []product{
	{
		name: "control-plane", program: "podway", folder: "./controlplane",
		description: "Control plane of Podway: the REST API and the reconciler",
		command:     []string{"serve"}, ports: []string{"8000/tcp"},
	},
	{
		name: "edge", program: "podway-edge", folder: "./edge",
		description: "Edge of Podway: leads TLS connections to pods by host name",
		command:     []string{"run", "--config", "/etc/podway/Caddyfile", "--adapter", "caddyfile"},
		// Not 443: a container without capabilities may not open it everywhere.
		ports: []string{"8443/tcp", "8443/udp"},
		files: map[string]string{"/etc/podway/Caddyfile": "Caddyfile.example"},
	},
}

// fill writes the image's file system.
func (p product) fill(l *image.Layer, program, goRoot string, sbom []byte) error {
	errs := []error{
		l.Copy("/usr/bin/"+p.program, 0o755, program),
		l.File("/etc/ssl/certs/ca-certificates.crt", 0o644, authorities()),
		l.File("/etc/passwd", 0o644, "root:x:0:0::/:/nonexistent\npodway:x:65532:65532::/var/lib/podway:/nonexistent\n"),
		l.File("/etc/group", 0o644, "root:x:0:\npodway:x:65532:\n"),
		// Without it Go asks the name service before /etc/hosts.
		l.File("/etc/nsswitch.conf", 0o644, "hosts: files dns\n"),
		l.File("/usr/share/sbom/"+p.program+".cdx.json", 0o644, string(sbom)),
		// Those of the compiler, so that every machine builds the same image.
		l.Copy(zones, 0o644, filepath.Join(goRoot, "lib", "time", "zoneinfo.zip")),
		l.Dir("/tmp", 0o1777, 0, 0),
		l.Dir("/var/lib/podway", 0o700, user, user),
	}
	for to, from := range p.files {
		errs = append(errs, l.Copy(to, 0o644, from))
	}
	return errors.Join(errs...)
}

// root returns the root of the repository: the nearest folder above with a go.mod.
func root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("no go.mod here or above: run it in the repository")
		}
		dir = filepath.Dir(dir)
	}
}
