package kube

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/client-go/tools/remotecommand"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// Files are moved by programs in the container, which almost every image has: tar,
// and find with stat. They are started without a shell, so a path is never more
// than a word.

// copiedMode is the mode of files that are copied into a container.
const copiedMode = 0o644

// maxErrorBytes bounds what is kept of a program's error output.
const maxErrorBytes = 1000

// CopyTo implements [pods.FileCluster].
func (c *Cluster) CopyTo(ctx context.Context, k pods.Key, dest string, size int64, r io.Reader) error {
	if err := checkPath(dest); err != nil {
		return err
	}
	if size < 0 {
		spooled, n, err := spool(r)
		if err != nil {
			return err
		}
		defer spooled.Close()
		r, size = spooled, n
	}
	archive, stop := pack(dest, size, r)
	defer func() { _ = stop() }()
	stderr := &bounded{max: maxErrorBytes}
	code, err := c.exec(ctx, k, []string{"tar", "-xmf", "-", "-C", "/"}, remotecommand.StreamOptions{
		Stdin: archive, Stdout: io.Discard, Stderr: stderr,
	})
	if packErr := stop(); packErr != nil && err == nil {
		return packErr // it gave too little, which is why the program failed
	}
	if err != nil {
		return err
	}
	return programError("tar", code, stderr)
}

// checkPath checks a path in a container.
func checkPath(p string) error {
	if !path.IsAbs(p) || path.Clean(p) != p || p == "/" || strings.ContainsRune(p, 0) {
		return pods.Errorf(pods.Invalid, "path: '%.200s' is not an absolute path without '..' of a file or folder", p)
	}
	return nil
}

// spool collects what r gives in a file that nobody else sees.
func spool(r io.Reader) (*os.File, int64, error) {
	f, err := os.CreateTemp("", "podway-copy-")
	if err != nil {
		return nil, 0, fmt.Errorf("collecting a file: %w", err)
	}
	_ = os.Remove(f.Name()) // it is gone when it is closed
	n, err := io.Copy(f, r)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, 0, fmt.Errorf("collecting a file: %w", err)
	}
	return f, n, nil
}

// pack returns an archive of one file as a stream. stop ends it and returns what
// went wrong with its content; it may be called twice.
func pack(dest string, size int64, content io.Reader) (archive io.Reader, stop func() error) {
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		t := tar.NewWriter(w)
		err := t.WriteHeader(&tar.Header{Name: strings.TrimPrefix(dest, "/"), Mode: copiedMode, Size: size, ModTime: time.Unix(0, 0)})
		if err == nil {
			_, err = io.CopyN(t, content, size)
		}
		if err == nil {
			err = t.Close()
		}
		w.CloseWithError(err)
		done <- err
	}()
	return r, func() error {
		_ = r.Close()
		select {
		case err := <-done:
			done <- err
			if errors.Is(err, io.ErrClosedPipe) {
				return nil // the program read no further
			}
			return wrapCopy(err)
		default:
			return nil // it waits for content, and ends with it
		}
	}
}

func wrapCopy(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("copying a file: %w", err)
}

// programError returns the error of a program in the container that moves files.
func programError(name string, code int, stderr *bounded) error {
	switch {
	case code == 0:
		return nil
	case code == exitNotFound:
		return pods.Errorf(pods.Conflict, "the pod's image has no program '%s', which is needed to move files", name)
	case strings.Contains(stderr.String(), "No such file"):
		return pods.Errorf(pods.NotFound, "there is no such file in the pod: %s", strings.TrimSpace(stderr.String()))
	default:
		return pods.Errorf(pods.Invalid, "the pod could not do it: %s", strings.TrimSpace(stderr.String()))
	}
}

