package sni

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni/pgwire"
	"github.com/tapis-project/podway/sni/snitest"
)

// Whatever a client begins with, the preface passes on the bytes of TLS as they
// are, answers with one of a few texts, and takes back what it lends.
func FuzzPreface(f *testing.F) {
	f.Add([]byte("\x16\x03\x01\x00\x05hello"), false)
	f.Add([]byte(sslRequest+"\x16\x03\x01\x00\x05hello"), false)
	f.Add([]byte(gssRequest+cancel), false)
	f.Add([]byte(startup), false)
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), false)
	f.Add([]byte("PROXY TCP4 192.0.2.1 192.0.2.2 40000 443\r\n\x16\x03\x01"), true)
	f.Add([]byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\x9c\x40\x01\xbb\x16\x03"), true)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { ln.Close() })
	newPreface := func(trusted ...netip.Prefix) *Preface {
		p := &Preface{OpenTimeout: 5 * time.Second, NewPerSecond: 1 << 30, NewBurst: 1 << 30, ProxyProtocolFrom: trusted}
		p.once.Do(p.begin)
		return p
	}
	direct, balanced := newPreface(), newPreface(netip.MustParsePrefix("127.0.0.0/8"))
	f.Fuzz(func(t *testing.T, in []byte, proxied bool) {
		client, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Skip(err)
		}
		defer client.Close()
		server, err := ln.Accept()
		if err != nil {
			t.Skip(err)
		}
		p := direct
		if proxied {
			p = balanced
		}
		c := p.admit(server)
		if c == nil {
			t.Fatal("not admitted")
		}
		if _, err := client.Write(in); err != nil {
			t.Skip(err)
		}
		if err := client.(*net.TCPConn).CloseWrite(); err != nil {
			t.Skip(err)
		}
		passed, err := io.ReadAll(bigReads{c})
		c.Abandon()
		_ = c.Close()
		if n := p.Open() + p.Handshaking() + p.Clients(); n != 0 {
			t.Fatalf("got %d things left", n)
		}
		if c.cancel != nil && (!errors.Is(err, ErrPostgresCancel) || len(c.cancel.Key) < 4 || len(c.cancel.Key) > 256) {
			t.Fatalf("got %+v, %v", c.cancel, err)
		}
		if len(passed) > 0 && (!bytes.HasSuffix(in, passed) || passed[0] != tlsHandshake) {
			t.Fatalf("got %q passed on of %q", passed, in)
		}
		answers, _ := io.ReadAll(client) // a reset is an end too
		rest := strings.TrimPrefix(strings.TrimPrefix(string(answers), "N"), "S")
		if rest != "" && rest != string(plainHTTP) && !strings.HasPrefix(rest, "E") {
			t.Fatalf("got the answer %q to %q", answers, in)
		}
	})
}

// bigReads reads as crypto/tls does, with a buffer that can be sniffed in.
type bigReads struct{ c *Conn }

func (r bigReads) Read(b []byte) (int, error) {
	big := make([]byte, max(len(b), 512))
	n, err := r.c.Read(big[:max(len(b), minSniff)])
	return copy(b, big[:n]), err
}

