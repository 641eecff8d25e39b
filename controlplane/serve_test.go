package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A balancer sends requests until it knows that the control plane ends. They wait in the
// socket when the signal comes, here all of them.
func TestRequestsSentBeforeTheEndAreAnswered(t *testing.T) {
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	clients := make([]net.Conn, 50)
	for i := range clients {
		if clients[i], err = net.Dial("tcp", ln.Addr().String()); err != nil {
			t.Fatal(err)
		}
		defer clients[i].Close()
		if _, err := io.WriteString(clients[i], "GET / HTTP/1.1\r\nHost: podway\r\nConnection: close\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	ended, end := context.WithCancel(t.Context())
	end()
	server := &http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: time.Minute}
	if err := serveAPI(ended, server, ln, lastCall); err != nil {
		t.Fatal(err)
	}
	for i, c := range clients {
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		if got, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 404 ") {
			t.Errorf("client %d: got %.30q, %v, want an answer", i, got, err)
		}
	}
}
