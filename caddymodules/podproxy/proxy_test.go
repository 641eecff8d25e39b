package podproxy

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni/snitest"
	"github.com/tapis-project/podway/tests/parts"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// told is what a pod sees of a request.
type told struct {
	Host, Method, Target string
	Header, Trailer      http.Header
	TransferEncoding     []string
	Length               int64
	Body                 string
}

// telling is a pod that says what it sees.
func telling(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(told{r.Host, r.Method, r.RequestURI, r.Header, r.Trailer, r.TransferEncoding, r.ContentLength, string(b)})
}

func tell(t *testing.T, a answer) told {
	t.Helper()
	var got told
	if err := json.Unmarshal([]byte(a.body), &got); err != nil {
		t.Fatalf("got %d %s: %v", a.StatusCode, a.body, err)
	}
	return got
}

func TestRequestsReachThePod(t *testing.T) {
	s := serve(t, web(pod(t, telling)))
	big := strings.Repeat("0123456789abcdef", 20<<10)
	for _, proto := range protocols {
		t.Run(proto, func(t *testing.T) {
			c := s.client(proto)
			for _, tt := range []struct {
				name, method, path string
				body               io.Reader
				want               told
			}{
				{"a GET", "GET", "/a%2Fb/../c//d?x=1&y=%20;z", nil, told{Target: "/a%2Fb/../c//d?x=1&y=%20;z"}},
				{"a POST without a body", "POST", "/", nil, told{Target: "/"}},
				{"a small body", "PUT", "/", strings.NewReader("abc"), told{Target: "/", Length: 3, Body: "abc"}},
				{"a large body", "PATCH", "/", strings.NewReader(big), told{Target: "/", Length: int64(len(big)), Body: big}},
				{"a body of unknown length", "POST", "/", io.LimitReader(strings.NewReader(big), 50_000), told{Target: "/", Length: -1, Body: big[:50_000]}},
				{"a method of its own", "PURGE", "/x", nil, told{Target: "/x"}},
				{"a DELETE with a body", "DELETE", "/x", strings.NewReader("y"), told{Target: "/x", Length: 1, Body: "y"}},
			} {
				got := tell(t, s.do(c, tt.method, tt.path, tt.body))
				if got.Host != host || got.Method != tt.method || got.Target != tt.want.Target || got.Length != tt.want.Length || got.Body != tt.want.Body {
					t.Errorf("%s: got %s %s to %s with %d bytes said and %d sent, want %s with %d and %d", tt.name,
						got.Method, got.Target, got.Host, got.Length, len(got.Body), tt.want.Target, tt.want.Length, len(tt.want.Body))
				}
			}
		})
	}
	if n := s.handler.upstreams.pool.Len(); n == 0 || n > 4 {
		t.Errorf("got %d idle connections of requests one after the other", n)
	}
}

func TestHeadersOfRequests(t *testing.T) {
	s := serve(t, web(pod(t, telling), func(r *routes.Route) {
		r.Headers = &routes.HeaderRules{SetRequest: map[string]string{"X-Env": "prod", "X-Added": "yes"}, RemoveRequest: []string{"X-Secret"}}
	}))
	for _, proto := range protocols {
		c := s.client(proto)
		headers := []string{
			"X-Kept: 1", "Cookie: a=b", "Accept-Encoding: br", "Te: trailers",
			"X-Forwarded-For: 6.6.6.6", "x-forwarded-host: evil", "X_Forwarded_Proto: evil", "Forwarded: for=6.6.6.6", "X-Real-IP: 6.6.6.6",
			"X-Tapis-User: root", "x_tapis_token: t", "X-Pods-Assertion: e30", "X-PODS_User: root",
			"X-Env: dev", "x_env: dev", "X-Secret: s", "x_secret: s", "Content_Length: 5", "transfer_encoding: chunked", "Proxy-Authorization: Basic x",
		}
		if proto == "HTTP/1.1" {
			headers = append(headers, "Connection: keep-alive, X-Hop, X-Forwarded-For", "X-Hop: 1", "Keep-Alive: 5", "Proxy-Connection: x")
		}
		got := tell(t, s.do(c, "GET", "/", nil, headers...)).Header
		want := http.Header{
			"X-Kept": {"1"}, "Cookie": {"a=b"}, "Accept-Encoding": {"br"}, "Te": {"trailers"}, "X-Env": {"prod"}, "X-Added": {"yes"},
			"X-Forwarded-For": {"127.0.0.1"}, "X-Real-Ip": {"127.0.0.1"}, "X-Forwarded-Host": {host}, "X-Forwarded-Proto": {"https"},
		}
		delete(got, "User-Agent")
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: got %v, want %v", proto, got, want)
		}
	}
}

