package podproxy

import (
	"context"
	"errors"
	"io"

	"github.com/tapis-project/podway/caddymodules/podproxy/internal/wsframe"
	"github.com/tapis-project/podway/sni"
)

// farewell is what a tunnel writes to its client. It can tell the client of a
// WebSocket why it ends, in between two frames of the pod: of other protocols it
// knows nothing, and in the middle of a frame there is nothing to be said.
type farewell struct {
	io.Writer
	frames *wsframe.Tracker // nil if it is no WebSocket
}

func newFarewell(client io.Writer, websocket bool) *farewell {
	f := &farewell{Writer: client}
	if websocket {
		f.frames = new(wsframe.Tracker)
	}
	return f
}

// Write sends on what the pod has sent.
func (f *farewell) Write(b []byte) (int, error) {
	n, err := f.Writer.Write(b)
	if f.frames != nil {
		f.frames.Follow(b[:n])
	}
	return n, err
}

// say says why the tunnel ends, if the edge ends it.
func (f *farewell) say(ctx context.Context) error {
	cause := context.Cause(ctx)
	byEdge := errors.Is(cause, sni.ErrRevoked) || errors.Is(cause, sni.ErrDraining)
	if !byEdge || f.frames == nil || !f.frames.Between() {
		return nil
	}
	_, err := f.Write(wsframe.AppendClose(nil, wsframe.GoingAway, cause.Error()))
	return err
}
