package files

import (
	"archive/zip"
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

const (
	maxDepth = 200     // folders below each other that are walked; each takes an open file
	maxNames = 200_000 // of a folder that are read to be sorted
	chunk    = 1 << 20 // bytes between two looks at whether anybody waits
)

// stat describes what is at a path.
func (t *Tree) stat(k pods.VolumeKey, uid, p string) (pods.FileInfo, error) {
	at, err := t.find(k, uid, p)
	if err != nil {
		return pods.FileInfo{}, err
	}
	defer at.close()
	info, err := at.stat()
	if err != nil {
		return pods.FileInfo{}, err
	}
	return describe(p, info), nil
}

// find walks to a path in a volume.
func (t *Tree) find(k pods.VolumeKey, uid, p string) (place, error) {
	root, err := t.open(k, uid)
	if err != nil {
		return place{}, err
	}
	return find(root, p, false)
}

func describe(p string, info fs.FileInfo) pods.FileInfo {
	return pods.FileInfo{Path: pods.ShownPath(p), Mode: info.Mode(), Size: info.Size(), ModifiedAt: info.ModTime()}
}

// list returns what is in the folder at a path, ordered by name.
func (t *Tree) list(ctx context.Context, k pods.VolumeKey, uid, p string) (files []pods.FileInfo, more bool, err error) {
	at, err := t.find(k, uid, p)
	if err != nil {
		return nil, false, err
	}
	defer at.close()
	info, err := at.stat()
	if err != nil {
		return nil, false, err
	}
	if !info.IsDir() {
		return []pods.FileInfo{describe(p, info)}, false, nil
	}
	dir, err := at.enter()
	if err != nil {
		return nil, false, err
	}
	defer dir.Close()
	names, err := namesIn(ctx, dir)
	if err != nil {
		return nil, false, fileError(p, err)
	}
	names = slices.DeleteFunc(names, reserved)
	more = len(names) > pods.MaxListedFiles
	files = make([]pods.FileInfo, 0, min(len(names), pods.MaxListedFiles))
	for _, name := range names[:min(len(names), pods.MaxListedFiles)] {
		info, err := dir.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // gone since
		}
		if err != nil {
			return nil, false, fileError(p, err)
		}
		files = append(files, describe(path.Join(p, name), info))
	}
	return files, more, nil
}

// reserved reports whether a name is that of an upload under way.
func reserved(name string) bool { return strings.HasPrefix(name, pods.ReservedFilePrefix) }

// namesIn returns the names in a folder, ordered.
func namesIn(ctx context.Context, dir *os.Root) ([]string, error) {
	f, err := dir.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var names []string
	for len(names) < maxNames && ctx.Err() == nil {
		some, err := f.Readdirnames(1024)
		names = append(names, some...)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(names)
	return names, ctx.Err()
}

// openFile opens the regular file at a path.
func (t *Tree) openFile(k pods.VolumeKey, uid, p string) (*os.File, pods.FileInfo, error) {
	at, err := t.find(k, uid, p)
	if err != nil {
		return nil, pods.FileInfo{}, err
	}
	defer at.close()
	f, info, err := at.open()
	if err != nil {
		return nil, pods.FileInfo{}, err
	}
	return f, describe(p, info), nil
}

// walker visits everything below a folder of a volume.
type walker struct {
	// visit is told of everything, of each folder before what is in it.
	visit func(at place, info fs.FileInfo) error

	// leftover is told of the names of unfinished uploads, which visit is not. May
	// be nil.
	leftover func(dir *os.Root, name string)

	// lenient passes over what may not be read.
	lenient bool
}

// passes reports whether the walk goes on after an error: what is gone since its
// name was read was never there.
func (w walker) passes(err error) bool {
	code := pods.ErrorCode(err)
	return code == "" || code == pods.NotFound || (w.lenient && code == pods.Forbidden)
}

// folder visits everything in a folder, whose path is p.
func (w walker) folder(ctx context.Context, dir *os.Root, p string, depth int) error {
	return w.each(ctx, dir, p, depth, func(at place) error { return w.one(ctx, at, depth) })
}

// each calls f for each thing in a folder.
func (w walker) each(ctx context.Context, dir *os.Root, p string, depth int, f func(place) error) error {
	if depth > maxDepth {
		return pods.Errorf(pods.Invalid, "path: %s has more than %d folders below each other.", shown(p), maxDepth)
	}
	names, err := namesIn(ctx, dir)
	if err != nil {
		return fileError(p, err)
	}
	if len(names) >= maxNames {
		return pods.Errorf(pods.Invalid, "path: the folder %s holds more than %d files.", shown(p), maxNames)
	}
	for _, name := range names {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case !reserved(name):
			if err := f(place{dir: dir, name: name, path: path.Join(p, name)}); !w.passes(err) {
				return err
			}
		case w.leftover != nil:
			w.leftover(dir, name)
		}
	}
	return nil
}

