package devtapis

import (
	"bytes"
	_ "embed" // for the page
	"errors"
	"html/template"
	"net/http"

	"github.com/tapis-project/podway/routes/pagelook"
)

// pageData is what a page shows.
type pageData struct {
	Title   string
	Kind    string // "login", "consent", "logout", "done" or "problem"
	Form    string // path that the form is sent to
	Hidden  authorization
	User    string
	Client  string // name of the one who asks for consent
	Problem string
	Text    string
	Style   template.CSS
}

var (
	//go:embed page.html
	pageSource string

	//go:embed style.css
	style template.CSS

	pageTemplate = template.Must(template.New("page").Parse(pageSource))

	// The browser is sent on to pods after the consent, so forms may lead to any
	// host with TLS: a form that redirects counts with all of its redirects.
	pagePolicy = pagelook.Policy(style, pagelook.SameHost+" https:")
)

// page answers with a page for people.
func (s *Server) page(w http.ResponseWriter, status int, d pageData) {
	d.Style = style
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, d); err != nil {
		s.log.Error("writing a page failed", "error", err)
		status = http.StatusInternalServerError
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	if _, err := w.Write(b.Bytes()); err != nil {
		s.log.Debug("writing answer failed", "error", err)
	}
}

// failPage tells a person what is wrong.
func (s *Server) failPage(w http.ResponseWriter, err error) {
	p, ok := errors.AsType[*problem](err)
	if !ok {
		p = problemf(http.StatusInternalServerError, "Something went wrong.")
	}
	s.page(w, p.status, pageData{Title: "That did not work", Kind: "problem", Problem: p.message})
}
