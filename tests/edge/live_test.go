package edge

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni/snitest"
)

// live is a connection that goes on.
type live struct {
	net.Conn
	use func() error // sends something and gets what belongs to it

	// ended waits for the end of what the pod keeps open, an error if that takes
	// too long. Nothing may be in flight.
	ended func(within time.Duration) error
}

// kind is a way to use the edge.
type kind struct {
	name     string
	protocol routes.Protocol
	open     func(e *edge, from, host string) (*live, error)
}

var kinds = []kind{
	{"tcp", routes.TCP, openTCP},
	{"postgres", routes.Postgres, openPostgres},
	{"websocket", routes.HTTP, openWebSocket},
	{"h2 stream", routes.HTTP, openStream},
	{"http/1.1", routes.HTTP, openHTTP1},
	{"h2", routes.HTTP, openHTTP2},
}

// upstreams starts a pod for each protocol and returns their addresses.
func upstreams(t *testing.T) map[routes.Protocol]string {
	t.Helper()
	web := httptest.NewServer(http.HandlerFunc(serveWeb))
	t.Cleanup(web.Close)
	return map[routes.Protocol]string{
		routes.TCP:      snitest.Serve(t, echoing).Addr,
		routes.Postgres: snitest.Serve(t, fakePostgres).Addr,
		routes.HTTP:     web.Listener.Addr().String(),
	}
}

// echoing echoes without the two pipes that io.Copy would take for each socket.
func echoing(c *net.TCPConn) {
	_, _ = io.CopyBuffer(struct{ io.Writer }{c}, struct{ io.Reader }{c}, make([]byte, 512))
}

// fakePostgres lets everyone in and answers every query with nothing. Thousands
// of sessions of a real one would be thousands of processes.
func fakePostgres(c *net.TCPConn) {
	b := pgproto3.NewBackend(c, c)
	if _, err := b.ReceiveStartupMessage(); err != nil {
		return
	}
	b.Send(&pgproto3.AuthenticationOk{})
	b.Send(&pgproto3.BackendKeyData{ProcessID: uint32(c.RemoteAddr().(*net.TCPAddr).Port), SecretKey: []byte("four")})
	for {
		b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		if b.Flush() != nil {
			return
		}
		if _, err := b.Receive(); err != nil {
			return
		}
		b.Send(&pgproto3.EmptyQueryResponse{})
	}
}

// serveWeb is a pod: a WebSocket that echoes at /ws, a stream of lines at
// /stream, and a short answer everywhere else.
func serveWeb(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/ws":
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow() //nolint:errcheck // it has ended
		for {
			kind, b, err := c.Read(r.Context())
			if err != nil || c.Write(r.Context(), kind, b) != nil {
				return
			}
		}
	case "/stream":
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			if _, err := io.WriteString(w, "line\n"); err != nil || http.NewResponseController(w).Flush() != nil {
				return
			}
			select {
			case <-tick.C:
			case <-r.Context().Done():
				return
			}
		}
	default:
		_, _ = io.WriteString(w, "hello")
	}
}

func openTCP(e *edge, from, host string) (*live, error) {
	c, err := e.dial(from, host)
	if err != nil {
		return nil, err
	}
	return begin(&live{Conn: c, use: func() error { return echo(c, "hello") }})
}

// begin uses a connection once.
func begin(l *live) (*live, error) {
	if l.ended == nil {
		l.ended = func(within time.Duration) error { return closed(l.Conn, within) }
	}
	if err := l.use(); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

func openPostgres(e *edge, from, host string) (*live, error) {
	raw, err := e.dialRaw(from)
	if err != nil {
		return nil, err
	}
	_ = raw.SetDeadline(time.Now().Add(limit))
	answer := make([]byte, 1)
	if _, err := raw.Write([]byte{0, 0, 0, 8, 4, 210, 22, 47}); err != nil { // SSLRequest
		return nil, err
	}
	if _, err := io.ReadFull(raw, answer); err != nil || answer[0] != 'S' {
		return nil, fmt.Errorf("got %q, %w, want S", answer, err)
	}
	c, err := e.secure(raw, host)
	if err != nil {
		return nil, err
	}
	f := pgproto3.NewFrontend(c, c)
	f.Send(&pgproto3.StartupMessage{
		ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: map[string]string{"user": "postgres", "database": "postgres"},
	})
	if err := awaitPrompt(f); err != nil {
		raw.Close()
		return nil, err
	}
	return begin(&live{Conn: c, use: func() error {
		_ = c.SetDeadline(time.Now().Add(limit))
		f.SendQuery(&pgproto3.Query{String: "select 1"})
		return awaitPrompt(f)
	}})
}

// awaitPrompt sends what is written and reads up to the next ReadyForQuery.
func awaitPrompt(f *pgproto3.Frontend) error {
	if err := f.Flush(); err != nil {
		return err
	}
	for {
		m, err := f.Receive()
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case *pgproto3.ReadyForQuery:
			return nil
		case *pgproto3.ErrorResponse:
			return errors.New(m.Message)
		}
	}
}

