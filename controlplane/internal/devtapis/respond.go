package devtapis

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// maxBody bounds the body of a request.
const maxBody = 1 << 20

// version is what the envelope says. Clients show it and compare nothing.
const version = "dev"

// handler answers a request with a result, or with a problem.
type handler func(r *http.Request) (any, error)

// problem is an error for whoever made the request.
type problem struct {
	status  int
	message string
}

// Error returns the message.
func (p *problem) Error() string { return p.message }

func problemf(status int, format string, args ...any) *problem {
	return &problem{status, fmt.Sprintf(format, args...)}
}

// envelope is the form of every answer.
type envelope struct {
	Message  string   `json:"message"`
	Metadata struct{} `json:"metadata"`
	Result   any      `json:"result"`
	Status   string   `json:"status"`
	Version  string   `json:"version"`
}

// handle makes an [http.Handler] of h: it writes the envelope.
func (s *Server) handle(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		result, err := h(r)
		if err == nil {
			s.write(w, http.StatusOK, envelope{Message: "The request was successful.", Result: result, Status: "success"})
			return
		}
		p, ok := errors.AsType[*problem](err)
		if !ok {
			s.log.Error("request to the development Tapis failed", "method", r.Method, "path", r.URL.Path, "error", err)
			p = problemf(http.StatusInternalServerError, "Unexpected error in the development Tapis; see its log.")
		}
		s.write(w, p.status, envelope{Message: p.message, Status: "error"})
	})
}

func (s *Server) write(w http.ResponseWriter, status int, e envelope) {
	e.Version = version
	// Exactly this: the SDK takes a body with any other type, even with a charset,
	// for bytes.
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(e); err != nil {
		s.log.Debug("writing answer failed", "error", err)
	}
}

func notFound(r *http.Request) (any, error) {
	return nil, problemf(http.StatusNotFound, "The development Tapis has no %s %s.", r.Method, r.URL.Path)
}

// decode reads a JSON body into v. With strict, fields that v has not are
// refused.
func decode(r *http.Request, v any, strict bool) error {
	d := json.NewDecoder(r.Body)
	if strict {
		d.DisallowUnknownFields()
	}
	if err := d.Decode(v); err != nil {
		return problemf(http.StatusBadRequest, "Invalid request body: %v.", err)
	}
	return nil
}
