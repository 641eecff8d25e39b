package sni

import (
	"bytes"
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
