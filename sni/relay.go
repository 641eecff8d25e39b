package sni

import (
	"context"
	"errors"
	"io"
	"net"
	"time"
)

// duplex is a connection whose two directions end apart.
type duplex interface {
	net.Conn
	CloseWrite() error
}

// relay copies between a client and its upstream until both directions have
// ended, one has failed, or ctx ends. It closes both connections.
//
// The end of one direction is passed on and the other goes on: a client may
// close its side and still wait for the rest of an answer.
func relay(ctx context.Context, down, up duplex, x *Session) error {
	end := func() {
		up.Close() // first, as it never blocks
		closeClient(down)
	}
	defer end()
	stop := context.AfterFunc(ctx, end)
	defer stop()

	toClient := make(chan error, 1)
	go func() {
		err := pipe(down, up, x.countSent)
		if err != nil {
			end()
		}
		toClient <- err
	}()
	err := pipe(up, down, x.countReceived)
	if err != nil {
		end()
	}
	if err2 := <-toClient; err == nil {
		err = err2
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// pipe copies from src to dst up to the end of src, and passes that on. It is
// the only place that holds a buffer of a session: what lets go of it while a
// session is idle belongs here.
func pipe(dst, src duplex, count func(int)) error {
	b := buffers.get()
	defer buffers.put(b)
	for {
		n, err := src.Read(b)
		if n > 0 {
			if _, err := dst.Write(b[:n]); err != nil {
				return err
			}
			count(n)
		}
		switch {
		case errors.Is(err, io.EOF):
			return dst.CloseWrite()
		case err != nil:
			return err
		}
	}
}

// closeClient closes a client's connection, with a goodbye of TLS if that can
// be sent at once: the socket of a client that reads nothing may be full.
func closeClient(c net.Conn) {
	if t, ok := c.(interface{ NetConn() net.Conn }); ok {
		raw := t.NetConn()
		defer time.AfterFunc(250*time.Millisecond, func() { raw.Close() }).Stop()
	}
	c.Close()
}
