package local

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

var _ pods.FileCluster = (*Cluster)(nil)

// CopyTo implements [pods.FileCluster]. The path is one of this machine unless it
// is below a mount, and what the pod's user may not write to is Invalid.
func (c *Cluster) CopyTo(ctx context.Context, k pods.Key, path string, size int64, r io.Reader) error {
	run, err := c.running(k)
	if err != nil {
		return err
	}
	if err := checkPath(path); err != nil {
		return err
	}
	user := run.spec.User
	path = run.spec.onMachine(path)
	// A reader of the path sees the old file or the new one.
	tmp := filepath.Join(filepath.Dir(path), ".podway-upload-"+rand.Text())
	var f *os.File
	err = user.do(func() (err error) {
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			return &os.PathError{Op: "writing", Path: path, Err: syscall.EISDIR}
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // as a program of the pod would
			return err
		}
		f, err = os.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644) //nolint:gosec // as above
		return err
	})
	if err != nil {
		return pathError(path, err)
	}
	err = errors.Join(fill(ctx, f, size, r), f.Close())
	if err == nil {
		err = pathError(path, user.do(func() error { return os.Rename(tmp, path) }))
	}
	if err != nil {
		return errors.Join(err, user.do(func() error { return os.Remove(tmp) }))
	}
	return nil
}

// fill writes what r gives to f: size bytes, or all there are if size is -1.
func fill(ctx context.Context, f *os.File, size int64, r io.Reader) error {
	n, err := io.Copy(f, &contextReader{ctx: ctx, r: r})
	if err != nil {
		return fmt.Errorf("copying a file: %w", err)
	}
	if size >= 0 && n != size {
		return fmt.Errorf("copying a file: got %d bytes, want %d: %w", n, size, io.ErrUnexpectedEOF)
	}
	return nil
}

// contextReader ends with a context.
type contextReader struct {
	ctx context.Context //nolint:containedctx // it lives as long as one copy
	r   io.Reader
}

func (r *contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// CopyFrom implements [pods.FileCluster]. The path is as that of CopyTo.
func (c *Cluster) CopyFrom(ctx context.Context, k pods.Key, path string) (pods.ContainerFile, io.ReadCloser, error) {
	run, err := c.running(k)
	if err != nil {
		return pods.ContainerFile{}, nil, err
	}
	if err := checkPath(path); err != nil {
		return pods.ContainerFile{}, nil, err
	}
	path = run.spec.onMachine(path)
	var f *os.File
	// A pipe would hold the opener up.
	err = run.spec.User.do(func() (err error) { f, err = os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0); return err })
	if err != nil {
		return pods.ContainerFile{}, nil, pathError(path, err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = pods.Errorf(pods.Invalid, "'%s' is no regular file", path)
	}
	if err != nil {
		f.Close()
		return pods.ContainerFile{}, nil, pathError(path, err)
	}
	return describe(info), &wholeFile{contextReader{ctx, f}, f, info.Size()}, nil
}

// wholeFile gives as many bytes as a file had, or an error.
type wholeFile struct {
	contextReader
	io.Closer
	left int64
}

// Read reads the next bytes.
func (w *wholeFile) Read(p []byte) (int, error) {
	if w.left == 0 {
		return 0, io.EOF
	}
	n, err := w.contextReader.Read(p[:min(int64(len(p)), w.left)])
	w.left -= int64(n)
	if errors.Is(err, io.EOF) && w.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// ListFiles implements [pods.FileCluster]. The path is as that of CopyTo.
func (c *Cluster) ListFiles(_ context.Context, k pods.Key, path string) ([]pods.ContainerFile, error) {
	run, err := c.running(k)
	if err != nil {
		return nil, err
	}
	if err := checkPath(path); err != nil {
		return nil, err
	}
	path = run.spec.onMachine(path)
	var list []pods.ContainerFile
	err = run.spec.User.do(func() (err error) { list, err = listFiles(path); return err })
	return list, pathError(path, err)
}

func listFiles(path string) ([]pods.ContainerFile, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		if info, err = os.Lstat(path); err != nil {
			return nil, err
		}
		return []pods.ContainerFile{describe(info)}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	list := make([]pods.ContainerFile, 0, min(len(entries), pods.MaxListedFiles))
	for _, e := range entries[:min(len(entries), pods.MaxListedFiles)] {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // gone since
		}
		if err != nil {
			return nil, err
		}
		list = append(list, describe(info))
	}
	return list, nil
}

func describe(info fs.FileInfo) pods.ContainerFile {
	return pods.ContainerFile{Name: info.Name(), Mode: info.Mode(), Size: info.Size(), ModifiedAt: info.ModTime()}
}

// checkPath refuses paths that the interface does not allow.
func checkPath(path string) error {
	if !filepath.IsAbs(path) || filepath.Clean(path) != path {
		return pods.Errorf(pods.Invalid, "the path must be absolute and clean. Got '%s'", path)
	}
	return nil
}

// pathError words an error of the file system for the pod's owner.
func pathError(path string, err error) error {
	switch {
	case err == nil, pods.ErrorCode(err) != pods.Internal:
		return err
	case errors.Is(err, fs.ErrNotExist):
		return pods.Errorf(pods.NotFound, "there is no '%s'", path)
	case errors.Is(err, fs.ErrPermission):
		return pods.Errorf(pods.Invalid, "the pod's user may not use '%s'", path)
	}
	for _, e := range []error{syscall.ENOTDIR, syscall.EISDIR, syscall.ENAMETOOLONG, syscall.ELOOP, syscall.EINVAL, syscall.EROFS, syscall.ENXIO} {
		if errors.Is(err, e) {
			return &pods.Error{Code: pods.Invalid, Messages: []string{fmt.Sprintf("'%s' can't be used: %v", path, e)}, Cause: err}
		}
	}
	return err
}
