package files

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// hostile is a volume with everything that a pod could put there, beside a secret
// that is not its own.
func hostile(t testing.TB) (*Tree, pods.VolumeKey) {
	t.Helper()
	tree := newTree(t)
	k := key("data")
	dir := newVolume(t, tree, k,
		"a.txt", "dir/b.txt", "dir/sub/c.txt", "empty/", ".hidden", "we\"ird\\na\nme",
		"in -> a.txt", "indir -> dir", "out -> ../other/secret", "outdir -> ../other", "root -> /", "passwd -> /etc/passwd",
		"up -> ..", "self -> self", "dir/back -> ../..", "dangling -> nowhere")
	newVolume(t, tree, key("other"), "secret")
	if err := os.WriteFile(filepath.Join(tree.Dir(), "dev/volumes/other/secret"), []byte("SECRET"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o666); err != nil {
		t.Fatal(err)
	}
	return tree, k
}

// parsed is ParsePath as requests use it.
func parsed(t testing.TB, p string) string {
	t.Helper()
	clean, err := pods.ParsePath(p)
	if err != nil {
		t.Fatal(err)
	}
	return clean
}

func TestOpen(t *testing.T) {
	tree, k := hostile(t)
	for path, want := range map[string]pods.Code{
		"a.txt": "", "/a.txt": "", "dir/b.txt": "", "dir//./sub/c.txt/": "", "we\"ird\\na\nme": "",
		"nothing": pods.NotFound, "a.txt/x": pods.NotFound, "nothing/x": pods.NotFound,
		"/": pods.Invalid, "dir": pods.Invalid, "pipe": pods.Invalid, "pipe/x": pods.NotFound,
		"in": pods.Invalid, "indir/b.txt": pods.Invalid, "out": pods.Invalid, "outdir/secret": pods.Invalid,
		"root/etc/passwd": pods.Invalid, "passwd": pods.Invalid, "up/other/secret": pods.Invalid,
		"self": pods.Invalid, "dir/back/other/secret": pods.Invalid, "dangling": pods.Invalid,
		strings.Repeat("x", 255): pods.NotFound,
	} {
		f, info, err := tree.openFile(k, uidOf(k), parsed(t, path))
		wantCode(t, path, err, want)
		if err != nil {
			continue
		}
		b, err := io.ReadAll(f)
		f.Close()
		if clean := parsed(t, path); err != nil || string(b) != clean || info.Path != "/"+clean || info.Size != int64(len(b)) {
			t.Errorf("%s: got %q, %+v and %v, want what the file holds", path, b, info, err)
		}
	}
}

func TestList(t *testing.T) {
	tree, k := hostile(t)
	got := func(path string) string {
		t.Helper()
		files, more, err := tree.list(t.Context(), k, uidOf(k), parsed(t, path))
		if err != nil || more {
			t.Fatalf("%s: got %v, %v", path, more, err)
		}
		var lines []string
		for _, f := range files {
			v := pods.NewFileView(f)
			if _, err := time.Parse("2006-01-02T15:04:05Z", v.LastModified); err != nil {
				t.Error(err)
			}
			lines = append(lines, fmt.Sprintf("%s %s %s %d", v.Type, v.Path, v.Name, v.Size))
		}
		return strings.Join(lines, "\n")
	}
	if want := "file /dir/b.txt b.txt 9\nsymbolic_link /dir/back back 5\ndir /dir/sub sub "; !strings.HasPrefix(got("dir"), want) {
		t.Errorf("got\n%s\nwant\n%s", got("dir"), want)
	}
	if want := ""; got("empty") != want {
		t.Errorf("got %q, want nothing", got("empty"))
	}
	if want := "file /a.txt a.txt 5"; got("a.txt") != want {
		t.Errorf("got %q, want %q", got("a.txt"), want)
	}
	if all := got("/"); !strings.Contains(all, "other/unknown /pipe pipe 0") || !strings.Contains(all, "symbolic_link /out out") {
		t.Errorf("got\n%s\nwant the pipe and the links as what they are", all)
	}
	for path, want := range map[string]pods.Code{
		"nothing": pods.NotFound, "indir/sub": pods.Invalid, "outdir/x": pods.Invalid, "up/other": pods.Invalid, "root/etc": pods.Invalid, "a.txt/b": pods.NotFound,
	} {
		_, _, err := tree.list(t.Context(), k, uidOf(k), path)
		wantCode(t, path, err, want)
	}
}

func TestListTellsThatThereIsMore(t *testing.T) {
	tree := newTree(t)
	k := key("data")
	dir := newVolume(t, tree, k)
	for i := range pods.MaxListedFiles + 2 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%06d", i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files, more, err := tree.list(t.Context(), k, uidOf(k), ".")
	if err != nil || !more || len(files) != pods.MaxListedFiles || files[0].Path != "/000000" {
		t.Errorf("got %d files, more %v, %v", len(files), more, err)
	}
}

// unzip returns the names in an archive and what they hold.
func unzip(t testing.TB, b []byte) map[string]string {
	t.Helper()
	archive, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, f := range archive.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if f.Mode().Type() == os.ModeSymlink {
			t.Errorf("%s is a link", f.Name)
		}
		all[f.Name] = string(b)
	}
	return all
}

