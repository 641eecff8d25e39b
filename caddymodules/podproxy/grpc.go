package podproxy

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"strings"

	"github.com/tapis-project/podway/sni"
)

// isGRPC reports whether a request is a call of gRPC, whose servers speak HTTP/2
// only.
func isGRPC(r *http.Request) bool {
	if r.ProtoMajor < 2 {
		return false
	}
	t := r.Header["Content-Type"]
	if len(t) != 1 {
		return false
	}
	rest, ok := strings.CutPrefix(t[0], "application/grpc")
	return ok && (rest == "" || rest[0] == '+' || rest[0] == ';')
}

// newGRPC returns the handler of gRPC calls: they go to the pod over HTTP/2
// without TLS. Its requests need an exchange in their context.
func newGRPC(u *upstreams, log *slog.Logger) http.Handler {
	return &httputil.ReverseProxy{
		Transport: &u.http2,
		// No FlushInterval: a body of unknown length is flushed at once anyway, and
		// with one a call that the pod refuses, headers alone, could be flushed
		// before its end. Clients take that for an answer without trailers.
		BufferPool: sni.Buffers{},
		ErrorLog:   slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		Rewrite: func(pr *httputil.ProxyRequest) {
			x := exchangeOf(pr.In.Context())
			pr.Out.URL.Scheme = "http"
			pr.Out.URL.Host = poolName(keyOf(x.entry, x.client)) // the Host header stays the client's
			x.rewriteHeader(pr.Out.Header)
			pr.Out.Trailer = nil // clients send none
		},
		ModifyResponse: func(res *http.Response) error {
			delete(res.Header, "Alt-Svc")
			exchangeOf(res.Request.Context()).cleanHeader(res.Header)
			for name := range res.Trailer {
				if !trailerPasses(name) {
					delete(res.Trailer, name)
				}
			}
			return nil
		},
		ErrorHandler: func(_ http.ResponseWriter, r *http.Request, err error) {
			exchangeOf(r.Context()).failed(err)
		},
	}
}

// rewriteHeader does to a header map what appendHead does to a head.
func (x *exchange) rewriteHeader(h http.Header) {
	f := x.filter()
	trailers := trailersWanted(h)
	for name := range h {
		if f.drops(name) {
			delete(h, name)
		}
	}
	if trailers {
		h["Te"] = []string{"trailers"}
	}
	if x.entry.Headers != nil {
		for name, value := range x.entry.Headers.SetRequest {
			h.Set(name, value)
		}
	}
	if ip := x.client.Addr(); ip.IsValid() {
		h["X-Forwarded-For"] = []string{ip.String()}
		h["X-Real-Ip"] = h["X-Forwarded-For"]
	}
	h["X-Forwarded-Host"] = []string{x.r.Host}
	h["X-Forwarded-Proto"] = []string{scheme(x.r)}
}

// call passes a gRPC call on.
func (x *exchange) call() {
	defer x.wait()()
	ctx := context.WithValue(x.ctx, exchangeKey{}, x)
	x.h.grpc.ServeHTTP(x.w, x.r.WithContext(ctx))
}
