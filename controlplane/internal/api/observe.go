package api

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/go-chi/chi/v5/middleware"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// requestIDHeader carries the id under which the log speaks of a request. A
// client may choose it.
const requestIDHeader = "X-Request-ID"

// trace collects what the log says about a request. It belongs to the goroutine
// that serves the request.
type trace struct {
	id    string
	op    *operation // nil if the path named none
	who   pods.Principal
	podID pods.ID
	err   error
}

type traceKey struct{}

// traceOf returns the trace of a request, or one that nobody reads if the
// request did not pass observe.
func traceOf(r *http.Request) *trace {
	if t, ok := r.Context().Value(traceKey{}).(*trace); ok {
		return t
	}
	return new(trace)
}

// failed adds an error to what the log says; nil adds nothing.
func (t *trace) failed(err error) { t.err = errors.Join(t.err, err) }

// observe is the outermost layer: it gives the request an id, answers for a
// handler that panics, and logs the end of the request.
func (s *server) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := s.Now()
		t := &trace{id: requestID(r)}
		r = r.WithContext(context.WithValue(r.Context(), traceKey{}, t))
		ww := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
		ww.Header().Set(requestIDHeader, t.id)
		defer func() {
			v := recover()
			if v != nil {
				s.recovered(ww, r, v)
			}
			s.log(r, t, ww.Status(), s.Now().Sub(start))
			if v != nil && ww.Status() != http.StatusInternalServerError {
				panic(http.ErrAbortHandler) // half an answer is out: the connection must not look complete
			}
		}()
		next.ServeHTTP(ww, r)
	})
}

// recovered answers for a handler that panicked, if it has not begun to.
func (s *server) recovered(w middleware.WrapResponseWriter, r *http.Request, v any) {
	if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		return
	}
	err := fmt.Errorf("handler panicked: %v\n%s", v, debug.Stack())
	if w.Status() != 0 {
		traceOf(r).failed(err)
		return
	}
	s.fail(w, r, err)
}

// log says what came of a request: at error level if the fault is ours.
func (s *server) log(r *http.Request, t *trace, status int, took time.Duration) {
	attrs := []slog.Attr{
		slog.String("request_id", t.id),
		slog.String("method", r.Method),
		slog.Int("status", status),
		slog.Duration("duration", took),
		slog.String("remote", r.RemoteAddr),
	}
	if t.op != nil {
		// The pattern, not the path: a path may hold what a client put there by mistake.
		attrs = append(attrs, slog.String("route", t.op.pattern), slog.String("operation", t.op.id))
	}
	if t.who.User != "" {
		attrs = append(attrs, slog.String("tenant", t.who.Tenant.ID), slog.String("user", t.who.User))
	}
	if t.who.Service != "" {
		attrs = append(attrs, slog.String("service", t.who.Service))
	}
	if t.podID != "" {
		attrs = append(attrs, slog.String("pod_id", string(t.podID)))
	}
	if t.err != nil {
		attrs = append(attrs, slog.Any("error", t.err))
	}
	s.Logger.LogAttrs(context.WithoutCancel(r.Context()), logLevel(t, status), "request served", attrs...)
}

func logLevel(t *trace, status int) slog.Level {
	switch {
	case errors.Is(t.err, context.Canceled): // the client hung up
		return slog.LevelDebug
	case status >= http.StatusInternalServerError && (t.op == nil || t.op.id != "error_handler"):
		return slog.LevelError
	case t.op != nil && t.op.id == "healthcheck":
		return slog.LevelDebug
	case t.err != nil && status < http.StatusBadRequest: // done, but not all of it
		return slog.LevelWarn
	default:
		return slog.LevelInfo
	}
}

// requestID returns the client's id for the request if it is fit for a log, or a
// new one.
func requestID(r *http.Request) string {
	id := r.Header.Get(requestIDHeader)
	if id == "" || len(id) > 64 {
		return rand.Text()
	}
	for _, c := range []byte(id) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return rand.Text()
		}
	}
	return id
}