// one visits what is at a place, and what is below it.
func (w walker) one(ctx context.Context, at place, depth int) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	info, err := at.stat()
	if err != nil {
		return err
	}
	if err := w.visit(at, info); err != nil || !info.IsDir() {
		return err
	}
	dir, err := at.enter()
	if pods.ErrorCode(err) == pods.Invalid {
		return nil // a link has taken its place
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	return w.folder(ctx, dir, at.path, depth+1)
}

// zip writes what is at and below a path to w as a ZIP archive.
func (t *Tree) zip(ctx context.Context, k pods.VolumeKey, uid, p string, w io.Writer) error {
	at, err := t.find(k, uid, p)
	if err != nil {
		return err
	}
	defer at.close()
	archive := zip.NewWriter(w)
	// Volumes hold data, most of which is packed already.
	archive.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestSpeed) })
	// Names in the archive start with the last part of the path.
	above := ""
	if dir := path.Dir(p); dir != "." {
		above = dir + "/"
	}
	contents := walker{visit: func(at place, info fs.FileInfo) error {
		return addToZip(ctx, archive, at, strings.TrimPrefix(at.path, above), info)
	}}
	err = contents.one(ctx, at, 0)
	if err != nil {
		return err
	}
	if err := archive.Close(); err != nil {
		return fmt.Errorf("ending the archive: %w", err)
	}
	return nil
}

// addToZip adds a folder or a regular file. Everything else is left out: a
// symbolic link could lead anywhere where the archive is unpacked.
func addToZip(ctx context.Context, archive *zip.Writer, at place, name string, info fs.FileInfo) error {
	header := &zip.FileHeader{Name: zipName(name), Modified: info.ModTime().UTC(), Method: zip.Deflate}
	switch {
	case name == ".":
		return nil // the volume's root has no name
	case info.IsDir():
		header.Name += "/"
		header.Method = zip.Store
		header.SetMode(fs.ModeDir | info.Mode().Perm())
		_, err := archive.CreateHeader(header)
		return err
	case !info.Mode().IsRegular():
		return nil
	}
	f, info, err := at.open()
	if pods.ErrorCode(err) == pods.Invalid {
		return nil // it is another kind of file now
	}
	if err != nil {
		return err
	}
	defer f.Close()
	header.SetMode(info.Mode().Perm())
	w, err := archive.CreateHeader(header)
	if err != nil {
		return err
	}
	return copySome(ctx, w, f, info.Size(), func(int64) error { return nil })
}

// zipName makes a name that no program that unpacks it takes for another folder.
func zipName(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '\\' || r < ' ' || r == 0x7f {
			return '_'
		}
		return r
	}, strings.ToValidUTF8(name, "_"))
}

// copySome copies size bytes, or less if there is less, and tells how many it has
// copied before each piece.
func copySome(ctx context.Context, w io.Writer, r io.Reader, size int64, before func(n int64) error) error {
	for left := size; left > 0; {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		piece := min(left, chunk)
		if err := before(piece); err != nil {
			return err
		}
		n, err := io.CopyN(w, r, piece)
		left -= n
		if errors.Is(err, io.EOF) {
			return nil // it became shorter
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// abandonedAfter is how old the file of an upload is that nobody is writing to.
const abandonedAfter = 24 * time.Hour

// measure returns the size of all regular files of a volume, in bytes, and
// removes what uploads have left that were cut off. beat is called for each file;
// its error ends the walk.
func (t *Tree) measure(ctx context.Context, k pods.VolumeKey, uid string, now time.Time, beat func() error) (int64, error) {
	root, err := t.open(k, uid)
	if err != nil {
		return 0, err
	}
	defer root.Close()
	var total int64
	w := walker{lenient: true}
	w.visit = func(_ place, info fs.FileInfo) error {
		if info.Mode().IsRegular() {
			total += info.Size()
		}
		return beat()
	}
	w.leftover = func(dir *os.Root, name string) {
		if info, err := dir.Lstat(name); err == nil && now.Sub(info.ModTime()) > abandonedAfter {
			_ = dir.Remove(name) // the next walk finds it again
		}
	}
	return total, w.folder(ctx, root, ".", 0)
}
