package podproxy

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/tests/parts"
)

func TestTrailersPassBothWays(t *testing.T) {
	s := serve(t, web(pod(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Trailer", "X-Sum, X-Tapis-User")
		_, _ = io.WriteString(w, "body")
		w.Header().Set("X-Sum", r.Trailer.Get("X-Client-Sum"))
		w.Header().Set("X-Tapis-User", fmt.Sprint(len(r.Trailer["X-Tapis-User"])))
		w.Header().Set(http.TrailerPrefix+"X-Late", "1")
	})))
	for _, proto := range protocols {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+host+"/", io.LimitReader(rand.NewChaCha8([32]byte{}), 100_000))
		if err != nil {
			t.Fatal(err)
		}
		req.Trailer = http.Header{"X-Client-Sum": {"42"}, "X-Tapis-User": {"root"}}
		res, err := s.client(proto).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || string(b) != "body" {
			t.Fatalf("%s: got %q, %v", proto, b, err)
		}
		want := "42"
		if proto == "HTTP/3.0" {
			want = res.Trailer.Get("X-Sum") // its client sends no trailers
		}
		if res.Trailer.Get("X-Sum") != want || res.Trailer.Get("X-Late") != "1" || res.Trailer["X-Tapis-User"] != nil {
			t.Errorf("%s: got trailers %v", proto, res.Trailer)
		}
	}
}

func TestInterimResponses(t *testing.T) {
	s := serve(t, web(pod(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/endless" {
			for range 100 {
				w.WriteHeader(http.StatusProcessing)
			}
			return
		}
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("X-Final", "1")
		_, _ = io.WriteString(w, "done")
	})))
	for _, proto := range protocols[:2] {
		var hints []string
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
				hints = append(hints, fmt.Sprint(code, h.Get("Link"), h.Get("X-Final")))
				return nil
			},
		})
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+host+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := s.client(proto).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if want := []string{"103</a.css>; rel=preload"}; !slices.Equal(hints, want) || string(b) != "done" || res.Header.Get("X-Final") != "1" {
			t.Errorf("%s: got hints %q, %q %v, want %q", proto, hints, b, res.Header, want)
		}
	}
	if a := s.do(s.client("HTTP/2.0"), "GET", "/endless", nil); a.StatusCode != http.StatusBadGateway {
		t.Errorf("interim responses without end: got %d, want 502", a.StatusCode)
	}
}

func TestExpectContinue(t *testing.T) {
	var asked atomic.Int32
	s := serve(t, web(pod(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refuse" {
			w.WriteHeader(http.StatusExpectationFailed)
			return
		}
		b, _ := io.ReadAll(r.Body) // sends 100
		asked.Add(1)
		_, _ = w.Write(b)
	})))
	c := s.client("HTTP/1.1")
	if a := s.do(c, "POST", "/", strings.NewReader("the body"), "Expect: 100-continue"); a.body != "the body" {
		t.Errorf("got %d %q", a.StatusCode, a.body)
	}
	body := &counting{Reader: strings.NewReader("the body")}
	if a := s.do(c, "POST", "/refuse", body, "Expect: 100-continue"); a.StatusCode != http.StatusExpectationFailed || body.n.Load() != 0 {
		t.Errorf("got %d, and the client sent %d bytes", a.StatusCode, body.n.Load())
	}
	if got := asked.Load(); got != 1 {
		t.Errorf("the pod read %d bodies, want 1", got)
	}
}

type counting struct {
	io.Reader
	n atomic.Int64
}

func (c *counting) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n.Add(int64(n))
	return n, err
}

func TestBodiesStreamBothWaysAtOnce(t *testing.T) {
	s := serve(t, web(pod(t, func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		_ = rc.EnableFullDuplex()
		in := bufio.NewReader(r.Body)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			_, _ = io.WriteString(w, "echo "+line)
			_ = rc.Flush()
		}
	})))
	for _, proto := range protocols {
		body, send := io.Pipe()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+host+"/", body)
		if err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = io.WriteString(send, "0\n") }()
		res, err := s.client(proto).Do(req)
		if err != nil {
			t.Fatalf("%s: %v", proto, err)
		}
		lines := bufio.NewReader(res.Body)
		for i := range 5 {
			got, err := lines.ReadString('\n')
			if want := fmt.Sprintf("echo %d\n", i); got != want || err != nil {
				t.Fatalf("%s: got %q, %v, want %q", proto, got, err, want)
			}
			_, _ = fmt.Fprintf(send, "%d\n", i+1)
		}
		send.Close()
		res.Body.Close()
	}
}

