package h1

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/http/httpguts"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair returns a connection and the server's end of it.
func pair(t testing.TB) (*Conn, *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewConn(client.(*net.TCPConn))
	if err != nil {
		t.Fatal(err)
	}
	_ = c.raw.SetDeadline(time.Now().Add(20 * time.Second))
	t.Cleanup(func() { c.Close(); server.Close() })
	return c, server.(*net.TCPConn)
}

// read reads a response and its body from a server that sends s and closes.
func read(t testing.TB, method, s string) (res Response, body string, c *Conn, err error) {
	t.Helper()
	c, server := pair(t)
	go func() {
		_, _ = io.WriteString(server, s)
		_ = server.CloseWrite()
	}()
	if res, err = c.ReadResponse(method); err != nil {
		return res, "", c, err
	}
	b, err := io.ReadAll(bodyReader{c})
	return res, string(b), c, err
}

type bodyReader struct{ c *Conn }

func (r bodyReader) Read(p []byte) (int, error) { return r.c.ReadBody(p) }

func TestResponses(t *testing.T) {
	for _, tt := range []struct {
		name, method, send string
		status             int
		body               string
		reusable           bool
	}{
		{"with a length", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", 200, "abc", true},
		{"with the same length twice", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\ncontent-length: 3\r\n\r\nabc", 200, "abc", true},
		{"without a reason", "GET", "HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n", 404, "", true},
		{"with bare line feeds", "GET", "HTTP/1.1 200 OK\nContent-Length: 3\n\nabc", 200, "abc", true},
		{"in chunks", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n", 200, "abcde", true},
		{"in chunks with trailers", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n", 200, "abc", true},
		{"up to the end of the connection", "GET", "HTTP/1.1 200 OK\r\n\r\nall of it", 200, "all of it", false},
		{"that closes", "GET", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\na", 200, "a", false},
		{"that closes, among other tokens", "GET", "HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 1\r\n\r\na", 200, "a", false},
		{"of HTTP/1.0", "GET", "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", 200, "a", false},
		{"of HTTP/1.0 that keeps alive", "GET", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na", 200, "a", true},
		{"to HEAD", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", 200, "", true},
		{"to HEAD, in chunks", "HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200, "", true},
		{"without content", "GET", "HTTP/1.1 204 No Content\r\n\r\n", 204, "", true},
		{"not modified, with the length it would have", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 304, "", true},
		{"with more than its length", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 200 OK\r\n\r\nsmuggled", 200, "a", false},
		{"without content but with some", "GET", "HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\nabc", 204, "", false},
		{"to HEAD with a body", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", 200, "", false},
		{"in chunks and with a length", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", 200, "a", false},
		{"with a long header", "GET", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 100<<10) + "\r\nContent-Length: 1\r\n\r\na", 200, "a", true},
		{"with bytes that are no ASCII", "GET", "HTTP/1.1 200 OK\r\nX-Name: \xc3\xa4\r\nContent-Length: 0\r\n\r\n", 200, "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			res, body, c, err := read(t, tt.method, tt.send)
			if err != nil || res.Status != tt.status || body != tt.body {
				t.Fatalf("got %d %q, %v, want %d %q", res.Status, body, err, tt.status, tt.body)
			}
			// The server has closed, so the idle check would always say no.
			if got := !c.closes && c.body.done && c.br.Buffered() == 0; got != tt.reusable {
				t.Errorf("may be used again: got %v, want %v", got, tt.reusable)
			}
		})
	}
}

func TestResponsesThatAreRefused(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	for name, send := range map[string]string{
		"another protocol":                     "SSH-2.0-OpenSSH\r\n\r\n",
		"HTTP/2":                               "HTTP/2 200 OK\r\n\r\n",
		"HTTP/1.2":                             "HTTP/1.2 200 OK\r\n\r\n",
		"no status":                            "HTTP/1.1\r\n\r\n",
		"a status with a sign":                 "HTTP/1.1 +20 OK\r\n\r\n",
		"a status of four digits":              "HTTP/1.1 2000 OK\r\n\r\n",
		"a status below 100":                   "HTTP/1.1 099 OK\r\n\r\n",
		"two lengths":                          ok + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
		"two lengths in one line":              ok + "Content-Length: 1, 1\r\n\r\na",
		"a negative length":                    ok + "Content-Length: -1\r\n\r\n",
		"a length with a plus":                 ok + "Content-Length: +1\r\n\r\na",
		"a hexadecimal length":                 ok + "Content-Length: 0x1\r\n\r\na",
		"a length beyond all numbers":          ok + "Content-Length: 99999999999999999999\r\n\r\na",
		"an empty length":                      ok + "Content-Length:\r\n\r\n",
		"another transfer encoding":            ok + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"two transfer encodings":               ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"a transfer encoding in HTTP/1.0":      "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"a space before the colon":             ok + "Content-Length : 1\r\n\r\na",
		"a line that continues":                ok + "X: a\r\n b\r\nContent-Length: 0\r\n\r\n",
		"a line without colon":                 ok + "Content-Length\r\n\r\n",
		"an empty name":                        ok + ": x\r\n\r\n",
		"a carriage return in a value":         ok + "X: a\rSet-Cookie: b=c\r\n\r\n",
		"a NUL in a value":                     ok + "X: a\x00b\r\n\r\n",
		"a NUL in a name":                      ok + "X\x00: b\r\n\r\n",
		"a name that is no token":              ok + "X(: b\r\n\r\n",
		"a head that does not end":             ok + "X: y\r\n",
		"a head that is too large":             ok + strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 300) + "\r\n",
		"a line that is too large":             ok + "X: " + strings.Repeat("y", 300<<10) + "\r\n\r\n",
		"too many fields":                      ok + strings.Repeat("X: y\r\n", 1001) + "\r\n",
		"nothing":                              "",
		"a body that is too short":             ok + "Content-Length: 5\r\n\r\nabc",
		"chunks without the last":              ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
		"a chunk that is too short":            ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nabc",
		"a chunk without size":                 ok + "Transfer-Encoding: chunked\r\n\r\nxyz\r\nabc\r\n0\r\n\r\n",
		"a chunk with a negative size":         ok + "Transfer-Encoding: chunked\r\n\r\n-1\r\nabc\r\n0\r\n\r\n",
		"a chunk that is longer than it says":  ok + "Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
		"a chunk of more bytes than there are": ok + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc\r\n0\r\n\r\n",
		"trailers without end":                 ok + "Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n",
		"trailers that are too large":          ok + "Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + strings.Repeat("y", 20<<10) + "\r\n\r\n",
		"trailers that are none":               ok + "Transfer-Encoding: chunked\r\n\r\n0\r\nwhat\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			if res, body, _, err := read(t, "GET", send); err == nil {
				t.Errorf("got %d %q and no error", res.Status, body)
			}
		})
	}
}

// However a response is cut into packets, it is the same response.
func TestResponsesInPieces(t *testing.T) {
	const s = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"
	for i := range len(s) {
		c, server := pair(t)
		go func() {
			_, _ = io.WriteString(server, s[:i])
			_, _ = io.WriteString(server, s[i:])
		}()
		res, err := c.ReadResponse("GET")
		if err != nil {
			t.Fatalf("cut at %d: %v", i, err)
		}
		b, err := io.ReadAll(bodyReader{c})
		if err != nil || string(b) != "abc" || len(res.Fields) != 2 {
			t.Fatalf("cut at %d: got %q, %v", i, b, err)
		}
		if got := c.Trailers(); len(got) != 1 || got[0] != (Field{"X-Sum", "1"}) {
			t.Fatalf("cut at %d: got trailers %v", i, got)
		}
		if !c.idle() {
			t.Fatalf("cut at %d: the connection can't be used again", i)
		}
		c.Close()
		server.Close()
	}
}

type countWaits struct{ n int }

func (w *countWaits) BeforeWait() { w.n++ }

func TestTheWaiterIsToldOnlyBeforeWaiting(t *testing.T) {
	c, server := pair(t)
	_, _ = io.WriteString(server, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
	if _, err := c.br.Peek(30); err != nil { // it has come
		t.Fatal(err)
	}
	w := new(countWaits)
	c.Notify(w)
	if _, err := c.ReadResponse("GET"); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	for n := 0; n < 3; {
		m, err := c.ReadBody(buf[n:])
		if err != nil {
			t.Fatal(err)
		}
		n += m
	}
	if w.n != 0 {
		t.Errorf("got %d waits for what had come, want none", w.n)
	}
	go func() { _, _ = io.WriteString(server, "0\r\n\r\n") }()
	if _, err := c.ReadBody(buf); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want the end", err)
	}
}

func TestAbortEndsWhatWaits(t *testing.T) {
	c, _ := pair(t)
	ended := make(chan error)
	go func() {
		_, err := c.ReadResponse("GET")
		ended <- err
	}()
	c.Abort()
	if err := <-ended; err == nil {
		t.Error("got no error")
	}
	c.SetReadDeadline(time.Now().Add(time.Hour))
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("a later deadline revived the connection")
	}
	if c.idle() {
		t.Error("it may be used again")
	}
}

func TestAppend(t *testing.T) {
	b := AppendRequestLine(nil, "POST", "/a?b=c")
	b = AppendField(b, "X-Ok", "yes")
	for _, f := range [][2]string{{"X\r\nY", "1"}, {"", "1"}, {"X Y", "1"}, {"X:", "1"}, {"X", "1\r\nY: 2"}, {"X", "1\n"}, {"X", "a\x00"}} {
		b = AppendField(b, f[0], f[1])
	}
	b = AppendEnd(AppendLength(b, 12))
	if want := "POST /a?b=c HTTP/1.1\r\nX-Ok: yes\r\nContent-Length: 12\r\n\r\n"; string(b) != want {
		t.Errorf("got %q, want %q", b, want)
	}
	for target, want := range map[string]bool{
		"/": true, "/a%20b?c#d": true, "/\xc3\xa4": true, "": false, "a": false, "*": false, "http://x/": false,
		"/a b": false, "/a\tb": false, "/a\r\nX: y": false, "/\x7f": false, "/\x00": false,
	} {
		if got := ValidTarget(target); got != want {
			t.Errorf("target %q: got %v, want %v", target, got, want)
		}
	}
}

func TestChunksCanBeRead(t *testing.T) {
	var wire bytes.Buffer
	buf := make([]byte, 70<<10)
	want := ""
	for _, n := range []int{1, 15, 16, 255, 256, 4096, 65536, len(MaxChunk(buf))} {
		data := strings.Repeat("z", n)
		copy(MaxChunk(buf), data)
		wire.Write(Chunk(buf, n))
		want += data
	}
	wire.Write(AppendEnd(AppendLastChunk(nil)))
	req, err := http.ReadRequest(bufio.NewReader(io.MultiReader(strings.NewReader("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"), &wire)))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(req.Body)
	if err != nil || string(got) != want {
		t.Errorf("got %d bytes, %v, want %d", len(got), err, len(want))
	}
}

func newPool() *Pool[string] {
	return &Pool[string]{IdleTimeout: time.Hour, MaxPerKey: 2, Max: 3}
}

// used returns a connection whose response was read to its end.
func used(t *testing.T) (*Conn, *net.TCPConn) {
	t.Helper()
	c, server := pair(t)
	_, _ = io.WriteString(server, "HTTP/1.1 204 No Content\r\n\r\n")
	if _, err := c.ReadResponse("GET"); err != nil {
		t.Fatal(err)
	}
	return c, server
}

func TestPool(t *testing.T) {
	t.Run("gives back what was idle shortest", func(t *testing.T) {
		p := newPool()
		defer p.Close()
		a, _ := used(t)
		b, _ := used(t)
		p.Put("x", a)
		p.Put("x", b)
		if got := p.Get("y", time.Hour); got != nil {
			t.Error("another key got a connection")
		}
		if got := p.Get("x", time.Hour); got != b || !got.Reused() {
			t.Errorf("got %p, want %p", got, b)
		}
		if got := p.Get("x", 0); got != nil {
			t.Error("got one that was idle for too long")
		}
		if got := p.Get("x", time.Hour); got != a || p.Len() != 0 {
			t.Errorf("got %p, want %p; %d are left", got, a, p.Len())
		}
	})
	t.Run("keeps no more than it may", func(t *testing.T) {
		p := newPool()
		defer p.Close()
		for _, key := range []string{"x", "x", "x", "y", "z"} {
			c, _ := used(t)
			p.Put(key, c)
		}
		if got := p.Len(); got != 3 {
			t.Errorf("got %d, want 3", got)
		}
	})
	for name, spoil := range map[string]func(*Conn, *net.TCPConn){
		"does not give what the server closed": func(_ *Conn, s *net.TCPConn) { s.Close() },
		"does not give what has unread bytes":  func(_ *Conn, s *net.TCPConn) { _, _ = s.Write([]byte("HTTP/1.1 200 OK\r\n\r\n")) },
		"does not give what was aborted":       func(c *Conn, _ *net.TCPConn) { c.Abort() },
		"does not give what was spoilt":        func(c *Conn, _ *net.TCPConn) { c.Spoil() },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPool()
			defer p.Close()
			c, server := used(t)
			spoil(c, server)
			if !c.closes && !c.ended.Load() {
				awaitInput(t, c)
			}
			p.Put("x", c)
			if got := p.Get("x", time.Hour); got != nil {
				t.Error("got it")
			}
		})
	}
	t.Run("closes what is idle for too long", func(t *testing.T) {
		p := newPool()
		p.IdleTimeout = 10 * time.Millisecond
		defer p.Close()
		c, server := used(t)
		p.Put("x", c)
		_ = server.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := server.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("got %v, want the end", err)
		}
	})
	t.Run("keeps nothing after its end", func(t *testing.T) {
		p := newPool()
		p.Close()
		c, _ := used(t)
		p.Put("x", c)
		if p.Len() != 0 {
			t.Error("it kept a connection")
		}
	})
}

// awaitInput waits until something, or the end, has come on an idle connection.
func awaitInput(t *testing.T, c *Conn) {
	t.Helper()
	err := c.sys.Read(func(fd uintptr) bool { return readable(fd) })
	if err != nil {
		t.Fatal(err)
	}
}

// FuzzResponse compares with net/http: what both take for a response is the same
// one, and whatever is taken here is taken there.
func FuzzResponse(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n",
		"HTTP/1.0 404 Not Found\r\nConnection: close\r\n\r\nbody",
		"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 60<<10 {
			return
		}
		res, body, _, err := read(t, "GET", s)
		if err != nil || res.Status < 200 {
			return
		}
		want, err := http.ReadResponse(bufio.NewReader(strings.NewReader(s)), &http.Request{Method: http.MethodGet})
		if err != nil {
			t.Fatalf("got %d, net/http says %v", res.Status, err)
		}
		defer want.Body.Close()
		b, err := io.ReadAll(want.Body)
		if err != nil || string(b) != body || want.StatusCode != res.Status {
			t.Fatalf("got %d %q, net/http has %d %q, %v", res.Status, body, want.StatusCode, b, err)
		}
		if got := fmt.Sprint(res.Length); want.ContentLength != res.Length && want.ContentLength > 0 {
			t.Fatalf("got length %s, net/http has %d", got, want.ContentLength)
		}
	})
}

// TestValuesAreReadAsTheStandardDoes puts every byte at every place of a value.
func TestValuesAreReadAsTheStandardDoes(t *testing.T) {
	for length := range 20 {
		for at := range length {
			for c := range 256 {
				b := bytes.Repeat([]byte{'x'}, length)
				b[at] = byte(c)
				for _, before := range []byte{'x', ' ', 0x80, 0xff} { // what a borrow would come from
					if at > 0 {
						b[at-1] = before
					}
					if got, want := ValidField("N", string(b)), httpguts.ValidHeaderFieldValue(string(b)); got != want {
						t.Fatalf("%q: got %v, want %v", b, got, want)
					}
					if plain := isPlain(string(b)); plain != (httpguts.ValidHeaderFieldValue(string(b)) && c != '\t') {
						t.Fatalf("%q: got plain %v", b, plain)
					}
				}
			}
		}
	}
}
