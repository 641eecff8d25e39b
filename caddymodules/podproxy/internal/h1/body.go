package h1

import (
	"bufio"
	"errors"
	"io"
	"net/http/httputil"
)

// body is where the reading of a body stands.
type body struct {
	done   bool // nothing is left of the message
	toEnd  bool // it ends with the connection
	left   int64
	chunks io.Reader
	last   bool    // the last chunk was read, what follows was not
	tail   []Field // trailers
}

func newChunks(br *bufio.Reader) io.Reader { return httputil.NewChunkedReader(br) }

// Done reports whether the response was read to its end.
func (c *Conn) Done() bool { return c.body.done }

// ReadBody reads from the body of the last response. Its error is io.EOF at the
// end, and io.ErrUnexpectedEOF if the connection ended before.
func (c *Conn) ReadBody(p []byte) (int, error) {
	b := &c.body
	switch {
	case b.done:
		return 0, io.EOF
	case b.chunks != nil:
		return c.readChunks(p)
	case b.toEnd:
		n, err := c.br.Read(p)
		b.done = errors.Is(err, io.EOF)
		return n, err
	}
	n, err := c.br.Read(p[:min(int64(len(p)), b.left)])
	if b.left -= int64(n); b.left == 0 {
		b.done = true
		return n, nil
	}
	return n, unexpected(err)
}

func (c *Conn) readChunks(p []byte) (int, error) {
	b := &c.body
	if !b.last {
		n, err := b.chunks.Read(p)
		b.last = errors.Is(err, io.EOF)
		if !b.last || n > 0 {
			if b.last {
				err = nil // data does not wait for what follows it
			}
			return n, err
		}
	}
	if err := c.readTrailers(); err != nil {
		return 0, err
	}
	b.done = true
	return 0, io.EOF
}

// readTrailers reads what stands between the last chunk and the end.
func (c *Conn) readTrailers() error {
	if err := c.readLines(maxTrailerBytes); err != nil {
		return unexpected(err)
	}
	c.fields = c.fields[:0]
	if err := c.parseFields(string(c.head)); err != nil {
		return err
	}
	c.body.tail = c.fields
	return nil
}

// Trailers returns the trailers of a body that was read to its end.
func (c *Conn) Trailers() []Field { return c.body.tail }

// Buffered returns all that is left of the body if it has a known length and is
// in memory already, else nil. [Conn.Discard] takes it.
func (c *Conn) Buffered() []byte {
	b := &c.body
	if b.done || b.toEnd || b.chunks != nil || int64(c.br.Buffered()) < b.left {
		return nil
	}
	p, _ := c.br.Peek(int(b.left))
	return p
}

// Discard takes what Buffered returned.
func (c *Conn) Discard() {
	_, _ = c.br.Discard(int(c.body.left))
	c.body.left, c.body.done = 0, true
}

func isFull(err error) bool { return errors.Is(err, bufio.ErrBufferFull) }
