package api

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// brokenBody fails as a connection does.
type brokenBody struct{ err error }

func (b brokenBody) Read([]byte) (int, error) { return 0, b.err }
func (brokenBody) Close() error               { return nil }

// deadlineWriter remembers the deadlines that were set for reading.
type deadlineWriter struct {
	*httptest.ResponseRecorder
	deadlines []time.Time
}

func (w *deadlineWriter) SetReadDeadline(t time.Time) error {
	w.deadlines = append(w.deadlines, t)
	return nil
}

func TestBodiesThatDoNotArrive(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want int
	}{
		{"a client that is too slow", os.ErrDeadlineExceeded, http.StatusRequestTimeout},
		{"a client that hangs up", io.ErrUnexpectedEOF, http.StatusBadRequest},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), "POST", "/", brokenBody{c.err})
			r.Header.Set("Content-Type", "application/json")
			w := &deadlineWriter{ResponseRecorder: httptest.NewRecorder()}
			_, err := readJSON(w, r)
			if got := problemOf(err).status; got != c.want {
				t.Errorf("got status %d, want %d", got, c.want)
			}
			if len(w.deadlines) != 2 || w.deadlines[0].IsZero() || !w.deadlines[1].IsZero() {
				t.Errorf("got deadlines %v, want one, and none afterwards", w.deadlines)
			}
		})
	}
}

func TestEveryCodeHasAStatus(t *testing.T) {
	for code, want := range map[pods.Code]int{
		pods.Invalid: 400, pods.Unauthorized: 401, pods.Forbidden: 403, pods.NotFound: 404, pods.Exists: 409,
		pods.Conflict: 409, pods.TooMany: 429, pods.Unavailable: 503, pods.Internal: 500, "unheard_of": 500,
	} {
		if got := problemOf(pods.Errorf(code, "text")).status; got != want {
			t.Errorf("code %s: got status %d, want %d", code, got, want)
		}
	}
	if got := problemOf(errors.New("plain")).status; got != 500 {
		t.Errorf("got status %d for an error without a code, want 500", got)
	}
}
