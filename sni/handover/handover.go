// Package handover passes listening sockets from one process to the next, so that
// a program is replaced without one failed connect: both hold the same socket of
// the kernel, with the connections that wait in it.
//
// Both processes know the path of a Unix socket. They pass these steps:
//
//  1. The successor connects to the path. The predecessor answers with the names
//     of its sockets, as one line of JSON, and with their file descriptors.
//  2. The successor gets ready. If it ends before that, the connection ends, and
//     the predecessor goes on as if nothing had been.
//  3. The successor accepts connections, says so by one byte, and offers the path
//     itself. The predecessor accepts no more and ends.
//
// The successor:
//
//	estate, err := handover.Claim(ctx, path)
//	if err != nil { ... } // handover.ErrNobody: it is the first
//	ln, err := estate.Listener("0.0.0.0:443") // nil: open a new one
//	...
//	err = estate.Accept()
//
// and then, as the next predecessor:
//
//	offer, err := handover.Listen(path, handover.Handler{Sockets: open, Retire: drain, Log: log})
//
// Whoever may connect to the path can take the place of the program, so it is
// readable and writable by its own user only.
package handover

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

// ErrNobody is the error of [Claim] when there is no predecessor.
var ErrNobody = errors.New("no process offers its sockets")

const (
	// maxSockets bounds what is passed on; the kernel's limit is 253.
	maxSockets = 64

	// maxLine bounds the line with the names.
	maxLine = 32 << 10

	// exchangeTimeout bounds one exchange of the two processes.
	exchangeTimeout = 5 * time.Second
)

// accepted is what a successor sends once it has taken over.
const accepted = 'A'

// Socket is a listening socket and its name, which is the address it was asked for.
type Socket struct {
	Name     string
	Listener syscall.Conn
}

// estate is the line that comes with the file descriptors, in their order.
type estate struct {
	Sockets []string `json:"sockets"`
}

// Handler is what a predecessor does.
type Handler struct {
	// Returns the sockets to pass on.
	Sockets func() []Socket

	// Called once, when a successor has taken over. The offer is closed then.
	Retire func()
}

// Offer waits for a successor. Make it with [Listen].
type Offer struct {
	handler Handler
	ln      *net.UnixListener
	mu      sync.Mutex
	current *net.UnixConn // of the successor that is getting ready
	closed  bool
	done    sync.WaitGroup
}

// Listen offers the sockets of a process at a path, in the place of whoever did so
// before. Close ends it.
func Listen(path string, h Handler) (*Offer, error) {
	ln, err := bind(path)
	if err != nil {
		return nil, fmt.Errorf("offering sockets: %w", err)
	}
	o := &Offer{handler: h, ln: ln}
	o.done.Go(o.serve)
	return o, nil
}

// bind opens a Unix socket that takes the place of what is at path, and is never
// open to others.
func bind(path string) (*net.UnixListener, error) {
	dir, err := os.MkdirTemp(filepath.Dir(path), ".h") // a short name: paths of sockets are
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // it is empty, or this has failed anyhow
	private := filepath.Join(dir, "s")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: private, Net: "unix"})
	if err != nil {
		return nil, err
	}
	// The path belongs to whoever came last: the end of this process leaves it.
	ln.SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(private, 0o600), os.Rename(private, path)); err != nil {
		_ = ln.Close()
		return nil, err
	}
	return ln, nil
}

// Close ends the offer. The path stays: it may be another process's by now.
func (o *Offer) Close() error {
	o.mu.Lock()
	o.closed = true
	if o.current != nil {
		_ = o.current.Close()
	}
	o.mu.Unlock()
	err := o.ln.Close()
	o.done.Wait()
	return err
}

// serve serves successors, one by one, until one has taken over or Close.
func (o *Offer) serve() {
	for {
		c, err := o.ln.AcceptUnix()
		if err != nil {
			return
		}
		if o.pass(c) {
			_ = o.ln.Close()
			o.handler.Retire()
			return
		}
	}
}

// pass passes the sockets on, and reports whether the successor has taken over.
func (o *Offer) pass(c *net.UnixConn) bool {
	o.mu.Lock()
	if o.closed {
		o.mu.Unlock()
		_ = c.Close()
		return false
	}
	o.current = c
	o.mu.Unlock()
	defer func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.current = nil
		_ = c.Close()
	}()
	if err := c.SetWriteDeadline(time.Now().Add(exchangeTimeout)); err != nil {
		return false
	}
	if err := send(c, o.handler.Sockets()); err != nil {
		return false
	}
	var b [1]byte
	n, err := c.Read(b[:]) // the time it takes to get ready is the successor's
	return err == nil && n == 1 && b[0] == accepted
}

