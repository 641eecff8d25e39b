package files

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

func TestAdopt(t *testing.T) {
	dir := t.TempDir()
	tree, err := OpenTree(dir)
	if err != nil {
		t.Fatal(err)
	}
	key := pods.VolumeKey{Kind: pods.KindVolume, Tenant: "dev", ID: "data"}
	if found, err := tree.Adopt(key, "one"); found || err != nil {
		t.Errorf("got %v and %v, want that there is none", found, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("got %v and %v, want nothing made where the share may be missing", entries, err)
	}
	folder := filepath.Join(dir, key.String())
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "note"), []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if found, err := tree.Adopt(key, "one"); !found || err != nil {
			t.Fatalf("got %v and %v, want it adopted", found, err)
		}
	}
	files, _, err := tree.list(t.Context(), key, "one", ".")
	if err != nil || len(files) != 1 || files[0].Name() != "note" {
		t.Errorf("got %v and %v, want the file that was there", files, err)
	}
	if info, err := os.Stat(folder); err != nil || info.Mode().Perm() != dirMode {
		t.Errorf("got %v and %v, want a folder that pods can write to", info.Mode(), err)
	}
	if _, err := tree.Adopt(key, "two"); pods.ErrorCode(err) != pods.Conflict {
		t.Errorf("got %v, want a conflict", err)
	}
	key.ID = "link"
	if err := os.Symlink("/etc", filepath.Join(dir, key.String())); err != nil {
		t.Fatal(err)
	}
	if _, err := tree.Adopt(key, "three"); pods.ErrorCode(err) != pods.Conflict {
		t.Errorf("got %v for a symbolic link, want a conflict", err)
	}
	key.Tenant = ".."
	if _, err := tree.Adopt(key, "three"); pods.ErrorCode(err) != pods.Invalid {
		t.Errorf("got %v for a tenant that is a path, want it refused", err)
	}
}
