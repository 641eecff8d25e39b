package connectwire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

func TestMessagesAreReadAsTheyWereSent(t *testing.T) {
	var b bytes.Buffer
	for _, m := range []any{Hello{Token: "a.b.c"}, Hello{}} {
		if err := Send(&b, m); err != nil {
			t.Fatal(err)
		}
	}
	b.WriteString("rest")
	for _, want := range []string{"a.b.c", ""} {
		if h, err := ReadHello(&b); err != nil || h.Token != want {
			t.Errorf("got %q, %v, want %q", h.Token, err, want)
		}
	}
	if b.String() != "rest" {
		t.Errorf("got %q left, want what followed", b.String())
	}
}

func TestBadHellosAreRefused(t *testing.T) {
	message := func(n int, body string) string {
		return string(binary.BigEndian.AppendUint16(nil, uint16(n))) + body
	}
	for _, tt := range []struct {
		name, sent string
		want       error
	}{
		{"nothing", "", io.EOF},
		{"half a length", "\x00", io.ErrUnexpectedEOF},
		{"a length and nothing else", message(10, ""), io.EOF},
		{"half a body", message(10, "{"), io.ErrUnexpectedEOF},
		{"a length beyond the limit", message(MaxHelloBytes+1, "{"), ErrTooLong},
		{"the greatest length", message(65535, "{"), ErrTooLong},
		{"TLS", "\x16\x03\x01\x00\x05hello", nil},
		{"HTTP", "GET / HTTP/1.1\r\n\r\n", io.ErrUnexpectedEOF},
		{"no JSON", message(7, "a token"), nil},
		{"JSON of another kind", message(4, `[12]`), nil},
		{"a token that is a number", message(13, `{"token":123}`), nil},
		{"an empty body", message(0, ""), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ReadHello(strings.NewReader(tt.sent))
			if err == nil || (tt.want != nil && !errors.Is(err, tt.want)) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "a token") {
				t.Errorf("the error tells what was sent: %v", err)
			}
		})
	}
}

func TestGreetTellsWhyItWasRefused(t *testing.T) {
	client, edge := net.Pipe()
	defer client.Close()
	go func() {
		defer edge.Close()
		if h, err := ReadHello(edge); err == nil && h.Token == "t" {
			_ = Send(edge, Answer{Code: NotAllowed, Message: "not you"})
		}
	}()
	err := Greet(client, "t")
	if r, ok := errors.AsType[*RefusedError](err); !ok || r.Code != NotAllowed || r.Error() != "not you" {
		t.Errorf("got %v", err)
	}
}

func TestTokensThatAreTooLongAreNotSent(t *testing.T) {
	if err := Send(io.Discard, Hello{Token: strings.Repeat("a", MaxHelloBytes)}); !errors.Is(err, ErrTooLong) {
		t.Errorf("got %v, want %v", err, ErrTooLong)
	}
}

func FuzzReadHello(f *testing.F) {
	f.Add([]byte("\x00\x0d{\"token\":\"a\"}"))
	f.Add([]byte("\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ReadHello(bytes.NewReader(b))
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := Send(&again, h); err != nil {
			return // escapes make it longer
		}
		if got, err := ReadHello(&again); err != nil || got != h {
			t.Errorf("got %q, %v, want %q", got.Token, err, h.Token)
		}
	})
}

// streams returns both ends of one.
func streams(t *testing.T) (client, server *Stream) {
	t.Helper()
	got := make(chan *Stream, 1)
	done := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		got <- NewStream(t.Context(), ws)
		<-done
	}))
	t.Cleanup(s.Close)
	t.Cleanup(func() { close(done) })
	ws, _, err := websocket.Dial(t.Context(), s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	client = NewStream(t.Context(), ws)
	t.Cleanup(func() { client.Close() })
	return client, <-got
}

func TestStreamsEndInOneDirectionAtATime(t *testing.T) {
	client, server := streams(t)
	send := func(s *Stream, text string) {
		t.Helper()
		if n, err := s.Write([]byte(text)); err != nil || n != len(text) {
			t.Fatalf("got %d, %v", n, err)
		}
	}
	long := strings.Repeat("x", 1<<20) // larger than a WebSocket's usual limit
	go func() {
		_, _ = client.Write(nil) // which is no end
		_, _ = client.Write([]byte("ask"))
		_, _ = client.Write([]byte(long))
		_ = client.CloseWrite()
	}()
	if got, err := io.ReadAll(server); err != nil || string(got) != "ask"+long {
		t.Fatalf("got %d bytes, %v", len(got), err)
	}
	go func() {
		send(server, "answer")
		_ = server.CloseWrite()
	}()
	if got, err := io.ReadAll(client); err != nil || string(got) != "answer" {
		t.Fatalf("got %q, %v", got, err)
	}
	if n, err := client.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("after the end: got %d, %v", n, err)
	}
}

func TestStreamsOfTextAreRefused(t *testing.T) {
	client, server := streams(t)
	if err := client.ws.Write(t.Context(), websocket.MessageText, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("got %v, want an error", err)
	}
}