func openWebSocket(e *edge, from, host string) (*live, error) {
	c, err := e.dial(from, host, "http/1.1")
	if err != nil {
		return nil, err
	}
	const upgrade = "GET /ws HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	if _, err := fmt.Fprintf(c, upgrade, host); err != nil {
		return nil, err
	}
	r := bufio.NewReaderSize(c, 1024)
	res, err := http.ReadResponse(r, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		c.Close()
		return nil, fmt.Errorf("got %+v, %w, want an upgrade", res, err)
	}
	return begin(&live{Conn: c, use: func() error {
		_ = c.SetDeadline(time.Now().Add(limit))
		// A text frame, masked with zeros, and its echo, which is not masked.
		if _, err := io.WriteString(c, "\x81\x85\x00\x00\x00\x00hello"); err != nil {
			return err
		}
		b := make([]byte, 7)
		if _, err := io.ReadFull(r, b); err != nil || string(b) != "\x81\x05hello" {
			return fmt.Errorf("got %q, %w", b, err)
		}
		return nil
	}})
}

func openHTTP1(e *edge, from, host string) (*live, error) {
	c, err := e.dial(from, host, "http/1.1")
	if err != nil {
		return nil, err
	}
	r := bufio.NewReaderSize(c, 1024)
	return begin(&live{Conn: c, use: func() error {
		_ = c.SetDeadline(time.Now().Add(limit))
		if _, err := fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", host); err != nil {
			return err
		}
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			return err
		}
		return wantHello(res)
	}})
}

func wantHello(res *http.Response) error {
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK || string(b) != "hello" {
		return fmt.Errorf("got %d %q, %w", res.StatusCode, b, err)
	}
	return nil
}

func openHTTP2(e *edge, from, host string) (*live, error) {
	c, cc, err := e.h2(from, host)
	if err != nil {
		return nil, err
	}
	return begin(&live{Conn: c, use: func() error {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		res, err := get(ctx, cc, "https://"+host+"/")
		if err != nil {
			return err
		}
		return wantHello(res)
	}})
}

// h2 opens an HTTP/2 connection.
func (e *edge) h2(from, host string) (net.Conn, *http.ClientConn, error) {
	c, err := e.dial(from, host, "h2")
	if err != nil {
		return nil, nil, err
	}
	_ = c.SetDeadline(time.Time{}) // it reads all the time
	only := new(http.Protocols)
	only.SetHTTP2(true)
	tr := &http.Transport{
		Protocols:      only,
		DialTLSContext: func(context.Context, string, string) (net.Conn, error) { return c, nil },
	}
	cc, err := tr.NewClientConn(context.Background(), "https", host+":443")
	if err != nil {
		c.Close()
		return nil, nil, err
	}
	return c, cc, nil
}

func get(ctx context.Context, rt http.RoundTripper, url string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	return rt.RoundTrip(req)
}

// openStream opens an answer without end. What is revoked is the stream, not the
// connection, which may carry those of other pods.
func openStream(e *edge, from, host string) (*live, error) {
	c, cc, err := e.h2(from, host)
	if err != nil {
		return nil, err
	}
	res, err := get(context.Background(), cc, "https://"+host+"/stream")
	if err != nil || res.StatusCode != http.StatusOK {
		c.Close()
		return nil, fmt.Errorf("got %+v, %w", res, err)
	}
	lines := bufio.NewReader(res.Body)
	read := func() error { _, err := lines.ReadString('\n'); return err }
	return begin(&live{
		Conn: c,
		use:  func() error { return within(limit, read) },
		ended: func(d time.Duration) error {
			return within(d, func() error {
				for read() == nil { //nolint:revive // until it ends
				}
				return nil
			})
		},
	})
}

// within returns what f does, or an error if that takes too long.
func within(d time.Duration, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-time.After(d):
		return fmt.Errorf("not done after %v", d)
	}
}
