package load

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http/httptest"
	"testing"
	"time"
)

// short is the time of a load in tests.
const short = 30 * time.Millisecond

// startTarget starts an upstream behind a TLS server that does nothing but copy.
func startTarget(t *testing.T) Target {
	t.Helper()
	up, err := StartUpstream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = up.Close() })
	s := httptest.NewUnstartedServer(nil) // for its certificate
	s.StartTLS()
	t.Cleanup(s.Close)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: s.TLS.Certificates})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go forward(c, up.Addr)
		}
	}()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return Target{Addr: l.Addr().String(), Host: "example.com", Roots: roots}
}

func forward(c net.Conn, upstream string) {
	defer c.Close()
	u, err := net.Dial("tcp", upstream)
	if err != nil {
		return
	}
	defer u.Close()
	go func() {
		_, _ = io.Copy(c, u)
		c.Close()
	}()
	_, _ = io.Copy(u, c)
}

func TestLoadsCountWhatTheyDo(t *testing.T) {
	target := startTarget(t)
	for name, load := range map[string]func(context.Context) (Result, error){
		"handshakes":  func(ctx context.Context) (Result, error) { return Handshakes(ctx, target, 2, short) },
		"round trips": func(ctx context.Context) (Result, error) { return RoundTrips(ctx, target, short) },
		"down":        func(ctx context.Context) (Result, error) { return Down(ctx, target, 2, short) },
		"up":          func(ctx context.Context) (Result, error) { return Up(ctx, target, 2, short) },
	} {
		t.Run(name, func(t *testing.T) {
			res, err := load(t.Context())
			if err != nil || res.Ops <= 0 || res.Failed != 0 || res.Took < short {
				t.Errorf("got %+v, %v, want operations in at least %v", res, err, short)
			}
		})
	}
}

func TestFailedHandshakesAreCounted(t *testing.T) {
	target := startTarget(t)
	target.Host = "other.test"
	res, err := Handshakes(t.Context(), target, 1, short)
	if err == nil || res.Failed == 0 || res.Ops != 0 {
		t.Errorf("got %+v, %v, want failures only", res, err)
	}
}

func TestIdleConnectionsAreAllOpen(t *testing.T) {
	target := startTarget(t)
	idle, err := OpenIdle(t.Context(), target, 20)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	for _, c := range idle.conns {
		_ = c.SetDeadline(time.Now().Add(opTimeout))
		b := []byte("?")
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, b); err != nil || b[0] != '?' {
			t.Fatalf("got %q, %v, want the byte that was sent", b, err)
		}
	}
	target.Host = "other.test"
	if _, err := OpenIdle(t.Context(), target, 2); err == nil {
		t.Error("got no error of a host without a certificate")
	}
}

func TestTheUpstreamAnswersRequests(t *testing.T) {
	if err := CheckAnswer(t.Context(), startTarget(t)); err != nil {
		t.Error(err)
	}
}

func TestOutputOfH2load(t *testing.T) {
	const out = "finished in 1.00s, 900.00 req/s, 1MB/s\n" +
		"requests: 900 total, 916 started, 900 done, 899 succeeded, 1 failed, 1 errored, 0 timeout\n"
	got, err := parseH2load(out, time.Second)
	if want := (Result{Ops: 899, Failed: 1, Took: time.Second}); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	for name, out := range map[string]string{
		"no line of requests": "cannot connect\n",
		"nothing succeeded":   "requests: 9 total, 9 started, 9 done, 0 succeeded, 9 failed, 9 errored\n",
		"many failed":         "requests: 9 total, 9 started, 9 done, 5 succeeded, 4 failed, 4 errored\n",
	} {
		if got, err := parseH2load(out, time.Second); err == nil {
			t.Errorf("%s: got %+v, want an error", name, got)
		}
	}
}

func TestOutputOfPgbench(t *testing.T) {
	const out = "number of transactions actually processed: 3000\nlatency average = 1 ms\n" +
		"tps = 1500.000000 (without initial connection time)\n"
	got, err := parsePgbench(out)
	if want := (Result{Ops: 3000, Took: 2 * time.Second}); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	for _, out := range []string{"", "number of transactions actually processed: 0\ntps = 0\n"} {
		if got, err := parsePgbench(out); err == nil {
			t.Errorf("of %q: got %+v, want an error", out, got)
		}
	}
}
