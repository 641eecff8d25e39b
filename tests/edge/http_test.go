package edge

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni/snitest"
	"github.com/tapis-project/podway/tests/parts"
)

// smuggling are requests whose end two servers might see in different places.
// After each comes a request for /smuggled, which a pod must not see as one of
// its own unless it saw the first as well, and then as the client's next request.
var smuggling = map[string]string{
	"a length and chunks":                     "POST / HTTP/1.1\r\nHost: web.pods.test\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"chunks and a length":                     "POST / HTTP/1.1\r\nHost: web.pods.test\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
	"two lengths":                             "POST / HTTP/1.1\r\nHost: web.pods.test\r\nContent-Length: 0\r\nContent-Length: 40\r\n\r\n",
	"two lengths in one line":                 "POST / HTTP/1.1\r\nHost: web.pods.test\r\nContent-Length: 0, 40\r\n\r\n",
	"a length with a sign":                    "POST / HTTP/1.1\r\nHost: web.pods.test\r\nContent-Length: +0\r\n\r\n",
	"a negative length":                       "POST / HTTP/1.1\r\nHost: web.pods.test\r\nContent-Length: -1\r\n\r\n",
	"a length in hexadecimal":                 "POST / HTTP/1.1\r\nHost: web.pods.test\r\nContent-Length: 0x0\r\n\r\n",
	"a length with a space":                   "POST / HTTP/1.1\r\nHost: web.pods.test\r\nContent-Length: 1 0\r\n\r\n",
	"an empty length":                         "POST / HTTP/1.1\r\nHost: web.pods.test\r\nContent-Length:\r\n\r\n",
	"a length beyond 64 bits":                 "POST / HTTP/1.1\r\nHost: web.pods.test\r\nContent-Length: 18446744073709551616\r\n\r\n",
	"a space ahead of the colon":              "POST / HTTP/1.1\r\nHost: web.pods.test\r\nContent-Length : 40\r\n\r\n",
	"a tab ahead of the colon":                "POST / HTTP/1.1\r\nHost: web.pods.test\r\nTransfer-Encoding\t: chunked\r\n\r\n",
	"a folded header":                         "POST / HTTP/1.1\r\nHost: web.pods.test\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
	"an encoding that is not chunked":         "POST / HTTP/1.1\r\nHost: web.pods.test\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
	"chunked and another encoding":            "POST / HTTP/1.1\r\nHost: web.pods.test\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
	"identity":                                "POST / HTTP/1.1\r\nHost: web.pods.test\r\nTransfer-Encoding: identity\r\nContent-Length: 0\r\n\r\n",
	"two encodings":                           "POST / HTTP/1.1\r\nHost: web.pods.test\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
	"an encoding with a control character":    "POST / HTTP/1.1\r\nHost: web.pods.test\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
	"an encoding in quotes":                   "POST / HTTP/1.1\r\nHost: web.pods.test\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
	"an underscore for a dash":                "POST / HTTP/1.1\r\nHost: web.pods.test\r\nTransfer_Encoding: chunked\r\n\r\n",
	"chunks of HTTP/1.0":                      "POST / HTTP/1.0\r\nHost: web.pods.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"a chunk size with a sign":                "POST / HTTP/1.1\r\nHost: web.pods.test\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n\r\n0\r\n\r\n",
	"a chunk size beyond 64 bits":             "POST / HTTP/1.1\r\nHost: web.pods.test\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n\r\n0\r\n\r\n",
	"a chunk that is longer than it says":     "POST / HTTP/1.1\r\nHost: web.pods.test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
	"a bare line feed after a chunk size":     "POST / HTTP/1.1\r\nHost: web.pods.test\r\nTransfer-Encoding: chunked\r\n\r\n0;x\n\r\n\r\n",
	"a carriage return in a header":           "GET / HTTP/1.1\r\nHost: web.pods.test\r\nX: a\rContent-Length: 40\r\n\r\n",
	"a zero byte in a header":                 "GET / HTTP/1.1\r\nHost: web.pods.test\r\nX: a\x00b\r\n\r\n",
	"a line break in the target":              "GET /\nX: y HTTP/1.1\r\nHost: web.pods.test\r\n\r\n",
	"a space ahead of the first header":       "GET / HTTP/1.1\r\n Host: web.pods.test\r\n\r\n",
	"a body of a GET":                         "GET / HTTP/1.1\r\nHost: web.pods.test\r\nContent-Length: 3\r\n\r\nabc",
	"a length that Connection names":          "POST / HTTP/1.1\r\nHost: web.pods.test\r\nConnection: Content-Length\r\nContent-Length: 3\r\n\r\nabc",
	"an encoding that Connection names":       "POST / HTTP/1.1\r\nHost: web.pods.test\r\nConnection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"an upgrade that the pod does not make":   "GET / HTTP/1.1\r\nHost: web.pods.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
	"an upgrade to HTTP/2":                    "GET / HTTP/1.1\r\nHost: web.pods.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
	"trailers with a length":                  "POST / HTTP/1.1\r\nHost: web.pods.test\r\nTransfer-Encoding: chunked\r\nTrailer: Content-Length\r\n\r\n0\r\nContent-Length: 40\r\n\r\n",
	"Expect with a body that comes all along": "POST / HTTP/1.1\r\nHost: web.pods.test\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
}

