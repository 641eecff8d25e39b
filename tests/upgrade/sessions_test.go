package upgrade

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/coder/websocket"
	"github.com/jackc/pgx/v5/pgconn"
)

// pause is what a client of a session waits between two messages.
const pause = 50 * time.Millisecond

// A session is a connection that stays. It is opened, used until it ends, and returns
// nil if it ended with the goodbye of its protocol, or with ctx.
type session func(ctx context.Context, opened func()) error

// sessions are those of each kind. An edge that ends says goodbye to each.
func (i *installation) sessions() map[string]session {
	return map[string]session{
		"WebSocket": i.staySocket,
		"psql":      i.stayDatabase,
		"TCP":       func(ctx context.Context, opened func()) error { return i.stayEcho(ctx, "echo", opened) },
		"Bolt":      func(ctx context.Context, opened func()) error { return i.stayEcho(ctx, "graph", opened) },
	}
}

// errCut is the end of a session that its protocol has announced.
var errCut = errors.New("the session was ended with a goodbye")

// stayEcho ends with close_notify of TLS: neither protocol knows more.
func (i *installation) stayEcho(ctx context.Context, pod string, opened func()) error {
	c, err := i.dial(ctx, pod)
	if err != nil {
		return err
	}
	defer c.Close()
	opened()
	for {
		_ = c.SetDeadline(time.Now().Add(clientLimit))
		if err := echo(c); errors.Is(err, io.EOF) {
			return errCut
		} else if err != nil {
			return err
		}
		if wait(ctx) {
			return nil
		}
	}
}

// staySocket ends with the status "going away".
func (i *installation) staySocket(ctx context.Context, opened func()) error {
	ws, err := i.socket(ctx)
	if err != nil {
		return err
	}
	defer ws.CloseNow() //nolint:errcheck // it has ended
	opened()
	for {
		if err := echoSocket(context.WithoutCancel(ctx), ws); websocket.CloseStatus(err) == websocket.StatusGoingAway {
			return errCut
		} else if err != nil {
			return err
		}
		if wait(ctx) {
			return nil
		}
	}
}

// stayDatabase ends with admin_shutdown. It waits for notifications, as programs do, or
// pools that look whether a connection is still good.
func (i *installation) stayDatabase(ctx context.Context, opened func()) error {
	c, err := i.database(ctx)
	if err != nil {
		return err
	}
	defer c.Close(context.WithoutCancel(ctx)) //nolint:errcheck // it has ended
	if _, err := c.Exec(ctx, "listen nothing"); err != nil {
		return err
	}
	opened()
	_, err = c.WaitForNotification(ctx)
	if pe, ok := errors.AsType[*pgconn.PgError](err); ok && pe.Code == "57P01" {
		return errCut
	}
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("waiting: %w", err)
}

// wait waits a moment, and reports whether all is over.
func wait(ctx context.Context) (over bool) {
	select {
	case <-ctx.Done():
		return true
	case <-time.After(pause):
		return false
	}
}
