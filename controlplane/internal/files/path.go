package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// place is a name in an open folder of a volume. Each folder on the way there was
// opened by itself, and none was a symbolic link.
type place struct {
	dir  *os.Root // closed by close
	name string   // "." for the volume's root
	path string   // of the whole, for messages
}

func (p place) close() { p.dir.Close() }

// find walks to a path in a volume, which root is and which it closes. With make,
// folders that are missing are made. What is at the path itself is not looked at.
func find(root *os.Root, p string, makeDirs bool) (place, error) {
	parent, name := path.Split(p)
	dir, err := descend(root, parent, p, makeDirs)
	return place{dir: dir, name: name, path: p}, err
}

// descend opens a folder below root, which it closes. p is the whole path, for
// messages.
func descend(root *os.Root, folder, p string, makeDirs bool) (*os.Root, error) {
	for part := range strings.SplitSeq(folder, "/") {
		if part == "" || part == "." {
			continue
		}
		next, err := enter(root, part, p, makeDirs)
		root.Close()
		if err != nil {
			return nil, err
		}
		root = next
	}
	return root, nil
}

// enter opens a folder in a folder. p is the whole path, for messages.
func enter(dir *os.Root, name, p string, makeDir bool) (*os.Root, error) {
	info, err := dir.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) && makeDir {
		if err = mkdir(dir, name); err == nil {
			info, err = dir.Lstat(name)
		}
	}
	switch {
	case err != nil:
		return nil, fileError(p, err)
	case info.Mode().Type() == fs.ModeSymlink:
		return nil, linkError(p)
	case !info.IsDir() && makeDir:
		return nil, pods.Errorf(pods.Invalid, "path: %s leads through %s, which is no folder.", shown(p), quote(name))
	case !info.IsDir():
		return nil, notFound(p)
	}
	next, err := dir.OpenRoot(name)
	if err != nil {
		return nil, fileError(p, err)
	}
	return next, nil
}

// mkdir makes a folder that everyone may write to. Another one may have made it.
func mkdir(dir *os.Root, name string) error {
	if err := dir.Mkdir(name, dirMode); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil
		}
		return err
	}
	return dir.Chmod(name, dirMode) // Mkdir leaves out what the umask says
}

// stat describes what is at a place. A symbolic link is described as such.
func (p place) stat() (fs.FileInfo, error) {
	info, err := p.dir.Lstat(p.name)
	if err != nil {
		return nil, fileError(p.path, err)
	}
	return info, nil
}

// enter opens the folder at a place.
func (p place) enter() (*os.Root, error) {
	if p.name == "." {
		return p.dir.OpenRoot(".")
	}
	return enter(p.dir, p.name, p.path, false)
}

// open opens the regular file at a place for reading.
func (p place) open() (*os.File, fs.FileInfo, error) {
	info, err := p.stat()
	if err == nil {
		err = wantRegular(p.path, info)
	}
	if err != nil {
		return nil, nil, err
	}
	// A pipe that was put there since would hold the opener up.
	f, err := p.dir.OpenFile(p.name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fileError(p.path, err)
	}
	if info, err = f.Stat(); err == nil {
		err = wantRegular(p.path, info)
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

func wantRegular(p string, info fs.FileInfo) error {
	switch m := info.Mode(); {
	case m.IsRegular():
		return nil
	case m.IsDir():
		return pods.Errorf(pods.Invalid, "path: %s is a folder.", shown(p))
	case m.Type() == fs.ModeSymlink:
		return linkError(p)
	default:
		return pods.Errorf(pods.Invalid, "path: %s is no regular file.", shown(p))
	}
}

func linkError(p string) error {
	return pods.Errorf(pods.Invalid, "path: %s is or leads through a symbolic link. Use the path that it leads to.", shown(p))
}

func notFound(p string) error {
	return pods.Errorf(pods.NotFound, "There is no file or folder %s.", shown(p))
}

// fileError words an error of the file system for the user. Any that is not the
// user's stays as it is.
func fileError(p string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return notFound(p)
	case errors.Is(err, fs.ErrPermission):
		return pods.Errorf(pods.Forbidden, "%s can't be read or written: the pod that made it keeps it for itself.", shown(p))
	case errors.Is(err, syscall.ELOOP), escapes(err):
		return linkError(p)
	case errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.EILSEQ):
		return pods.Errorf(pods.Invalid, "path: %s can't be the name of a file.", shown(p))
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return &pods.Error{Code: pods.Unavailable, Messages: []string{"The storage is full. Please tell the operators of the service."}, Cause: err}
	case errors.Is(err, syscall.ESTALE), errors.Is(err, syscall.EIO):
		return unreachable(err)
	default:
		return fmt.Errorf("accessing a file of a volume: %w", err)
	}
}

// escapes reports whether an os.Root refused a path. It has no error for that.
func escapes(err error) bool {
	e, ok := errors.AsType[*os.PathError](err)
	return ok && e.Err.Error() == "path escapes from parent"
}

// shown returns a path for a message.
func shown(p string) string { return quote(pods.ShownPath(p)) }

// quote shortens a text and hides what can't be printed.
func quote(s string) string {
	const most = 200
	s = strings.ToValidUTF8(s, "?")
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "..."
	}
	return "'" + strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s) + "'"
}
