package redisroutes

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/tapis-project/podway/routes"
)

// snapshotFile is the path of a file that keeps a table over a restart, "" for
// none. Its layout, integers big-endian:
//
//	"PWROUTE1"                    magic and version
//	uint64   version
//	uint32   digest of that version's log entry
//	uint32 n, n bytes             epoch
//	uint32   number of routes
//	uint32 n, n bytes             each route as JSON
//	uint32   CRC-32C of all above
type snapshotFile string

const (
	snapshotMagic = "PWROUTE1"
	maxEpochBytes = 256
)

// snapshot is the content of the file.
type snapshot struct {
	pos     position
	entries []*routes.Entry
	skipped int // records that this version of the program refuses
}

// errCorrupt says that a file is no snapshot, or not all of one.
var errCorrupt = errors.New("the file is damaged")

// save replaces the file in one step.
func (f snapshotFile) save(s snapshot) (err error) {
	dir := filepath.Dir(string(f))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("saving route snapshot: %w", err)
	}
	tmp, err := os.CreateTemp(dir, filepath.Base(string(f))+".tmp-*") // 0600
	if err != nil {
		return fmt.Errorf("saving route snapshot: %w", err)
	}
	defer func() {
		if err != nil {
			_ = tmp.Close()
			_ = os.Remove(tmp.Name())
			err = fmt.Errorf("saving route snapshot: %w", err)
		}
	}()
	if err := s.write(tmp); err != nil {
		return err
	}
	if err := tmp.Sync(); err != nil {
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), string(f)); err != nil {
		return err
	}
	syncDir(dir)
	return nil
}

// syncDir makes a rename last over a power cut, where the file system can.
func syncDir(dir string) {
	d, err := os.Open(dir)
	if err != nil {
		return
	}
	defer d.Close()
	_ = d.Sync()
}

func (s snapshot) write(w io.Writer) error {
	buf := bufio.NewWriterSize(w, 64<<10)
	sum := crc32.New(castagnoli)
	out := io.MultiWriter(buf, sum)

	head := []byte(snapshotMagic)
	head = binary.BigEndian.AppendUint64(head, s.pos.version)
	head = binary.BigEndian.AppendUint32(head, s.pos.digest)
	head = appendBytes(head, []byte(s.pos.epoch))
	head = binary.BigEndian.AppendUint32(head, uint32(len(s.entries)))
	if _, err := out.Write(head); err != nil {
		return err
	}
	for _, e := range s.entries {
		record, err := routes.Encode(e.Route)
		if err != nil {
			return err
		}
		if _, err := out.Write(appendBytes(nil, record)); err != nil {
			return err
		}
	}
	if err := binary.Write(buf, binary.BigEndian, sum.Sum32()); err != nil {
		return err
	}
	return buf.Flush()
}

func appendBytes(b, data []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(data))), data...)
}

// load reads the file. An error wraps fs.ErrNotExist if there is none, and
// errCorrupt if it is damaged; then nothing of it may be used.
func (f snapshotFile) load() (snapshot, error) {
	file, err := os.Open(string(f))
	if err != nil {
		return snapshot{}, fmt.Errorf("reading route snapshot: %w", err)
	}
	defer file.Close()
	s, err := readSnapshot(file)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("it ends early: %w", errCorrupt)
	}
	if err != nil {
		return snapshot{}, fmt.Errorf("reading route snapshot: %w", err)
	}
	return s, nil
}

func readSnapshot(file io.Reader) (snapshot, error) {
	r := &sumReader{r: bufio.NewReaderSize(file, 64<<10), sum: crc32.New(castagnoli)}
	if magic := r.bytes(len(snapshotMagic)); r.err == nil && string(magic) != snapshotMagic {
		return snapshot{}, fmt.Errorf("it begins with %q: %w", magic, errCorrupt)
	}
	var s snapshot
	s.pos.version = r.uint64()
	s.pos.digest = r.uint32()
	s.pos.epoch = string(r.chunk(maxEpochBytes))
	for n := r.uint32(); n > 0 && r.err == nil; n-- {
		s.add(r.chunk(routes.MaxRecordBytes))
	}
	want := r.sum.Sum32()
	if got := r.uint32(); r.err == nil && got != want {
		return snapshot{}, fmt.Errorf("got checksum %08x, want %08x: %w", got, want, errCorrupt)
	}
	return s, r.err
}

