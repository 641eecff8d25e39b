package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// followInterval is how often a followed log is looked at for more.
const followInterval = 50 * time.Millisecond

// oldLog is where the older half of a log is.
func oldLog(path string) string { return path + ".1" }

// clearLog makes an empty log.
func clearLog(path string) error {
	if err := os.Remove(oldLog(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("clearing the log: %w", err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return fmt.Errorf("clearing the log: %w", err)
	}
	return nil
}

// rotatingLog writes a log in two files: when the newer one is full it becomes
// the older one, so that the newest [pods.MaxLogBytes] are always there.
type rotatingLog struct {
	path string
	max  int64 // of one file
	file *os.File
	size int64
}

// openLog opens a log to append to it.
func openLog(path string) (*rotatingLog, error) {
	l := &rotatingLog{path: path, max: pods.MaxLogBytes}
	return l, l.open()
}

func (l *rotatingLog) open() error {
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("opening the log: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return fmt.Errorf("opening the log: %w", err)
	}
	l.file, l.size = f, info.Size()
	return nil
}

// Write appends p. It reports success whatever happens: a program must not stop
// because its output can't be kept.
func (l *rotatingLog) Write(p []byte) (int, error) {
	if l.size > 0 && l.size+int64(len(p)) > l.max {
		l.rotate()
	}
	n, _ := l.file.Write(p)
	l.size += int64(n)
	return len(p), nil
}

// rotate makes the newer file the older one. If it fails the file grows on.
func (l *rotatingLog) rotate() {
	if os.Rename(l.path, oldLog(l.path)) != nil {
		return
	}
	full := l.file
	if l.open() == nil {
		full.Close()
	}
}

// readLog opens the newest [pods.MaxLogBytes] of a log. The error is
// fs.ErrNotExist if there is none.
func readLog(path string) (*logReader, error) {
	// The newer file first: if the log is rotated meanwhile, both opens give the
	// same file, and nothing between them is missing.
	newer, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening the log: %w", err)
	}
	r := &logReader{path: path, file: newer}
	skip := fileSize(newer) - pods.MaxLogBytes
	if older, err := os.Open(oldLog(path)); err == nil {
		if skip >= 0 || sameFile(older, newer) {
			older.Close()
		} else {
			r.file, r.next = older, newer
			skip += fileSize(older)
		}
	}
	if _, err := r.file.Seek(max(skip, 0), io.SeekStart); err != nil {
		return nil, errors.Join(fmt.Errorf("reading the log: %w", err), r.Close())
	}
	return r, nil
}

func fileSize(f *os.File) int64 {
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	return info.Size()
}

func sameFile(a, b *os.File) bool {
	infoA, err := a.Stat()
	if err != nil {
		return false
	}
	infoB, err := b.Stat()
	return err == nil && os.SameFile(infoA, infoB)
}

// logReader reads a log, and goes on in the next file when it is rotated.
type logReader struct {
	path string
	file *os.File // read now
	next *os.File // read when file is at its end; nil: none known
}

// Read reads what is there: io.EOF says that nothing more is there now.
func (r *logReader) Read(p []byte) (int, error) {
	for {
		n, err := r.file.Read(p)
		switch {
		case n > 0 || !errors.Is(err, io.EOF):
			return n, err
		case r.next != nil:
			r.file.Close()
			r.file, r.next = r.next, nil
		case !r.rotated():
			return 0, io.EOF
		}
	}
}

// rotated reports whether there is a file after the one that is read, and opens
// it. The other one is final then, but may have got more since its end was met.
func (r *logReader) rotated() bool {
	f, err := os.Open(r.path)
	if err != nil {
		return false
	}
	if sameFile(f, r.file) {
		f.Close()
		return false
	}
	r.next = f
	return true
}

// Close closes the files.
func (r *logReader) Close() error {
	if r.next != nil {
		r.next.Close()
	}
	return r.file.Close()
}

// boundedLog is a log as it is now: a program that writes faster than it is
// read must not make it endless.
type boundedLog struct {
	io.Reader
	io.Closer
}

// followedLog reads a log as it grows.
type followedLog struct {
	ctx   context.Context
	log   *logReader
	ended <-chan struct{} // closed when nothing more is written

	closed <-chan struct{} // closed with the cluster
}

// Read waits until there is something to read. The error is io.EOF at the end of
// the run, and the context's when that ended.
func (f *followedLog) Read(p []byte) (int, error) {
	for {
		var last bool
		select {
		case <-f.ended:
			last = true
		default:
		}
		n, err := f.log.Read(p)
		if n > 0 || last || !errors.Is(err, io.EOF) {
			return n, err
		}
		select {
		case <-f.ctx.Done():
			return 0, f.ctx.Err()
		case <-f.closed:
			return 0, errClosed
		case <-f.ended:
		case <-time.After(followInterval):
		}
	}
}

// Close closes the log.
func (f *followedLog) Close() error { return f.log.Close() }
