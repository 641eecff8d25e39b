package pods

import (
	"context"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"
)

// Files keeps the content of volumes and snapshots. Paths are those that
// [ParsePath] returns. No path leads out of its volume, not through symbolic
// links either, which are never followed. All methods are safe for concurrent
// use.
//
// Errors: NotFound if there is no file at a path, Invalid if it is of the wrong
// kind, Conflict if the volume is not AVAILABLE, TooLarge if it would hold more
// than its limit, Unavailable if the files can't be reached.
type Files interface {
	// Make makes the folder of a volume that was just created and returns the
	// volume as it is then. The copy of a large snapshot goes on in the
	// background; it is returned unfinished.
	Make(ctx context.Context, v Volume) (Volume, error)

	// Remove deletes a volume. Its files are out of reach at once and gone for
	// good after a while. Conflict if a pod that runs mounts it.
	Remove(ctx context.Context, v Volume) error

	// Stat describes the file or folder at a path.
	Stat(ctx context.Context, v Volume, path string) (FileInfo, error)

	// List returns what is in the folder at a path, ordered by name, at most
	// [MaxListedFiles], and whether there is more. A file is listed as itself.
	List(ctx context.Context, v Volume, path string) (files []FileInfo, more bool, err error)

	// Open opens the regular file at a path.
	Open(ctx context.Context, v Volume, path string) (io.ReadSeekCloser, FileInfo, error)

	// Zip writes the regular files at and below a path to w as a ZIP archive, in
	// which all names start with the name of the file or folder.
	Zip(ctx context.Context, v Volume, path string, w io.Writer) error

	// Write stores what r gives as a file, in place of one that is there, and
	// makes the folders on the way. A reader sees the old content or the new.
	Write(ctx context.Context, v Volume, path string, r io.Reader) error
}

// FileInfo describes a file of a volume.
type FileInfo struct {
	Path       string      // from the volume's root, which is "/"
	Mode       fs.FileMode // type and permissions
	Size       int64       // bytes
	ModifiedAt time.Time
}

// Name returns the last part of the path, "/" for the root.
func (f FileInfo) Name() string { return path.Base(f.Path) }

// FileView is a file as the API shows it. Make one with [NewFileView].
type FileView struct {
	Path              string `json:"path"`
	Name              string `json:"name"`
	Type              string `json:"type"` // "file", "dir", "symbolic_link" or "other/unknown"
	Size              int64  `json:"size"` // bytes
	LastModified      string `json:"lastModified"`
	NativePermissions string `json:"nativePermissions"` // "rw-r--r--"
}

// NewFileView renders a file.
func NewFileView(f FileInfo) FileView {
	return FileView{
		Path:              f.Path,
		Name:              f.Name(),
		Type:              fileType(f.Mode),
		Size:              f.Size,
		LastModified:      f.ModifiedAt.UTC().Format("2006-01-02T15:04:05Z"),
		NativePermissions: f.Mode.Perm().String()[1:], // without the type, which is "-"
	}
}

func fileType(m fs.FileMode) string {
	switch m.Type() {
	case 0:
		return "file"
	case fs.ModeDir:
		return "dir"
	case fs.ModeSymlink:
		return "symbolic_link"
	default:
		return "other/unknown"
	}
}

// Limits of a path, those of most file systems.
const (
	maxPath     = 4096 // bytes
	maxPathName = 255  // bytes of one part
	maxPathDeep = 512  // parts
)

// ParsePath reads a path in a volume as clients write it: from the volume's
// root, with or without "/" around it. It returns the path in the form of
// [io/fs], "." for the root. The error is Invalid for one that can't be a file's,
// or that has ".." in it.
func ParsePath(s string) (string, error) {
	if len(s) > maxPath {
		return "", Errorf(Invalid, "path: a path has at most %d bytes, this one has %d.", maxPath, len(s))
	}
	var parts []string
	for part := range strings.SplitSeq(s, "/") {
		if part == "" || part == "." {
			continue
		}
		if problem := pathPartProblem(part); problem != "" {
			return "", Errorf(Invalid, "path: %s Got %s.", problem, quotePath(s))
		}
		parts = append(parts, part)
	}
	if len(parts) > maxPathDeep {
		return "", Errorf(Invalid, "path: a path has at most %d folders.", maxPathDeep)
	}
	return path.Clean(strings.Join(parts, "/")), nil // "." for no parts
}

// pathPartProblem says what is wrong with a part of a path, "" if nothing is.
func pathPartProblem(part string) string {
	switch {
	case part == "..":
		return "'..' is not allowed in a path; give the path from the root."
	case len(part) > maxPathName:
		return "the name of a file has at most 255 bytes."
	case strings.ContainsRune(part, 0):
		return "NUL characters are not allowed."
	case strings.HasPrefix(part, ReservedFilePrefix):
		return "names that start with " + ReservedFilePrefix + " are reserved."
	default:
		return ""
	}
}

// quotePath shortens a path for a message and shows what can't be printed.
func quotePath(s string) string {
	return "'" + strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(clip(s), "?")) + "'"
}

// ShownPath returns a path of [ParsePath] as the API shows it: "/", "/a/b".
func ShownPath(p string) string { return path.Join("/", p) }

// ReservedFilePrefix starts the names of files that are being uploaded. They are
// not shown and can't be named.
const ReservedFilePrefix = ".podway-upload-"
