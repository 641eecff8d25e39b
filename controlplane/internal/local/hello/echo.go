package hello

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
)

// serveEcho sends every byte back to the connection it came from, until ctx
// ends.
func serveEcho(ctx context.Context, l net.Listener) error {
	var conns sync.WaitGroup
	defer conns.Wait()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for {
		conn, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				conn.Close()
			}
			return nil
		case err != nil:
			l.Close()
			return fmt.Errorf("accepting: %w", err)
		}
		conns.Go(func() { echo(ctx, conn) })
	}
}

// echo ends when the client has closed its half and got everything back.
func echo(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	// An error means that the client is gone, which is nobody's problem.
	_, _ = io.Copy(conn, conn)
}
