package podproxy

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/tapis-project/podway/sni"
)

func TestRequestsAreRecorded(t *testing.T) {
	s := serve(t, web(pod(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ws":
			sockets(w, r)
		case "/cut":
			w.Header().Set("Content-Length", "10")
			_, _ = io.WriteString(w, "short")
		default:
			b, _ := io.ReadAll(r.Body)
			w.WriteHeader(http.StatusTeapot)
			_, _ = w.Write(b)
		}
	})))
	records := make(chan sni.Record, 16)
	s.handler.record = func(r sni.Record) { records <- r }
	want := func(name, result string, status int, received, sent int64) {
		t.Helper()
		r := <-records
		if r.Route.Host != host || !r.Client.IsValid() || r.Since.IsZero() || r.Result != result || r.Status != status || r.Received != received || r.Sent != sent {
			t.Errorf("%s: got %+v, want %s, %d, %d and %d bytes", name, r, result, status, received, sent)
		}
	}
	for _, proto := range protocols {
		c := s.client(proto)
		s.do(c, "POST", "/", strings.NewReader("hello"))
		want(proto+" with a body", "ended", http.StatusTeapot, 5, 5)
		s.do(c, "GET", "/", nil)
		want(proto+" without a body", "ended", http.StatusTeapot, 0, 0)
	}
	if res, err := s.client("HTTP/1.1").Get("https://" + host + "/cut"); err == nil {
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
	want("a response that is cut", "failed", http.StatusOK, 0, 5)

	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	c, _, err := websocket.Dial(ctx, "wss://"+host+"/ws", &websocket.DialOptions{HTTPClient: s.client("HTTP/1.1")})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow() //nolint:errcheck // the test is over then
	if err := c.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Read(ctx); err != nil {
		t.Fatal(err)
	}
	s.edge.table.Remove(host)
	_, _, _ = c.Read(ctx)
	// Frames of a client have a key of 4 bytes; its answer to the end may come in time.
	r := <-records
	if r.Result != "revoked" || r.Status != http.StatusSwitchingProtocols || r.Sent != 7 || r.Received < 11 {
		t.Errorf("a WebSocket: got %+v, want it revoked, 101, with 11 and 7 bytes at least", r)
	}
}
