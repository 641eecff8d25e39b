package podproxy

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/tapis-project/podway/caddymodules/podproxy/internal/h1"
	"github.com/tapis-project/podway/sni"
)

// continueTimeout is how long a pod may take to ask for a body that is offered
// with Expect: 100-continue. Many never do.
const continueTimeout = time.Second

// upload sends the body of a request while the response may come already.
type upload struct {
	body   io.Reader
	of     *exchange // the trailers of its request are there when the body has ended
	length int64     // -1 for chunks
	conn   *h1.Conn

	proceed chan struct{} // closed when the pod asks for the body
	asked   bool          // proceed is closed
	stop    chan struct{} // closed when nobody wants the body any more
	ended   chan struct{} // closed when the goroutine has ended

	last atomic.Bool // the client has sent all of it

	// Good after ended: whether all was sent, and why the client's side failed.
	complete bool
	failed   error
}

// startUpload sends the body in a goroutine of its own.
func (x *exchange) startUpload(c *h1.Conn, out *outgoing) {
	if x.r.ProtoMajor == 1 {
		// Without it, net/http reads all of the body before it sends the head of
		// the response.
		_ = x.control.EnableFullDuplex()
	}
	u := &upload{
		body: x.r.Body, of: x, length: out.length, conn: c,
		proceed: make(chan struct{}), stop: make(chan struct{}), ended: make(chan struct{}),
	}
	if !expects(x.r) {
		u.continues()
	}
	x.upload = u
	go u.run()
}

// continues lets the body be sent.
func (u *upload) continues() {
	if u != nil && !u.asked {
		u.asked = true
		close(u.proceed)
	}
}

func (u *upload) run() {
	defer close(u.ended)
	if !u.wait() {
		return
	}
	if err := u.send(); err != nil {
		if errors.Is(err, errClient) {
			u.failed = err
			u.conn.Abort() // the pod waits for what will not come
		}
		return // else the pod stopped reading; its response says why
	}
	u.complete = true
}

// wait waits until the pod wants the body. It reports false if it does not.
func (u *upload) wait() bool {
	select {
	case <-u.proceed:
		return true
	default:
	}
	t := time.NewTimer(continueTimeout)
	defer t.Stop()
	select {
	case <-u.proceed:
	case <-t.C:
	case <-u.stop:
		return false
	}
	return true
}

func (u *upload) send() error {
	buf := sni.Buffers{}.Get()
	defer sni.Buffers{}.Put(buf)
	if u.length < 0 {
		return u.sendChunks(buf)
	}
	for left := u.length; left > 0; {
		n, err := u.body.Read(buf[:min(left, int64(len(buf)))])
		if n > 0 {
			left -= int64(n)
			u.last.Store(left == 0)
			if _, err := u.conn.Write(buf[:n]); err != nil {
				return err
			}
		}
		if err != nil && left > 0 {
			return fmt.Errorf("%w: %w", errClient, err)
		}
	}
	return nil
}

func (u *upload) sendChunks(buf []byte) error {
	for {
		n, err := u.body.Read(h1.MaxChunk(buf))
		if n > 0 {
			if _, err := u.conn.Write(h1.Chunk(buf, n)); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			u.last.Store(true)
			_, err = u.conn.Write(u.lastChunk(buf[:0]))
			return err
		case err != nil:
			return fmt.Errorf("%w: %w", errClient, err)
		}
	}
}

func (u *upload) lastChunk(b []byte) []byte {
	b = h1.AppendLastChunk(b)
	for name, values := range u.of.r.Trailer {
		if !u.of.trailerPasses(name) {
			continue
		}
		for _, v := range values {
			b = h1.AppendField(b, name, v)
		}
	}
	return h1.AppendEnd(b)
}

// finish ends the upload, and waits for its goroutine. It reports whether all
// was sent. Without an upload there was nothing to send.
func (u *upload) finish(x *exchange) bool {
	if u == nil {
		return true
	}
	if u.last.Load() {
		// The last write may not have returned yet although the pod has answered it.
		u.endsWithin(time.Second)
	}
	if u.endsWithin(0) {
		return u.complete
	}
	x.upload = nil
	close(u.stop)
	u.conn.Abort()
	x.unblock(u.ended)
	return false
}

// endsWithin reports whether the goroutine has ended, or does within a time.
func (u *upload) endsWithin(d time.Duration) bool {
	select {
	case <-u.ended:
		return true
	default:
	}
	if d == 0 {
		return false
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-u.ended:
		return true
	case <-t.C:
		return false
	}
}

// unblock makes reads of the client end until ended is closed. Layers above move
// deadlines forward with each read, so one time may not be enough.
func (x *exchange) unblock(ended <-chan struct{}) {
	for {
		_ = x.control.SetReadDeadline(past)
		if x.r.ProtoMajor > 1 {
			x.r.Body.Close() // of HTTP/1, it would wait for the read
		}
		t := time.NewTimer(10 * time.Millisecond)
		select {
		case <-ended:
			t.Stop()
			return
		case <-t.C:
		}
	}
}
