package hello

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"
)

const limit = 30 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestHandler(t *testing.T) {
	tests := []struct {
		name, path, accept string
		wantStatus         int
		wantType           string
		wantBody           string // a part
	}{
		{"a client gets text", "/", "*/*", 200, "text/plain; charset=utf-8", "Hello from web."},
		{"a browser gets a page", "/", "text/html,*/*", 200, "text/html; charset=utf-8", "<h1>Hello from web</h1>"},
		{"another path is not found", "/nothing", "", 404, "text/plain; charset=utf-8", "not found"},
		{"a status is as asked", "/status/418", "", 418, "text/plain; charset=utf-8", "418 I'm a teapot"},
		{"a status without body", "/status/204", "", 204, "text/plain; charset=utf-8", ""},
		{"a status that would not end the answer", "/status/100", "", 400, "text/plain; charset=utf-8", "between 200 and 599"},
		{"a status that is no number", "/status/x", "", 400, "text/plain; charset=utf-8", "between 200 and 599"},
		{"bytes", "/bytes/5", "", 200, "application/octet-stream", "abcde"},
		{"too many bytes", "/bytes/1073741825", "", 400, "text/plain; charset=utf-8", "between 0 and"},
		{"fewer bytes than none", "/bytes/-1", "", 400, "text/plain; charset=utf-8", "between 0 and"},
		{"a slow answer that takes no time", "/slow?for=0s", "", 200, "text/event-stream", "data: tick 1\n\ndata: done\n\n"},
		{"a slow answer that takes too long", "/slow?for=2h", "", 400, "text/plain; charset=utf-8", "between 0s and 1h"},
		{"a slow answer of unreadable length", "/slow?for=long", "", 400, "text/plain; charset=utf-8", "/slow?for=5s"},
	}
	h := Handler("web")
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, test.path, nil)
			r.Header.Set("Accept", test.accept)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != test.wantStatus || w.Header().Get("Content-Type") != test.wantType || !strings.Contains(w.Body.String(), test.wantBody) {
				t.Fatalf("got %d, %q, %q, want %d, %q, %q", w.Code, w.Header().Get("Content-Type"), w.Body, test.wantStatus, test.wantType, test.wantBody)
			}
		})
	}
}

func TestPageEscapesWhatItShows(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Host = "<script>"
	r.Header.Set("Accept", "text/html")
	w := httptest.NewRecorder()
	Handler("web").ServeHTTP(w, r)
	if strings.Contains(w.Body.String(), "<script>") {
		t.Fatalf("got %q, want the host escaped", w.Body)
	}
}

func TestHeadersShowTheRequest(t *testing.T) {
	r := httptest.NewRequest(http.MethodPut, "/headers?a=b", strings.NewReader("body"))
	r.Host = "web.pods.dev.localhost"
	r.Header.Add("X-Two", "1")
	r.Header.Add("X-Two", "2")
	w := httptest.NewRecorder()
	Handler("web").ServeHTTP(w, r)
	var got Request
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Method != http.MethodPut || got.Proto != "HTTP/1.1" || got.Host != r.Host || got.Path != "/headers?a=b" || got.Remote != r.RemoteAddr {
		t.Errorf("got %+v", got)
	}
	if h := got.Headers["X-Two"]; len(h) != 2 || h[0] != "1" || h[1] != "2" {
		t.Errorf("got X-Two %q, want both values", h)
	}
}

// program is hello, running in this process.
type program struct {
	addrs  map[string]string // by name
	stop   func()
	status <-chan int
}

