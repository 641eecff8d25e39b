package handover

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// shortPath returns a path that is short enough for a Unix socket.
func shortPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "h") //nolint:usetesting // the test's own folder has a long name
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "handover.sock")
}

// predecessor listens on two sockets and offers them.
func predecessor(t *testing.T, path string) (sockets map[string]net.Listener, retired <-chan struct{}) {
	t.Helper()
	sockets = map[string]net.Listener{}
	for _, name := range []string{"a", "b"} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ln.Close() })
		sockets[name] = ln
	}
	c := make(chan struct{})
	o, err := Listen(path, Handler{
		Sockets: func() []Socket {
			return []Socket{{"a", sockets["a"].(syscall.Conn)}, {"b", sockets["b"].(syscall.Conn)}}
		},
		Retire: func() { close(c) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Close() })
	return sockets, c
}

func TestSocketsArePassedOn(t *testing.T) {
	path := shortPath(t)
	if _, err := Claim(t.Context(), path); !errors.Is(err, ErrNobody) {
		t.Fatalf("got %v, want %v", err, ErrNobody)
	}
	sockets, retired := predecessor(t, path)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("got %v, %v, want a socket for its user only", info.Mode(), err)
	}
	e, err := Claim(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	for name, old := range sockets {
		ln, err := e.Listener(name)
		if err != nil || ln == nil {
			t.Fatalf("%s: got %v, %v", name, ln, err)
		}
		defer ln.Close()
		if got, want := ln.Addr().String(), old.Addr().String(); got != want {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
		old.Close()
		// A connection that comes now, and one that has come, is the successor's.
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		got, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		got.Close()
		if ln, err := e.Listener(name); ln != nil || err != nil {
			t.Errorf("got %v, %v the second time, want nothing", ln, err)
		}
	}
	select {
	case <-retired:
		t.Error("retired before the successor has accepted")
	default:
	}
	if err := e.Accept(); err != nil {
		t.Fatal(err)
	}
	<-retired
	if _, err := Claim(t.Context(), path); !errors.Is(err, ErrNobody) {
		t.Errorf("got %v from one that has retired, want %v", err, ErrNobody)
	}
}

func TestASuccessorThatGivesUp(t *testing.T) {
	path := shortPath(t)
	_, retired := predecessor(t, path)
	for range 2 {
		e, err := Claim(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if ln, err := e.Listener("c"); ln != nil || err != nil {
			t.Errorf("got %v, %v of a name that nobody has, want nothing", ln, err)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	// A client that says something else takes nothing over either.
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	c.Close()
	e, err := Claim(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-retired:
		t.Error("retired")
	default:
	}
	_ = e.Close()
}

func TestTheLastOfferCounts(t *testing.T) {
	path := shortPath(t)
	predecessor(t, path)
	sockets, _ := predecessor(t, path)
	e, err := Claim(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	ln, err := e.Listener("a")
	if err != nil || ln == nil {
		t.Fatalf("got %v, %v", ln, err)
	}
	defer ln.Close()
	if got, want := ln.Addr().String(), sockets["a"].Addr().String(); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

// An offer that ends does not wait for a successor that does nothing.
func TestCloseEndsAnExchange(t *testing.T) {
	path := shortPath(t)
	o, err := Listen(path, Handler{Sockets: func() []Socket { return nil }, Retire: func() { t.Error("retired") }})
	if err != nil {
		t.Fatal(err)
	}
	e, err := Claim(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := e.conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v, want the end", err)
	}
}

func TestActivated(t *testing.T) {
	const other = "127.0.0.1:1"
	for _, tt := range []struct{ name, pid, count string }{
		{"without systemd", "", ""},
		{"for another process", "1", "1"},
		{"a number that is none", "", "x"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if ln, err := activated(other, tt.pid, tt.count); ln != nil || err != nil {
				t.Errorf("got %v, %v, want nothing", ln, err)
			}
		})
	}
}

func TestSameAddress(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{":443", "[::]:443", true},
		{":443", "0.0.0.0:443", true},
		{":443", ":8443", false},
		{"127.0.0.1:443", "127.0.0.1:443", true},
		{"127.0.0.1:443", ":443", false},
	} {
		a, errA := net.ResolveTCPAddr("tcp", tt.a)
		b, errB := net.ResolveTCPAddr("tcp", tt.b)
		if err := errors.Join(errA, errB); err != nil {
			t.Fatal(err)
		}
		if got := same(a, b); got != tt.want {
			t.Errorf("%s and %s: got %v, want %v", tt.a, tt.b, got, tt.want)
		}
	}
}

func TestAPredecessorThatSpeaksNonsense(t *testing.T) {
	for _, line := range []string{"\n", `{"sockets":["a"]}` + "\n", "no end"} {
		path := shortPath(t)
		ln, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			c, err := ln.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			_, _ = io.WriteString(c, line)
		}()
		if e, err := Claim(t.Context(), path); err == nil {
			t.Errorf("%q: got %+v", line, e)
		}
		<-done
		ln.Close()
	}
}