func TestHeadersOfResponses(t *testing.T) {
	s := serve(t, web(rawPod(t, func(_ string, c *net.TCPConn) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nserver: pod\r\nconnection: x-hop\r\nx-hop: 1\r\nkeep-alive: timeout=5\r\n"+
			"alt-svc: h3=\":1\"\r\nset-cookie: a=1; Domain=.pods.test\r\nset-cookie: __Host-pods_session=x\r\nset-cookie: c=3\r\n"+
			"proxy-authenticate: Basic\r\nx-env: pod\r\nx-powered-by: php\r\nx-two: 1\r\nx-two: 2\r\n\r\nok")
	}), func(r *routes.Route) {
		r.Headers = &routes.HeaderRules{SetResponse: map[string]string{"X-Env": "edge"}, RemoveResponse: []string{"X-Powered-By"}}
	}))
	for _, proto := range protocols {
		a := s.do(s.client(proto), "GET", "/", nil)
		want := http.Header{
			"Content-Length": {"2"}, "Server": {"pod"}, "Set-Cookie": {"a=1", "c=3"}, "X-Env": {"edge"}, "X-Two": {"1", "2"},
		}
		a.Header.Del("Date")
		if fmt.Sprint(a.Header) != fmt.Sprint(want) || a.body != "ok" {
			t.Errorf("%s: got %v %q, want %v", proto, a.Header, a.body, want)
		}
	}
}

func TestStatusesWithoutBody(t *testing.T) {
	s := serve(t, web(pod(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/204":
			w.WriteHeader(http.StatusNoContent)
		case "/304":
			w.Header().Set("ETag", `"x"`)
			w.WriteHeader(http.StatusNotModified)
		default:
			w.Header().Set("Content-Length", "1000")
		}
	})))
	for _, proto := range protocols {
		c := s.client(proto)
		for _, tt := range []struct {
			method, path, length string
			want                 int
		}{{"GET", "/204", "", 204}, {"GET", "/304", "", 304}, {"HEAD", "/", "1000", 200}} {
			for range 2 { // also the second time on one connection
				a := s.do(c, tt.method, tt.path, nil)
				if proto == "HTTP/3.0" && a.Header.Get("Content-Length") == "0" {
					a.Header.Del("Content-Length") // its server says so by itself
				}
				if a.StatusCode != tt.want || a.body != "" || a.Header.Get("Content-Length") != tt.length {
					t.Errorf("%s %s %s: got %d %q %v", proto, tt.method, tt.path, a.StatusCode, a.body, a.Header)
				}
			}
		}
	}
}

