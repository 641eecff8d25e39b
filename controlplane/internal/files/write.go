package files

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// write stores what r gives as a file and returns the size of the file it
// replaced. reserve is asked for room before each piece is written; its error
// ends the upload. Until that is complete, the file has another name.
func (t *Tree) write(ctx context.Context, k pods.VolumeKey, uid, p string, r io.Reader, reserve func(n int64) error) (replaced int64, err error) {
	root, err := t.open(k, uid)
	if err != nil {
		return 0, err
	}
	at, err := find(root, p, true)
	if err != nil {
		return 0, err
	}
	defer at.close()
	if replaced, err = at.replaceable(); err != nil {
		return 0, err
	}
	tmp := pods.ReservedFilePrefix + rand.Text()
	f, err := at.dir.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, fileError(p, err)
	}
	err = errors.Join(fill(ctx, f, r, reserve), f.Close())
	if err == nil {
		err = at.dir.Rename(tmp, at.name)
	}
	if err != nil {
		_ = at.dir.Remove(tmp) // measure finds it otherwise
		return 0, writeError(p, err)
	}
	return replaced, nil
}

// replaceable returns the size of the file at a place, 0 if there is none.
// Invalid if there is something that is not to be replaced.
func (p place) replaceable() (int64, error) {
	if p.name == "." {
		return 0, pods.Errorf(pods.Invalid, "path: the path of a file is needed, not that of the volume's root.")
	}
	info, err := p.stat()
	switch {
	case pods.ErrorCode(err) == pods.NotFound:
		return 0, nil
	case err != nil:
		return 0, err
	}
	return info.Size(), wantRegular(p.path, info)
}

// sourceError is what went wrong with the source of an upload.
type sourceError struct{ error }

func (e sourceError) Unwrap() error { return e.error }

// fill writes what r gives to a new file, and makes sure that it is there even if
// the machine fails.
func fill(ctx context.Context, f *os.File, r io.Reader, reserve func(n int64) error) error {
	w := bufio.NewWriterSize(f, 256<<10)
	buf := make([]byte, 64<<10)
	for {
		n, err := r.Read(buf)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if n > 0 {
			if err := reserve(int64(n)); err != nil {
				return err
			}
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return sourceError{err}
		}
	}
	return errors.Join(w.Flush(), f.Chmod(fileMode), f.Sync())
}

// writeError words an error of the volume for the user.
func writeError(p string, err error) error {
	if e, ok := errors.AsType[*pods.Error](err); ok {
		return e
	}
	if e, ok := errors.AsType[sourceError](err); ok {
		return fmt.Errorf("reading an upload: %w", e.error)
	}
	return fileError(p, err)
}
