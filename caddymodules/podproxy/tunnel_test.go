package podproxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/http2"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni/snitest"
)

// sockets is a pod that echoes WebSocket messages.
func sockets(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"echo"}})
	if err != nil {
		return
	}
	defer c.CloseNow() //nolint:errcheck // the test is over then
	c.SetReadLimit(1 << 20)
	for {
		kind, b, err := c.Read(r.Context())
		if err != nil || c.Write(r.Context(), kind, b) != nil {
			return
		}
	}
}

func TestWebSockets(t *testing.T) {
	s := serve(t, web(pod(t, sockets)))
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	c, res, err := websocket.Dial(ctx, "wss://"+host+"/ws", &websocket.DialOptions{HTTPClient: s.client("HTTP/1.1"), Subprotocols: []string{"echo"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow() //nolint:errcheck // the test is over then
	if got := c.Subprotocol(); got != "echo" {
		t.Errorf("got the subprotocol %q in %v", got, res.Header)
	}
	c.SetReadLimit(1 << 20)
	for _, text := range []string{"hello", strings.Repeat("x", 500_000)} {
		if err := c.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if _, b, err := c.Read(ctx); err != nil || string(b) != text {
			t.Fatalf("got %d bytes, %v, want %d", len(b), err, len(text))
		}
	}
	if err := c.Close(websocket.StatusNormalClosure, "done"); err != nil {
		t.Errorf("closing: %v", err)
	}
	s.awaitIdle()
}

func TestWebSocketsEndWithTheirRoute(t *testing.T) {
	s := serve(t, web(pod(t, sockets)))
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	c, _, err := websocket.Dial(ctx, "wss://"+host+"/ws", &websocket.DialOptions{HTTPClient: s.client("HTTP/1.1")})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow() //nolint:errcheck // the test is over then
	s.edge.table.Remove(host)
	if _, _, err := c.Read(ctx); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("got %v, want an end with status %v", err, websocket.StatusGoingAway)
	}
	s.awaitIdle()
}

func TestWebSocketsEndInTheMiddleOfAFrame(t *testing.T) {
	s := serve(t, web(rawPod(t, func(_ string, c *net.TCPConn) {
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x05hel")
		_, _ = io.Copy(io.Discard, c)
	})))
	c, err := tls.Dial("tcp", s.server.Listener.Addr().String(), s.tls())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", host)
	br := bufio.NewReader(c)
	if res, err := http.ReadResponse(br, nil); err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("got %v, %v, want a WebSocket", res, err)
	}
	if b, err := br.Peek(5); string(b) != "\x81\x05hel" {
		t.Fatalf("got %q, %v", b, err)
	}
	s.edge.table.Remove(host)
	if b, err := io.ReadAll(br); string(b) != "\x81\x05hel" {
		t.Errorf("got %q, %v, want nothing more", b, err)
	}
	s.awaitIdle()
}

func TestUpgradesThatThePodRefuses(t *testing.T) {
	s := serve(t, web(rawPod(t, func(head string, c *net.TCPConn) {
		switch {
		case strings.Contains(head, "/other"):
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n")
		default:
			_, _ = io.WriteString(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
		}
	})))
	c := s.client("HTTP/1.1")
	for path, want := range map[string]int{"/no": 403, "/other": 502} {
		a := s.do(c, "GET", path, nil, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
		if a.StatusCode != want {
			t.Errorf("%s: got %d %q, want %d", path, a.StatusCode, a.body, want)
		}
	}
}

// parrot is a pod that accepts any upgrade to a WebSocket, says what it was
// asked, and echoes bytes in upper case.
func parrot(t *testing.T) string {
	return snitest.Serve(t, func(c *net.TCPConn) {
		br := bufio.NewReader(c)
		r, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\nX-Pod: 1\r\n\r\n")
		fmt.Fprintf(c, "%s %s %s %s %d\n", r.Method, r.RequestURI, r.Host, r.Header.Get("Sec-WebSocket-Protocol"), len(r.Header.Get("Sec-WebSocket-Key")))
		for {
			line, err := br.ReadString('\n')
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, strings.ToUpper(line))
		}
	}).Addr
}

// talk expects the parrot behind a stream.
func talk(t *testing.T, r io.Reader, w io.Writer) {
	t.Helper()
	lines := bufio.NewReader(r)
	if got, err := lines.ReadString('\n'); got != "GET /ws?x=y "+host+" chat 24\n" {
		t.Fatalf("got %q, %v", got, err)
	}
	for range 3 {
		_, _ = io.WriteString(w, "hello\n")
		if got, err := lines.ReadString('\n'); got != "HELLO\n" {
			t.Fatalf("got %q, %v", got, err)
		}
	}
}

func TestWebSocketsOverHTTP3(t *testing.T) {
	s := serve(t, web(parrot(t)))
	s.serve3()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	raw, err := quic.DialAddr(ctx, s.addr3, http3.ConfigureTLSConfig(s.tls()), nil)
	if err != nil {
		t.Fatal(err)
	}
	tr := &http3.Transport{}
	defer tr.Close()
	str, err := tr.NewClientConn(raw).OpenRequestStream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	req, _ := http.NewRequestWithContext(ctx, http.MethodConnect, "https://"+host+"/ws?x=y", nil)
	req.Proto = "websocket"
	req.Header.Set("Sec-WebSocket-Version", "13")
	req.Header.Set("Sec-WebSocket-Protocol", "chat")
	if err := str.SendRequestHeader(req); err != nil {
		t.Fatal(err)
	}
	res, err := str.ReadResponse()
	if err != nil || res.StatusCode != http.StatusOK || res.Header.Get("X-Pod") != "1" || res.Header.Get("Sec-WebSocket-Accept") != "" {
		t.Fatalf("got %v, %v", res, err)
	}
	talk(t, res.Body, str)
	stopped := web("127.0.0.1:1")
	stopped.State, stopped.Upstreams, stopped.Instance, stopped.Version = routes.Stopped, nil, "", 9
	snitest.Set(t, s.edge.table, stopped)
	_ = str.SetReadDeadline(time.Now().Add(limit))
	if _, err := res.Body.Read(make([]byte, 1)); err == nil {
		t.Error("the WebSocket goes on although its route has ended")
	}
	s.awaitIdle()
}

// The server of Go has WebSockets over HTTP/2 only if the environment says so
// when the process starts.
func TestWebSocketsOverHTTP2(t *testing.T) {
	const setting = "http2xconnect=1"
	if os.Getenv("GODEBUG") != setting {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestWebSocketsOverHTTP2$", "-test.timeout=60s")
		cmd.Env = append(os.Environ(), "GODEBUG="+setting)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	s := serve(t, web(parrot(t)))
	body, send := io.Pipe()
	defer send.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodConnect, "https://"+host+"/ws?x=y", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header[":protocol"] = []string{"websocket"}
	req.Header.Set("Sec-WebSocket-Version", "13")
	req.Header.Set("Sec-WebSocket-Protocol", "chat")
	//nolint:staticcheck // that of net/http refuses the header of RFC 8441
	tr := &http2.Transport{DialTLSContext: func(ctx context.Context, _, _ string, _ *tls.Config) (net.Conn, error) {
		cfg := s.tls()
		cfg.NextProtos = []string{"h2"}
		return (&tls.Dialer{Config: cfg}).DialContext(ctx, "tcp", s.server.Listener.Addr().String())
	}}
	defer tr.CloseIdleConnections() //nolint:staticcheck // see above
	res, err := tr.RoundTrip(req)   //nolint:staticcheck // see above
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK || res.Header.Get("X-Pod") != "1" {
		t.Fatalf("got %v", res)
	}
	talk(t, res.Body, send)
	s.edge.table.Remove(host)
	if _, err := res.Body.Read(make([]byte, 1)); err == nil {
		t.Error("the WebSocket goes on although its route has ended")
	}
	s.awaitIdle()
}
