package kube

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/tapis-project/podway/tests/kubetest"
)

// faultProxy stands between a cluster and its API server, and does what networks
// and API servers do on bad days.
type faultProxy struct {
	web *httptest.Server

	mu      sync.Mutex
	faults  []*fault
	cut     bool // nothing passes, and nothing is answered
	open    map[int]context.CancelFunc
	next    int
	passed  map[string]int // requests by method, of those that are not watches
	watches int            // that were begun
}

// fault answers the coming requests that fit.
type fault struct {
	left   int
	fits   func(*http.Request) bool
	answer func(http.ResponseWriter)
}

func startProxy(t testing.TB, srv *kubetest.Server) *faultProxy {
	t.Helper()
	target, err := url.Parse(srv.URL())
	if err != nil {
		t.Fatal(err)
	}
	transport, err := rest.TransportFor(srv.RESTConfig())
	if err != nil {
		t.Fatal(err)
	}
	p := &faultProxy{open: map[int]context.CancelFunc{}, passed: map[string]int{}}
	forward := &httputil.ReverseProxy{
		Transport: transport, FlushInterval: -1,
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) {
			panic(http.ErrAbortHandler) // a connection that breaks, as without us
		},
	}
	p.web = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, done, f := p.admit(r)
		defer done()
		switch {
		case f != nil:
			f.answer(w)
		case ctx.Err() != nil:
			panic(http.ErrAbortHandler)
		default:
			forward.ServeHTTP(w, r.WithContext(ctx))
		}
	}))
	t.Cleanup(func() {
		p.closeConnections()
		p.web.CloseClientConnections()
		p.web.Close()
	})
	return p
}

// config leads through the proxy.
func (p *faultProxy) config() *rest.Config { return &rest.Config{Host: p.web.URL, QPS: -1} }

func isWatch(r *http.Request) bool { return r.URL.Query().Get("watch") != "" }

// admit notes a request. The context ends when the proxy shall break it.
func (p *faultProxy) admit(r *http.Request) (ctx context.Context, done func(), f *fault) {
	ctx, cancel := context.WithCancel(r.Context())
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next++
	id := p.next
	p.open[id] = cancel
	if p.cut {
		p.mu.Unlock()
		<-ctx.Done()
		p.mu.Lock()
	}
	if isWatch(r) {
		p.watches++
	} else {
		p.passed[r.Method]++
	}
	for _, one := range p.faults {
		if one.left != 0 && one.fits(r) {
			one.left--
			f = one
			break
		}
	}
	return ctx, func() {
		cancel()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.open, id)
	}, f
}

// closeConnections breaks everything that is under way.
func (p *faultProxy) closeConnections() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, cancel := range p.open {
		cancel()
	}
}

// isolate cuts a client off for good: what is under way breaks, and the rest is
// never answered.
func (p *faultProxy) isolate() {
	p.mu.Lock()
	p.cut = true
	p.mu.Unlock()
	p.closeConnections()
}

// inject answers the next n requests that fit; a negative n stands for all.
func (p *faultProxy) inject(n int, fits func(*http.Request) bool, answer func(http.ResponseWriter)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = append(p.faults, &fault{left: n, fits: fits, answer: answer})
}

// heal lets everything pass again.
func (p *faultProxy) heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = nil
}

// requests returns how many requests came, by method, and how many watches.
func (p *faultProxy) requests() (passed map[string]int, watches int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.passed), p.watches
}

// status answers with an error as the API server does. retryAfter is in seconds.
func status(code int, reason metav1.StatusReason, message string, retryAfter int) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/json")
		if retryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
		}
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(metav1.Status{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
			Status:   metav1.StatusFailure, Code: int32(code), Reason: reason, Message: message,
			Details: &metav1.StatusDetails{RetryAfterSeconds: int32(retryAfter)},
		})
	}
}

// tooOld is the answer to a watch that asks for what was forgotten: the error comes
// in the stream, as the API server sends it.
func tooOld(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	b, _ := json.Marshal(metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
		Status:   metav1.StatusFailure, Code: http.StatusGone, Reason: metav1.StatusReasonExpired, Message: "too old resource version: 1 (2)",
	})
	_, _ = w.Write([]byte(`{"type":"ERROR","object":` + string(b) + "}\n"))
}

// on fits requests of a method whose path holds a word.
func on(method, word string) func(*http.Request) bool {
	return func(r *http.Request) bool {
		return r.Method == method && strings.Contains(r.URL.Path, word) && !isWatch(r)
	}
}
