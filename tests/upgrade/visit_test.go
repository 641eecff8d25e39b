package upgrade

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"time"

	"github.com/coder/websocket"
	"github.com/jackc/pgx/v5"
)

// clientLimit is how long a client waits before it gives up.
const clientLimit = 20 * time.Second

// tls returns a client's configuration for a pod.
func (i *installation) tls(pod string, alpn ...string) *tls.Config {
	return &tls.Config{ServerName: host(pod), RootCAs: i.roots, NextProtos: alpn, MinVersion: tls.VersionTLS12}
}

// dial opens a TLS connection to a pod. It has a deadline.
func (i *installation) dial(ctx context.Context, pod string, alpn ...string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, clientLimit)
	defer cancel()
	c, err := (&tls.Dialer{Config: i.tls(pod, alpn...)}).DialContext(ctx, "tcp", i.front.addr)
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", pod, err)
	}
	return c, c.SetDeadline(time.Now().Add(clientLimit))
}

// echo sends a text and expects it back.
func echo(c net.Conn) error {
	const text = "hello"
	if _, err := io.WriteString(c, text); err != nil {
		return err
	}
	b := make([]byte, len(text))
	if _, err := io.ReadFull(c, b); err != nil {
		return err
	}
	if string(b) != text {
		return fmt.Errorf("got %q, want %q", b, text)
	}
	return nil
}

// A visit is one new connection that is used and closed.
type visit func(ctx context.Context) error

// visits are those of each kind.
func (i *installation) visits() map[string]visit {
	again := i.client("h2")
	return map[string]visit{
		"https":     i.visitWeb,
		"h2":        func(ctx context.Context) error { return get(ctx, again) },
		"WebSocket": i.visitSocket,
		"psql":      i.visitDatabase,
		"TCP":       func(ctx context.Context) error { return i.visitEcho(ctx, "echo") },
		"Bolt":      func(ctx context.Context) error { return i.visitEcho(ctx, "graph") },
		"API": func(ctx context.Context) error {
			_, err := i.call(ctx, i.api.addr, http.MethodGet, "/v3/pods/web", "")
			return err
		},
	}
}

func (i *installation) visitEcho(ctx context.Context, pod string) error {
	c, err := i.dial(ctx, pod)
	if err != nil {
		return err
	}
	defer c.Close()
	return echo(c)
}

func (i *installation) visitWeb(ctx context.Context) error {
	c, err := i.dial(ctx, "web", "http/1.1")
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: "+host("web")+"\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	b, err := io.ReadAll(c)
	if err == nil && !bytes.HasPrefix(b, []byte("HTTP/1.1 200 ")) {
		err = fmt.Errorf("got %.200q", b)
	}
	return err
}

// client returns one for HTTP, which keeps its connections if it is one of HTTP/2.
func (i *installation) client(alpn string) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(alpn != "h2")
	protocols.SetHTTP2(alpn == "h2")
	tr := &http.Transport{
		Protocols: protocols, TLSClientConfig: i.tls("web", alpn),
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", i.front.addr)
		},
	}
	i.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: clientLimit}
}

func get(ctx context.Context, c *http.Client) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+host("web")+"/", nil)
	if err != nil {
		return err
	}
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

// socket opens a WebSocket.
func (i *installation) socket(ctx context.Context) (*websocket.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, clientLimit)
	defer cancel()
	ws, res, err := websocket.Dial(ctx, "wss://"+host("web")+"/ws", &websocket.DialOptions{HTTPClient: i.client("http/1.1")})
	if err == nil && res.Body != nil {
		res.Body.Close()
	}
	return ws, err
}

func echoSocket(ctx context.Context, ws *websocket.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, clientLimit)
	defer cancel()
	if err := ws.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
		return err
	}
	_, b, err := ws.Read(ctx)
	if err == nil && string(b) != "hello" {
		err = fmt.Errorf("got %q", b)
	}
	return err
}

func (i *installation) visitSocket(ctx context.Context) error {
	ws, err := i.socket(ctx)
	if err != nil {
		return err
	}
	defer ws.CloseNow() //nolint:errcheck // it was of use
	return echoSocket(ctx, ws)
}

// database opens a session of PostgreSQL.
func (i *installation) database(ctx context.Context) (*pgx.Conn, error) {
	_, port, err := net.SplitHostPort(i.front.addr)
	if err != nil {
		return nil, err
	}
	u := url.URL{Scheme: "postgres", User: url.User("postgres"), Host: host("data") + ":" + port, Path: "/postgres", RawQuery: url.Values{
		"sslmode": {"verify-full"}, "sslrootcert": {filepath.Join(i.dir, "a", "caddy/pki/authorities/local/root.crt")}, "connect_timeout": {"20"},
	}.Encode()}
	c, err := pgx.ParseConfig(u.String())
	if err != nil {
		return nil, err
	}
	c.TLSConfig.RootCAs = i.roots // of every edge
	c.LookupFunc = func(context.Context, string) ([]string, error) { return []string{"127.0.0.1"}, nil }
	return pgx.ConnectConfig(ctx, c)
}

func (i *installation) visitDatabase(ctx context.Context) error {
	c, err := i.database(ctx)
	if err != nil {
		return err
	}
	defer c.Close(ctx) //nolint:errcheck // it was of use
	var n int
	return c.QueryRow(ctx, "select 42").Scan(&n)
}
