package load

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
)

// The first byte of a connection says what the upstream does with it.
const (
	wantEcho = 'E' // sends back what comes
	wantDown = 'D' // sends until the connection ends
	wantUp   = 'U' // reads, and sends a byte for each unit
	wantHTTP = 'G' // of "GET": answers HTTP/1.1 requests without a body
)

const (
	// chunk is the most that bulk loads read or write at once.
	chunk = 250_000
	// unit is how much of a bulk load the upstream acknowledges.
	unit = 4 * chunk
)

// Upstream is the server behind everything that is measured. It does little, so
// that the time of what is in front of it shows.
type Upstream struct {
	// Addr is where it listens, ip:port.
	Addr string

	listener net.Listener
}

// StartUpstream starts an upstream on loopback. Close it.
func StartUpstream(ctx context.Context) (*Upstream, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("starting the upstream: %w", err)
	}
	u := &Upstream{Addr: l.Addr().String(), listener: l}
	go u.accept()
	return u, nil
}

// Close stops listening. Connections end with their clients.
func (u *Upstream) Close() error { return u.listener.Close() }

func (u *Upstream) accept() {
	for {
		c, err := u.listener.Accept()
		if err != nil {
			return
		}
		go serve(c)
	}
}

func serve(c net.Conn) {
	defer c.Close()
	var first [1]byte
	if _, err := io.ReadFull(c, first[:]); err != nil {
		return
	}
	switch first[0] {
	case wantEcho:
		echo(c)
	case wantDown:
		down(c)
	case wantUp:
		up(c)
	case wantHTTP:
		answer(c)
	}
}

func echo(c net.Conn) {
	b := make([]byte, 256)
	for {
		n, err := c.Read(b)
		if err != nil {
			return
		}
		if _, err := c.Write(b[:n]); err != nil {
			return
		}
	}
}

func down(c net.Conn) {
	for b := make([]byte, chunk); ; {
		if _, err := c.Write(b); err != nil {
			return
		}
	}
}

func up(c net.Conn) {
	b := make([]byte, chunk)
	for read := 0; ; {
		n, err := c.Read(b)
		if err != nil {
			return
		}
		for read += n; read >= unit; read -= unit {
			if _, err := c.Write(b[:1]); err != nil {
				return
			}
		}
	}
}

// body is what every HTTP request is answered with.
var body = strings.Repeat("x", 127) + "\n"

var response = []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 128\r\n\r\n" + body)

// answer answers requests, each of which ends with an empty line.
func answer(c net.Conn) {
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return
		}
		if len(bytes.TrimRight(line, "\r\n")) > 0 {
			continue
		}
		if _, err := c.Write(response); err != nil {
			return
		}
	}
}
