package connectwire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/coder/websocket"
)

// Stream carries bytes in a WebSocket, each direction with an end of its own: binary
// messages, of which an empty one is the end. One goroutine may read and one write.
// Make it with [NewStream].
type Stream struct {
	ws   *websocket.Conn
	ctx  context.Context //nolint:containedctx // it ends the connection, as net.Conn knows none
	part io.Reader       // of the message that is being read; nil between two
	some bool            // that message has bytes
	eof  bool
}

// NewStream returns the stream of a WebSocket that has just begun. The end of ctx
// ends it.
func NewStream(ctx context.Context, ws *websocket.Conn) *Stream {
	ws.SetReadLimit(-1) // messages are passed on as they come, and held nowhere
	return &Stream{ws: ws, ctx: ctx}
}

// Read implements [io.Reader]. It returns io.EOF when the other side has ended its
// direction.
func (s *Stream) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	for !s.eof {
		if s.part == nil {
			if err := s.next(); err != nil {
				return 0, err
			}
		}
		n, err := s.part.Read(b)
		s.some = s.some || n > 0
		if errors.Is(err, io.EOF) {
			s.part, s.eof, err = nil, !s.some, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
	return 0, io.EOF
}

// next begins to read a message.
func (s *Stream) next() error {
	kind, part, err := s.ws.Reader(s.ctx)
	switch {
	case websocket.CloseStatus(err) == websocket.StatusNormalClosure:
		return io.EOF
	case err != nil:
		return err
	case kind != websocket.MessageBinary:
		return fmt.Errorf("reading WebSocket: got a message of kind %v, want binary", kind)
	}
	s.part, s.some = part, false
	return nil
}

// Write implements [io.Writer].
func (s *Stream) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil // which would be the end
	}
	if err := s.ws.Write(s.ctx, websocket.MessageBinary, b); err != nil {
		return 0, err
	}
	return len(b), nil
}

// CloseWrite ends this side's direction. The other one goes on.
func (s *Stream) CloseWrite() error { return s.ws.Write(s.ctx, websocket.MessageBinary, nil) }

// Close ends both directions at once.
func (s *Stream) Close() error { return s.ws.CloseNow() }

// KeepAlive asks the other side for a sign of life each interval, so that nothing in
// between takes an idle stream for a dead one. It returns when the stream has ended.
// The stream has to be read meanwhile.
func (s *Stream) KeepAlive(interval time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-tick.C:
			if s.ws.Ping(s.ctx) != nil {
				return
			}
		}
	}
}
