package podproxy

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/tapis-project/podway/sni/snitest"
)

// discard is a response writer that costs nothing.
type discard struct{ h http.Header }

func (d *discard) Header() http.Header         { return d.h }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(int)             {}
func (d *discard) Flush()                      {}

// staticPod answers every request with the same bytes, as cheaply as it can: it
// runs in the same process, so its work is in every figure.
func staticPod(b *testing.B, size int) string {
	b.Helper()
	answer := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nDate: Sat, 21 Nov 2026 20:00:00 GMT\r\nContent-Length: %d\r\n\r\n%s",
		size, strings.Repeat("x", size))
	return snitest.Serve(b, func(c *net.TCPConn) {
		br := bufio.NewReaderSize(c, 64<<10)
		for {
			length := 0
			for {
				line, err := br.ReadSlice('\n')
				if err != nil {
					return
				}
				if n, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
					length, _ = strconv.Atoi(string(bytes.TrimSpace(n)))
				}
				if len(line) == 2 {
					break
				}
			}
			if _, err := br.Discard(length); err != nil {
				return
			}
			if _, err := c.Write(answer); err != nil {
				return
			}
		}
	}).Addr
}

// cpu returns the processor time of this process.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// caddyProxy returns Caddy's own reverse proxy to a pod.
func caddyProxy(b *testing.B, addr string) http.Handler {
	b.Helper()
	ctx, err := caddy.ProvisionContext(&caddy.Config{Logging: &caddy.Logging{Logs: map[string]*caddy.CustomLog{
		"default": {BaseLog: caddy.BaseLog{Level: "FATAL"}},
	}}})
	if err != nil {
		b.Fatal(err)
	}
	p := &reverseproxy.Handler{Upstreams: reverseproxy.UpstreamPool{{Dial: addr}}}
	if err := p.Provision(ctx); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = p.Cleanup() })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		repl := caddy.NewReplacer()
		r = caddyhttp.PrepareRequest(r, repl, w, new(caddyhttp.Server))
		if err := p.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })); err != nil {
			b.Error(err)
		}
	})
}

// ownProxy returns the handler of this package in front of a pod.
func ownProxy(b *testing.B, addr string) http.Handler {
	b.Helper()
	e := newFakeEdge()
	snitest.Set(b, e.table, web(addr))
	h := newHandler(b, e)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		repl := caddy.NewReplacer()
		r = caddyhttp.PrepareRequest(r, repl, w, new(caddyhttp.Server))
		_ = h.ServeHTTP(w, r, nil)
	})
}

// BenchmarkProxy compares the handler with Caddy's reverse proxy. The time and
// the memory of the pod, which runs in the same process, are in both.
func BenchmarkProxy(b *testing.B) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	for _, work := range []struct {
		name       string
		size, sent int
	}{{"small answer", 200, 0}, {"small body up", 200, 1000}, {"1 MiB down", 1 << 20, 0}, {"1 MiB up", 200, 1 << 20}} {
		addr := staticPod(b, work.size)
		for _, p := range []struct {
			name    string
			handler http.Handler
		}{{"podway", ownProxy(b, addr)}, {"caddy", caddyProxy(b, addr)}} {
			b.Run(work.name+"/"+p.name, func(b *testing.B) {
				body := strings.Repeat("y", work.sent)
				b.ReportAllocs()
				before := cpu()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						method, up := http.MethodGet, io.Reader(nil)
						if work.sent > 0 {
							method, up = http.MethodPost, strings.NewReader(body)
						}
						r := httptest.NewRequestWithContext(context.Background(), method, "https://"+host+"/path?query=1", up)
						r.Header.Set("User-Agent", "bench")
						r.Header.Set("Accept", "*/*")
						p.handler.ServeHTTP(&discard{http.Header{}}, r)
					}
				})
				b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N), "cpu-us/op")
			})
		}
	}
}
