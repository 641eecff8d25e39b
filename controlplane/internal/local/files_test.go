package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

func TestFilesAreCopied(t *testing.T) {
	c := open(t, stateDir(t))
	w := workload("web", "podway/hello")
	ready(t, c, w)
	dir := t.TempDir()
	content := strings.Repeat("\x00binary\r\n", 10_000)
	for _, size := range []int64{int64(len(content)), -1} {
		path := filepath.Join(dir, fmt.Sprint("new/folder/file", size))
		for range 2 { // the second one replaces the first
			if err := c.CopyTo(t.Context(), w.Key, path, size, strings.NewReader(content)); err != nil {
				t.Fatal(err)
			}
		}
		info, r, err := c.CopyFrom(t.Context(), w.Key, path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		got, err := io.ReadAll(r)
		if err != nil || string(got) != content || info.Size != int64(len(content)) || info.Name != filepath.Base(path) {
			t.Errorf("got %d bytes, %+v and %v, want the file", len(got), info, err)
		}
	}
	list, err := c.ListFiles(t.Context(), w.Key, filepath.Join(dir, "new/folder"))
	if err != nil || len(list) != 2 || list[0].Name != "file-1" || list[0].Mode.Perm()&0o600 != 0o600 {
		t.Errorf("got %+v and %v, want two files", list, err)
	}
	list, err = c.ListFiles(t.Context(), w.Key, filepath.Join(dir, "new/folder/file-1"))
	if err != nil || len(list) != 1 || list[0].Name != "file-1" {
		t.Errorf("got %+v and %v, want the file itself", list, err)
	}
}

func TestFilesThatCantBeCopied(t *testing.T) {
	c := open(t, stateDir(t))
	w := workload("web", "podway/hello")
	ready(t, c, w)
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("as it was"), 0o600); err != nil {
		t.Fatal(err)
	}
	to := func(path string) error { return c.CopyTo(t.Context(), w.Key, path, 3, strings.NewReader("new")) }
	from := func(path string) error { _, _, err := c.CopyFrom(t.Context(), w.Key, path); return err }
	list := func(path string) error { _, err := c.ListFiles(t.Context(), w.Key, path); return err }
	for _, tt := range []struct {
		name string
		do   func(string) error
		path string
		want pods.Code
	}{
		{"to a folder", to, dir, pods.Invalid},
		{"to below a file", to, dir + "/file/x", pods.Invalid},
		{"to a relative path", to, "x", pods.Invalid},
		{"to a path with dots", to, dir + "/../x", pods.Invalid},
		{"from nothing", from, dir + "/nothing", pods.NotFound},
		{"from a folder", from, dir, pods.Invalid},
		{"from a pipe", from, pipe, pods.Invalid},
		{"from below a file", from, dir + "/file/x", pods.Invalid},
		{"from a relative path", from, "x", pods.Invalid},
		{"a list of nothing", list, dir + "/nothing", pods.NotFound},
		{"a list of a relative path", list, ".", pods.Invalid},
	} {
		if got := pods.ErrorCode(tt.do(tt.path)); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		name string
		err  error
		want error
	}{
		{"less than was said", c.CopyTo(t.Context(), w.Key, dir+"/file", 10, strings.NewReader("new")), io.ErrUnexpectedEOF},
		{"more than was said", c.CopyTo(t.Context(), w.Key, dir+"/file", 1, strings.NewReader("new")), io.ErrUnexpectedEOF},
		{"a context that has ended", c.CopyTo(ended, w.Key, dir+"/file", 3, strings.NewReader("new")), context.Canceled},
	} {
		if !errors.Is(tt.err, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, tt.err, tt.want)
		}
	}
	if got, err := os.ReadFile(dir + "/file"); string(got) != "as it was" || err != nil {
		t.Errorf("got %q and %v, want the file as it was", got, err)
	}
	if left, _ := filepath.Glob(dir + "/.podway-*"); len(left) > 0 {
		t.Errorf("got %v, want nothing left of what failed", left)
	}

	if err := c.Remove(t.Context(), w.Key); err != nil {
		t.Fatal(err)
	}
	await(t, c, w.Key, "absent", isAbsent)
	for name, err := range map[string]error{"CopyTo": to(dir + "/x"), "CopyFrom": from(dir + "/file"), "ListFiles": list(dir)} {
		if got := pods.ErrorCode(err); got != pods.NotFound {
			t.Errorf("%s of a pod that does not run: got %v, want not found", name, err)
		}
	}
}

