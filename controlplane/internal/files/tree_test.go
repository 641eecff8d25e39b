package files

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

func TestCreateMakesAFolderThatAllPodsCanWriteTo(t *testing.T) {
	tree := newTree(t)
	k := key("data")
	for range 2 { // the second time it does nothing
		if err := tree.create(k, "uid1"); err != nil {
			t.Fatal(err)
		}
	}
	for dir, want := range map[string]os.FileMode{k.String(): 0o777, "dev/volumes": 0o711, "dev": 0o711, stateDir: 0o700} {
		info, err := os.Stat(filepath.Join(tree.Dir(), dir))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s: got mode %v, want %v", dir, got, want)
		}
	}
}

func TestCreateTakesNobodysFolder(t *testing.T) {
	for _, c := range []struct {
		name string
		prep func(t *testing.T, tree *Tree)
	}{
		{"a folder of another volume", func(t *testing.T, tree *Tree) { wantCode(t, "create", tree.create(key("data"), "uid1"), "") }},
		{"a folder that nobody made", func(t *testing.T, tree *Tree) { fillDir(t, tree.Dir(), "dev/volumes/data/") }},
		{"a link to elsewhere", func(t *testing.T, tree *Tree) { fillDir(t, tree.Dir(), "dev/volumes/data -> ../../.podway") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			tree := newTree(t)
			c.prep(t, tree)
			before := contents(t, tree.Dir())
			wantCode(t, "create", tree.create(key("data"), "uid2"), pods.Conflict)
			if got := contents(t, tree.Dir()); !reflect.DeepEqual(got, before) {
				t.Errorf("got %v, want %v", got, before)
			}
			_, err := tree.stat(key("data"), "uid2", ".")
			wantCode(t, "stat", err, pods.Unavailable)
		})
	}
}

func TestNamesThatCantBeFoldersAreRefused(t *testing.T) {
	tree := newTree(t)
	for _, k := range []pods.VolumeKey{
		{Kind: pods.KindVolume, Tenant: "..", ID: "data"},
		{Kind: pods.KindVolume, Tenant: ".podway", ID: "data"},
		{Kind: pods.KindVolume, Tenant: "dev", ID: "../data"},
		{Kind: pods.KindVolume, Tenant: "dev", ID: ""},
		{Kind: pods.KindVolume, Tenant: "a/b", ID: "data"},
		{Kind: "x/../..", Tenant: "dev", ID: "data"},
		{Kind: pods.KindPod, Tenant: "dev", ID: "data"},
	} {
		wantCode(t, k.String(), tree.create(k, "uid"), pods.Invalid)
		_, err := tree.stat(k, "uid", ".")
		wantCode(t, k.String(), err, pods.Invalid)
		wantCode(t, k.String(), tree.bury(k, "uid"), pods.Invalid)
	}
	if err := tree.purge("../owners"); err == nil {
		t.Error("got no error for a uid that is a path")
	}
}

func TestBuryAndPurge(t *testing.T) {
	tree := newTree(t)
	k := key("data")
	newVolume(t, tree, k, "a/b", "a/c -> /etc")
	newVolume(t, tree, key("other"), "keep")
	for range 2 {
		if err := tree.bury(k, uidOf(k)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Lstat(filepath.Join(tree.Dir(), k.String())); !os.IsNotExist(err) {
		t.Fatalf("got %v, want a folder that is out of reach", err)
	}
	want := map[string]string{"a/": "", "a/b": "a/b", "a/c": "-> /etc"}
	if got := contents(t, filepath.Join(tree.Dir(), tombstonesDir, uidOf(k))); !reflect.DeepEqual(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	// Another volume has the name now: neither of the two harms it.
	if err := tree.create(k, "second"); err != nil {
		t.Fatal(err)
	}
	fillDir(t, filepath.Join(tree.Dir(), k.String()), "new")
	for range 2 {
		if err := tree.bury(k, uidOf(k)); err != nil {
			t.Fatal(err)
		}
		if err := tree.purge(uidOf(k)); err != nil {
			t.Fatal(err)
		}
	}
	if got := contents(t, filepath.Join(tree.Dir(), tombstonesDir)); len(got) != 0 {
		t.Errorf("got %v, want nothing left of the deleted volume", got)
	}
	if got := contents(t, filepath.Join(tree.Dir(), "dev")); got["volumes/data/new"] == "" || got["volumes/other/keep"] == "" {
		t.Errorf("got %v, want the other volumes whole", got)
	}
}

// TestBuryAfterACrash cuts bury off after each of its steps.
func TestBuryAfterACrash(t *testing.T) {
	t.Run("between the rename and the removal of the mark", func(t *testing.T) {
		tree := newTree(t)
		k := key("data")
		dir := newVolume(t, tree, k, "old")
		if err := os.Rename(dir, filepath.Join(tree.Dir(), tombstonesDir, uidOf(k))); err != nil {
			t.Fatal(err)
		}
		// The next volume may come before the next attempt to bury.
		if err := tree.create(k, "second"); err != nil {
			t.Fatal(err)
		}
		if err := tree.bury(k, uidOf(k)); err != nil {
			t.Fatal(err)
		}
		if _, err := tree.stat(k, "second", "."); err != nil {
			t.Errorf("the new volume: %v", err)
		}
	})
	t.Run("between the mark and the folder of create", func(t *testing.T) {
		tree := newTree(t)
		k := key("data")
		root, err := tree.claim(k, "uid1")
		if err != nil {
			t.Fatal(err)
		}
		root.Close()
		if err := tree.bury(k, "uid1"); err != nil {
			t.Fatal(err)
		}
		if err := tree.create(k, "uid2"); err != nil {
			t.Fatal(err)
		}
	})
}

func TestPurgeRemovesFoldersThatMayNotBeWrittenTo(t *testing.T) {
	tree := newTree(t)
	k := key("data")
	dir := newVolume(t, tree, k, "a/b/c")
	for _, d := range []string{"a/b", "a"} {
		if err := os.Chmod(filepath.Join(dir, d), 0o500); err != nil {
			t.Fatal(err)
		}
	}
	if err := tree.bury(k, uidOf(k)); err != nil {
		t.Fatal(err)
	}
	if err := tree.purge(uidOf(k)); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, filepath.Join(tree.Dir(), tombstonesDir)); len(got) != 0 {
		t.Errorf("got %v, want nothing", got)
	}
}
