// Package tunnel lets programs of this machine reach a TCP pod that they could not
// reach by themselves: because it asks for a login, or because they can't name it in
// TLS.
//
//	d := &tunnel.Dialer{Host: "db.pods.tacc.tapis.io", Token: token}
//	ln, err := net.Listen("tcp", "127.0.0.1:5432")
//	if err != nil { ... }
//	err = tunnel.Serve(ctx, ln, d, func(err error) { log.Print(err) })
//
// Each connection goes over TLS to port 443 of the pod's host, see package
// connectwire for what is said there.
package tunnel

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/tapis-project/podway/sni/connectwire"
)

const (
	// openTimeout bounds the time until bytes flow.
	openTimeout = 20 * time.Second

	// keepAlive is how often a WebSocket shows that it lives. Proxies end idle ones
	// after a minute.
	keepAlive = 30 * time.Second

	// maxReason bounds what is read of a refusal.
	maxReason = 1 << 10
)

// errOtherProtocol is returned when the edge did not say that it knows what to do with
// a token.
var errOtherProtocol = errors.New("the edge, or something before it, speaks another protocol")

// Dialer opens connections to one pod. It is safe for concurrent use; its fields must
// not change after the first Dial.
type Dialer struct {
	// Host of the pod's networking entry.
	Host string

	// Port of the edge. Default: 443.
	Port int

	// Address to connect to, where that is not what the host resolves to. Default:
	// none.
	Address string

	// Roots to verify the edge by. Default: those of the system.
	Roots *x509.CertPool

	// Token returns a token of Tapis for each connection. Nil: the pod asks for no
	// login.
	Token func(context.Context) (string, error)

	byWeb atomic.Bool // what worked last
}

// Conn is a connection whose two directions end apart.
type Conn interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// Dial opens a connection: directly, or through a WebSocket where that fails, as it
// does behind proxies that let only HTTP pass. The error is a
// [*connectwire.RefusedError] if the edge said why the pod can't be reached. The end
// of ctx ends the connection too.
func (d *Dialer) Dial(ctx context.Context) (Conn, error) {
	token := ""
	if d.Token != nil {
		var err error
		if token, err = d.Token(ctx); err != nil {
			return nil, err
		}
	}
	ways := []func(context.Context, string) (Conn, error){d.direct, d.web}
	first := 0
	if d.byWeb.Load() {
		first = 1
	}
	c, err := ways[first](ctx, token)
	if err == nil || isRefused(err) {
		return c, err
	}
	c, again := ways[1-first](ctx, token)
	if again == nil {
		d.byWeb.Store(first == 0)
		return c, nil
	}
	if isRefused(again) {
		return nil, again
	}
	return nil, fmt.Errorf("connecting to %s: %w", d.Host, errors.Join(err, again))
}

func isRefused(err error) bool {
	_, ok := errors.AsType[*connectwire.RefusedError](err)
	return ok
}

// address is where the edge is, by name or not.
func (d *Dialer) address() string {
	return net.JoinHostPort(cmp.Or(d.Address, d.Host), d.port())
}

func (d *Dialer) port() string { return fmt.Sprint(cmp.Or(d.Port, 443)) }

func (d *Dialer) tls(alpn string) *tls.Config {
	return &tls.Config{ServerName: d.Host, RootCAs: d.Roots, NextProtos: []string{alpn}, MinVersion: tls.VersionTLS12}
}

// direct opens a TLS connection of its own.
func (d *Dialer) direct(ctx context.Context, token string) (Conn, error) {
	opening, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	nc, err := (&tls.Dialer{Config: d.tls(connectwire.ALPN)}).DialContext(opening, "tcp", d.address())
	if err != nil {
		return nil, err
	}
	c := nc.(*tls.Conn)
	if err := greet(c, token); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

func greet(c *tls.Conn, token string) error {
	if c.ConnectionState().NegotiatedProtocol != connectwire.ALPN {
		return errOtherProtocol // which must not see the token
	}
	if err := c.SetDeadline(time.Now().Add(openTimeout)); err != nil {
		return err
	}
	if err := connectwire.Greet(c, token); err != nil {
		return err
	}
	return c.SetDeadline(time.Time{})
}

// web opens a WebSocket, through the proxy of the environment if there is one.
func (d *Dialer) web(ctx context.Context, token string) (Conn, error) {
	opening, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	header := http.Header{}
	if token != "" {
		header.Set(connectwire.TokenHeader, token)
	}
	u := url.URL{Scheme: "https", Host: net.JoinHostPort(d.Host, d.port()), Path: connectwire.Path}
	client := &http.Client{
		Transport:     d.transport(),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the token is for this host
	}
	opts := &websocket.DialOptions{HTTPClient: client, HTTPHeader: header}
	ws, res, err := websocket.Dial(opening, u.String(), opts) //nolint:bodyclose // websocket keeps it, or has read it
	if err != nil {
		return nil, reason(res, err)
	}
	s := connectwire.NewStream(ctx, ws)
	go s.KeepAlive(keepAlive)
	return s, nil
}

func (d *Dialer) transport() *http.Transport {
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: d.tls("http/1.1"), DisableKeepAlives: true,
		// Not used behind a proxy. It offers http/1.1, which net/http leaves out for
		// WebSockets, and by which open pods know one from their own clients.
		DialTLSContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&tls.Dialer{Config: d.tls("http/1.1")}).DialContext(ctx, network, d.address())
		},
	}
}

// reason returns what an answer says that opened no WebSocket, or the error.
func reason(res *http.Response, err error) error {
	if res == nil {
		return err
	}
	code := connectwire.Code(res.Header.Get("Podway-Code"))
	if code == "" {
		return fmt.Errorf("opening WebSocket: the edge, or something before it, answered %s", res.Status)
	}
	text, _ := io.ReadAll(io.LimitReader(res.Body, maxReason)) // what came of it will do
	return &connectwire.RefusedError{Code: code, Message: strings.TrimSpace(string(text))}
}
