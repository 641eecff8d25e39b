package files

import (
	"bytes"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// FuzzPaths uses a volume full of traps by any path, plain and encoded as in a
// URL, once and twice. Nothing of another volume, or of the machine, may be read,
// listed or written.
func FuzzPaths(f *testing.F) {
	for _, path := range []string{
		"", "/", ".", "..", "a.txt", "dir/../a.txt", "../other/secret", "/../other/secret", "out", "outdir/secret", "outdir",
		"root/etc/passwd", "passwd", "up/other/secret", "up/../other/secret", "self", "dir/back/other/secret", "indir/b.txt",
		"..%2fother%2fsecret", "%2e%2e/other/secret", "%252e%252e%252fother%252fsecret", "%2e%2e%2fother", "..\\" + "other\\secret",
		"outdir%2fsecret", "a.txt\x00/../../other/secret", "dir/sub/../../../other/secret", "//other/secret", "./../other/secret",
		"....//other", "..;/other/secret", "%c0%ae%c0%ae/other/secret", "pipe", "dangling/x", "new/file", "out/x", "\xff\xfe",
		".podway/owners/dev/volumes/other", pods.ReservedFilePrefix + "x", strings.Repeat("a/", 600), strings.Repeat("x", 300),
	} {
		f.Add(path)
	}
	tree, k := hostile(f)
	outside := filepath.Join(tree.Dir(), "dev/volumes/other")
	before := contents(f, outside)
	f.Fuzz(func(t *testing.T, raw string) {
		for range 3 {
			tryPath(t, tree, k, raw)
			decoded, err := url.PathUnescape(raw)
			if err != nil || decoded == raw {
				break
			}
			raw = decoded
		}
		if got := contents(t, outside); !reflect.DeepEqual(got, before) {
			t.Fatalf("%q: got %v in the other volume, want %v", raw, got, before)
		}
	})
}

func tryPath(t *testing.T, tree *Tree, k pods.VolumeKey, raw string) {
	t.Helper()
	path, err := pods.ParsePath(raw)
	if err != nil {
		wantCode(t, raw, err, pods.Invalid)
		return
	}
	if strings.Contains(path, "..") && strings.Contains("/"+path+"/", "/../") || strings.HasPrefix(path, "/") {
		t.Fatalf("%q: got path %q", raw, path)
	}
	uid := uidOf(k)
	if info, err := tree.stat(k, uid, path); err == nil && info.Path != pods.ShownPath(path) {
		t.Fatalf("%q: got description of %q", raw, info.Path)
	}
	if files, _, err := tree.list(t.Context(), k, uid, path); err == nil {
		for _, f := range files {
			// What the fuzzer itself writes has one byte.
			if f.Name() == "secret" && f.Size == int64(len("SECRET")) {
				t.Fatalf("%q: lists %q", raw, f.Path)
			}
		}
	}
	if f, _, err := tree.openFile(k, uid, path); err == nil {
		b, _ := io.ReadAll(f)
		f.Close()
		if bytes.Contains(b, []byte("SECRET")) || bytes.Contains(b, []byte("root:")) {
			t.Fatalf("%q: reads another file", raw)
		}
	}
	var archive bytes.Buffer
	if err := tree.zip(t.Context(), k, uid, path, &archive); err == nil {
		for name, content := range unzip(t, archive.Bytes()) {
			if content == "SECRET" || strings.Contains("/"+name+"/", "/../") || strings.HasPrefix(name, "/") || strings.Contains(name, "\\") {
				t.Fatalf("%q: the archive holds %q: %q", raw, name, content)
			}
		}
	}
	// Errors must be the user's, told by their code, or the file system would be
	// asked for what it can't do.
	_, err = tree.write(t.Context(), k, uid, path, strings.NewReader("x"), anyRoom)
	switch pods.ErrorCode(err) {
	case "":
		if _, err := os.Lstat(filepath.Join(tree.Dir(), k.String(), path)); err != nil {
			t.Fatalf("%q: was written elsewhere: %v", raw, err)
		}
	case pods.Invalid, pods.NotFound:
	default:
		t.Fatalf("%q: got %v", raw, err)
	}
}
