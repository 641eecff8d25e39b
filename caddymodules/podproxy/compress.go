package podproxy

import (
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/tapis-project/podway/caddymodules/internal/accept"
	"github.com/tapis-project/podway/caddymodules/podproxy/internal/h1"
)

// encoder is what the libraries have in common.
type encoder interface {
	io.WriteCloser
	Flush() error
	Reset(w io.Writer)
}

// encoders holds encoders for reuse, by encoding: each has tables of some 100 KB.
// Speed counts for more than the last percent, and memory for more than either.
var encoders = map[string]*sync.Pool{
	"gzip": {New: func() any {
		e, _ := gzip.NewWriterLevel(nil, 4) // the level is valid
		return e
	}},
	"br": {New: func() any {
		return brotli.NewWriterOptions(nil, brotli.WriterOptions{Quality: 3, LGWin: 18})
	}},
	"zstd": {New: func() any {
		e, _ := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true), // valid options
			zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(128<<10))
		return e
	}},
}

// squeezed is the sink of bodies that the edge compresses.
type squeezed struct {
	plain
	pool *sync.Pool
	e    encoder
}

func (s *squeezed) Write(b []byte) (int, error) { return s.e.Write(b) }

func (s *squeezed) Flush() error {
	if err := s.e.Flush(); err != nil {
		return err
	}
	return s.plain.Flush()
}

func (s *squeezed) Close() error {
	err := s.e.Close()
	s.e.Reset(nil)
	s.pool.Put(s.e)
	return err
}

// compressed makes h the header of a compressed response, and returns the sink of
// its body.
func (x *exchange) compressed(h http.Header, encoding string) sink {
	h["Content-Encoding"] = []string{encoding}
	delete(h, "Accept-Ranges") // ranges of what is not stored can't be asked for
	if tag := h.Get("Etag"); tag != "" && !strings.HasPrefix(tag, "W/") {
		h["Etag"] = []string{"W/" + tag} // the same content, not the same bytes
	}
	s := &squeezed{plain: plain{x}, pool: encoders[encoding]}
	s.e = s.pool.Get().(encoder)
	s.e.Reset(s.plain)
	return s
}

// encoding returns how to compress a response, "" for not at all. It marks
// responses that could differ by client.
func (x *exchange) encoding(h http.Header, res h1.Response) string {
	c := x.entry.Compression
	switch {
	case c == nil, len(h["Content-Encoding"]) > 0, len(h["Content-Range"]) > 0:
		return ""
	case res.Status < http.StatusOK, res.Status == http.StatusNoContent, res.Status == http.StatusPartialContent, res.Status == http.StatusNotModified:
		return ""
	case res.Length >= 0 && res.Length < int64(max(c.MinBodyBytes, 1)):
		return ""
	case !isCompressible(h.Get("Content-Type"), c.ExcludedContentTypes), strings.Contains(h.Get("Cache-Control"), "no-transform"):
		return ""
	}
	h.Add("Vary", "Accept-Encoding")
	if x.r.Method == http.MethodHead {
		return ""
	}
	return accepted(x.r.Header["Accept-Encoding"], c.Encodings)
}

// accepted returns the first of the offered encodings that a client accepts.
func accepted(header, offered []string) string {
	if len(header) == 0 {
		return ""
	}
	anything, said := false, map[string]bool{}
	for _, line := range header {
		for item := range strings.SplitSeq(line, ",") {
			name, params, _ := strings.Cut(item, ";")
			name = strings.ToLower(strings.TrimSpace(name))
			ok := !accept.Refused(params)
			if name == "*" {
				anything = ok
				continue
			}
			said[name] = ok
		}
	}
	for _, name := range offered {
		if ok, named := said[name]; (ok || (!named && anything)) && encoders[name] != nil {
			return name
		}
	}
	return ""
}

// dense are types that are compressed already, or streams that somebody reads
// while they are written.
var (
	dense = []string{
		"text/event-stream", "application/grpc", "application/octet-stream", "application/pdf", "application/zip", "application/gzip",
		"application/x-gzip", "application/x-bzip2", "application/x-xz", "application/zstd", "application/x-7z-compressed",
		"application/vnd.rar", "application/x-rar-compressed", "application/java-archive", "application/epub+zip",
		"application/x-hdf5", "font/woff", "font/woff2", "multipart/x-mixed-replace", "multipart/byteranges",
	}
	densePrefixes = []string{"image/", "video/", "audio/", "application/grpc+", "application/grpc-web", "application/vnd.openxmlformats-", "application/vnd.oasis."}
	sparse        = []string{"image/svg+xml", "image/bmp", "image/x-icon", "image/vnd.microsoft.icon"}
)

func isCompressible(contentType string, excluded []string) bool {
	t, _, err := mime.ParseMediaType(contentType)
	if err != nil || t == "" {
		return false
	}
	if slices.ContainsFunc(excluded, func(e string) bool { return strings.EqualFold(strings.TrimSpace(e), t) }) {
		return false
	}
	if slices.Contains(sparse, t) {
		return true
	}
	return !slices.Contains(dense, t) && !slices.ContainsFunc(densePrefixes, func(p string) bool { return strings.HasPrefix(t, p) })
}