// rawPod is a pod that reads HTTP byte by byte. It notes every request, and
// believes only lengths: a request it gets in another shape is a fault.
type rawPod struct {
	addr   string
	seen   chan string // method and path of each request
	faults chan string
}

func startRawPod(t *testing.T) *rawPod {
	p := &rawPod{seen: make(chan string, 1000), faults: make(chan string, 1000)}
	p.addr = snitest.Serve(t, func(c *net.TCPConn) {
		r := bufio.NewReader(c)
		for {
			req, err := http.ReadRequest(r)
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				if !strings.Contains(err.Error(), "EOF") && !strings.Contains(err.Error(), "reset") {
					p.faults <- err.Error()
				}
				return
			}
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				return
			}
			p.seen <- req.Method + " " + req.URL.Path
			if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"); err != nil {
				return
			}
		}
	}).Addr
	return p
}

// E7: whatever is sent, the edge and the pod agree where a request ends.
func TestE7Smuggling(t *testing.T) {
	rs := parts.StartRedis(t)
	e := startEdge(t, "redis://"+rs.Addr, "limits {", "new_per_second 10000", "new_burst 10000", "}")
	pod := startRawPod(t)
	e.serve(newPublisher(t, "redis://"+rs.Addr), snitest.Route("web.pods.test", routes.HTTP, pod.addr))
	for _, name := range sortedKeys(smuggling) {
		t.Run(name, func(t *testing.T) {
			answers, err := e.sendBoth(smuggling[name])
			if err != nil {
				t.Fatal(err)
			}
			seen := drain(pod.seen)
			if n := len(drain(pod.faults)); n > 0 {
				t.Errorf("the pod got %d requests it could not read", n)
			}
			i := slices.Index(seen, "GET /smuggled")
			if len(seen) > 2 || (i >= 0 && (i != 1 || len(answers) != 2)) {
				t.Errorf("the pod saw %q, the client got %q", seen, answers)
			}
			if i < 0 && len(seen) > 1 {
				t.Errorf("the pod saw %q of one request", seen)
			}
		})
	}
}

// sendBoth sends a request and one for /smuggled behind it, and returns the status
// lines that come back until the edge closes or has answered the last.
func (e *edge) sendBoth(first string) ([]string, error) {
	c, err := e.dial("127.0.0.6", "web.pods.test", "http/1.1")
	if err != nil {
		return nil, err
	}
	defer c.Close()
	go func() {
		_, _ = io.WriteString(c, first+"GET /smuggled HTTP/1.1\r\nHost: web.pods.test\r\nConnection: close\r\n\r\n")
	}()
	_ = c.SetDeadline(time.Now().Add(2 * time.Second)) // some wait for a body that never comes
	b, _ := io.ReadAll(c)
	var lines []string
	for line := range strings.SplitSeq(string(b), "\r\n") {
		if i := strings.Index(line, "HTTP/1.1 "); i >= 0 && !strings.HasPrefix(line[i:], "HTTP/1.1 1") {
			lines = append(lines, line[i:])
		}
	}
	return lines, nil
}

func drain(c chan string) []string {
	var all []string
	for {
		select {
		case s := <-c:
			all = append(all, s)
		default:
			return all
		}
	}
}

