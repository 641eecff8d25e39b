package tunnel

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/tapis-project/podway/sni/connectwire"
)

const limit = 20 * time.Second

// fakeEdge is an edge with one pod, an echo, for the token "good". It speaks the
// protocols that it is made with.
type fakeEdge struct {
	*Dialer

	mu  sync.Mutex
	saw []string // tokens, by their way: "direct good"
}

func startEdge(t *testing.T, protocols ...string) *fakeEdge {
	t.Helper()
	e := new(fakeEdge)
	s := httptest.NewUnstartedServer(http.HandlerFunc(e.serveWeb))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	s.TLS = &tls.Config{NextProtos: protocols}
	s.Config.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){
		connectwire.ALPN: func(_ *http.Server, c *tls.Conn, _ http.Handler) { e.serveDirect(c) },
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	// httptest adds http/1.1 in any case.
	s.TLS.NextProtos = slices.DeleteFunc(s.TLS.NextProtos, func(p string) bool { return !slices.Contains(protocols, p) })
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	addr := s.Listener.Addr().(*net.TCPAddr)
	e.Dialer = &Dialer{
		Host: "example.com", Port: addr.Port, Address: "127.0.0.1", Roots: roots, // the name in httptest's certificate
		Token: func(context.Context) (string, error) { return "good", nil },
	}
	return e
}

func (e *fakeEdge) note(s string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.saw = append(e.saw, s)
}

func (e *fakeEdge) serveDirect(c *tls.Conn) {
	h, err := connectwire.ReadHello(c)
	if err != nil {
		return
	}
	e.note("direct " + h.Token)
	a := connectwire.Answer{OK: h.Token == "good"}
	if !a.OK {
		a.Code, a.Message = connectwire.BadToken, "no"
	}
	if connectwire.Send(c, a) == nil && a.OK {
		_, _ = io.Copy(c, c)
		_ = c.CloseWrite()
	}
}

func (e *fakeEdge) serveWeb(w http.ResponseWriter, r *http.Request) {
	token := r.Header.Get(connectwire.TokenHeader)
	e.note("web " + token)
	if token != "good" {
		w.Header().Set("Podway-Code", string(connectwire.BadToken))
		http.Error(w, "no", http.StatusForbidden)
		return
	}
	ws, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	s := connectwire.NewStream(r.Context(), ws)
	_, _ = io.Copy(s, s)
	_ = s.CloseWrite()
	_, _ = io.Copy(io.Discard, s)
}

// open serves the pod at a port of this machine.
func (e *fakeEdge) open(t *testing.T) (addr string, failed <-chan error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	errs, done := make(chan error, 10), make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { done <- Serve(ctx, ln, e.Dialer, func(err error) { errs <- err }) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(limit):
			t.Error("it goes on after the end of its context")
		}
	})
	return ln.Addr().String(), errs
}

func TestBytesComeBackWhateverWayTheyTake(t *testing.T) {
	for name, protocols := range map[string][]string{
		"directly":               {connectwire.ALPN, "http/1.1"},
		"by WebSocket":           {"http/1.1"},
		"directly, and no other": {connectwire.ALPN},
	} {
		t.Run(name, func(t *testing.T) {
			e := startEdge(t, protocols...)
			addr, _ := e.open(t)
			long := bytes.Repeat([]byte("0123456789"), 100_000)
			for range 2 { // the second one knows the way
				c, err := net.Dial("tcp", addr)
				if err != nil {
					t.Fatal(err)
				}
				go func() {
					_, _ = c.Write(long)
					_ = c.(*net.TCPConn).CloseWrite()
				}()
				_ = c.SetDeadline(time.Now().Add(limit))
				got, err := io.ReadAll(c)
				if err != nil || !bytes.Equal(got, long) {
					t.Errorf("got %d bytes, %v, want %d", len(got), err, len(long))
				}
				c.Close()
			}
			want := strings.Fields(name)[0]
			if want == "by" {
				want = "web"
			} else {
				want = "direct"
			}
			if !slices.Equal(e.saw, []string{want + " good", want + " good"}) {
				t.Errorf("got %q, want the token once for each connection", e.saw)
			}
		})
	}
}

func TestConnectionsStayOpen(t *testing.T) {
	for _, protocol := range []string{connectwire.ALPN, "http/1.1"} {
		e := startEdge(t, protocol)
		addr, _ := e.open(t)
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(limit))
		for range 3 {
			b := make([]byte, 4)
			if _, err := c.Write([]byte("PING")); err != nil {
				t.Fatal(err)
			}
			if n, err := c.Read(b); err != nil || string(b[:n]) != "PING" {
				t.Fatalf("%s: got %q, %v", protocol, b[:n], err)
			}
		}
		c.Close()
	}
}

func TestRefusalsAreTold(t *testing.T) {
	for _, protocol := range []string{connectwire.ALPN, "http/1.1"} {
		e := startEdge(t, protocol)
		e.Token = func(context.Context) (string, error) { return "bad", nil }
		addr, failed := e.open(t)
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(limit))
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("got bytes, want the end")
		}
		c.Close()
		if r, ok := errors.AsType[*connectwire.RefusedError](<-failed); !ok || r.Code != connectwire.BadToken || r.Message != "no" {
			t.Errorf("%s: got %v", protocol, r)
		}
		if len(e.saw) != 1 {
			t.Errorf("got %q, want one try", e.saw)
		}
	}
}

func TestTokensAreFetchedForEachConnection(t *testing.T) {
	e := startEdge(t, connectwire.ALPN)
	var fetched int
	e.Token = func(context.Context) (string, error) {
		fetched++
		if fetched > 2 {
			return "", errors.New("the login has expired")
		}
		return "good", nil
	}
	for i := range 3 {
		c, err := e.Dial(t.Context())
		if i == 2 {
			if err == nil || err.Error() != "the login has expired" {
				t.Errorf("got %v", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
}

func TestUnknownServersSeeNoToken(t *testing.T) {
	e := startEdge(t, connectwire.ALPN, "http/1.1")
	e.Roots = x509.NewCertPool()
	if _, err := e.Dial(t.Context()); err == nil || len(e.saw) != 0 {
		t.Errorf("got %v, and tokens %q seen by a stranger", err, e.saw)
	}
}
