package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// The values of the envelope's status field.
const (
	success = "success"
	failure = "error"
)

// answer is what a handler says.
type answer struct {
	message  string
	result   any
	metadata map[string]any // nil is sent as {}
	status   string         // default: success
	code     int            // HTTP status; default: 200

	// stream writes the answer itself, without envelope. Nothing else of the
	// answer counts then.
	stream func(http.ResponseWriter) error
}

// warn adds to the warnings in the answer's metadata.
func (a *answer) warn(texts ...string) {
	if len(texts) == 0 {
		return
	}
	if a.metadata == nil {
		a.metadata = map[string]any{}
	}
	before, _ := a.metadata["warnings"].([]string)
	a.metadata["warnings"] = append(before, texts...)
}

// envelope is the form of every answer. SDK clients take it apart by name, the
// order is that of the service they were written for.
type envelope struct {
	Message  any            `json:"message"` // a string, or a list of them
	Metadata map[string]any `json:"metadata"`
	Result   any            `json:"result"`
	Status   string         `json:"status"`
	Version  string         `json:"version"`
}

// writeAnswer sends what a handler said.
func (s *server) writeAnswer(w http.ResponseWriter, a answer) error {
	if a.stream != nil {
		return a.stream(w)
	}
	return s.writeEnvelope(w, cmp.Or(a.code, http.StatusOK), envelope{
		Message: a.message, Metadata: a.metadata, Result: a.result, Status: cmp.Or(a.status, success),
	})
}

// writeError sends an error: its messages if they were written for the caller,
// nothing of it otherwise.
func (s *server) writeError(w http.ResponseWriter, err error) error {
	p := problemOf(err)
	maps.Copy(w.Header(), p.header)
	return s.writeEnvelope(w, p.status, envelope{Message: p.message, Status: failure})
}

func (s *server) writeEnvelope(w http.ResponseWriter, status int, e envelope) error {
	if e.Metadata == nil {
		e.Metadata = map[string]any{}
	}
	e.Version = s.Version

	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // people read these texts in terminals
	if err := enc.Encode(e); err != nil {
		return fmt.Errorf("encoding the answer: %w", err)
	}
	body := bytes.TrimSuffix(b.Bytes(), []byte("\n"))

	h := w.Header()
	// Exactly this: with a charset the SDK takes the body for raw bytes.
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store") // answers hold passwords and depend on the token
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	if _, err := w.Write(body); err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	return nil
}

// problem is an error as a client sees it.
type problem struct {
	status  int
	message any // a string, or a list of them
	header  http.Header
}

// httpError is an error that HTTP has a status for and the domain has no code.
type httpError struct {
	status  int
	message string
	header  http.Header // added to the answer; may be nil
}

func (e *httpError) Error() string { return fmt.Sprintf("%d: %s", e.status, e.message) }

// validationError marks an error as the outcome of validation: clients get its
// messages as a list, even if there is only one.
type validationError struct{ error }

func (e validationError) Unwrap() error { return e.error }

// invalid marks the error of a validation; nil stays nil.
func invalid(err error) error {
	if err == nil {
		return nil
	}
	return validationError{err}
}

// invalidf returns a validation error with one message.
func invalidf(format string, args ...any) error {
	return validationError{pods.Errorf(pods.Invalid, format, args...)}
}

// problemOf says how an error looks to the client. An error that was not written
// for people is told in general; the log has it in full.
func problemOf(err error) problem {
	if e, ok := errors.AsType[*httpError](err); ok {
		return problem{status: e.status, message: e.message, header: e.header}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return problem{
			status:  http.StatusServiceUnavailable,
			message: "The request took too long. Please try again.",
			header:  retryAfter("5"),
		}
	}
	e, ok := errors.AsType[*pods.Error](err)
	if !ok || e.Code == pods.Internal || len(e.Messages) == 0 {
		return problem{
			status:  http.StatusInternalServerError,
			message: "Unexpected. The service could not process the request. Quote the X-Request-ID of this answer to its operators.",
		}
	}
	p := problem{status: statusOf(e.Code), message: e.Messages[0]}
	if isValidation(err, e) {
		p.message = e.Messages
	}
	switch e.Code {
	case pods.Unauthorized:
		p.header = http.Header{"Www-Authenticate": {`Tapis header="` + tokenHeader + `"`}}
	case pods.Unavailable:
		p.header = retryAfter("5")
	default:
	}
	return p
}

// isValidation reports whether an error came of validation: it was marked so, or
// names a place in the body, or is about several things.
func isValidation(err error, e *pods.Error) bool {
	_, marked := errors.AsType[validationError](err)
	return marked || len(e.Messages) > 1 || strings.HasPrefix(e.Messages[0], "body, ")
}

func retryAfter(seconds string) http.Header { return http.Header{"Retry-After": {seconds}} }

// statusOf maps an error code to its HTTP status.
func statusOf(c pods.Code) int {
	switch c {
	case pods.Invalid:
		return http.StatusBadRequest
	case pods.Unauthorized:
		return http.StatusUnauthorized
	case pods.Forbidden:
		return http.StatusForbidden
	case pods.NotFound:
		return http.StatusNotFound
	case pods.Exists, pods.Conflict:
		return http.StatusConflict
	case pods.TooLarge:
		return http.StatusRequestEntityTooLarge
	case pods.TooMany:
		return http.StatusTooManyRequests
	case pods.Unavailable:
		return http.StatusServiceUnavailable
	case pods.Internal:
		return http.StatusInternalServerError
	default:
		return http.StatusInternalServerError
	}
}
