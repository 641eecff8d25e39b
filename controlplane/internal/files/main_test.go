package files

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// limit bounds the wait for anything, on a machine that does much else.
const limit = 60 * time.Second

func TestMain(m *testing.M) {
	// What is made must not depend on it.
	syscall.Umask(0o077)
	goleak.VerifyTestMain(m)
}

func key(id string) pods.VolumeKey {
	return pods.VolumeKey{Kind: pods.KindVolume, Tenant: "dev", ID: id}
}

func snapshotKey(id string) pods.VolumeKey {
	return pods.VolumeKey{Kind: pods.KindSnapshot, Tenant: "dev", ID: id}
}

// uidOf is the UID of the first volume with a key.
func uidOf(k pods.VolumeKey) string { return "uid" + string(k.Kind) + k.ID }

func newTree(t testing.TB) *Tree {
	t.Helper()
	tree, err := OpenTree(filepath.Join(t.TempDir(), "root"))
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.init(); err != nil {
		t.Fatal(err)
	}
	return tree
}

// newVolume makes the folder of a volume and fills it: a name that ends in "/" is
// a folder, one with " -> " a symbolic link, any other a file that holds its own
// path.
func newVolume(t testing.TB, tree *Tree, k pods.VolumeKey, names ...string) string {
	t.Helper()
	if err := tree.create(k, uidOf(k)); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(tree.Dir(), k.String())
	fillDir(t, dir, names...)
	return dir
}

func fillDir(t testing.TB, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		path := filepath.Join(dir, name)
		link, target, isLink := strings.Cut(name, " -> ")
		var err error
		switch {
		case isLink:
			path = filepath.Join(dir, link)
			err = os.MkdirAll(filepath.Dir(path), 0o777)
			if err == nil {
				err = os.Symlink(target, path)
			}
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(path, 0o777)
		default:
			err = os.MkdirAll(filepath.Dir(path), 0o777)
			if err == nil {
				err = os.WriteFile(path, []byte(name), 0o666)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// tree lists everything below a folder: folders with "/", files with what they
// hold, links with what they say.
func contents(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		switch {
		case err != nil || name == ".":
			return err
		case info.IsDir():
			all[name+"/"] = ""
		case info.Mode().Type() == os.ModeSymlink:
			target, err := os.Readlink(path)
			all[name] = "-> " + target
			return err
		case info.Mode().IsRegular():
			b, err := os.ReadFile(path)
			all[name] = string(b)
			return err
		default:
			all[name] = info.Mode().Type().String()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func wantCode(t testing.TB, what string, err error, want pods.Code) {
	t.Helper()
	if got := pods.ErrorCode(err); got != want {
		t.Fatalf("%s: got code %q (%v), want %q", what, got, err, want)
	}
}