// However a ClientHello is changed and cut, the name that is read of it below the
// preface is the one that crypto/tls reads without, and no more is read or kept of
// it than the limit.
func FuzzHello(f *testing.F) {
	hello := helloOf(f, "echo.pods.test", 300)
	f.Add(uint16(0), byte(0), uint8(0), []byte{}, false)
	f.Add(uint16(0), byte(0), uint8(1), []byte{1, 2, 3}, true)
	f.Add(uint16(60), byte(1), uint8(0), []byte{5}, false)
	f.Add(uint16(3), byte(0x7f), uint8(7), []byte{0, 255}, true)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { ln.Close() })
	through := new(PassthroughCount)
	through.n.Store(1) // so that bytes are kept
	p := &Preface{OpenTimeout: 5 * time.Second, NewPerSecond: 1 << 30, NewBurst: 1 << 30, Passthrough: through}
	p.once.Do(p.begin)
	f.Fuzz(func(t *testing.T, at uint16, change byte, record uint8, cuts []byte, postgres bool) {
		in := bytes.Clone(hello)
		in[int(at)%len(in)] ^= change
		if record > 0 {
			in = inRecords(in, int(record))
		}
		want, wantErr := nameOf(&onlyReads{Reader: bytes.NewReader(in)})
		if in[0] != tlsHandshake {
			return // which FuzzPreface is for
		}

		client, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Skip(err)
		}
		defer client.Close()
		server, err := ln.Accept()
		if err != nil {
			t.Skip(err)
		}
		c := p.admit(server)
		if c == nil {
			t.Fatal("not admitted")
		}
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			sendInPieces(client.(*net.TCPConn), in, cuts, postgres)
		}()
		got, err := nameOf(c)
		read, kept := p.MaxOpenBytes-c.left, len(c.record)
		c.Abandon()
		_ = c.Close()
		<-sent
		if got != want || (err == nil) != (wantErr == nil) {
			t.Fatalf("got %q, %v, want %q, %v", got, err, want, wantErr)
		}
		if read > p.MaxOpenBytes || kept > read {
			t.Fatalf("got %d bytes read and %d kept, at most %d are allowed", read, kept, p.MaxOpenBytes)
		}
		if n := p.Open() + p.Handshaking() + p.Clients(); n != 0 {
			t.Fatalf("got %d things left", n)
		}
	})
}

// errNamed ends a handshake once the name is known.
var errNamed = errors.New("the name is known")

// nameOf returns the server name of a hello as crypto/tls reads it.
func nameOf(c net.Conn) (name string, err error) {
	err = tls.Server(c, &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		name = h.ServerName
		return nil, errNamed
	}}).Handshake()
	if errors.Is(err, errNamed) {
		err = nil
	}
	return name, err
}

// sendInPieces sends a hello cut where cuts say, and ends.
func sendInPieces(c *net.TCPConn, in, cuts []byte, postgres bool) {
	defer c.CloseWrite() //nolint:errcheck // the reader sees an end in any case
	if postgres {
		var answer [1]byte
		if _, err := io.WriteString(c, sslRequest); err != nil {
			return
		}
		if _, err := io.ReadFull(c, answer[:]); err != nil {
			return
		}
	}
	for _, n := range cuts {
		n := min(int(n), len(in))
		if _, err := c.Write(in[:n]); err != nil {
			return
		}
		in = in[n:]
	}
	_, _ = c.Write(in)
}

// onlyReads is a connection of some bytes.
type onlyReads struct {
	io.Reader
	net.Conn
}

func (c *onlyReads) Read(b []byte) (int, error)       { return c.Reader.Read(b) }
func (c *onlyReads) Write(b []byte) (int, error)      { return len(b), nil }
func (c *onlyReads) Close() error                     { return nil }
func (c *onlyReads) SetWriteDeadline(time.Time) error { return nil }

// An option names a pod of the zones or none, and what else there is stays.
func FuzzPodOption(f *testing.F) {
	for _, s := range []string{"pod=db", "-c a=b pod=db.pods.test", "pod=db.pods.other", "pod=DB", "pod=", `a\ pod=db`, "pod=db pod=web"} {
		f.Add(s)
	}
	table := routes.NewTable()
	snitest.Set(f, table, snitest.Route("db.pods.test", routes.Postgres, "10.0.0.1:1"), snitest.Route("db.pods.other", routes.Postgres, "10.0.0.1:1"))
	d := &Demux{Table: table, Zones: []string{"pods.test"}}
	f.Fuzz(func(t *testing.T, options string) {
		s := pgwire.Startup{Code: pgwire.Protocol30, Params: []pgwire.Param{{Name: "user", Value: "a"}, {Name: "options", Value: options}}}
		e, out := d.byOptions(s)
		if s.Param("options") != options {
			t.Fatalf("the packet was changed to %q", s.Param("options"))
		}
		if e == nil {
			if out.Param("options") != options {
				t.Fatalf("got %q of %q without a route", out.Param("options"), options)
			}
			return
		}
		if e.Host != "db.pods.test" || len(out.Param("options")) >= len(options) || !strings.Contains(options, podOption) {
			t.Fatalf("got %s and %q of %q", e.Host, out.Param("options"), options)
		}
	})
}
