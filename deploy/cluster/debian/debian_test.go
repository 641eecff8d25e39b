package debian

import (
	"archive/tar"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

func TestSimulationsAreRead(t *testing.T) {
	out := []byte("Reading package lists...\n" +
		"Inst libgcc-s1 (12.2.0-14+deb12u1 Debian:12.11/oldstable [amd64]) []\n" +
		"Inst mysql-common (5.8+1.1.0 Debian:12.11/oldstable [all])\n" +
		"Inst tar (2:1.34 Debian:12.11/oldstable, Debian-Security:12/oldstable-security [arm64])\n" +
		"Conf libgcc-s1 (12.2.0-14+deb12u1 Debian:12.11/oldstable [amd64])\n")
	var got []string
	for _, p := range parseSimulation(out) {
		got = append(got, p.file())
	}
	want := []string{"libgcc-s1_12.2.0-14+deb12u1_amd64.deb", "mysql-common_5.8+1.1.0_all.deb", "tar_2%3a1.34_arm64.deb"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestWalkGivesTheFilesOfAPackage(t *testing.T) {
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		t.Skip("no dpkg-deb on this machine")
	}
	root := filepath.Join(t.TempDir(), "root")
	write(t, filepath.Join(root, "DEBIAN/control"), "Package: x\nVersion: 1\nArchitecture: all\nMaintainer: x\nDescription: x\n")
	write(t, filepath.Join(root, "usr/share/x/hello"), "hello")
	deb := filepath.Join(t.TempDir(), "x.deb")
	if out, err := exec.CommandContext(t.Context(), "dpkg-deb", "--build", root, deb).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	found := make(map[string]string)
	err := Walk(t.Context(), []string{deb}, func(h *tar.Header, content io.Reader) error {
		b, err := io.ReadAll(content)
		if h.Typeflag == tar.TypeReg {
			found[h.Name] = string(b)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 1 || found["./usr/share/x/hello"] != "hello" {
		t.Errorf("got %v, want the one file", found)
	}
	if err := Walk(t.Context(), []string{filepath.Join(root, "usr/share/x/hello")}, nil); err == nil {
		t.Error("got no error for what is no package")
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