func TestEarlyAnswersReachTheClient(t *testing.T) {
	s := serve(t, web(rawPod(t, func(head string, c *net.TCPConn) {
		_, _ = io.CopyN(io.Discard, c, 1000)
		if strings.HasPrefix(head, "POST /keeps") {
			_, _ = io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 6\r\n\r\nenough")
			_, _ = io.Copy(io.Discard, c)
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 6\r\n\r\nenough")
		_ = c.CloseWrite()
		_, _ = io.Copy(io.Discard, c)
	})))
	for _, proto := range protocols {
		for _, path := range []string{"/keeps", "/closes"} {
			body, send := io.Pipe() // and the client stops sending, without an end
			go func() { _, _ = send.Write(make([]byte, 2000)) }()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+host+path, body)
			if err != nil {
				t.Fatal(err)
			}
			res, err := s.client(proto).Do(req)
			if err != nil {
				t.Errorf("%s %s: %v", proto, path, err)
				continue
			}
			b, err := io.ReadAll(res.Body)
			if res.StatusCode != http.StatusRequestEntityTooLarge || string(b) != "enough" {
				t.Errorf("%s %s: got %d %q, %v", proto, path, res.StatusCode, b, err)
			}
			send.Close()
			res.Body.Close()
		}
	}
	s.awaitIdle()
}

func (s *site) awaitIdle() {
	s.t.Helper()
	parts.Eventually(s.t, limit, func() error {
		if n := s.edge.sessions.Len(); n != 0 {
			return fmt.Errorf("%d requests go on", n)
		}
		return nil
	})
}

func TestLargeBodiesArriveWhole(t *testing.T) {
	const size = 20 << 20
	s := serve(t, web(pod(t, func(w http.ResponseWriter, r *http.Request) {
		sum := sha256.New()
		_, _ = io.Copy(sum, r.Body)
		w.Header().Set("X-Sum", hex.EncodeToString(sum.Sum(nil)))
		_, _ = io.CopyN(w, rand.NewChaCha8([32]byte{2}), size)
	})))
	sum := func(r io.Reader) string {
		h := sha256.New()
		_, _ = io.Copy(h, r)
		return hex.EncodeToString(h.Sum(nil))
	}
	up, down := sum(io.LimitReader(rand.NewChaCha8([32]byte{1}), size)), sum(io.LimitReader(rand.NewChaCha8([32]byte{2}), size))
	for _, proto := range protocols {
		res, err := s.client(proto).Post("https://"+host+"/", "", io.LimitReader(rand.NewChaCha8([32]byte{1}), size))
		if err != nil {
			t.Fatal(err)
		}
		if got := sum(res.Body); got != down || res.Header.Get("X-Sum") != up {
			t.Errorf("%s: got sums %s and %s, want %s and %s", proto, res.Header.Get("X-Sum"), got, up, down)
		}
		res.Body.Close()
	}
}

func TestEventStreamsAreFlushed(t *testing.T) {
	next, ended := make(chan struct{}), make(chan struct{}, len(protocols))
	s := serve(t, web(pod(t, func(w http.ResponseWriter, r *http.Request) {
		defer func() { ended <- struct{}{} }()
		w.Header().Set("Content-Type", "text/event-stream")
		_ = http.NewResponseController(w).Flush() // the head before any event
		for i := 0; ; i++ {
			select {
			case <-next:
			case <-r.Context().Done():
				return
			}
			fmt.Fprintf(w, "data: %d\n\n", i)
			_ = http.NewResponseController(w).Flush()
		}
	}), func(r *routes.Route) { r.Compression = &routes.Compression{Encodings: []string{"gzip"}} }))
	for _, proto := range protocols {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+host+"/", nil)
		req.Header.Set("Accept-Encoding", "gzip")
		res, err := s.client(proto).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(res.Body)
		for i := range 3 {
			next <- struct{}{}
			if got, err := lines.ReadString('\n'); got != fmt.Sprintf("data: %d\n", i) {
				t.Fatalf("%s: got %q, %v", proto, got, err)
			}
			_, _ = lines.ReadString('\n')
		}
		res.Body.Close()
		<-ended // it would take what is meant for the next request
	}
	s.awaitIdle()
}

func TestAClientThatLeavesEndsTheRequest(t *testing.T) {
	begun, ended := make(chan struct{}), make(chan string, 10)
	s := serve(t, web(pod(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/silent":
			begun <- struct{}{}
			<-r.Context().Done()
		case "/talking":
			_, _ = io.WriteString(w, "x")
			_ = http.NewResponseController(w).Flush()
			begun <- struct{}{}
			<-r.Context().Done()
		case "/reading":
			begun <- struct{}{}
			_, _ = io.Copy(io.Discard, r.Body)
		}
		ended <- r.URL.Path
	})))
	for _, proto := range protocols {
		for _, path := range []string{"/silent", "/talking", "/reading"} {
			ctx, cancel := context.WithCancel(t.Context())
			method, body := "GET", io.Reader(nil)
			pr, send := io.Pipe()
			if path == "/reading" {
				method, body = "POST", pr
			}
			req, err := http.NewRequestWithContext(ctx, method, "https://"+host+path, body)
			if err != nil {
				t.Fatal(err)
			}
			left := make(chan struct{})
			c := s.client(proto)
			go func() {
				defer close(left)
				if res, err := c.Do(req); err == nil {
					_, _ = io.Copy(io.Discard, res.Body)
					res.Body.Close()
				}
			}()
			<-begun
			cancel()
			_ = send.CloseWithError(context.Canceled)
			<-left
			select {
			case got := <-ended:
				if got != path {
					t.Errorf("%s: got the end of %s, want %s", proto, got, path)
				}
			case <-time.After(limit):
				t.Fatalf("%s %s goes on", proto, path)
			}
		}
	}
	s.awaitIdle()
}