// add reads one record. One that is refused does not spoil the others.
func (s *snapshot) add(record []byte) {
	r, err := routes.Decode(record)
	if err != nil {
		s.skipped++
		return
	}
	e, err := routes.Compile(r)
	if err != nil {
		s.skipped++
		return
	}
	s.entries = append(s.entries, e)
}

// sumReader reads values until the first error, and sums what it reads.
type sumReader struct {
	r   io.Reader
	sum hash.Hash32
	err error
}

func (r *sumReader) bytes(n int) []byte {
	b := make([]byte, n)
	if r.err == nil {
		_, r.err = io.ReadFull(r.r, b)
		_, _ = r.sum.Write(b) // never fails
	}
	return b
}

func (r *sumReader) uint32() uint32 { return binary.BigEndian.Uint32(r.bytes(4)) }
func (r *sumReader) uint64() uint64 { return binary.BigEndian.Uint64(r.bytes(8)) }

// chunk reads a length and so many bytes.
func (r *sumReader) chunk(limit int) []byte {
	n := r.uint32()
	if r.err == nil && n > uint32(limit) {
		r.err = fmt.Errorf("it holds a part of %d bytes: %w", n, errCorrupt)
	}
	if r.err != nil {
		return nil
	}
	return r.bytes(int(n))
}

// Restore fills the table from the snapshot file. Run does it first, unless it
// was done; call it to serve before Run is under way. A missing or damaged file
// leaves the table empty.
func (w *Watcher) Restore() {
	w.restore.Do(func() {
		if w.snapshot == "" {
			return
		}
		s, err := w.snapshot.load()
		w.mu.Lock()
		defer w.mu.Unlock()
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			w.snapshotErrors++
			w.log.Error("ignoring the route snapshot", "error", err)
		default:
			w.restored(s)
		}
	})
}

func (w *Watcher) restored(s snapshot) {
	for _, e := range s.entries {
		w.table.Put(e)
	}
	if s.skipped > 0 {
		s.pos = position{epoch: s.pos.epoch} // read those again
		w.log.Warn("skipped routes of the snapshot that can't be used", "routes", s.skipped)
	}
	w.pos = s.pos
	w.loaded = true
	w.log.Info("serving routes of the snapshot", "routes", len(s.entries), "epoch", s.pos.epoch, "version", s.pos.version)
}

// saveLoop writes the snapshot after changes, until ctx ends.
func (w *Watcher) saveLoop(ctx context.Context) {
	for w.awaitChange(ctx) {
		if !w.save() {
			sleep(ctx, w.opts.snapshotLatest)
			w.mu.Lock()
			w.touched() // try again
			w.mu.Unlock()
		}
	}
}

// awaitChange returns true when there is something to save that has been quiet
// for a while, or has waited long enough. It returns false when ctx ends.
func (w *Watcher) awaitChange(ctx context.Context) bool {
	select {
	case <-w.changed:
	case <-ctx.Done():
		return false
	}
	latest := time.NewTimer(w.opts.snapshotLatest)
	defer latest.Stop()
	quiet := time.NewTimer(w.opts.snapshotQuiet)
	defer quiet.Stop()
	for {
		select {
		case <-w.changed:
			quiet.Reset(w.opts.snapshotQuiet)
		case <-quiet.C:
			return true
		case <-latest.C:
			return true
		case <-ctx.Done():
			return false
		}
	}
}

// savedPosition is where a restarted watcher shall go on. If the table is not
// what was published, it has to read everything, and decide again what to hold.
func (w *Watcher) savedPosition() position {
	switch {
	case len(w.held) > 0:
		return w.heldFrom
	case len(w.bad) > 0:
		return position{epoch: w.pos.epoch}
	default:
		return w.pos
	}
}

// save writes the snapshot if there is something new, and reports success.
func (w *Watcher) save() bool {
	if w.snapshot == "" {
		return true
	}
	w.mu.Lock()
	if !w.unsaved {
		w.mu.Unlock()
		return true
	}
	w.unsaved = false
	s := snapshot{pos: w.savedPosition()}
	w.mu.Unlock()

	// Changes that come meanwhile may be in the file or not: they are above its
	// version, so they are read again.
	w.table.Range(func(e *routes.Entry) bool {
		s.entries = append(s.entries, e)
		return true
	})
	if err := w.snapshot.save(s); err != nil {
		w.mu.Lock()
		w.unsaved = true
		w.snapshotErrors++
		w.mu.Unlock()
		w.log.Error("the route snapshot could not be saved", "file", string(w.snapshot), "error", err)
		return false
	}
	return true
}
