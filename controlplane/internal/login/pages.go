package login

import (
	"bytes"
	"context"
	_ "embed" // for the page
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"strings"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/routes/pagelook"
)

// page is what a person is told when a login does not go on.
type page struct {
	Code  pods.Code
	Title string
	Text  string
	Link  string // back to the pod, "" if that is not known
	Style template.CSS
}

// statuses of the codes that pages have.
var statuses = map[pods.Code]int{
	pods.Invalid: http.StatusBadRequest, pods.NotFound: http.StatusNotFound, pods.Forbidden: http.StatusForbidden,
	pods.TooMany: http.StatusTooManyRequests, pods.Unavailable: http.StatusServiceUnavailable,
}

var (
	pageBadRequest = page{Code: pods.Invalid, Title: "This is no login", Text: "Open the address of the pod, and log in from there."}
	pageStale      = page{Code: pods.Invalid, Title: "This login has ended", Text: "It took too long, was used before, or was begun in another browser. Open the address of the pod again."}
	pageNoSuchPod  = page{Code: pods.NotFound, Title: "No such pod", Text: "There is no pod that asks for a login at this address. It may have been deleted or opened for everyone."}
	pageRefused    = page{Code: pods.Forbidden, Title: "You did not log in", Text: "Tapis was not allowed to tell who you are, so the pod stays closed."}
	pageBadToken   = page{Code: pods.Forbidden, Title: "This login does not count", Text: "Tapis has logged you in, but not as a user who can visit pods of this tenant."}
	pageTooMany    = page{Code: pods.TooMany, Title: "Too many logins", Text: "Wait a minute, and try again."}
	pageNoClient   = page{Code: pods.Unavailable, Title: "Logins are not ready yet", Text: "Try again in a minute. If this stays so, tell the operators that the OAuth2 client of this tenant is missing."}
	pageAway       = page{Code: pods.Unavailable, Title: "Logins are not possible now", Text: "A part of the service does not answer. Try again in a moment."}
)

var (
	//go:embed page.html
	pageSource string

	pageTemplate = template.Must(template.New("page").Parse(pageSource))

	pagePolicy = pagelook.Policy(pagelook.Style, pagelook.NoForms)
)

// unavailable notes that something does not answer, and returns the page for it.
func (s *Service) unavailable(err error) *page {
	if errors.Is(err, context.Canceled) {
		s.Logger.Debug("visitor left during a login", "error", err)
		return &pageAway
	}
	s.Logger.Error("login failed", "error", err)
	return &pageAway
}

func (s *Service) answer(w http.ResponseWriter, r *http.Request, p page) error {
	if !strings.Contains(r.Header.Get("Accept"), "text/html") {
		return pods.Errorf(p.Code, "%s. %s", p.Title, p.Text)
	}
	p.Style = pagelook.Style
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, p); err != nil {
		return fmt.Errorf("writing a page: %w", err)
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	if p.Code == pods.TooMany || p.Code == pods.Unavailable {
		h.Set("Retry-After", "60")
	}
	w.WriteHeader(statuses[p.Code])
	if _, err := w.Write(b.Bytes()); err != nil {
		s.Logger.DebugContext(r.Context(), "writing answer failed", "error", err)
	}
	return nil
}