// TestFilesAreThoseOfThePodsUser has a pod that runs as somebody else.
func TestFilesAreThoseOfThePodsUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can run pods as another user")
	}
	nobody := &account{UID: 65534, GID: 65534}
	dir := stateDir(t)
	open, private := filepath.Join(dir, "open"), filepath.Join(dir, "private")
	for path, mode := range map[string]os.FileMode{open: 0o777, private: 0o700} {
		if err := errors.Join(os.Mkdir(path, mode), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(open, "roots"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]func() error{
		"reading":   func() error { _, err := os.ReadFile(filepath.Join(open, "roots")); return err },
		"listing":   func() error { _, err := os.ReadDir(private); return err },
		"writing":   func() error { return os.WriteFile(filepath.Join(private, "x"), nil, 0o600) },
		"replacing": func() error { return os.WriteFile(filepath.Join(open, "roots"), nil, 0o600) },
	} {
		if err := nobody.do(f); !errors.Is(err, os.ErrPermission) {
			t.Errorf("%s: got %v, want it refused", name, err)
		}
	}
	path := filepath.Join(open, "mine")
	if err := nobody.do(func() error { return os.WriteFile(path, nil, 0o600) }); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if st := info.Sys().(*syscall.Stat_t); st.Uid != nobody.UID || st.Gid != nobody.GID {
		t.Errorf("got owner %d:%d, want %d:%d", st.Uid, st.Gid, nobody.UID, nobody.GID)
	}
	// We are ourselves again, on whatever thread.
	for range 100 {
		if _, err := os.ReadFile(filepath.Join(open, "roots")); err != nil {
			t.Fatal(err)
		}
	}
}

// volumeDir makes a folder for volumes with some in it.
func volumeDir(t *testing.T, names ...string) string {
	t.Helper()
	dir := stateDir(t)
	for _, name := range names {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(path, 0o777), os.Chmod(path, 0o777)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestVolumesAreMounted(t *testing.T) {
	volumes := volumeDir(t, "dev/volumes/data", "dev/snapshots/snap/sub")
	if err := os.WriteFile(filepath.Join(volumes, "dev/snapshots/snap/sub/file"), []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := openWith(t, Options{Dir: stateDir(t), Volumes: volumes})
	w := workload("web", "podway/hello")
	w.VolumeMounts = map[string]pods.VolumeMount{
		"data": {Type: "tapisvolume", MountPath: "/a"},
		"snap": {Type: "tapissnapshot", MountPath: "/b", SubPath: "sub"},
		"own":  {Type: "pvc", MountPath: "/c"},
		// Twice the same, as pods.BuildWorkload names it.
		"data2": {Type: "tapisvolume", MountPath: "/d", SourceID: "data"},
		"own2":  {Type: "pvc", MountPath: "/e", SourceID: "own"},
	}
	if err := c.Admit(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	ready(t, c, w)
	var out, errs bytes.Buffer
	script := `cat "$PODWAY_MOUNT_SNAP/file" && echo written > "$PODWAY_MOUNT_DATA/file" && test -d "$PODWAY_VOLUME_OWN" && echo "${PODWAY_MOUNT_OWN-none}" && ` +
		`test "$PODWAY_MOUNT_DATA2/file" -ef "$PODWAY_MOUNT_DATA/file" && test "$PODWAY_VOLUME_OWN2" -ef "$PODWAY_VOLUME_OWN"`
	code, err := c.Exec(t.Context(), w.Key, []string{"sh", "-c", script}, &out, &errs)
	if err != nil || code != 0 || out.String() != "keptnone\n" {
		t.Errorf("got %d, %v, %q and %q", code, err, out.String(), errs.String())
	}
	if got, err := os.ReadFile(filepath.Join(volumes, "dev/volumes/data/file")); string(got) != "written\n" {
		t.Errorf("got %q and %v, want what the pod wrote", got, err)
	}
	purge(t, c, w.Key)
	if _, err := os.Stat(filepath.Join(volumes, "dev/volumes/data/file")); err != nil {
		t.Errorf("after the pod's end: %v, want the volume as it was", err)
	}
}

func TestEphemeralMountsAreMadeAnew(t *testing.T) {
	c := openWith(t, Options{Dir: stateDir(t)})
	w := workload("web", "podway/hello")
	w.VolumeMounts = map[string]pods.VolumeMount{
		"appconf": {Type: "ephemeral", MountPath: "/etc/app.conf", ConfigContent: "listen 5000\n", ConfigPermissions: "0640"},
		"cache":   {Type: "ephemeral", MountPath: "/cache"},
	}
	if err := c.Admit(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	ready(t, c, w)
	const look = `cat "$PODWAY_EPHEMERAL_APPCONF" && stat -c %a "$PODWAY_EPHEMERAL_APPCONF" && basename "$PODWAY_EPHEMERAL_APPCONF" && ls "$PODWAY_EPHEMERAL_CACHE"`
	const fresh = "listen 5000\n640\napp.conf\n"
	if got := script(t, c, w.Key, look); got != fresh {
		t.Errorf("got %q, want %q", got, fresh)
	}
	script(t, c, w.Key, `echo more >> "$PODWAY_EPHEMERAL_APPCONF" && touch "$PODWAY_EPHEMERAL_CACHE/old" && ln -s / "$PODWAY_EPHEMERAL_CACHE/root"`)
	if err := c.Remove(t.Context(), w.Key); err != nil {
		t.Fatal(err)
	}
	await(t, c, w.Key, "stopped", func(o pods.Observation) bool { return !o.Present })
	ready(t, c, w)
	if got := script(t, c, w.Key, look); got != fresh {
		t.Errorf("at the next start: got %q, want %q", got, fresh)
	}
}

func TestCopiesBelowAMountAreInItsFolder(t *testing.T) {
	c := openWith(t, Options{Dir: stateDir(t)})
	w := workload("web", "podway/hello")
	w.VolumeMounts = map[string]pods.VolumeMount{"work": {Type: "pvc", MountPath: "/nowhere/work/"}}
	ready(t, c, w)
	if err := c.CopyTo(t.Context(), w.Key, "/nowhere/work/notes/one.ipynb", 2, strings.NewReader("{}")); err != nil {
		t.Fatal(err)
	}
	if got := script(t, c, w.Key, `cat "$PODWAY_VOLUME_WORK/notes/one.ipynb"`); got != "{}" {
		t.Errorf("got %q in the mount's folder, want what was copied", got)
	}
	if _, err := os.Stat("/nowhere"); err == nil {
		t.Error("the machine has a folder at the path of the mount")
	}
	list, err := c.ListFiles(t.Context(), w.Key, "/nowhere/work/notes")
	if err != nil || len(list) != 1 || list[0].Name != "one.ipynb" {
		t.Errorf("got %v and %v, want the file", list, err)
	}
	_, r, err := c.CopyFrom(t.Context(), w.Key, "/nowhere/work/notes/one.ipynb")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); string(got) != "{}" || err != nil {
		t.Errorf("got %q and %v, want the file back", got, err)
	}
}

func purge(t *testing.T, c *Cluster, k pods.Key) {
	t.Helper()
	if err := c.Purge(t.Context(), k); err != nil {
		t.Fatal(err)
	}
	await(t, c, k, "nothing", isNothing)
}

func TestMountsThatCantBe(t *testing.T) {
	volumes := volumeDir(t, "dev/volumes/data", "dev/snapshots/snap", "dev/volumes/other")
	if err := os.Symlink("../other", filepath.Join(volumes, "dev/volumes/data/out")); err != nil {
		t.Fatal(err)
	}
	c := openWith(t, Options{Dir: stateDir(t), Volumes: volumes})
	for _, tt := range []struct {
		name string
		id   string
		m    pods.VolumeMount
		want pods.Code
	}{
		{"a folder of a volume that is made", "data", pods.VolumeMount{Type: "tapisvolume", SubPath: "new/folder"}, ""},
		{"a folder that a snapshot lacks", "snap", pods.VolumeMount{Type: "tapissnapshot", SubPath: "new"}, pods.Invalid},
		{"a link that leads out", "data", pods.VolumeMount{Type: "tapisvolume", SubPath: "out"}, pods.Invalid},
		{"a path below it", "data", pods.VolumeMount{Type: "tapisvolume", SubPath: "out/new"}, pods.Invalid},
		{"files that are not there", "gone", pods.VolumeMount{Type: "tapisvolume"}, pods.Unavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := workload("web", "podway/hello")
			w.VolumeMounts = map[string]pods.VolumeMount{tt.id: tt.m}
			if got := pods.ErrorCode(c.Apply(t.Context(), w)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			purge(t, c, w.Key)
		})
	}
}