// CopyFrom implements [pods.FileCluster].
func (c *Cluster) CopyFrom(ctx context.Context, k pods.Key, src string) (pods.ContainerFile, io.ReadCloser, error) {
	if err := checkPath(src); err != nil {
		return pods.ContainerFile{}, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	r, w := io.Pipe()
	go func() {
		stderr := &bounded{max: maxErrorBytes}
		argv := []string{"tar", "-chf", "-", "-C", path.Dir(src), "./" + path.Base(src)}
		code, err := c.exec(ctx, k, argv, remotecommand.StreamOptions{Stdout: w, Stderr: stderr})
		if err == nil {
			err = programError("tar", code, stderr)
		}
		w.CloseWithError(err)
	}()
	archive := &unpacked{Reader: tar.NewReader(r), pipe: r, cancel: cancel}
	h, err := archive.Next()
	if errors.Is(err, io.EOF) { // the program had nothing to give, and says why at its end
		_, err = io.Copy(io.Discard, r)
		err = cmp.Or(err, io.ErrUnexpectedEOF)
	}
	if err != nil {
		_ = archive.Close()
		return pods.ContainerFile{}, nil, fmt.Errorf("copying a file: %w", err)
	}
	if h.Typeflag != tar.TypeReg {
		_ = archive.Close()
		return pods.ContainerFile{}, nil, pods.Errorf(pods.Invalid, "path: '%.200s' is not a file", src)
	}
	return pods.ContainerFile{Name: path.Base(src), Mode: h.FileInfo().Mode(), Size: h.Size, ModifiedAt: h.ModTime}, archive, nil
}

// unpacked reads the first file of an archive that a program in a container makes.
type unpacked struct {
	*tar.Reader
	pipe   *io.PipeReader
	cancel context.CancelFunc
}

// Close ends the program.
func (u *unpacked) Close() error {
	u.cancel()
	return u.pipe.Close()
}

// maxListBytes bounds what is read of a list of files.
const maxListBytes = 8 << 20

// listFormat is what stat tells of a file: mode in hexadecimal digits, size, time
// of the last change, path.
const listFormat = "%f %s %Y %n"

// ListFiles implements [pods.FileCluster].
func (c *Cluster) ListFiles(ctx context.Context, k pods.Key, dir string) ([]pods.ContainerFile, error) {
	if dir != "/" {
		if err := checkPath(dir); err != nil {
			return nil, err
		}
	}
	stdout, stderr := &bounded{max: maxListBytes}, &bounded{max: maxErrorBytes}
	argv := []string{"find", "-H", dir, "-maxdepth", "1", "-exec", "stat", "-c", listFormat, "{}", "+"}
	code, err := c.exec(ctx, k, argv, remotecommand.StreamOptions{Stdout: stdout, Stderr: stderr})
	if err != nil {
		return nil, err
	}
	list := parseList(stdout.String(), dir)
	if len(list) == 0 {
		return nil, programError("find", code, stderr)
	}
	return list[:min(len(list), pods.MaxListedFiles)], nil
}

// parseList reads lines of [listFormat]. The line of the folder itself is left
// out; what does not look like a line is part of a name that holds a line break.
func parseList(text, dir string) []pods.ContainerFile {
	var list []pods.ContainerFile
	var itself *pods.ContainerFile
	for line := range strings.Lines(text) {
		file, name, ok := parseFile(strings.TrimSuffix(line, "\n"))
		switch {
		case !ok || !strings.HasSuffix(line, "\n"): // cut off
		case name == dir:
			itself = &file
		default:
			list = append(list, file)
		}
	}
	if itself != nil && !itself.Mode.IsDir() && len(list) == 0 {
		return []pods.ContainerFile{*itself}
	}
	slices.SortFunc(list, func(a, b pods.ContainerFile) int { return strings.Compare(a.Name, b.Name) })
	return list
}

func parseFile(line string) (f pods.ContainerFile, name string, ok bool) {
	parts := strings.SplitN(line, " ", 4)
	if len(parts) < 4 {
		return f, "", false
	}
	mode, err1 := strconv.ParseUint(parts[0], 16, 32)
	size, err2 := strconv.ParseInt(parts[1], 10, 64)
	seconds, err3 := strconv.ParseInt(parts[2], 10, 64)
	if errors.Join(err1, err2, err3) != nil {
		return f, "", false
	}
	return pods.ContainerFile{
		Name: path.Base(parts[3]), Mode: fileMode(uint32(mode)), Size: size, ModifiedAt: time.Unix(seconds, 0).UTC(),
	}, parts[3], true
}

// fileMode converts the mode of a file as Linux has it.
func fileMode(m uint32) fs.FileMode {
	mode := fs.FileMode(m & 0o777)
	switch m & 0o170000 {
	case 0o100000: // regular
	case 0o040000:
		mode |= fs.ModeDir
	case 0o120000:
		mode |= fs.ModeSymlink
	case 0o010000:
		mode |= fs.ModeNamedPipe
	case 0o140000:
		mode |= fs.ModeSocket
	case 0o020000:
		mode |= fs.ModeDevice | fs.ModeCharDevice
	default:
		mode |= fs.ModeDevice
	}
	return mode
}

// bounded keeps the first bytes that are written to it.
type bounded struct {
	bytes.Buffer
	max int
}

func (b *bounded) Write(p []byte) (int, error) {
	b.Buffer.Write(p[:min(len(p), max(b.max-b.Len(), 0))])
	return len(p), nil
}
