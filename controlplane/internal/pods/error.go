package pods

import (
	"errors"
	"fmt"
	"strings"
)

// Code classifies an error for the caller; the API turns it into an HTTP status.
type Code string

// The error codes.
const (
	Invalid      Code = "invalid"      // 400: the request is wrong; the message names field and fix
	Unauthorized Code = "unauthorized" // 401: no usable token
	Forbidden    Code = "forbidden"    // 403: a valid token without the right
	NotFound     Code = "not_found"    // 404
	Exists       Code = "exists"       // 409: the id is taken
	Conflict     Code = "conflict"     // 409: the object changed meanwhile, or is in use
	TooLarge     Code = "too_large"    // 413: more than a limit allows
	TooMany      Code = "too_many"     // 429
	Unavailable  Code = "unavailable"  // 503: a part we need does not answer; try again
	Internal     Code = "internal"     // 500: ours; details in the log only
)

// Error is an error whose messages are written for the person who made the
// request. Any other error type is internal: logged in full, told in general.
type Error struct {
	Code     Code
	Messages []string // one for most errors, one per problem for Invalid
	Cause    error    // logged, never sent; may be nil
}

// Errorf returns an Error with one message.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Messages: []string{fmt.Sprintf(format, args...)}}
}

// Error joins the messages and the cause, for logs.
func (e *Error) Error() string {
	parts := append([]string{string(e.Code)}, e.Messages...)
	if e.Cause != nil {
		parts = append(parts, e.Cause.Error())
	}
	return strings.Join(parts, ": ")
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// ErrorCode returns the code of err: Internal unless it is or wraps an [Error],
// "" for nil.
func ErrorCode(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return Internal
}