// counting counts what is read of a body.
// Neither direction waits for the other: a pod may answer while it reads.
// A pod that has heard enough may answer and close; the client gets the answer.
// awaitIdle waits until no request goes on.
// What a pod sends ahead of the next request is the answer to none.
func TestTheClientsAddressIsSentAhead(t *testing.T) {
	heads := make(chan string, 10)
	addr := snitest.Serve(t, func(c *net.TCPConn) {
		br := bufio.NewReader(c)
		line, _ := br.ReadString('\n')
		heads <- line
		for {
			if _, err := http.ReadRequest(br); err != nil {
				return
			}
			heads <- "request"
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	}).Addr
	s := serve(t, web(addr, func(r *routes.Route) { r.ProxyProtocol = 1 }))
	_, serverPort, _ := net.SplitHostPort(s.server.Listener.Addr().String())
	for range 2 {
		c := s.client("HTTP/1.1")
		s.do(c, "GET", "/", nil)
		if got := <-heads; !strings.HasPrefix(got, "PROXY TCP4 127.0.0.1 127.0.0.1 ") || !strings.HasSuffix(got, " "+serverPort+"\r\n") {
			t.Fatalf("got %q", got) // also of the second client: connections are not shared
		}
		<-heads
		s.do(c, "GET", "/", nil)
		if got := <-heads; got != "request" {
			t.Fatalf("got %q on the second request of a connection", got)
		}
	}
}

// untilAnswer reads a connection until it ends, or nothing more comes.
func TestPagesOfTheEdge(t *testing.T) {
	refusing := snitest.Serve(t, func(*net.TCPConn) {})
	refusing.Close()
	stopped := web("127.0.0.1:1")
	stopped.Host, stopped.State, stopped.Upstreams, stopped.Instance = "stopped.pods.test", routes.Stopped, nil, ""
	down := web(refusing.Addr)
	down.Host = "down.pods.test"
	denied := web("169.254.169.254:80")
	denied.Host = "denied.pods.test"
	closed := web(pod(t, telling))
	closed.Host, closed.IPAllow = "closed.pods.test", []string{"192.0.2.0/24"}
	locked := web(pod(t, telling))
	locked.Host, locked.Gate = "locked.pods.test", &routes.Gate{AllowedUsers: []string{"*"}}
	shared := web(pod(t, telling))
	shared.Host, shared.AccessGate = "shared.pods.test", &routes.AccessGate{}
	tcp := snitest.Route("db.pods.test", routes.TCP, "127.0.0.1:1")
	s := serve(t, stopped, down, denied, closed, locked, shared, tcp)
	for _, proto := range protocols {
		c := s.client(proto)
		for _, tt := range []struct {
			host, text string
			want       int
		}{
			{"stopped.pods.test", "This pod is stopped", 503},
			{"down.pods.test", "Almost there", 503},
			{"denied.pods.test", "No answer from the pod", 502},
			{"closed.pods.test", "Not from your address", 403},
			{"locked.pods.test", "Login required", 403},
			{"shared.pods.test", "Login required", 403},
			{"db.pods.test", "Not a website", 421},
			{"none.pods.test", "No pod at this address", 404},
		} {
			for _, accept := range []string{"text/html", "application/json"} {
				a := s.do(c, "GET", "/", nil, "Host: "+tt.host, "Accept: "+accept)
				if a.StatusCode != tt.want || !strings.Contains(a.body, tt.text) || !strings.HasPrefix(a.Header.Get("Content-Type"), accept) {
					t.Errorf("%s %s: got %d %s, want %d %q", proto, tt.host, a.StatusCode, a.body, tt.want, tt.text)
				}
			}
		}
	}
}

func TestARouteThatEndsEndsItsRequests(t *testing.T) {
	const soon = 3 * time.Second // one second is promised; tests run on busy machines
	a := web(pod(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/silent":
			<-r.Context().Done()
		case "/flood":
			for {
				if _, err := w.Write(make([]byte, 32<<10)); err != nil {
					return
				}
			}
		case "/upload":
			_, _ = io.Copy(io.Discard, r.Body)
		}
	}))
	b := web(pod(t, telling))
	b.Host = "other.pods.test"
	s := serve(t, a, b)
	type end struct {
		name string
		err  error
	}
	ends := make(chan end, 10)
	var uploads []*io.PipeWriter
	for _, proto := range protocols {
		for _, path := range []string{"/silent", "/flood", "/upload"} {
			method, body := "GET", io.Reader(nil)
			if path == "/upload" {
				r, send := io.Pipe()
				uploads = append(uploads, send)
				method, body = "POST", r
			}
			c := s.client(proto)
			go func() {
				req, _ := http.NewRequestWithContext(t.Context(), method, "https://"+host+path, body)
				res, err := c.Do(req)
				if err != nil {
					ends <- end{proto + path, nil} // the connection was closed
					return
				}
				defer res.Body.Close()
				_, err = io.Copy(io.Discard, res.Body)
				if err == nil && res.StatusCode != http.StatusServiceUnavailable {
					ends <- end{proto + path, fmt.Errorf("a whole answer with %d", res.StatusCode)}
					return
				}
				ends <- end{proto + path, nil}
			}()
		}
	}
	parts.Eventually(t, limit, func() error {
		if n := s.edge.sessions.Len(); n != 9 {
			return fmt.Errorf("got %d requests, want 9", n)
		}
		return nil
	})
	a.State, a.Upstreams, a.Instance, a.Version = routes.Stopped, nil, "", 9
	start := time.Now()
	snitest.Set(t, s.edge.table, a)
	s.awaitIdle()
	if d := time.Since(start); d > soon {
		t.Errorf("ended after %v, want it soon", d)
	}
	for _, u := range uploads {
		u.Close()
	}
	for range 9 {
		if e := <-ends; e.err != nil {
			t.Errorf("%s: %v", e.name, e.err)
		}
	}
	if got := s.do(s.client("HTTP/2.0"), "GET", "/", nil, "Host: other.pods.test"); got.StatusCode != http.StatusOK {
		t.Errorf("another pod: got %d", got.StatusCode)
	}
}
