package podproxy

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestAnswersOfHostilePods(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	for _, tt := range []struct {
		name, send string
		want       int // 0: the answer is cut
	}{
		{"something else than HTTP", "SSH-2.0-what\r\n", 502},
		{"nothing", "", 502},
		{"half a head", ok + "X: y", 502},
		{"two lengths", ok + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", 502},
		{"a header split in two", ok + "X: a\rSet-Cookie: b=c\r\nContent-Length: 0\r\n\r\n", 502},
		{"headers without end", ok + strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 400), 502},
		{"a switch of protocols that nobody asked for", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", 502},
		{"less than its length", ok + "Content-Length: 10\r\n\r\nabc", 0},
		{"chunks without end", ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", 0},
		{"broken chunks", ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nwhat\r\n", 0},
		{"two responses", ok + "Content-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled", 200},
		{"a reset", "\x00reset", 502},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t, web(rawPod(t, func(_ string, c *net.TCPConn) {
				if tt.send == "\x00reset" {
					_ = c.SetLinger(0)
					return
				}
				_, _ = io.WriteString(c, tt.send)
			})))
			for _, proto := range protocols {
				c := s.client(proto)
				for range 2 {
					a, err := s.try(c, "GET", "/", nil)
					switch {
					case tt.want == 0 && err == nil:
						t.Errorf("%s: got %d %q as a whole answer", proto, a.StatusCode, a.body)
					case tt.want != 0 && (err != nil || a.StatusCode != tt.want):
						t.Errorf("%s: got %v, want %d", proto, err, tt.want)
					case tt.want == 200 && a.body != "ok":
						t.Errorf("%s: got %q", proto, a.body)
					}
				}
			}
			if n := s.handler.upstreams.pool.Len(); n != 0 {
				t.Errorf("%d connections are kept", n)
			}
		})
	}
}

func TestConnectionsWithUnaskedBytesAreNotUsed(t *testing.T) {
	sent := make(chan struct{}, 1)
	s := serve(t, web(rawPod(t, func(head string, c *net.TCPConn) {
		for head != "" {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmine")
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother")
			sent <- struct{}{}
			head = readHead(c)
		}
	})))
	c := s.client("HTTP/2.0")
	for range 5 {
		a := s.do(c, "GET", "/", nil)
		<-sent
		if a.body != "mine" {
			t.Fatalf("got %q", a.body)
		}
	}
}

func TestRetries(t *testing.T) {
	// A pod that answers the first request of each connection, and closes when
	// the second comes.
	closing := func(seen *atomic.Int32) string {
		return rawPod(t, func(_ string, c *net.TCPConn) {
			seen.Add(1)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			if head := readHead(c); head != "" {
				seen.Add(1)
			}
		})
	}
	for _, tt := range []struct {
		name, method, body string
		want               int
		seen               int32
	}{
		{"a GET is sent again", "GET", "", 200, 3},
		{"a PUT with a small body is sent again", "PUT", "abc", 200, 3},
		{"a POST is not", "POST", "", 502, 2},
		{"a POST with a body is not", "POST", "abc", 502, 2},
		{"a large PUT is not", "PUT", strings.Repeat("x", 100_000), 502, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var seen atomic.Int32
			s := serve(t, web(closing(&seen)))
			c := s.client("HTTP/2.0")
			s.do(c, "GET", "/", nil)
			var body io.Reader
			if tt.body != "" {
				body = strings.NewReader(tt.body)
			}
			a := s.do(c, tt.method, "/", body)
			if a.StatusCode != tt.want || seen.Load() != tt.seen {
				t.Errorf("got %d after %d requests, want %d after %d", a.StatusCode, seen.Load(), tt.want, tt.seen)
			}
		})
	}
}

