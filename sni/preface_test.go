package sni

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni/mywire"
	"github.com/tapis-project/podway/sni/pgwire"
	"github.com/tapis-project/podway/sni/snitest"
)

var (
	sslRequest = string(pgwire.Startup{Code: pgwire.SSLRequest}.Append(nil))
	gssRequest = string(pgwire.Startup{Code: pgwire.GSSENCRequest}.Append(nil))
	startup    = string(pgwire.Startup{
		Code: pgwire.Protocol30, Params: []pgwire.Param{{Name: "user", Value: "alice"}},
	}.Append(nil))
	cancel = string(pgwire.Startup{Code: pgwire.CancelRequest, PID: 7, Key: []byte("abcd")}.Append(nil))
)

func TestWhatComesBeforeTLS(t *testing.T) {
	refusal := string(pgwire.ErrorResponse{
		Code: "28000", Message: "this server accepts encrypted connections only",
		Hint: "Connect with sslmode=require, or sslmode=verify-full to also check the certificate.",
	}.Append(nil))
	for _, tt := range []struct {
		name, send, want string
		outcome          Outcome
	}{
		{"plain HTTP is told to use https", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", string(plainHTTP), PlainHTTP},
		{"so is a POST", "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", string(plainHTTP), PlainHTTP},
		{"so is HTTP/2 with prior knowledge", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", string(plainHTTP), PlainHTTP},
		{"a StartupMessage without TLS is told to use sslmode=require", startup, refusal, PlainPostgres},
		{"also after GSS encryption was declined", gssRequest + "|" + startup, "N" + refusal, PlainPostgres},
		{"a CancelRequest is closed", cancel, "", PostgresCancel},
		{"also after GSS encryption was declined, a CancelRequest is closed", gssRequest + "|" + cancel, "N", PostgresCancel},
		{"bytes together with an SSLRequest are an attack", sslRequest + "x", "", UnknownProtocol},
		{"a second SSLRequest is refused", sslRequest + "|" + sslRequest, "S", UnknownProtocol},
		{"a second GSSENCRequest is refused", gssRequest + "|" + gssRequest, "N", UnknownProtocol},
		{"HTTP after an SSLRequest is refused", sslRequest + "|GET / HTTP/1.1\r\n\r\n", "S", UnknownProtocol},
		{"a packet over the cap is refused", "\x00\x10\x00\x00\x00\x03\x00\x00", "", UnknownProtocol},
		{"a PROXY header of a stranger is refused", "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", "", UnknownProtocol},
		{"SSH is refused", "SSH-2.0-x\r\n", "", UnknownProtocol},
		{"a letter that no HTTP method goes on with is refused", "GEX /aaaaaaaaa", "", UnknownProtocol},
		{"TLS that does not begin with a ClientHello fails", "\x16\x03\x01\x00\x04\x02\x00\x00\x00", "\x15\x03", BadHandshake},
		{"nothing at all is nothing", "", "", ClientGone},
	} {
		for _, chunk := range []int{1 << 10, 1} {
			if chunk == 1 && tt.outcome == UnknownProtocol && strings.HasPrefix(tt.send, sslRequest+"x") {
				continue // a byte on its own comes after the answer
			}
			t.Run(fmt.Sprintf("%s, in writes of %d", tt.name, chunk), func(t *testing.T) {
				e := startEdge(t, nil)
				c := e.dial(t)
				var got []byte
				for i, part := range strings.Split(tt.send, "|") {
					if i > 0 { // a client waits for the answer to its first packet
						b := make([]byte, 1)
						if _, err := io.ReadFull(c, b); err != nil {
							t.Fatalf("waiting for the first answer: %v", err)
						}
						got = append(got, b...)
					}
					for b := []byte(part); len(b) > 0; b = b[min(chunk, len(b)):] {
						if _, err := c.Write(b[:min(chunk, len(b))]); err != nil {
							break // refused already
						}
					}
				}
				if tt.send != "" {
					rest, _ := io.ReadAll(c) // a reset is an end too
					got = append(got, rest...)
				}
				c.Close()
				if !strings.HasPrefix(string(got), tt.want) || (tt.want == "" && len(got) > 0) {
					t.Errorf("got %q, want %q", got, tt.want)
				}
				e.outcome(t, tt.outcome, 1)
				e.quiet(t)
			})
		}
	}
}

func TestTLSAfterPostgresRequests(t *testing.T) {
	e := startEdge(t, nil)
	snitest.Set(t, e.table, snitest.Route("db.pods.test", routes.Postgres, snitest.Echo(t).Addr))
	for _, tt := range []struct{ name, send, answers string }{
		{"directly", "", ""},
		{"after an SSLRequest", sslRequest, "S"},
		{"after a declined GSSENCRequest", gssRequest, "N"},
		{"after both", gssRequest + sslRequest, "NS"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := e.dial(t)
			for i, want := range []byte(tt.answers) {
				if _, err := c.Write([]byte(tt.send[8*i : 8*i+8])); err != nil {
					t.Fatal(err)
				}
				var got [1]byte
				if _, err := io.ReadFull(c, got[:]); err != nil || got[0] != want {
					t.Fatalf("got %q, %v, want %q", got, err, want)
				}
			}
			if err := echoPostgres(e.client(c, "db.pods.test", ALPNPostgres), "hello"); err != nil {
				t.Error(err)
			}
		})
	}
}

// chunkConn sends every write in pieces, each in a segment of its own.
type chunkConn struct {
	net.Conn
	size int
}

func (c chunkConn) Write(b []byte) (int, error) {
	for i := 0; i < len(b); i += c.size {
		if n, err := c.Conn.Write(b[i:min(i+c.size, len(b))]); err != nil {
			return i + n, err
		}
	}
	return len(b), nil
}

func TestHelloInPieces(t *testing.T) {
	e := startEdge(t, nil)
	snitest.Set(t, e.table, snitest.Route("echo.pods.test", routes.TCP, snitest.Echo(t).Addr))
	for _, size := range []int{1, 2, 5, 6, 100, 511, 513} {
		if err := echo(e.client(chunkConn{e.dial(t), size}, "echo.pods.test"), "hello"); err != nil {
			t.Errorf("pieces of %d bytes: %v", size, err)
		}
	}
}

func TestProxyHeader(t *testing.T) {
	e := startEdge(t, func(e *edge) {
		e.preface.ProxyProtocolFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	r := snitest.Route("echo.pods.test", routes.TCP, snitest.Echo(t).Addr)
	r.IPAllow = []string{"192.0.2.1"}
	snitest.Set(t, e.table, r)

	v2 := func(src string) string {
		b, err := proxyproto.HeaderProxyFromAddrs(2,
			net.TCPAddrFromAddrPort(netip.MustParseAddrPort(src)),
			net.TCPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.200:443"))).Format()
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	local := "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"
	for _, tt := range []struct {
		name, header string
		outcome      Outcome
	}{
		{"version 1 names an allowed client", "PROXY TCP4 192.0.2.1 192.0.2.200 40000 443\r\n", TCPSession},
		{"version 2 names an allowed client", v2("192.0.2.1:40000"), TCPSession},
		{"version 1 names a client that is not allowed", "PROXY TCP4 192.0.2.2 192.0.2.200 40000 443\r\n", AddressDenied},
		{"version 2 names a client that is not allowed", v2("192.0.2.2:40000"), AddressDenied},
		{"a load balancer's own check has the socket's address", local, AddressDenied},
		{"no header at all", "", BadProxyHeader},
		{"a line that does not end", "PROXY " + strings.Repeat("x", 200), BadProxyHeader},
		{"a wrong line", "PROXY TCP4 nonsense\r\n", BadProxyHeader},
		{"a wrong signature", "\r\n\r\n\x00\r\nQUIX\n\x20\x00\x00\x00", BadProxyHeader},
		{"a rest that is too long", local[:14] + "\xff\xff", BadProxyHeader},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := e.stats.opened[tt.outcome].Load()
			c := e.dial(t)
			if _, err := io.WriteString(c, tt.header); err != nil {
				t.Fatal(err)
			}
			tc := e.client(c, "echo.pods.test")
			err := echo(tc, "hello")
			if ok := err == nil; ok != (tt.outcome == TCPSession) {
				t.Errorf("got %v", err)
			}
			tc.Close()
			e.outcome(t, tt.outcome, before+1)
		})
	}
	e.quiet(t)
}

func TestProxyHeaderToThePod(t *testing.T) {
	e := startEdge(t, nil)
	for _, version := range []int{1, 2} {
		got := make(chan string, 1)
		up := snitest.Serve(t, func(c *net.TCPConn) {
			b := make([]byte, 200)
			n, _ := io.ReadAtLeast(c, b, 28)
			got <- string(b[:n])
		})
		r := snitest.Route("echo.pods.test", routes.TCP, up.Addr)
		r.ProxyProtocol = version
		snitest.Set(t, e.table, r)
		c := e.connect(t, "echo.pods.test")
		h, err := proxyproto.HeaderProxyFromAddrs(byte(version), c.LocalAddr(), c.RemoteAddr()).Format()
		if err != nil {
			t.Fatal(err)
		}
		if g := <-got; g != string(h) {
			t.Errorf("version %d: got %q, want %q", version, g, h)
		}
	}
}

func TestTooManyBytesBeforeARoute(t *testing.T) {
	e := startEdge(t, func(e *edge) { e.preface.MaxOpenBytes = 4 << 10 })
	c := e.dial(t)
	// A handshake record that never ends: a fragment of a huge ClientHello.
	hello := append([]byte{0x16, 3, 1, 0x3f, 0xff, 1, 0, 0xff, 0xff}, bytes.Repeat([]byte{0}, 8<<10)...)
	_, _ = c.Write(hello) // may fail half-way, when refused
	wantClosed(t, c, limit)
	e.outcome(t, TooManyBytes, 1)
	e.quiet(t)
}

func TestSilentClientsAreToldToBegin(t *testing.T) {
	e := startEdge(t, func(e *edge) { e.preface.OpenTimeout = 50 * time.Millisecond })
	silent, begun := e.dial(t), e.dial(t)
	_, _ = begun.Write([]byte{0x16, 3, 1, 2})
	for name, tt := range map[string]struct {
		c    net.Conn
		want string
	}{
		"nothing":            {silent, string(mywire.AppendError(nil, mysqlHint))},
		"a piece of a hello": {begun, ""},
	} {
		_ = tt.c.SetReadDeadline(time.Now().Add(limit))
		if b, err := io.ReadAll(tt.c); string(b) != tt.want || err != nil && tt.want != "" {
			t.Errorf("%s: got %q, %v, want %q", name, b, err, tt.want)
		}
	}
	e.outcome(t, Timeout, 2)
	e.quiet(t)
}

func TestSilentClientsKeepNobodyOut(t *testing.T) {
	e := startEdge(t, func(e *edge) {
		e.preface.OpenTimeout = 5 * time.Second
		e.preface.MaxHandshakes = 1
	})
	snitest.Set(t, e.table, snitest.Route("echo.pods.test", routes.TCP, snitest.Echo(t).Addr))

	var slow []*net.TCPConn
	for i := range 60 {
		c := e.dial(t)
		switch i % 3 {
		case 1: // a few bytes of a hello
			_, _ = c.Write([]byte{0x16, 3, 1, 2})
		case 2: // a whole hello, and no answer to what follows
			tc := e.client(writeOnly{c}, "echo.pods.test")
			_ = tc.Handshake()
		}
		slow = append(slow, c)
	}
	normal := e.client(e.dial(t), "echo.pods.test")
	if err := echo(normal, "hello"); err != nil {
		t.Errorf("a normal client beside silent ones: %v", err)
	}
	normal.Close()
	for _, c := range slow {
		wantClosed(t, c, limit)
	}
	e.outcome(t, Timeout, 60)
	e.quiet(t)
}

// writeOnly is the end of a client that reads nothing.
type writeOnly struct{ net.Conn }

func (writeOnly) Read([]byte) (int, error) { return 0, io.ErrNoProgress }
func (writeOnly) Close() error             { return nil }

func TestConnectionsOverTheLimitAreClosed(t *testing.T) {
	e := startEdge(t, func(e *edge) { e.preface.MaxConnections = 2 })
	snitest.Set(t, e.table, snitest.Route("echo.pods.test", routes.TCP, snitest.Echo(t).Addr))
	a, b := e.connect(t, "echo.pods.test"), e.connect(t, "echo.pods.test")
	if c, err := net.Dial("tcp", e.addr); err == nil { // it may be reset before Dial returns
		wantClosed(t, c, limit)
		c.Close()
	}
	e.outcome(t, Overload, 1)
	if err := echo(a, "still here"); err != nil {
		t.Error(err)
	}
	a.Close()
	b.Close()
	e.quiet(t)
	again := e.connect(t, "echo.pods.test")
	defer again.Close()
	if err := echo(again, "again"); err != nil {
		t.Error(err)
	}
}

// crypto/tls has to pass a buffer that can be sniffed in to its first Read.
func TestFirstReadOfCryptoTLS(t *testing.T) {
	var got int
	_ = tls.Server(readLen{n: &got}, &tls.Config{}).Handshake()
	if got < 512 {
		t.Errorf("got a buffer of %d bytes, want 512 or more", got)
	}
}

type readLen struct {
	net.Conn
	n *int
}

func (r readLen) Read(b []byte) (int, error)  { *r.n = len(b); return 0, io.EOF }
func (r readLen) Write(b []byte) (int, error) { return len(b), nil }
func (r readLen) RemoteAddr() net.Addr        { return nil }

// A header is required of load balancers and of nobody else: what it says of
// others counts for nothing, not even in the log.
func TestProxyHeaderOfAStranger(t *testing.T) {
	var log bytes.Buffer
	e := startEdge(t, func(e *edge) {
		e.preface.ProxyProtocolFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}
		e.demux.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	r := snitest.Route("echo.pods.test", routes.TCP, snitest.Echo(t).Addr)
	r.IPAllow = []string{"192.0.2.1", "127.0.0.3"}
	snitest.Set(t, e.table, r)
	const header = "PROXY TCP4 192.0.2.1 192.0.2.200 40000 443\r\n"
	for _, tt := range []struct {
		name, from, header string
		outcome            Outcome
	}{
		{"a load balancer that names an allowed client", "127.0.0.2", header, TCPSession},
		{"a load balancer without a header", "127.0.0.2", "", BadProxyHeader},
		{"a stranger with a header", "127.0.0.4", header, UnknownProtocol},
		{"a client that may connect, with a header", "127.0.0.3", header, UnknownProtocol},
		{"a client that may connect", "127.0.0.3", "", TCPSession},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := e.stats.opened[tt.outcome].Load()
			c, err := e.dialFrom(t, tt.from)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(c, tt.header); err != nil {
				t.Fatal(err)
			}
			tc := e.client(c, "echo.pods.test")
			if err := echo(tc, "hello"); (err == nil) != (tt.outcome == TCPSession) {
				t.Errorf("got %v", err)
			}
			tc.Close()
			e.outcome(t, tt.outcome, before+1)
		})
	}
	e.quiet(t)
	if s := log.String(); !strings.Contains(s, "remote=127.0.0.4:") || strings.Contains(s, "remote=192.0.2.1:40000 result=unknown") {
		t.Errorf("got the log %s", s)
	}
}

// The header comes before everything else, also before what the edge has read.
func TestProxyHeaderToAPostgresPod(t *testing.T) {
	e := startEdge(t, nil)
	got := make(chan string, 2)
	up := snitest.Serve(t, func(c *net.TCPConn) {
		b := bufio.NewReader(c)
		line, _ := b.ReadString('\n')
		s, err := pgwire.ReadStartup(b)
		if err == nil && s.IsMessage() {
			_, _ = io.WriteString(c, keyStart)
		}
		got <- fmt.Sprintf("%.11s %d %v", line, s.Code, err)
		_, _ = io.Copy(io.Discard, b)
	})
	r := snitest.Route("db.pods.test", routes.Postgres, up.Addr)
	r.ProxyProtocol = 1
	snitest.Set(t, e.table, r)
	c := e.postgresTLS(t, "db.pods.test")
	openSession(t, c)
	if g, want := <-got, fmt.Sprintf("PROXY TCP4  %d <nil>", pgwire.Protocol30); g != want {
		t.Errorf("got %q, want %q", g, want)
	}
	request := pgwire.Startup{Code: pgwire.CancelRequest, PID: testPID, Key: []byte(testKey)}
	if _, err := e.dial(t).Write(request.Append(nil)); err != nil {
		t.Fatal(err)
	}
	if g, want := <-got, fmt.Sprintf("PROXY TCP4  %d <nil>", pgwire.CancelRequest); g != want {
		t.Errorf("got %q, want %q", g, want)
	}
}