// send writes names and file descriptors in one message.
func send(c *net.UnixConn, sockets []Socket) error {
	var names estate
	var fds []int
	var raws []syscall.RawConn
	for _, s := range sockets[:min(len(sockets), maxSockets)] {
		raw, err := s.Listener.SyscallConn()
		if err != nil {
			continue // closed meanwhile
		}
		names.Sockets = append(names.Sockets, s.Name)
		raws = append(raws, raw)
	}
	line, err := json.Marshal(names)
	if err != nil {
		return err
	}
	write := func() error {
		_, _, err := c.WriteMsgUnix(append(line, '\n'), syscall.UnixRights(fds...), nil)
		return err
	}
	// A descriptor is good inside Control only, so they are nested.
	for _, raw := range raws {
		inner := write
		write = func() (err error) {
			if failed := raw.Control(func(fd uintptr) {
				fds = append(fds, int(fd))
				err = inner()
			}); failed != nil {
				return failed
			}
			return err
		}
	}
	err = write()
	return err
}

// Estate is what a successor got.
type Estate struct {
	conn *net.UnixConn

	mu      sync.Mutex
	sockets map[string]*os.File // those that nobody has asked for
}

// Claim asks the process that offers path for its sockets. It returns [ErrNobody]
// if there is none.
func Claim(ctx context.Context, path string) (*Estate, error) {
	c, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, ErrNobody
	}
	if err != nil {
		return nil, fmt.Errorf("claiming sockets: %w", err)
	}
	e := &Estate{conn: c.(*net.UnixConn), sockets: map[string]*os.File{}}
	if err := e.receive(); err != nil {
		_ = e.Close()
		return nil, fmt.Errorf("claiming sockets: %w", err)
	}
	return e, nil
}

// receive reads names and file descriptors.
func (e *Estate) receive() error {
	if err := e.conn.SetDeadline(time.Now().Add(exchangeTimeout)); err != nil {
		return err
	}
	b, oob := make([]byte, maxLine), make([]byte, syscall.CmsgSpace(4*maxSockets))
	n, oobn, _, _, err := e.conn.ReadMsgUnix(b, oob)
	if err != nil {
		return err
	}
	files, err := descriptors(oob[:oobn])
	if err != nil {
		return err
	}
	line, err := e.restOfLine(b[:n])
	var names estate
	if err == nil {
		err = json.Unmarshal(line, &names)
	}
	if err == nil && len(names.Sockets) != len(files) {
		err = fmt.Errorf("got %d names and %d sockets", len(names.Sockets), len(files))
	}
	if err != nil {
		for _, f := range files {
			_ = f.Close()
		}
		return err
	}
	for i, name := range names.Sockets {
		e.sockets[name] = files[i]
	}
	return e.conn.SetDeadline(time.Time{})
}

// restOfLine reads up to the end of a line of which start is the beginning.
func (e *Estate) restOfLine(start []byte) ([]byte, error) {
	if bytes.HasSuffix(start, []byte("\n")) {
		return start, nil
	}
	rest, err := bufio.NewReaderSize(e.conn, maxLine).ReadSlice('\n')
	return append(start, rest...), err
}

// descriptors returns the files that came with a message.
func descriptors(oob []byte) ([]*os.File, error) {
	messages, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	var files []*os.File
	for _, m := range messages {
		fds, err := syscall.ParseUnixRights(&m)
		if err != nil {
			return files, err
		}
		for _, fd := range slices.Backward(fds) { // they were nested
			files = append(files, os.NewFile(uintptr(fd), "listener"))
		}
	}
	return files, nil
}

// Listener returns the socket of a name, nil if the predecessor had none. Each is
// returned once.
func (e *Estate) Listener(name string) (net.Listener, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f := e.sockets[name]
	if f == nil {
		return nil, nil //nolint:nilnil // documented: there is none
	}
	delete(e.sockets, name)
	defer f.Close()
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("taking over %q: %w", name, err)
	}
	return ln, nil
}

// Accept tells the predecessor that it can retire, and closes what nobody has asked
// for.
func (e *Estate) Accept() error {
	err := e.conn.SetWriteDeadline(time.Now().Add(exchangeTimeout))
	if err == nil {
		_, err = e.conn.Write([]byte{accepted})
	}
	if err := errors.Join(err, e.Close()); err != nil {
		return fmt.Errorf("taking over: %w", err)
	}
	return nil
}

// Close gives up what nobody has asked for. Without an Accept before, the
// predecessor goes on.
func (e *Estate) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for name, f := range e.sockets {
		_ = f.Close()
		delete(e.sockets, name)
	}
	return e.conn.Close()
}