// E7: a hundred thousand streams that are begun and reset at once cost the edge
// neither memory nor the patience of others.
func TestE7RapidReset(t *testing.T) {
	rs := parts.StartRedis(t)
	e := startEdge(t, "redis://"+rs.Addr)
	up := upstreams(t)
	e.serve(newPublisher(t, "redis://"+rs.Addr), snitest.Route("web.pods.test", routes.HTTP, up[routes.HTTP]))
	_, other, err := e.h2("127.0.0.5", "web.pods.test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close() })
	if err := visitHTTP(other); err != nil {
		t.Fatal(err)
	}
	streams := 100_000
	if raceDetector {
		streams = 20_000
	}
	before := e.mustUsage()
	var sent atomic.Int64
	ctx, cancel := context.WithTimeout(t.Context(), 2*limit)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- e.resetStreams(ctx, streams, &sent) }()
	var took []time.Duration
	for err == nil {
		start := time.Now()
		if err := visitHTTP(other); err != nil {
			t.Fatalf("another client: %v", err)
		}
		took = append(took, time.Since(start))
		select {
		case err = <-done:
			if err != nil {
				t.Fatal(err)
			}
			err = io.EOF
		default:
		}
	}
	during := e.mustUsage()
	slices.Sort(took)
	t.Logf("%d streams were reset; %d requests of another client took %v (p50), %v (p99)", sent.Load(), len(took), took[len(took)/2], took[len(took)*99/100])
	t.Logf("before: %v; afterwards: %v", before, during)
	if grown := during.rss - before.rss; grown > 64<<20 && !raceDetector {
		t.Errorf("got %d MB more, want 64 at most", grown>>20)
	}
	if took[len(took)/2] > time.Second {
		t.Errorf("other clients wait %v", took[len(took)/2])
	}
	other.Close()
	e.settles(before)
}

func visitHTTP(cc http.RoundTripper) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	res, err := get(ctx, cc, "https://web.pods.test/")
	if err != nil {
		return err
	}
	return wantHello(res)
}

// resetStreams opens and resets n streams, on as many connections as the edge
// makes it use.
func (e *edge) resetStreams(ctx context.Context, n int, sent *atomic.Int64) error {
	for i := 0; int(sent.Load()) < n && ctx.Err() == nil; i++ {
		c, err := e.dial(client(i), "web.pods.test", "h2")
		if err != nil {
			return err
		}
		_ = c.SetDeadline(time.Time{})
		go func() { _, _ = io.Copy(io.Discard, c) }()
		resetOn(c, n, sent)
		c.Close()
	}
	return nil
}

// resetOn opens and resets streams until there were n or the edge has enough.
func resetOn(c net.Conn, n int, sent *atomic.Int64) {
	var headers bytes.Buffer
	enc := hpack.NewEncoder(&headers)
	for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "web.pods.test"}, {":path", "/"}} {
		_ = enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}) // a buffer does not fail
	}
	w := bufio.NewWriter(c)
	if _, err := io.WriteString(w, http2.ClientPreface); err != nil {
		return
	}
	f := http2.NewFramer(w, nil)
	if f.WriteSettings() != nil {
		return
	}
	block := bytes.Clone(headers.Bytes())
	for id := uint32(1); int(sent.Load()) < n && id < 1<<20; id += 2 {
		if f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndStream: true, EndHeaders: true}) != nil ||
			f.WriteRSTStream(id, http2.ErrCodeCancel) != nil {
			return
		}
		sent.Add(1)
	}
	_ = w.Flush()
}

// E7: more than 100 streams at once are refused, and so are headers beyond the
// limit.
func TestE7LimitsOfHTTP2(t *testing.T) {
	rs := parts.StartRedis(t)
	e := startEdge(t, "redis://"+rs.Addr)
	up := upstreams(t)
	e.serve(newPublisher(t, "redis://"+rs.Addr), snitest.Route("web.pods.test", routes.HTTP, up[routes.HTTP]))
	c, err := e.dial("127.0.0.5", "web.pods.test", "h2")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	f := http2.NewFramer(c, c)
	if err := f.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	frame, err := f.ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	settings, ok := frame.(*http2.SettingsFrame)
	if !ok {
		t.Fatalf("got %v, want settings", frame)
	}
	if v, ok := settings.Value(http2.SettingMaxConcurrentStreams); !ok || v > 250 {
		t.Errorf("got %d streams at once, want a limit", v)
	} else {
		t.Logf("%d streams at once", v)
	}
	_, cc, err := e.h2("127.0.0.5", "web.pods.test")
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://web.pods.test/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Long", strings.Repeat("x", 64<<10))
	if res, err := cc.RoundTrip(req); err == nil {
		defer res.Body.Close()
		if res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("got %d, want %d", res.StatusCode, http.StatusRequestHeaderFieldsTooLarge)
		}
	} else {
		t.Log(fmt.Sprint("refused: ", err))
	}
}
