package devtapis

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// InProcess returns a transport that hands every request to s, whatever host it
// is for, without a network.
func (s *Server) InProcess() http.RoundTripper { return inProcess{s} }

type inProcess struct{ handler http.Handler }

// RoundTrip implements [http.RoundTripper].
func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer r.Body.Close()
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	w := &response{header: make(http.Header), status: http.StatusOK}
	p.handler.ServeHTTP(w, received(r))
	return &http.Response{
		Status:        fmt.Sprintf("%d %s", w.status, http.StatusText(w.status)),
		StatusCode:    w.status,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        w.header,
		Body:          io.NopCloser(&w.body),
		ContentLength: int64(w.body.Len()),
		Request:       r,
	}, nil
}

// received returns r as the server at the other end would see it.
func received(r *http.Request) *http.Request {
	in := r.Clone(r.Context())
	in.Host = cmp.Or(r.Host, r.URL.Host)
	in.RequestURI = r.URL.RequestURI()
	in.URL = &url.URL{Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery}
	if in.Body == nil {
		in.Body = http.NoBody
	}
	return in
}

// response collects what a handler writes.
type response struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *response) Header() http.Header         { return w.header }
func (w *response) WriteHeader(status int)      { w.status = status }
func (w *response) Write(b []byte) (int, error) { return w.body.Write(b) }
