package podproxy

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni"
	"github.com/tapis-project/podway/sni/snitest"
)

// limit is how long a test waits for what should take no time.
const limit = 20 * time.Second

// host is the host of the pod in most tests.
const host = "web.pods.test"

// fakeEdge is the app podway without Redis.
type fakeEdge struct {
	table    *routes.Table
	sessions *sni.Sessions
	record   func(sni.Record)
}

func newFakeEdge() *fakeEdge {
	e := &fakeEdge{table: routes.NewTable(), sessions: sni.NewSessions(new(sni.Stats))}
	e.sessions.Limit(100_000, 100_000)
	e.table.OnChange(e.sessions.Changed)
	return e
}

func (e *fakeEdge) Table() *routes.Table    { return e.table }
func (e *fakeEdge) Sessions() *sni.Sessions { return e.sessions }
func (e *fakeEdge) Loaded() bool            { return true }

func (e *fakeEdge) RequestRecorder() func(sni.Record) { return e.record }

// newHandler returns a handler that reaches pods on loopback.
func newHandler(t testing.TB, e edge) *Handler {
	u := newUpstreams(&sni.Dialer{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, "")
	t.Cleanup(func() { _ = u.Destruct() })
	h := new(Handler)
	h.serve(e, u, slog.New(slog.DiscardHandler))
	return h
}

// site is a server with the handler, and what it serves.
type site struct {
	t       testing.TB
	edge    *fakeEdge
	handler *Handler
	server  *httptest.Server
	addr3   string // of HTTP/3
}

// serve starts a server for routes.
func serve(t testing.TB, rs ...routes.Route) *site {
	t.Helper()
	e := newFakeEdge()
	snitest.Set(t, e.table, rs...)
	s := &site{t: t, edge: e, handler: newHandler(t, e)}
	s.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = s.handler.ServeHTTP(w, r, nil)
	}))
	s.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	s.server.EnableHTTP2 = true
	s.server.StartTLS()
	t.Cleanup(s.server.Close)
	return s
}

// serve3 starts HTTP/3 too.
func (s *site) serve3() {
	s.t.Helper()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	srv := &http3.Server{
		Handler:   s.server.Config.Handler,
		TLSConfig: http3.ConfigureTLSConfig(&tls.Config{Certificates: s.server.TLS.Certificates, MinVersion: tls.VersionTLS13}),
		Logger:    slog.New(slog.DiscardHandler),
	}
	s.addr3 = udp.LocalAddr().String()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = srv.Serve(udp)
	}()
	s.t.Cleanup(func() {
		_ = srv.Close()
		_ = udp.Close()
		<-ended
	})
}

// protocols are the versions of HTTP that clients use.
var protocols = []string{"HTTP/1.1", "HTTP/2.0", "HTTP/3.0"}

// client returns an HTTP client whose requests all go to the site.
func (s *site) client(proto string) *http.Client {
	s.t.Helper()
	c := &http.Client{Timeout: limit, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if proto == "HTTP/3.0" {
		if s.addr3 == "" {
			s.serve3()
		}
		tr := &http3.Transport{
			TLSClientConfig:    s.tls(),
			DisableCompression: true,
			Dial: func(ctx context.Context, _ string, tlsCfg *tls.Config, cfg *quic.Config) (*quic.Conn, error) {
				return quic.DialAddr(ctx, s.addr3, tlsCfg, cfg)
			},
		}
		s.t.Cleanup(func() { tr.Close() })
		c.Transport = tr
		return c
	}
	p := new(http.Protocols)
	p.SetHTTP1(proto == "HTTP/1.1")
	p.SetHTTP2(proto == "HTTP/2.0")
	tr := &http.Transport{
		Protocols: p, TLSClientConfig: s.tls(), DisableCompression: true, MaxIdleConnsPerHost: 64,
		ExpectContinueTimeout: limit,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", s.server.Listener.Addr().String())
		},
	}
	s.t.Cleanup(tr.CloseIdleConnections)
	c.Transport = tr
	return c
}

func (s *site) tls() *tls.Config {
	cfg := s.server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	cfg.ServerName = "example.com" // of the certificate; the Host decides
	return cfg
}

// dial opens a TLS connection for raw HTTP/1.1.
func (s *site) dial() net.Conn {
	s.t.Helper()
	cfg := s.tls()
	cfg.NextProtos = []string{"http/1.1"}
	c, err := tls.Dial("tcp", s.server.Listener.Addr().String(), cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(limit))
	s.t.Cleanup(func() { c.Close() })
	return c
}

// answer is a response with its body read.
type answer struct {
	*http.Response
	body string
}

// do sends a request with headers given as "Name: value".
func (s *site) do(c *http.Client, method, path string, body io.Reader, headers ...string) answer {
	s.t.Helper()
	a, err := s.try(c, method, path, body, headers...)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

// try is do for requests that may fail.
func (s *site) try(c *http.Client, method, path string, body io.Reader, headers ...string) (answer, error) {
	req, err := http.NewRequestWithContext(s.t.Context(), method, "https://"+host+path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			req.Host = value
			continue
		}
		req.Header[name] = append(req.Header[name], value) // as it is written
	}
	res, err := c.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return answer{res, string(b)}, err
}

// pod starts an HTTP server and returns its address.
func pod(t testing.TB, handler http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// rawPod starts a server that reads the head of each connection's first request
// and hands the rest to handle.
func rawPod(t testing.TB, handle func(head string, c *net.TCPConn)) string {
	t.Helper()
	return snitest.Serve(t, func(c *net.TCPConn) { handle(readHead(c), c) }).Addr
}

// readHead reads up to an empty line.
func readHead(r io.Reader) string {
	var b []byte
	one := make([]byte, 1)
	for !strings.HasSuffix(string(b), "\r\n\r\n") {
		if n, err := r.Read(one); n == 0 || err != nil {
			break
		}
		b = append(b, one[0])
	}
	return string(b)
}

// web returns a live HTTP route of the pod in most tests.
func web(upstream string, change ...func(*routes.Route)) routes.Route {
	r := snitest.Route(host, routes.HTTP, upstream)
	for _, c := range change {
		c(&r)
	}
	return r
}