func TestZip(t *testing.T) {
	tree, k := hostile(t)
	zipped := func(path string) map[string]string {
		t.Helper()
		var b bytes.Buffer
		if err := tree.zip(t.Context(), k, uidOf(k), parsed(t, path), &b); err != nil {
			t.Fatal(err)
		}
		return unzip(t, b.Bytes())
	}
	for path, want := range map[string]map[string]string{
		"dir":             {"dir/": "", "dir/b.txt": "dir/b.txt", "dir/sub/": "", "dir/sub/c.txt": "dir/sub/c.txt"},
		"dir/sub":         {"sub/": "", "sub/c.txt": "dir/sub/c.txt"},
		"a.txt":           {"a.txt": "a.txt"},
		"empty":           {"empty/": ""},
		".hidden":         {".hidden": ".hidden"},
		"we\"ird\\na\nme": {"we\"ird_na_me": "we\"ird\\na\nme"},
	} {
		if got := zipped(path); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %v, want %v", path, got, want)
		}
	}
	for path, want := range map[string]pods.Code{"nothing": pods.NotFound, "outdir/secret": pods.Invalid} {
		wantCode(t, path, tree.zip(t.Context(), k, uidOf(k), path, io.Discard), want)
	}
}

func anyRoom(int64) error { return nil }

func TestWrite(t *testing.T) {
	tree, k := hostile(t)
	dir := filepath.Join(tree.Dir(), k.String())
	for path, want := range map[string]pods.Code{
		"new.txt": "", "a.txt": "", "x/y/z.txt": "", "dir/new": "",
		".": pods.Invalid, "dir": pods.Invalid, "a.txt/x": pods.Invalid, "out": pods.Invalid, "in": pods.Invalid,
		"outdir/secret": pods.Invalid, "outdir/new/x": pods.Invalid, "up/x": pods.Invalid, "dir/back/x": pods.Invalid,
		"root/tmp/podway-escaped": pods.Invalid, "pipe": pods.Invalid, "dangling": pods.Invalid, "dangling/x": pods.Invalid,
		strings.Repeat("x", 256): pods.Invalid,
	} {
		_, err := tree.write(t.Context(), k, uidOf(k), path, strings.NewReader("new "+path), anyRoom)
		wantCode(t, path, err, want)
		if err == nil {
			if b, err := os.ReadFile(filepath.Join(dir, path)); string(b) != "new "+path {
				t.Errorf("%s: got %q and %v", path, b, err)
			}
		}
	}
	for path, want := range map[string]os.FileMode{"x": 0o777, "x/y": 0o777, "x/y/z.txt": 0o666} {
		if info, err := os.Stat(filepath.Join(dir, path)); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: got %v and %v, want mode %v", path, info.Mode(), err, want)
		}
	}
	if _, err := os.Stat("/tmp/podway-escaped"); err == nil {
		t.Error("a file was written outside of the volume")
	}
	if got := contents(t, filepath.Join(tree.Dir(), "dev/volumes/other")); !reflect.DeepEqual(got, map[string]string{"secret": "SECRET"}) {
		t.Errorf("got %v in the other volume, want it as it was", got)
	}
}

func TestWriteTellsTheSizeOfWhatItReplaces(t *testing.T) {
	tree := newTree(t)
	k := key("data")
	newVolume(t, tree, k, "12345")
	var asked int64
	replaced, err := tree.write(t.Context(), k, uidOf(k), "12345", strings.NewReader("123"), func(n int64) error { asked += n; return nil })
	if replaced != 5 || asked != 3 || err != nil {
		t.Errorf("got %d replaced, %d asked for and %v, want 5 and 3", replaced, asked, err)
	}
}