// start runs hello until it listens on everything it was asked to.
func start(t *testing.T, args ...string) program {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	status := make(chan int, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		status <- run(ctx, args, w, w)
		w.Close()
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	p := program{addrs: map[string]string{}, stop: cancel, status: status}
	out := bufio.NewReader(r)
	for range strings.Count(strings.Join(args, " "), "-listen") {
		line, err := out.ReadString('\n')
		if err != nil {
			t.Fatalf("got %q, %v, want a line for each address", line, err)
		}
		var name, url string
		if _, err := fmt.Sscanf(line, "hello: %s listens on %s", &name, &url); err != nil {
			t.Fatalf("got %q: %v", line, err)
		}
		_, p.addrs[name], _ = strings.Cut(url, "://")
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	return p
}

// wantStatus waits for the end of the program.
func (p program) wantStatus(t *testing.T, want int) {
	t.Helper()
	select {
	case got := <-p.status:
		if got != want {
			t.Fatalf("got exit status %d, want %d", got, want)
		}
	case <-time.After(limit):
		t.Fatal("the program goes on")
	}
}

func TestProgramServesAndStops(t *testing.T) {
	p := start(t, "-listen", "web=http://127.0.0.1:0", "-listen", "raw=tcp://127.0.0.1:0")
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()

	ws, _, err := websocket.Dial(ctx, "ws://"+p.addrs["web"]+"/ws", &websocket.DialOptions{
		HTTPHeader: http.Header{"Origin": {"https://elsewhere.example"}},
	})
	if err != nil {
		t.Fatalf("Dial: %v", err)
	}
	defer func() { _ = ws.CloseNow() }()
	ws.SetReadLimit(-1)
	for _, message := range []string{"hi", "", strings.Repeat("long", 100_000)} {
		if err := ws.Write(ctx, websocket.MessageText, []byte(message)); err != nil {
			t.Fatalf("Write: %v", err)
		}
		kind, got, err := ws.Read(ctx)
		if err != nil || kind != websocket.MessageText || string(got) != message {
			t.Fatalf("got %v, %d bytes, %v, want the %d bytes that were sent", kind, len(got), err, len(message))
		}
	}

	raw, err := net.Dial("tcp", p.addrs["raw"])
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if _, err := io.WriteString(raw, "ping"); err != nil {
		t.Fatal(err)
	}
	if got := make([]byte, 4); true {
		if _, err := io.ReadFull(raw, got); err != nil || string(got) != "ping" {
			t.Fatalf("got %q, %v, want ping", got, err)
		}
	}

	// A stream, a WebSocket and a connection are open: none keeps it from ending.
	slow, err := http.Get("http://" + p.addrs["web"] + "/slow?for=1h")
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	p.stop()
	p.wantStatus(t, 0)
	if _, _, err := ws.Read(ctx); err == nil {
		t.Error("the WebSocket goes on")
	}
	if _, err := raw.Read(make([]byte, 1)); err == nil {
		t.Error("the connection goes on")
	}
}

func TestEchoHalfCloses(t *testing.T) {
	p := start(t, "-listen", "raw=tcp://127.0.0.1:0")
	conn, err := net.Dial("tcp", p.addrs["raw"])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	sent := bytes.Repeat([]byte("0123456789"), 100_000)
	go func() {
		_, _ = conn.Write(sent)
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	got, err := io.ReadAll(conn)
	if err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("got %d bytes, %v, want the %d that were sent", len(got), err, len(sent))
	}
}

func TestProgramEndsAsAsked(t *testing.T) {
	p := start(t, "-listen", "web=http://127.0.0.1:0", "-exit-after", "0s", "-exit-code", "7")
	p.wantStatus(t, 7)
}

func TestProgramSaysWhatIsWrong(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	tests := []struct {
		name       string
		args       []string
		wantStatus int
		wantText   string
	}{
		{"help is no failure", []string{"-h"}, 0, "-listen"},
		{"an unknown flag", []string{"-port", "1"}, 2, "not defined"},
		{"an argument that is no flag", []string{"serve"}, 2, `unexpected argument "serve"`},
		{"an address without name", []string{"-listen", "http://127.0.0.1:0"}, 2, "does not look like"},
		{"another protocol", []string{"-listen", "a=udp://127.0.0.1:0"}, 2, "does not look like"},
		{"an address without port", []string{"-listen", "a=http://127.0.0.1"}, 2, "missing port"},
		{"an address that is taken", []string{"-listen", "a=http://127.0.0.1:0", "-listen", "b=http://" + l.Addr().String()}, 1, "address already in use"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			if got := run(t.Context(), test.args, &out, &out); got != test.wantStatus || !strings.Contains(out.String(), test.wantText) {
				t.Fatalf("got %d, %q, want %d, %q", got, &out, test.wantStatus, test.wantText)
			}
		})
	}
}
