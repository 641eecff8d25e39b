package h1

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
)

// Bounds of what a server may send ahead of a body.
const (
	maxHeadBytes    = 256 << 10
	maxFields       = 1000
	maxTrailerBytes = 16 << 10

	// Once a head has begun, it has to end within this time.
	headTimeout = 30 * time.Second
)

// ErrMalformed is the error of a response that is not valid, or not clear.
var ErrMalformed = errors.New("malformed response")

// Field is a header field. Its name is in canonical form.
type Field struct{ Name, Value string }

// Response is the head of a response.
type Response struct {
	Status int

	// Fields in their order. Those about the connection and the length of the
	// body are among them. They are good until the connection is used again.
	Fields []Field

	// Length of the body, -1 if it is unknown. It is what Content-Length says if
	// the request was HEAD, and there is no body then.
	Length int64

	// Connection holds the names that the Connection header lists besides "close"
	// and "keep-alive", nil for none.
	Connection []string
}

// ReadResponse reads the next head, interim ones (1xx) included. The error is
// io.EOF if the connection ended before its first byte.
func (c *Conn) ReadResponse(method string) (Response, error) {
	c.body = body{}
	line, err := c.readHead(maxHeadBytes)
	if err != nil {
		return Response{}, err
	}
	status, http10, err := parseStatus(line)
	if err != nil {
		return Response{}, err
	}
	res := Response{Status: status, Fields: c.fields, Length: -1}
	if err := c.frame(&res, method, http10); err != nil {
		return Response{}, err
	}
	return res, nil
}

// readHead reads up to an empty line, and returns its first line. The rest is
// in c.fields.
func (c *Conn) readHead(limit int) (first string, err error) {
	if err := c.readLines(limit); err != nil {
		return "", err
	}
	text := string(c.head) // the only copy; all names and values are parts of it
	first, rest, _ := strings.Cut(text, "\n")
	c.fields = c.fields[:0]
	if err := c.parseFields(rest); err != nil {
		return "", err
	}
	return strings.TrimSuffix(first, "\r"), nil
}

// readLines reads lines into c.head until one is empty.
func (c *Conn) readLines(limit int) error {
	c.head = c.head[:0]
	if c.br.Buffered() == 0 {
		if _, err := c.br.Peek(1); err != nil {
			return err // io.EOF: nothing came
		}
	}
	// What was read at once usually holds all of it; only a server that sends
	// slowly is timed.
	timed := false
	for {
		if !timed && !bytes.Contains(c.buffered(), []byte("\n")) {
			timed = true
			c.SetReadDeadline(time.Now().Add(headTimeout))
		}
		line, err := c.br.ReadSlice('\n')
		c.head = append(c.head, line...)
		switch {
		case len(c.head) > limit:
			return fmt.Errorf("%w: head of over %d bytes", ErrMalformed, limit)
		case errors.Is(err, os.ErrDeadlineExceeded):
			return fmt.Errorf("reading head: %w", err)
		case err != nil && !isFull(err):
			return fmt.Errorf("reading head: %w", unexpected(err))
		}
		if len(line) <= 2 && endsHead(c.head) {
			break
		}
	}
	if timed {
		c.SetReadDeadline(time.Time{})
	}
	return nil
}

func (c *Conn) buffered() []byte {
	b, _ := c.br.Peek(c.br.Buffered())
	return b
}

// endsHead reports whether the last line of b is empty.
func endsHead(b []byte) bool {
	b, ok := bytes.CutSuffix(b, []byte("\n"))
	if !ok {
		return false
	}
	b = bytes.TrimSuffix(b, []byte("\r"))
	return len(b) == 0 || b[len(b)-1] == '\n'
}

func parseStatus(line string) (status int, http10 bool, err error) {
	proto, rest, ok := strings.Cut(line, " ")
	code, _, _ := strings.Cut(rest, " ")
	if !ok || (proto != "HTTP/1.1" && proto != "HTTP/1.0") || len(code) != 3 {
		return 0, false, fmt.Errorf("%w: no status line of HTTP/1", ErrMalformed)
	}
	for i := range len(code) {
		if code[i] < '0' || code[i] > '9' {
			return 0, false, fmt.Errorf("%w: status is no number", ErrMalformed)
		}
	}
	status, _ = strconv.Atoi(code) // three digits
	if status < 100 {
		return 0, false, fmt.Errorf("%w: status %d", ErrMalformed, status)
	}
	return status, proto == "HTTP/1.0", nil
}

// parseFields parses the lines of a head into c.fields, up to the empty one.
func (c *Conn) parseFields(text string) error {
	for {
		line, rest, _ := strings.Cut(text, "\n")
		line = strings.TrimSuffix(line, "\r")
		if line == "" {
			return nil
		}
		// A line that continues the one before begins with a space, so it has no
		// valid name either.
		name, value, ok := strings.Cut(line, ":")
		value = strings.Trim(value, " \t")
		if !ok || !ValidField(name, value) {
			return fmt.Errorf("%w: header line", ErrMalformed)
		}
		if len(c.fields) == maxFields {
			return fmt.Errorf("%w: more than %d header fields", ErrMalformed, maxFields)
		}
		c.fields = append(c.fields, Field{canonical(name), value})
		text = rest
	}
}

// frame finds out where the body ends and whether the connection outlives it, as
// RFC 9112, section 6.3 says, only stricter.
func (c *Conn) frame(res *Response, method string, http10 bool) error {
	chunked, persist := false, false
	for _, f := range res.Fields {
		switch f.Name {
		case "Content-Length":
			n, err := parseLength(f.Value)
			if err != nil || (res.Length >= 0 && res.Length != n) {
				return fmt.Errorf("%w: content length", ErrMalformed)
			}
			res.Length = n
		case "Transfer-Encoding":
			if chunked || http10 || !strings.EqualFold(f.Value, "chunked") {
				return fmt.Errorf("%w: transfer encoding", ErrMalformed)
			}
			chunked = true
		case "Connection":
			persist = c.connection(res, f.Value) || persist
		}
	}
	if http10 && !persist {
		c.closes = true
	}
	if chunked && res.Length >= 0 {
		res.Length, c.closes = -1, true // somebody may have been meant to see two responses
	}
	noBody := res.Status < 200 || res.Status == http.StatusNoContent || res.Status == http.StatusNotModified
	switch {
	case noBody || method == http.MethodHead:
		c.body.done = true
	case chunked:
		c.body.chunks = newChunks(c.br)
	case res.Length >= 0:
		c.body.left = res.Length
		c.body.done = res.Length == 0
	default:
		c.body.toEnd, c.closes = true, true
	}
	if res.Status == http.StatusSwitchingProtocols {
		c.closes = true
	}
	return nil
}

// connection reads a Connection header, and reports whether it says keep-alive.
func (c *Conn) connection(res *Response, value string) (persist bool) {
	for token := range strings.SplitSeq(value, ",") {
		token = strings.Trim(token, " \t")
		switch {
		case strings.EqualFold(token, "close"):
			c.closes = true
		case strings.EqualFold(token, "keep-alive"):
			persist = true
		case token != "":
			res.Connection = append(res.Connection, token)
		}
	}
	return persist
}

func parseLength(s string) (int64, error) {
	if s == "" || s[0] < '0' || s[0] > '9' { // no sign
		return 0, ErrMalformed
	}
	return strconv.ParseInt(s, 10, 64)
}

func validName(s string) bool {
	if s == "" {
		return false
	}
	for i := range len(s) {
		if !httpguts.IsTokenRune(rune(s[i])) {
			return false
		}
	}
	return true
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
