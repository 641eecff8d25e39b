package image

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"
)

// Layer is a file system that is being written as a tar. Paths are absolute.
// Parents are made as needed, and of two entries with one path the first
// counts. Times are zero, so that the same content gives the same bytes. It is
// not safe for concurrent use.
type Layer struct {
	tar  *tar.Writer
	seen map[string]bool
}

// merged are folders that Debian keeps as links into /usr, while some of its
// packages still name them.
var merged = []string{"bin", "sbin", "lib", "lib64"}

// NewLayer starts a layer. Close ends it.
func NewLayer(w io.Writer) *Layer {
	return &Layer{tar: tar.NewWriter(w), seen: map[string]bool{"": true}}
}

// Close writes the end of the layer. It does not close the writer below.
func (l *Layer) Close() error { return l.tar.Close() }

// Dir adds a folder with an owner.
func (l *Layer) Dir(name string, mode int64, uid, gid int) error {
	return l.add(&tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: mode, Uid: uid, Gid: gid}, nil)
}

// File adds a file of root's with that content.
func (l *Layer) File(name string, mode int64, content string) error {
	return l.add(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(content))}, strings.NewReader(content))
}

// Copy adds a file of the machine, as root's.
func (l *Layer) Copy(name string, mode int64, from string) error {
	f, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("opening a file for an image: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("looking at a file for an image: %w", err)
	}
	return l.add(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: info.Size()}, f)
}

// Link adds a symbolic link.
func (l *Layer) Link(name, target string) error {
	return l.add(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}, nil)
}

// MergeUsr adds the links /bin, /sbin, /lib and /lib64. It comes before
// everything else of a Debian file system.
func (l *Layer) MergeUsr() error {
	var errs []error
	for _, dir := range merged {
		errs = append(errs, l.Dir("/usr/"+dir, 0o755, 0, 0), l.Link("/"+dir, "usr/"+dir))
	}
	return errors.Join(errs...)
}

// Entry adds an entry of another tar, a Debian package's for example. Devices
// are left out, for a container gets its own.
func (l *Layer) Entry(h *tar.Header, content io.Reader) error {
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeDir, tar.TypeSymlink:
		return l.add(h, content)
	case tar.TypeLink:
		h.Linkname = strings.TrimPrefix(clean(h.Linkname), "/")
		return l.add(h, nil)
	default:
		return nil
	}
}

func (l *Layer) add(h *tar.Header, content io.Reader) error {
	name := clean(h.Name)
	if l.seen[name] {
		return nil
	}
	if parent := clean(path.Dir(name)); !l.seen[parent] {
		if err := l.Dir(parent, 0o755, 0, 0); err != nil {
			return err
		}
	}
	l.seen[name] = true
	clone := tar.Header{
		Typeflag: h.Typeflag, Name: name, Linkname: h.Linkname, Mode: h.Mode, Uid: h.Uid, Gid: h.Gid,
		ModTime: time.Unix(0, 0),
	}
	switch h.Typeflag {
	case tar.TypeDir:
		clone.Name += "/"
	case tar.TypeReg:
		clone.Size = h.Size
	}
	if err := l.tar.WriteHeader(&clone); err != nil {
		return fmt.Errorf("adding %s to an image: %w", h.Name, err)
	}
	if h.Typeflag != tar.TypeReg {
		return nil
	}
	if _, err := io.Copy(l.tar, content); err != nil {
		return fmt.Errorf("adding %s to an image: %w", h.Name, err)
	}
	return nil
}

// clean returns a path without a slash at its ends and with /lib and its like
// replaced by what they link to; "" is the root.
func clean(name string) string {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	first, rest, deeper := strings.Cut(name, "/")
	for _, dir := range merged {
		if deeper && first == dir {
			return path.Join("usr", dir, rest)
		}
	}
	return name
}