func TestAnUploadThatFailsLeavesNothing(t *testing.T) {
	cut := errors.New("the client hung up")
	full := pods.Errorf(pods.TooLarge, "full")
	for name, c := range map[string]struct {
		r       io.Reader
		reserve func(int64) error
		want    error
	}{
		"the source fails": {iotest.ErrReader(cut), anyRoom, cut},
		"it ends early":    {io.MultiReader(strings.NewReader("half"), iotest.ErrReader(io.ErrUnexpectedEOF)), anyRoom, io.ErrUnexpectedEOF},
		"there is no room": {strings.NewReader("much"), func(int64) error { return full }, full},
	} {
		t.Run(name, func(t *testing.T) {
			tree := newTree(t)
			k := key("data")
			dir := newVolume(t, tree, k, "file")
			_, err := tree.write(t.Context(), k, uidOf(k), "file", c.r, c.reserve)
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if got := contents(t, dir); !reflect.DeepEqual(got, map[string]string{"file": "file"}) {
				t.Errorf("got %v, want the file as it was", got)
			}
		})
	}
}

func TestUploadsUnderWayAreNotSeen(t *testing.T) {
	tree := newTree(t)
	k := key("data")
	dir := newVolume(t, tree, k, "dir/a", "dir/"+pods.ReservedFilePrefix+"x", pods.ReservedFilePrefix+"y")
	files, _, err := tree.list(t.Context(), k, uidOf(k), "dir")
	if err != nil || len(files) != 1 {
		t.Errorf("got %v and %v, want one file", files, err)
	}
	var b bytes.Buffer
	if err := tree.zip(t.Context(), k, uidOf(k), "dir", &b); err != nil || len(unzip(t, b.Bytes())) != 2 {
		t.Errorf("got %v and %v, want the folder and one file", unzip(t, b.Bytes()), err)
	}
	now := time.Now()
	beat := func() error { return nil }
	size, err := tree.measure(t.Context(), k, uidOf(k), now, beat)
	if size != int64(len("dir/a")) || err != nil {
		t.Errorf("got size %d and %v, want that of one file", size, err)
	}
	if got := contents(t, dir); len(got) != 4 {
		t.Errorf("got %v, want the uploads left alone", got)
	}
	if _, err := tree.measure(t.Context(), k, uidOf(k), now.Add(2*abandonedAfter), beat); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, dir); len(got) != 2 {
		t.Errorf("got %v, want abandoned uploads removed", got)
	}
}

// TestAPodThatSwapsFoldersGetsNothing reads and writes while the volume's pod
// exchanges a folder for a link that leads out, as fast as it can.
func TestAPodThatSwapsFoldersGetsNothing(t *testing.T) {
	tree, k := hostile(t)
	dir := filepath.Join(tree.Dir(), k.String())
	fillDir(t, dir, "swap/secret", "elsewhere -> ../other")
	stop := make(chan struct{})
	swapped := make(chan struct{})
	go func() {
		defer close(swapped)
		for {
			select {
			case <-stop:
				return
			default:
			}
			_ = os.Rename(filepath.Join(dir, "swap"), filepath.Join(dir, "kept"))
			_ = os.Rename(filepath.Join(dir, "elsewhere"), filepath.Join(dir, "swap"))
			_ = os.Rename(filepath.Join(dir, "swap"), filepath.Join(dir, "elsewhere"))
			_ = os.Rename(filepath.Join(dir, "kept"), filepath.Join(dir, "swap"))
		}
	}()
	opened := 0
	for range 1000 {
		f, _, err := tree.openFile(k, uidOf(k), "swap/secret")
		if err == nil {
			b, _ := io.ReadAll(f)
			f.Close()
			if string(b) == "SECRET" {
				t.Error("the other volume was read")
			}
			opened++
		}
	}
	for range 5 {
		var b bytes.Buffer
		_ = tree.zip(t.Context(), k, uidOf(k), ".", &b)
		for name, content := range unzip(t, b.Bytes()) {
			if content == "SECRET" {
				t.Errorf("the other volume is in the archive, as %s", name)
			}
		}
	}
	// Last, since it makes the folder when it is away for a moment.
	for range 20 {
		_, _ = tree.write(t.Context(), k, uidOf(k), "swap/new", strings.NewReader("x"), anyRoom)
	}
	close(stop)
	<-swapped
	if opened == 0 {
		t.Error("got no file at all, so nothing was tested")
	}
	if got := contents(t, filepath.Join(tree.Dir(), "dev/volumes/other")); len(got) != 1 {
		t.Errorf("got %v, want nothing written to the other volume", got)
	}
}
