package podproxy

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/tapis-project/podway/routes"
)

// decoded returns the content of a compressed body.
func decoded(t *testing.T, encoding, body string) string {
	t.Helper()
	var r io.Reader = strings.NewReader(body)
	switch encoding {
	case "gzip":
		z, err := gzip.NewReader(r)
		if err != nil {
			t.Fatal(err)
		}
		r = z
	case "br":
		r = brotli.NewReader(r)
	case "zstd":
		z, err := zstd.NewReader(r)
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		r = z
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestCompression(t *testing.T) {
	text := strings.Repeat("all work and no play ", 10_000)
	s := serve(t, web(pod(t, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		h := w.Header()
		h.Set("Content-Type", "text/plain; charset=utf-8")
		h.Set("ETag", `"tag"`)
		body := text
		for name, values := range q {
			switch name {
			case "short":
				body = text[:1023]
			case "status":
				var n int
				_, _ = fmt.Sscan(values[0], &n)
				w.WriteHeader(n)
			case "known":
				h.Set("Content-Length", fmt.Sprint(len(body)))
			default:
				h.Set(name, values[0])
			}
		}
		_, _ = io.WriteString(w, body)
	}), func(r *routes.Route) {
		r.Compression = &routes.Compression{Encodings: []string{"zstd", "br", "gzip"}, ExcludedContentTypes: []string{"Text/X-Own"}, MinBodyBytes: 1024}
	}))
	for _, tt := range []struct{ name, method, query, accept, want string }{
		{"every one, the first of the route counts", "GET", "", "gzip, br, zstd", "zstd"},
		{"two of them", "GET", "", "gzip;q=1.0, br;q=0.1", "br"},
		{"gzip", "GET", "", "gzip", "gzip"},
		{"in capitals", "GET", "", "GZIP", "gzip"},
		{"with a known length", "GET", "known=1", "br", "br"},
		{"anything", "GET", "", "*", "zstd"},
		{"anything but", "GET", "", "*, zstd;q=0", "br"},
		{"none", "GET", "", "", ""},
		{"identity", "GET", "", "identity", ""},
		{"refused ones", "GET", "", "zstd;q=0, br;q=0.0, gzip;q=0", ""},
		{"unknown ones", "GET", "", "deflate, compress", ""},
		{"a short body", "GET", "short=1", "gzip", ""},
		{"one that is encoded already", "GET", "Content-Encoding=x", "gzip", ""},
		{"a part", "GET", "status=206", "gzip", ""},
		{"an image", "GET", "Content-Type=image/png", "gzip", ""},
		{"an image that is text", "GET", "Content-Type=image/svg%2Bxml", "gzip", "gzip"},
		{"an event stream", "GET", "Content-Type=text/event-stream", "gzip", ""},
		{"an archive", "GET", "Content-Type=application/zip", "gzip", ""},
		{"a type the owner excluded", "GET", "Content-Type=text/x-own", "gzip", ""},
		{"a type that is none", "GET", "Content-Type=%3B%3B", "gzip", ""},
		{"JSON", "GET", "Content-Type=application/json", "gzip", "gzip"},
		{"no-transform", "GET", "Cache-Control=no-transform", "gzip", ""},
		{"HEAD", "HEAD", "", "gzip", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, proto := range protocols {
				var headers []string
				if tt.accept != "" {
					headers = []string{"Accept-Encoding: " + tt.accept}
				}
				a := s.do(s.client(proto), tt.method, "/?"+tt.query, nil, headers...)
				got := a.Header.Get("Content-Encoding")
				if got == "x" {
					got = ""
				}
				if got != tt.want {
					t.Fatalf("%s: got %q, want %q", proto, got, tt.want)
				}
				want := text
				if strings.Contains(tt.query, "short") {
					want = text[:1023]
				}
				if content := decoded(t, tt.want, a.body); tt.method != "HEAD" && content != want {
					t.Errorf("%s: got %d bytes, want %d", proto, len(content), len(want))
				}
				if tt.want == "" {
					continue
				}
				if a.Header.Get("Etag") != `W/"tag"` || a.Header.Get("Vary") != "Accept-Encoding" || len(a.body) > len(text)/10 {
					t.Errorf("%s: got %v and %d bytes", proto, a.Header, len(a.body))
				}
			}
		})
	}
}

// A compressed stream is as fresh as one that is not.
func TestCompressedStreamsAreFlushed(t *testing.T) {
	next := make(chan struct{})
	s := serve(t, web(pod(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		for i := range 3 {
			fmt.Fprintf(w, "{\"n\":%d}\n", i)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-next:
			case <-r.Context().Done():
				return
			}
		}
	}), func(r *routes.Route) { r.Compression = &routes.Compression{Encodings: []string{"zstd", "br", "gzip"}} }))
	for _, encoding := range []string{"gzip", "br", "zstd"} {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+host+"/", nil)
		req.Header.Set("Accept-Encoding", encoding)
		res, err := s.client("HTTP/2.0").Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var r io.Reader
		switch encoding {
		case "gzip":
			r, err = gzip.NewReader(res.Body)
		case "br":
			r = brotli.NewReader(res.Body)
		case "zstd":
			r, err = zstd.NewReader(res.Body, zstd.WithDecoderConcurrency(1))
		}
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(r)
		for i := range 3 {
			if got, err := lines.ReadString('\n'); got != fmt.Sprintf("{\"n\":%d}\n", i) {
				t.Fatalf("%s: got %q, %v", encoding, got, err)
			}
			next <- struct{}{}
		}
		res.Body.Close()
	}
}
