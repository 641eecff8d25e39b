package api

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

const (
	maxBody     = 1 << 20          // bytes
	bodyTimeout = 30 * time.Second // from the first read to the end of a body
)

// readJSON reads the body of a request that is sent as JSON. It does not look
// at the JSON.
func readJSON(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if mt, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || mt != "application/json" {
		return nil, invalidf("body: a JSON object was expected; send it with the header 'Content-Type: application/json'. Got: %q",
			r.Header.Get("Content-Type"))
	}
	// A client that sends a byte now and then must not hold the request open.
	// Not every ResponseWriter has deadlines; those of net/http do.
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(bodyTimeout))
	defer func() { _ = rc.SetReadDeadline(time.Time{}) }()

	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err == nil {
		return body, nil
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, &httpError{
			status:  http.StatusRequestEntityTooLarge,
			message: fmt.Sprintf("The request body is larger than %d bytes.", maxBody),
		}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, &httpError{
			status:  http.StatusRequestTimeout,
			message: fmt.Sprintf("The request body did not arrive within %d seconds.", int(bodyTimeout.Seconds())),
		}
	}
	return nil, &pods.Error{Code: pods.Invalid, Messages: []string{"The request body could not be read."}, Cause: err}
}