func TestUnclearRequests(t *testing.T) {
	const h = "Host: " + host + "\r\n"
	for _, tt := range []struct {
		name, send, want string
		seen             int32 // at most
	}{
		{"two lengths", "POST / HTTP/1.1\r\n" + h + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", "400", 0},
		{"a length with a sign", "POST / HTTP/1.1\r\n" + h + "Content-Length: +1\r\n\r\na", "400", 0},
		{"a space before the colon", "POST / HTTP/1.1\r\n" + h + "Content-Length : 1\r\n\r\na", "400", 0},
		{"a line that continues", "GET / HTTP/1.1\r\n" + h + "X: a\r\n\tb\r\nConnection: close\r\n\r\n", "", 1},
		{"an unknown transfer encoding", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "501", 0},
		{"chunked that is not last", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", "501", 0},
		{"two transfer encodings", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n", "501", 0},
		{"two hosts", "GET / HTTP/1.1\r\n" + h + "Host: other\r\n\r\n", "400", 0},
		{"no host", "GET / HTTP/1.1\r\n\r\n", "400", 0},
		{"a host with a path", "GET / HTTP/1.1\r\nHost: " + host + "/x\r\n\r\n", "4", 0},
		{"a host with a user", "GET / HTTP/1.1\r\nHost: x@" + host + "\r\n\r\n", "4", 0},
		{"a method that is no token", "GE(T / HTTP/1.1\r\n" + h + "\r\n", "400", 0},
		{"a target with a control character", "GET /\x01 HTTP/1.1\r\n" + h + "\r\n", "400", 0},
		{"a NUL in a value", "GET / HTTP/1.1\r\n" + h + "X: \x00\r\n\r\n", "400", 0},
		{"a name that is no token", "GET / HTTP/1.1\r\n" + h + "X@: y\r\n\r\n", "400", 0},
		{"chunks with a broken size", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\nz\r\nab\r\n0\r\n\r\n", "", 1},
		{"a request inside a GET's body", "GET / HTTP/1.1\r\n" + h + "Content-Length: 37\r\nConnection: close\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: inner\r\n\r\n", "200", 1},
		{"a length and chunks", "POST / HTTP/1.1\r\n" + h + "Content-Length: 6\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: inner\r\n\r\n", "200", 1},
		{"a length and chunks behind a tab", "POST / HTTP/1.1\r\n" + h + "Content-Length: 6\r\nTransfer-Encoding:\tchunked\r\nConnection: close\r\n\r\n0\r\n\r\nX", "200", 1},
		{"an upgrade to HTTP/2", "GET / HTTP/1.1\r\n" + h + "Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n", "200", 1},
		{"a target in absolute form", "GET http://" + host + "/abs?x HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n", "200", 1},
		{"a CONNECT", "CONNECT " + host + ":443 HTTP/1.1\r\n" + h + "\r\n", "405", 0},
		{"HTTP/1.0", "GET / HTTP/1.0\r\n" + h + "\r\n", "200", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var seen atomic.Int32
			c := serve(t, web(pod(t, func(w http.ResponseWriter, r *http.Request) {
				seen.Add(1)
				b, _ := io.ReadAll(r.Body)
				fmt.Fprintf(w, "%s %s %q", r.Method, r.RequestURI, b)
			}))).dial()
			_, _ = io.WriteString(c, tt.send)
			b, _ := io.ReadAll(bufio.NewReader(&untilAnswer{c: c}))
			_, status, _ := strings.Cut(string(b), " ")
			if !strings.HasPrefix(status, tt.want) || seen.Load() > tt.seen || bytes.Contains(b, []byte("smuggled\"")) && tt.seen == 0 {
				t.Errorf("got %.200q and %d requests, want %s and at most %d", b, seen.Load(), tt.want, tt.seen)
			}
			if bytes.Contains(b, []byte("GET /smuggled \"")) {
				t.Errorf("a request was smuggled: %q", b)
			}
		})
	}
}

type untilAnswer struct {
	c   net.Conn
	got bool
}

func (u *untilAnswer) Read(b []byte) (int, error) {
	if u.got {
		_ = u.c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	}
	n, err := u.c.Read(b)
	u.got = u.got || n > 0
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		return n, io.EOF
	}
	return n, err
}
