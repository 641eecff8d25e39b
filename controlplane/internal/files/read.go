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

// namesIn returns the names in a folder, ordered, without those that are
// reserved.
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
	names = slices.DeleteFunc(names, func(name string) bool { return strings.HasPrefix(name, pods.ReservedFilePrefix) })
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

// visitor is told of everything below a folder, each folder before what is in it.
// p is the path from where the walk began.
type visitor func(at place, p string, info fs.FileInfo) error

// walk visits everything in a folder. What goes away meanwhile is passed over.
func walk(ctx context.Context, dir *os.Root, p string, depth int, visit visitor) error {
	if depth > maxDepth {
		return pods.Errorf(pods.Invalid, "path: %s has more than %d folders below each other.", shown(p), maxDepth)
	}
	names, err := namesIn(ctx, dir)
	if err != nil {
		return fileError(p, err)
	}
	if len(names) == maxNames {
		return pods.Errorf(pods.Invalid, "path: the folder %s holds more than %d files.", shown(p), maxNames)
	}
	for _, name := range names {
		err := walkOne(ctx, place{dir: dir, name: name, path: path.Join(p, name)}, depth, visit)
		if err != nil && pods.ErrorCode(err) != pods.NotFound {
			return err
		}
	}
	return nil
}

func walkOne(ctx context.Context, at place, depth int, visit visitor) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	info, err := at.stat()
	if err != nil {
		return err
	}
	if err := visit(at, at.path, info); err != nil || !info.IsDir() {
		return err
	}
	dir, err := at.enter()
	if err != nil {
		return err
	}
	defer dir.Close()
	return walk(ctx, dir, at.path, depth+1, visit)
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
	top := path.Dir(p)
	err = walkOne(ctx, at, 0, func(at place, p string, info fs.FileInfo) error {
		name := strings.TrimPrefix(strings.TrimPrefix(p, top), "/")
		return addToZip(ctx, archive, at, name, info)
	})
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

// measure returns the size of all regular files of a volume, in bytes, and
// removes what uploads have left that were cut off before a time. beat is called
// now and then.
func (t *Tree) measure(ctx context.Context, k pods.VolumeKey, uid string, sweep func(dir *os.Root) error) (int64, error) {
	root, err := t.open(k, uid)
	if err != nil {
		return 0, err
	}
	defer root.Close()
	if err := sweep(root); err != nil {
		return 0, err
	}
	var total int64
	err = walk(ctx, root, ".", 0, func(at place, _ string, info fs.FileInfo) error {
		switch {
		case info.Mode().IsRegular():
			total += info.Size()
		case info.IsDir():
			dir, err := at.enter()
			if err != nil {
				return err
			}
			defer dir.Close()
			return sweep(dir)
		}
		return nil
	})
	return total, err
}
